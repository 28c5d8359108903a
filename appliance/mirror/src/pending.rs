//! Waiting for changes to settle.
//!
//! A batch is due when nothing has happened for [`QUIET`], and at the latest [`LONGEST`] after
//! its first event. A file that is written to and not closed joins a batch after [`LONGEST`]: a
//! log that is open for ever is followed too, and a file that is being saved is not read ten
//! times over.

use crate::tree::RelPath;
use crate::watch::Heard;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A batch ends after so long without an event.
pub(crate) const QUIET: Duration = Duration::from_millis(100);
/// A batch ends after so long whatever happens.
pub(crate) const LONGEST: Duration = Duration::from_secs(1);

/// What has been heard and not looked at yet.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    batch: Batch,
    span: Option<(Instant, Instant)>,
    written: BTreeMap<RelPath, Instant>,
}

/// What is to be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// These paths.
    pub(crate) changed: BTreeSet<RelPath>,
    /// These directories with everything below.
    pub(crate) appeared: BTreeSet<RelPath>,
    /// Everything.
    pub(crate) lost: bool,
}

impl Pending {
    /// Adds what was heard.
    pub(crate) fn hear(&mut self, heard: Heard, now: Instant) {
        let Heard { changed, appeared, written, lost } = heard;
        for path in written {
            if !self.batch.changed.contains(&path) {
                self.written.entry(path).or_insert(now);
            }
        }
        if changed.is_empty() && appeared.is_empty() && !lost {
            return;
        }
        for path in changed {
            self.written.remove(&path);
            self.batch.changed.insert(path);
        }
        self.batch.appeared.extend(appeared);
        self.batch.lost |= lost;
        let first = self.span.map_or(now, |(first, _)| first);
        self.span = Some((first, now));
    }

    /// When the next batch is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        let settled = self.span.map(|(first, last)| (last + QUIET).min(first + LONGEST));
        let written = self.written.values().min().map(|first| *first + LONGEST);
        settled.into_iter().chain(written).min()
    }

    /// Takes the batch that is due by `now`.
    pub(crate) fn take(&mut self, now: Instant) -> Batch {
        let old = |first: &Instant| now.saturating_duration_since(*first) >= LONGEST;
        let due: Vec<_> =
            self.written.iter().filter(|(_, f)| old(f)).map(|(p, _)| p.clone()).collect();
        for path in due {
            self.written.remove(&path);
            self.batch.changed.insert(path);
        }
        self.span = None;
        std::mem::take(&mut self.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).unwrap()
    }

    fn changed(text: &str) -> Heard {
        Heard { changed: vec![path(text)], ..Heard::default() }
    }

    #[test]
    fn a_batch_waits_for_quiet_but_not_for_ever() {
        let start = Instant::now();
        let mut pending = Pending::default();
        assert_eq!(pending.due(), None);
        pending.hear(changed("a"), start);
        assert_eq!(pending.due(), Some(start + QUIET));
        for n in 1..40 {
            pending.hear(changed("b"), start + Duration::from_millis(50 * n));
        }
        assert_eq!(pending.due(), Some(start + LONGEST));
        assert_eq!(pending.take(start + LONGEST).changed.len(), 2);
        assert_eq!(pending.due(), None);
    }

    #[test]
    fn an_open_file_joins_late_and_a_closed_one_at_once() {
        let start = Instant::now();
        let mut pending = Pending::default();
        let written = || Heard { written: vec![path("log")], ..Heard::default() };
        for n in 0..50 {
            pending.hear(written(), start + Duration::from_millis(10 * n));
        }
        assert_eq!(pending.due(), Some(start + LONGEST));
        assert!(pending.take(start + QUIET).changed.is_empty());
        assert!(pending.take(start + LONGEST).changed.contains(&path("log")));
        pending.hear(written(), start);
        pending.hear(changed("log"), start);
        assert_eq!(pending.due(), Some(start + QUIET));
    }
}
