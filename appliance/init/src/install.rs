//! The installer's process: it says on its standard output, one JSON object a line, how far it is.

use crate::cmdline::Slot;
use crate::ports::{Installer, Target};
use model::status::FirmwareProgress;
use std::io::Write;
use std::path::PathBuf;

/// The life of the installer, with the arguments behind [`crate::INSTALLER`]: the bundle, the
/// card, the partition to write and its slot. Returns the exit code.
pub fn run(arguments: impl Iterator<Item = String>, installer: &dyn Installer) -> u8 {
    let mut out = std::io::stdout();
    match understood(arguments) {
        Some((bundle, target)) => work(&bundle, &target, installer, &mut out),
        None => {
            say(
                &mut out,
                &FirmwareProgress::Failed {
                    reason: "The installer was started in a wrong way.".into(),
                },
            );
            2
        }
    }
}

fn understood(mut arguments: impl Iterator<Item = String>) -> Option<(PathBuf, Target)> {
    let bundle = PathBuf::from(arguments.next()?);
    let disk = PathBuf::from(arguments.next()?);
    let device = PathBuf::from(arguments.next()?);
    let slot = Slot::from_letter(&arguments.next()?)?;
    arguments.next().is_none().then_some((bundle, Target { disk, device, slot }))
}

fn work(
    bundle: &std::path::Path,
    target: &Target,
    installer: &dyn Installer,
    out: &mut impl Write,
) -> u8 {
    let mut last = None;
    let result = installer.install(bundle, target, &mut |progress| {
        // A line for every block would keep process 1 busier than the card.
        let mark = mark(&progress);
        if last.replace(mark) != Some(mark) {
            say(out, &progress);
        }
    });
    match result {
        Ok(()) => 0,
        Err(reason) => {
            say(out, &FirmwareProgress::Failed { reason });
            1
        }
    }
}

/// The step, and the percent of it.
fn mark(progress: &FirmwareProgress) -> (u8, u64) {
    match progress {
        FirmwareProgress::Verifying => (0, 0),
        FirmwareProgress::Writing { done, total } => {
            (1, done.saturating_mul(100).checked_div(*total).unwrap_or(0))
        }
        FirmwareProgress::Checking => (2, 0),
        FirmwareProgress::Restarting => (3, 0),
        FirmwareProgress::Failed { .. } => (4, 0),
    }
}

fn say(out: &mut impl Write, progress: &FirmwareProgress) {
    if let Ok(line) = serde_json::to_string(progress) {
        let _ = writeln!(out, "{line}");
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    struct Fake(Result<(), String>);

    impl Installer for Fake {
        fn install(
            &self,
            bundle: &Path,
            target: &Target,
            report: &mut dyn FnMut(FirmwareProgress),
        ) -> Result<(), String> {
            assert_eq!(bundle, Path::new("/proc/self/fd/0"));
            assert_eq!((target.device.as_path(), target.slot), (Path::new("/dev/vda3"), Slot::B));
            report(FirmwareProgress::Verifying);
            for done in 0..=1000 {
                report(FirmwareProgress::Writing { done, total: 1000 });
            }
            self.0.clone()
        }
    }

    fn arguments() -> impl Iterator<Item = String> {
        ["/proc/self/fd/0", "/dev/vda", "/dev/vda3", "b"].into_iter().map(str::to_owned)
    }

    #[test]
    fn a_line_a_percent_and_the_reason_last() {
        let (bundle, target) = understood(arguments()).unwrap();
        let mut out = Vec::new();
        assert_eq!(work(&bundle, &target, &Fake(Ok(())), &mut out), 0);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 102);
        assert_eq!(text.lines().next(), Some(r#"{"step":"verifying"}"#));
        let mut out = Vec::new();
        assert_eq!(
            work(&bundle, &target, &Fake(Err("The signature is wrong.".into())), &mut out),
            1
        );
        let text = String::from_utf8(out).unwrap();
        let last: FirmwareProgress = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last, FirmwareProgress::Failed { reason: "The signature is wrong.".into() });
    }

    #[test]
    fn other_arguments_are_none() {
        assert!(understood(arguments().take(3)).is_none());
        assert!(understood(arguments().chain(["more".to_owned()])).is_none());
        assert!(understood(["a", "b", "c", "d"].into_iter().map(str::to_owned)).is_none());
    }
}
