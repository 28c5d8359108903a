//! Randomness from the run before, for boards whose generator starts slowly.

use crate::boot::Boot;
use crate::keep::Keep;
use crate::system::{self, SEED};
use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

const FILE: &str = "seed";
/// What 512 bytes from the kernel's generator are taken to be worth.
const BITS: u16 = 256;

pub(crate) fn run(boot: &mut Boot) {
    let Some(keep) = boot.keep.clone() else { return };
    let done = boot.patiently(Duration::from_secs(20), move || use_up(&keep, system::add_entropy));
    match done {
        Some(Ok(())) => {}
        Some(Err(error)) => boot.console.say(&format!("no seed for random numbers ({error})")),
        None => boot.console.say("no seed for random numbers (the card does not answer)"),
    }
}

/// A seed counts once: it is gone from the card before it is credited, so that two starts never
/// begin with the same one. Then the next one is written.
fn use_up(keep: &Keep, credit: impl FnOnce(&[u8; SEED], u16) -> io::Result<()>) -> io::Result<()> {
    let seed = keep.read(FILE).and_then(|bytes| <[u8; SEED]>::try_from(bytes).ok());
    if let Some(seed) = seed {
        keep.remove(FILE)?;
        credit(&seed, BITS)?;
    }
    save(keep)
}

/// Writes a seed for the next start.
pub(crate) fn save(keep: &Keep) -> io::Result<()> {
    let mut seed = [0; SEED];
    // Never waits, unlike getrandom: process 1 has no need of perfect numbers.
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    keep.write(FILE, &seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_counts_once() {
        let directory = tempfile::tempdir().unwrap();
        let keep = Keep::open(directory.path()).unwrap();
        use_up(&keep, |_, _| panic!("there is none yet")).unwrap();
        let first = keep.read(FILE).unwrap();
        let mut credited = None;
        use_up(&keep, |seed, bits| {
            assert_eq!(keep.read(FILE), None, "gone before it counts");
            credited = Some((seed.to_vec(), bits));
            Ok(())
        })
        .unwrap();
        assert_eq!(credited, Some((first.clone(), BITS)));
        assert_ne!(keep.read(FILE).unwrap(), first);
        keep.write(FILE, b"short").unwrap();
        use_up(&keep, |_, _| panic!("too short")).unwrap();
        assert_eq!(keep.read(FILE).unwrap().len(), SEED);
    }
}
