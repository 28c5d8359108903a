//! What the kernel kept in memory of a run that ended in a crash.

use crate::boot::Boot;
use crate::screen::plain;
use std::fs;
use std::path::Path;

/// Written to the log at the end of every orderly run; what lacks it was cut short.
pub(crate) const ORDERLY: &str = "stopped in order";
const DIRECTORY: &str = "/sys/fs/pstore";
/// So much is shown.
const LONGEST: usize = 16 * 1024;

pub(crate) fn run(boot: &mut Boot) {
    let records = take(Path::new(DIRECTORY));
    // Memory that was without power holds no records: there are some only after a restart.
    boot.cold = records.is_empty();
    boot.facts.last_words = last_words(&records);
    if boot.facts.last_words.is_some() {
        boot.console.say("the run before ended in a crash; its last words are on the admin page");
    }
}

/// Reads and removes all records: there is room for few.
fn take(directory: &Path) -> Vec<(String, String)> {
    let mut records = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Ok(bytes) = fs::read(entry.path()) {
            records.push((name, String::from_utf8_lossy(&bytes).into_owned()));
        }
        let _ = fs::remove_file(entry.path());
    }
    records.sort();
    records
}

/// The end of what was said last, if the run did not end in order. A panic leaves a `dmesg`
/// record; a hang leaves only what went to the console before.
fn last_words(records: &[(String, String)]) -> Option<String> {
    let of = |kind: &str| {
        let texts = records.iter().filter(|(name, _)| name.starts_with(kind));
        texts.map(|(_, text)| text.as_str()).collect::<Vec<_>>()
    };
    let (dumps, console, process) = (of("dmesg-"), of("console-"), of("pmsg-"));
    let orderly = console.iter().chain(&process).any(|text| text.contains(ORDERLY));
    if dumps.is_empty() && (orderly || console.is_empty() && process.is_empty()) {
        return None;
    }
    let mut all = Vec::new();
    for part in if dumps.is_empty() { [process, console] } else { [process, dumps] } {
        let share: Vec<char> = part.join("\n").chars().collect();
        let tail = share.get(share.len().saturating_sub(LONGEST / 2)..).unwrap_or_default();
        let tail: String = tail.iter().collect();
        all.extend(tail.lines().map(plain));
    }
    Some(all.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, text: &str) -> (String, String) {
        (name.into(), text.into())
    }

    #[test]
    fn an_orderly_end_leaves_none() {
        assert_eq!(last_words(&[]), None);
        let console = record("console-ramoops-0", "...\nbramble: stopped in order\n");
        assert_eq!(last_words(std::slice::from_ref(&console)), None);
        assert_eq!(last_words(&[console, record("pmsg-ramoops-0", "GET /")]), None);
    }

    #[test]
    fn a_panic_and_a_hang_leave_some() {
        let panic = record("dmesg-ramoops-0", "Panic#1 Part1\nKernel panic - not syncing\x1b[2J");
        let words = last_words(&[record("console-ramoops-0", "stopped in order"), panic]).unwrap();
        assert!(words.contains("Kernel panic - not syncing?[2J"), "{words}");
        let hang = last_words(&[record("pmsg-ramoops-0", "the last line")]).unwrap();
        assert_eq!(hang, "the last line");
        let long = last_words(&[record("console-ramoops-0", &"x\u{e4}\n".repeat(50_000))]).unwrap();
        assert!(long.chars().count() <= LONGEST, "{}", long.len());
    }

    #[test]
    fn records_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("dmesg-ramoops-0"), b"\xff\xfeoops").unwrap();
        assert_eq!(take(directory.path()).len(), 1);
        assert!(take(directory.path()).is_empty());
    }
}
