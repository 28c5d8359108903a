//! The card, which may take a second to answer.

use crate::boot::Boot;
use crate::disk;
use std::path::Path;
use std::time::{Duration, Instant};

/// Slow cards have answered after three seconds.
const LIMIT: Duration = Duration::from_secs(8);
/// In case the kernel does not tell.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) fn run(boot: &mut Boot) {
    let began = Instant::now();
    loop {
        let names = disk::names();
        let found = boot
            .patiently(Duration::from_secs(30), move || disk::find(&names, Path::new("/dev")))
            .flatten();
        // The disk is there before its partitions are.
        if let Some(disk) = found.filter(|disk| disk.partition(4).exists()) {
            boot.disk = Some(disk);
            return;
        }
        if began.elapsed() >= LIMIT {
            break;
        }
        match &boot.events {
            Some(events) => {
                events.wait(LOOK);
                while events.next().is_some() {
                    boot.missed = true;
                }
            }
            None => std::thread::sleep(LOOK),
        }
    }
    boot.problem(
        "The SD card was not found or is not readable. The board runs from memory: settings are \
         lost when the power goes. Write the image to a card and start again."
            .to_owned(),
    );
}
