//! rsync's exclude patterns (rsync(1), FILTER RULES): an excluded name is neither sent nor
//! deleted on the mirror.
//!
//! The first rule that matches decides. A rule without a slash and without `**` looks at the last
//! component, any other at the path from the root of the tree. What lies in an excluded directory
//! is excluded with it.

use crate::tree::RelPath;
use crate::wildmatch::Wild;

/// An ordered list of rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    source: Vec<Vec<u8>>,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    exclude: bool,
    /// Without the slashes that only say how to match.
    pattern: Vec<u8>,
    /// Only directories.
    directory: bool,
    /// Only from the root of the tree.
    anchored: bool,
    /// None: no wildcard in it.
    wild: Option<Wild>,
    reach: Reach,
    /// `**/x` also matches `x` at the root: the name is looked at with a slash in front.
    rooted: bool,
    /// `x/***` also matches the directory `x`: its name is looked at with a slash behind.
    inclusive: bool,
}

/// Which part of the path the pattern is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// The last component.
    Name,
    /// The whole path.
    Whole,
    /// The last so many components.
    Last(usize),
    /// The path from its beginning or after any slash.
    Anywhere,
}

/// Two filters are the same when they were made of the same patterns.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Filter {}

impl Filter {
    /// Reads patterns as rsync's `--exclude` does: `+ x` is a rule that includes, `- x` one that
    /// excludes, `!` alone forgets the rules before it.
    pub(crate) fn new<P: AsRef<[u8]>>(patterns: impl IntoIterator<Item = P>) -> Self {
        let mut filter = Self::default();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            filter.source.push(pattern.to_vec());
            if pattern == b"!" {
                filter.rules.clear();
            } else if let Some(pattern) = pattern.strip_prefix(b"+ ") {
                filter.rules.extend(Rule::new(pattern, false));
            } else {
                let pattern = pattern.strip_prefix(b"- ").unwrap_or(pattern);
                filter.rules.extend(Rule::new(pattern, true));
            }
        }
        filter
    }

    /// The patterns it was made of.
    pub(crate) fn source(&self) -> &[Vec<u8>] {
        &self.source
    }

    /// Is this path excluded, its directories being included?
    pub(crate) fn excludes(&self, path: &[u8], directory: bool) -> bool {
        !path.is_empty()
            && self.rules.iter().find(|r| r.matches(path, directory)).is_some_and(|r| r.exclude)
    }

    /// Is this path excluded, by itself or with a directory above it?
    pub(crate) fn hides(&self, path: &RelPath, directory: bool) -> bool {
        !self.rules.is_empty()
            && (self.excludes(path.as_bytes(), directory)
                || path.ancestors().any(|above| self.excludes(above, true)))
    }
}

impl Rule {
    fn new(pattern: &[u8], exclude: bool) -> Option<Self> {
        let directory = pattern.len() > 1 && pattern.ends_with(b"/");
        let whole = if directory { pattern.get(..pattern.len() - 1)? } else { pattern };
        if whole.is_empty() {
            return None;
        }
        let slashes = whole.iter().filter(|b| **b == b'/').count();
        let anchored = whole.starts_with(b"/");
        let wild = whole.iter().any(|b| b"*?[".contains(b));
        let double = wild && whole.windows(2).any(|w| w == b"**");
        let prefix = whole.starts_with(b"**");
        let inclusive = double && whole.ends_with(b"***");
        let reach = if slashes == 0 && !double {
            Reach::Name
        } else if anchored || prefix {
            Reach::Whole
        } else if double {
            Reach::Anywhere
        } else {
            Reach::Last(slashes + 1)
        };
        let pattern = whole.strip_prefix(b"/").unwrap_or(whole);
        Some(Self {
            exclude,
            wild: wild.then(|| Wild::new(pattern)),
            pattern: pattern.to_vec(),
            directory,
            anchored,
            reach,
            rooted: prefix,
            inclusive,
        })
    }

    fn matches(&self, path: &[u8], directory: bool) -> bool {
        if self.directory && !directory {
            return false;
        }
        let name = match self.reach {
            Reach::Name => path.rsplit(|b| *b == b'/').next().unwrap_or(path),
            _ => path,
        };
        let Some(wild) = &self.wild else { return self.matches_literally(name) };
        let before: &[u8] = if self.rooted { b"/" } else { b"" };
        let after: &[u8] = if self.inclusive && directory { b"/" } else { b"" };
        let text = [before, name, after].concat();
        match self.reach {
            Reach::Name | Reach::Whole => wild.matches(&text),
            Reach::Last(wanted) => last(&text, wanted).is_some_and(|tail| wild.matches(tail)),
            Reach::Anywhere => {
                wild.matches(&text)
                    || text.iter().enumerate().any(|(at, b)| {
                        *b == b'/' && text.get(at + 1..).is_some_and(|t| wild.matches(t))
                    })
            }
        }
    }

    fn matches_literally(&self, name: &[u8]) -> bool {
        if self.anchored {
            return name == self.pattern;
        }
        name.strip_suffix(&self.pattern[..])
            .is_some_and(|rest| rest.is_empty() || rest.ends_with(b"/"))
    }
}

/// The last so many components; None when there are fewer.
fn last(text: &[u8], wanted: usize) -> Option<&[u8]> {
    let mut slashes = text.iter().enumerate().rev().filter(|(_, b)| **b == b'/');
    match slashes.nth(wanted.checked_sub(1)?) {
        Some((at, _)) => text.get(at + 1..),
        None => (text.iter().filter(|b| **b == b'/').count() + 1 == wanted).then_some(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hides(patterns: &[&str], path: &str) -> bool {
        let directory = path.ends_with('/');
        let path = RelPath::parse(path.trim_end_matches('/').as_bytes()).unwrap();
        Filter::new(patterns).hides(&path, directory)
    }

    #[test]
    fn the_reference_patterns() {
        let three = ["**/stats", "**/error", "**/files/pictures"];
        for path in [
            "stats",
            "stats/",
            "a/stats",
            "a/b/stats/",
            "error",
            "a/error/",
            "a/stats/x/y",
            "files/pictures",
            "files/pictures/",
            "w/files/pictures/1.jpg",
        ] {
            assert!(hides(&three, path), "{path}");
        }
        for path in ["errors", "mystats", "stats.d/", "pictures/", "files/docs", "files/", "a"] {
            assert!(!hides(&three, path), "{path}");
        }
    }

    #[test]
    fn rules() {
        for (patterns, path, wanted) in [
            (&["*.bak"][..], "a/b.bak", true),
            (&["a/*.bak"], "a/b.bak", true),
            (&["a/*.bak"], "x/a/b.bak", true),
            (&["/a/*.bak"], "x/a/b.bak", false),
            (&["a/*.bak"], "b.bak", false),
            (&["a/b"], "x/a/b", true),
            (&["a/b"], "xa/b", false),
            (&["/a/b"], "x/a/b", false),
            (&["/a"], "a/b", true),
            (&["cache/"], "cache", false),
            (&["cache/"], "x/cache/", true),
            (&["cache/"], "x/cache/y", true),
            (&["dir/***"], "dir/", true),
            (&["dir/***"], "dir", false),
            (&["dir/***"], "x/dir/y/z", true),
            (&["dir/**"], "dir/", false),
            (&["dir/**"], "dir/y", true),
            (&["dir/*"], "dir/y/z", true),
            (&["a**b"], "x/a/q/b", true),
            (&["a\\b"], "a\\b", true),
            (&["a\\*b"], "a*b", true),
            (&["a\\*b"], "axb", false),
            (&["+ keep", "*"], "keep", false),
            (&["+ keep", "*"], "drop", true),
            (&["+ x/keep", "x"], "x/keep", true),
            (&["a", "!", "b"], "a", false),
            (&["a", "!", "b"], "b", true),
            (&["- a"], "a", true),
            (&["**"], "a/b", true),
            (&["/"], "a", false),
            (&[], "a", false),
        ] {
            assert_eq!(hides(patterns, path), wanted, "{patterns:?} {path}");
        }
        assert!(!Filter::new(["*"]).hides(&RelPath::root(), true));
    }
}

#[cfg(test)]
#[path = "filter_rsync.rs"]
mod rsync;
