//! What a directory tree is to the mirror: paths and what lies there.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

/// Longer paths cannot be mirrored. Far above `PATH_MAX`, which only limits one system call.
pub(crate) const MAX_PATH: usize = 32 * 1024;
/// The kernel's `NAME_MAX`.
pub(crate) const MAX_NAME: usize = 255;
/// The longest target a symbolic link can have.
pub(crate) const MAX_TARGET: usize = 4096;

/// A longer path is shown without its middle.
const SHOWN: usize = 300;

/// A path below the root of a tree, as bytes: components joined by single slashes, none of them
/// empty, `.` or `..`. The empty path is the root itself.
///
/// Byte order puts every directory before what is in it, and keeps what is in it together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RelPath(Arc<[u8]>);

impl RelPath {
    /// The root of the tree.
    pub(crate) fn root() -> Self {
        Self(Arc::from(&[][..]))
    }

    /// Takes a path that came from elsewhere; None when it could lead out of the tree or when no
    /// file system could hold it.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::root());
        }
        let good = |part: &[u8]| {
            !part.is_empty() && part != b"." && part != b".." && part.len() <= MAX_NAME
        };
        let fits = bytes.len() <= MAX_PATH && !bytes.contains(&0);
        (fits && bytes.split(|b| *b == b'/').all(good)).then(|| Self(Arc::from(bytes)))
    }

    /// The path of `name` in this directory; None when it would be no path.
    pub(crate) fn join(&self, name: &[u8]) -> Option<Self> {
        if self.is_root() {
            return Self::parse(name).filter(|p| !p.is_root());
        }
        if name.contains(&b'/') {
            return None;
        }
        Self::parse(&[&self.0[..], b"/", name].concat())
    }

    /// Is it the root?
    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The directory it lies in and its name there; None for the root.
    pub(crate) fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.is_root() {
            return None;
        }
        let slash = self.0.iter().rposition(|b| *b == b'/');
        Some(match slash.and_then(|at| Some((self.0.get(..at)?, self.0.get(at + 1..)?))) {
            Some(both) => both,
            None => (&[], &self.0),
        })
    }

    /// The directory it lies in; None for the root.
    pub(crate) fn parent(&self) -> Option<Self> {
        self.split().map(|(parent, _)| Self(Arc::from(parent)))
    }

    /// Every directory above it, the nearest first, the root last.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: Option<&[u8]> = (!self.is_root()).then_some(&self.0);
        std::iter::from_fn(move || {
            let path = rest?;
            let above = match path.iter().rposition(|b| *b == b'/') {
                Some(at) => path.get(..at)?,
                None => &[],
            };
            rest = (!above.is_empty()).then_some(above);
            Some(above)
        })
    }

    /// Does it lie below `directory`?
    pub(crate) fn is_below(&self, directory: &Self) -> bool {
        if directory.is_root() {
            return !self.is_root();
        }
        self.0.strip_prefix(&directory.0[..]).is_some_and(|rest| rest.first() == Some(&b'/'))
    }
}

impl Borrow<[u8]> for RelPath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Readable by people: what is not plain UTF-8 text is escaped, and a long path is cut in the
/// middle.
impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        let length = self.0.len();
        match (self.0.get(..SHOWN / 2), self.0.get(length.saturating_sub(SHOWN / 2)..)) {
            (Some(begin), Some(end)) if length > SHOWN => {
                escape(begin, f)?;
                f.write_str("\u{2026}")?;
                escape(end, f)
            }
            _ => escape(&self.0, f),
        }
    }
}

fn escape(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A moment in a file's life, exact to the nanosecond, also before 1970 and after 2038.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp {
    /// Whole seconds since 1970, rounded down.
    pub(crate) secs: i64,
    /// The rest, below 1,000,000,000.
    pub(crate) nanos: u32,
}

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory.
    Dir,
    /// A regular file of so many bytes.
    File {
        /// Its size.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, never looked at.
        target: Box<[u8]>,
    },
    /// A fifo, socket or device: not mirrored, and whatever has its name on a mirror is left
    /// alone.
    Special,
}

/// What lies at a path, and its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What it is.
    pub(crate) kind: Kind,
    /// Permission bits with set-user-id, set-group-id and sticky: 0 to 0o7777.
    pub(crate) mode: u32,
    /// Its owner, by number.
    pub(crate) uid: u32,
    /// Its group, by number.
    pub(crate) gid: u32,
    /// When its content last changed; can be set at will.
    pub(crate) mtime: Stamp,
    /// When anything about it last changed; set by the kernel alone. Says nothing on another
    /// machine, except that a new value means a change.
    pub(crate) ctime: Stamp,
}

impl Entry {
    /// Is it a directory?
    pub(crate) fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }

    /// Is it a regular file?
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File { .. })
    }

    /// Do mode, owner and time agree? A link's mode means nothing on Linux.
    pub(crate) fn same_attributes(&self, other: &Self, owners: bool) -> bool {
        let link = matches!(self.kind, Kind::Symlink { .. });
        self.mtime == other.mtime
            && (link || self.mode == other.mode)
            && (!owners || (self.uid == other.uid && self.gid == other.gid))
    }
}

/// A whole tree, the root included.
pub(crate) type Tree = BTreeMap<RelPath, Entry>;

/// What lies below a directory in an ordered map, the directory itself left out.
pub(crate) fn below<'a, V>(
    map: &'a BTreeMap<RelPath, V>,
    directory: &RelPath,
) -> impl DoubleEndedIterator<Item = (&'a RelPath, &'a V)> + use<'a, V> {
    // Everything below `a` begins with `a/`, and `0` is the byte after the slash.
    let (from, to) = if directory.is_root() {
        (Vec::new(), None)
    } else {
        ([directory.as_bytes(), b"/"].concat(), Some([directory.as_bytes(), b"0"].concat()))
    };
    let to = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    map.range::<[u8], _>((Bound::Excluded(&from[..]), to))
}

/// Files and links in a tree: what a visitor or an operator would miss.
pub(crate) fn files(tree: &Tree) -> usize {
    tree.values().filter(|e| !e.is_dir()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn paths_that_lead_out_are_none() {
        for bad in ["/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a\0b"] {
            assert_eq!(RelPath::parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(RelPath::parse(&[b'x'; 256]), None);
        assert!(RelPath::parse(&[b'x'; 255]).is_some());
        assert!(RelPath::parse(&b"x/".repeat(MAX_PATH)).is_none());
        assert!(RelPath::parse(b"...").is_some());
        assert!(RelPath::parse(b"-rf \n\xff*").is_some());
    }

    #[test]
    fn above_and_below() {
        let deep = path("a/b/c");
        let above: Vec<_> = deep.ancestors().collect();
        assert_eq!(above, [&b"a/b"[..], b"a", b""]);
        assert_eq!(RelPath::root().ancestors().count(), 0);
        assert!(deep.is_below(&path("a")) && deep.is_below(&RelPath::root()));
        assert!(!path("ab").is_below(&path("a")));
        let map: BTreeMap<_, _> =
            ["", "a", "a-", "a/b", "a/b/c", "a0", "b"].iter().map(|p| (path(p), ())).collect();
        let found: Vec<_> = below(&map, &path("a")).map(|(p, ())| p.to_string()).collect();
        assert_eq!(found, ["a/b", "a/b/c"]);
        assert_eq!(below(&map, &RelPath::root()).count(), 6);
    }

    #[test]
    fn names_are_shown_escaped() {
        let shown = RelPath::parse(b"a\n\xff\xc3\xa4").unwrap().to_string();
        assert_eq!(shown, "a\\n\\xff\u{e4}");
    }
}
