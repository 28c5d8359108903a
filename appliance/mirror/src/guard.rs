//! When a mirror stops rather than follow its origin into a loss.
//!
//! An unmounted disk, a wrong directory and a slip of the hand look like deletions. The brake
//! counts the files that would have gone within an hour, batch by batch, so that many small
//! deletions are seen as the large one they are; a file that comes back no longer counts, and one
//! that is only moved never did.

use crate::tree::RelPath;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Deletions are added up over this span.
pub(crate) const WINDOW: Duration = Duration::from_secs(3600);
/// So many files may always go.
pub(crate) const ALWAYS: usize = 50;

/// How the origin's scan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The tree was listed. Paths that could not be read are listed with it.
    Listed,
    /// There is no such directory.
    Missing,
    /// It is there and cannot be read.
    Unreadable(String),
}

/// What is known when a batch is about to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    /// The state of the origin's tree.
    pub(crate) source: &'a Source,
    /// The first path of the origin's tree that could not be read, and why.
    pub(crate) problem: Option<&'a (RelPath, String)>,
    /// Files and links on the origin.
    pub(crate) origin_files: usize,
    /// Files and links here.
    pub(crate) local_files: usize,
    /// The files and links that would be lost.
    pub(crate) doomed: &'a [RelPath],
}

/// What to do with the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Do it.
    Go,
    /// Do what deletes nothing, and say this.
    GoWithoutDeletes(Hold),
    /// Do nothing, and say this.
    Stop(Hold),
}

/// Why it stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The origin's directory is gone.
    Missing,
    /// The origin's directory cannot be read.
    Unreadable(String),
    /// Part of the origin's tree cannot be read.
    Partial(String),
    /// The origin has no files and this node has some.
    Empty {
        /// How many.
        local: usize,
    },
    /// Too many files would go at once.
    TooMany {
        /// How many would have gone within the window.
        gone: usize,
        /// Of how many.
        of: usize,
    },
}

impl Hold {
    /// What happened, what it means, what to do.
    pub(crate) fn sentence(&self, origin: &str, directory: &str) -> String {
        let safe = "Nothing is changed here; visitors still get this node's files.";
        match self {
            Self::Missing => format!(
                "The directory {directory} is gone on the origin {origin}. {safe} Put it back \
                 there (is its disk mounted?); mirroring then goes on by itself."
            ),
            Self::Unreadable(why) => format!(
                "The directory {directory} on the origin {origin} cannot be read: {why}. {safe} \
                 Make it readable there; mirroring then goes on by itself."
            ),
            Self::Partial(what) => format!(
                "Part of {directory} on the origin {origin} cannot be read: {what}. New and \
                 changed files still come; nothing is deleted here until all of it can be read."
            ),
            Self::Empty { local } => format!(
                "The directory {directory} on the origin {origin} has no files, and this node \
                 has {local}. {safe} Put the files back on the origin and mirroring goes on by \
                 itself; or, if all of them are to go, approve the deletion."
            ),
            Self::TooMany { gone, of } => format!(
                "The origin {origin} asks to delete {gone} of {of} files in {directory}. {safe} \
                 If the files are to go, approve the deletion; otherwise put them back on the \
                 origin and mirroring goes on by itself."
            ),
        }
    }

    /// Can the operator let it pass?
    pub(crate) const fn can_be_approved(&self) -> bool {
        matches!(self, Self::Empty { .. } | Self::TooMany { .. })
    }
}

/// The brake's memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    /// What went and has not come back, and when.
    recent: BTreeMap<RelPath, Duration>,
    /// What the operator lets go.
    approved: BTreeSet<RelPath>,
    holding: bool,
}

impl Guard {
    /// Looks at a batch. `now` counts from any fixed moment.
    pub(crate) fn judge(&mut self, batch: &Batch<'_>, now: Duration) -> Verdict {
        // What counted when it stopped counts until it may go on.
        if !self.holding {
            self.recent.retain(|_, at| now.saturating_sub(*at) < WINDOW);
        }
        let verdict = self.look(batch);
        self.holding = matches!(verdict, Verdict::Stop(_));
        verdict
    }

    fn look(&self, batch: &Batch<'_>) -> Verdict {
        match batch.source {
            // Nothing here can be lost.
            Source::Missing | Source::Unreadable(_) if batch.local_files == 0 => {
                return Verdict::Go;
            }
            Source::Missing => return Verdict::Stop(Hold::Missing),
            Source::Unreadable(why) => return Verdict::Stop(Hold::Unreadable(why.clone())),
            Source::Listed => {}
        }
        let fresh: Vec<_> = batch.doomed.iter().filter(|p| !self.approved.contains(*p)).collect();
        if batch.origin_files == 0 && batch.local_files > 0 && !fresh.is_empty() {
            return Verdict::Stop(Hold::Empty { local: batch.local_files });
        }
        if let Some((path, why)) = batch.problem {
            return Verdict::GoWithoutDeletes(Hold::Partial(format!("{path}: {why}")));
        }
        let again = fresh.iter().filter(|p| self.recent.contains_key(**p)).count();
        let gone = self.recent.len() + fresh.len() - again;
        let of = batch.local_files + self.recent.len() - again;
        if !fresh.is_empty() && gone > ALWAYS.max(of / 2) {
            return Verdict::Stop(Hold::TooMany { gone, of });
        }
        Verdict::Go
    }

    /// The batch is carried out.
    pub(crate) fn accept(&mut self, doomed: &[RelPath], now: Duration) {
        for path in doomed {
            if !self.approved.remove(path) {
                self.recent.insert(path.clone(), now);
            }
        }
    }

    /// A file is there again.
    pub(crate) fn returned(&mut self, path: &RelPath) {
        self.recent.remove(path);
        self.approved.remove(path);
    }

    /// The operator lets these files go, and no others.
    pub(crate) fn approve(&mut self, doomed: &[RelPath]) {
        self.approved = doomed.iter().cloned().collect();
        self.recent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(from: usize, to: usize) -> Vec<RelPath> {
        (from..to).map(|n| RelPath::parse(format!("f{n}").as_bytes()).unwrap()).collect()
    }

    fn judge(guard: &mut Guard, origin: usize, local: usize, doomed: &[RelPath], at: u64) -> bool {
        let batch = Batch {
            source: &Source::Listed,
            problem: None,
            origin_files: origin,
            local_files: local,
            doomed,
        };
        let now = Duration::from_secs(at);
        let go = guard.judge(&batch, now) == Verdict::Go;
        if go {
            guard.accept(doomed, now);
        }
        go
    }

    #[test]
    fn m18_the_limit_passes_and_one_more_is_held() {
        for (files, most) in [(60, 50), (100, 50), (101, 50), (102, 51), (1000, 500)] {
            let g = || Guard::default();
            assert!(judge(&mut g(), files - most, files, &paths(0, most), 0), "{files}");
            assert!(!judge(&mut g(), files - most - 1, files, &paths(0, most + 1), 0), "{files}");
        }
    }

    #[test]
    fn m18_small_batches_add_up_and_pass_with_time() {
        let mut guard = Guard::default();
        for n in 0..5 {
            assert!(judge(&mut guard, 90, 100 - n * 10, &paths(n * 10, n * 10 + 10), 0));
        }
        assert!(!judge(&mut guard, 49, 50, &paths(50, 51), 60));
        // A held batch does not slip through by waiting.
        assert!(!judge(&mut guard, 49, 50, &paths(50, 51), 2 * 3600));
        assert!(judge(&mut guard, 50, 50, &[], 2 * 3600));
        assert!(judge(&mut guard, 49, 50, &paths(50, 51), 4 * 3600));
    }

    #[test]
    fn what_comes_back_no_longer_counts() {
        let mut guard = Guard::default();
        for turn in 0..10 {
            assert!(judge(&mut guard, 60, 100, &paths(0, 40), turn));
            paths(0, 40).iter().for_each(|p| guard.returned(p));
        }
    }

    #[test]
    fn m16_an_approval_is_for_these_files_only() {
        let mut guard = Guard::default();
        assert!(!judge(&mut guard, 0, 3, &paths(0, 3), 0));
        guard.approve(&paths(0, 3));
        assert!(judge(&mut guard, 0, 3, &paths(0, 3), 0));
        assert!(!judge(&mut guard, 0, 3, &paths(0, 3), 0));
        let mut guard = Guard::default();
        assert!(!judge(&mut guard, 40, 100, &paths(0, 60), 0));
        guard.approve(&paths(0, 60));
        assert!(!judge(&mut guard, 0, 100, &paths(0, 100), 0));
        assert!(judge(&mut guard, 40, 100, &paths(0, 60), 0));
        assert!(!judge(&mut guard, 10, 100, &paths(100, 160), 0));
    }

    #[test]
    fn m15_m17_a_tree_that_is_gone_or_empty() {
        let doomed = paths(0, 1);
        let look = |source: &Source, local_files, problem| {
            let batch = Batch { source, problem, origin_files: 0, local_files, doomed: &doomed };
            Guard::default().judge(&batch, Duration::ZERO)
        };
        assert_eq!(look(&Source::Missing, 1, None), Verdict::Stop(Hold::Missing));
        assert_eq!(look(&Source::Missing, 0, None), Verdict::Go);
        assert_eq!(look(&Source::Listed, 1, None), Verdict::Stop(Hold::Empty { local: 1 }));
        let unreadable = Source::Unreadable("no".to_owned());
        assert!(matches!(look(&unreadable, 1, None), Verdict::Stop(Hold::Unreadable(_))));
        let problem = (RelPath::root(), "EIO".to_owned());
        let batch = Batch {
            source: &Source::Listed,
            problem: Some(&problem),
            origin_files: 5,
            local_files: 5,
            doomed: &doomed,
        };
        let verdict = Guard::default().judge(&batch, Duration::ZERO);
        assert!(matches!(verdict, Verdict::GoWithoutDeletes(Hold::Partial(_))));
    }
}
