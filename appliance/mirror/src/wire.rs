//! What a mirror and its origin say to each other.
//!
//! ```text
//! frame:  length u32 (what follows)  type u8  fields
//! field:  numbers big endian; bytes and text with their length in front
//! ```
//!
//! The mirror says `Hello` and asks with `Need`; the origin sends its listing (`Begin`, `Entries`,
//! `End`), then `Changes` as they happen, and answers every `Need` with `File`, with `Start`,
//! `Data`, `Finish`, with `Same` or with `Failed`. Answers may overtake each other. Both sides
//! `Ping`. Every length is capped, and whatever breaks a rule ends the connection.

use crate::guard::Source;
use crate::tree::{Entry, Kind, MAX_PATH, MAX_TARGET, RelPath, Stamp};
use bytes::{Buf, Bytes};
use model::Name;

/// Spoken by this build. Another version is refused with a sentence saying so.
pub(crate) const VERSION: u16 = 1;
/// The longest frame, its length not counted.
pub(crate) const MAX_FRAME: usize = 256 * 1024;
/// The most bytes of content in one frame.
pub(crate) const MAX_DATA: usize = 128 * 1024;
/// The most patterns of a filter.
pub(crate) const MAX_PATTERNS: usize = 1024;
/// The longest pattern.
pub(crate) const MAX_PATTERN: usize = 1024;
/// The longest sentence.
pub(crate) const MAX_TEXT: usize = 1024;
/// The most unreadable paths that are named.
pub(crate) const MAX_PROBLEMS: usize = 20;
/// How many answers a mirror may be waiting for.
pub(crate) const MAX_NEEDS: usize = 256;

/// blake3 of a file's content.
pub(crate) type Hash = [u8; 32];

/// Why a file was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It is gone, or no regular file any more; the change is announced by itself.
    Vanished,
    /// It was written to while it was read.
    Changing,
    /// It cannot be read.
    Unreadable,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A mirror's first words.
    Hello {
        /// The protocol it speaks.
        version: u16,
        /// The site it wants to follow.
        site: Name,
    },
    /// The origin does not serve this mirror; the connection ends.
    Refused {
        /// Why.
        reason: String,
    },
    /// Nothing but a sign of life.
    Ping,
    /// A complete listing follows and replaces the last one.
    Begin {
        /// The patterns it was made with.
        patterns: Vec<Vec<u8>>,
        /// How the scan went.
        source: Source,
    },
    /// Part of a listing.
    Entries(Vec<(RelPath, Entry)>),
    /// The listing is complete.
    End {
        /// Paths that could not be read, with the reason.
        problems: Vec<(RelPath, String)>,
    },
    /// What changed since; None is gone, with everything below it.
    Changes {
        /// More of the same batch follows.
        more: bool,
        /// The paths.
        changes: Vec<(RelPath, Option<Entry>)>,
    },
    /// The mirror wants a file's content.
    Need {
        /// Its number for the request.
        id: u64,
        /// Which file.
        path: RelPath,
        /// What it has; it need not be sent when it is the same.
        have: Option<Hash>,
    },
    /// A whole small file.
    File {
        /// The request.
        id: u64,
        /// The file as it was when it was read.
        entry: Entry,
        /// Its content's hash.
        hash: Hash,
        /// Its content.
        content: Bytes,
    },
    /// A larger file follows.
    Start {
        /// The request.
        id: u64,
        /// The file as it is while it is read.
        entry: Entry,
    },
    /// The next part of it.
    Data {
        /// The request.
        id: u64,
        /// The bytes.
        content: Bytes,
    },
    /// It was sent whole and did not change meanwhile.
    Finish {
        /// The request.
        id: u64,
        /// Its content's hash.
        hash: Hash,
    },
    /// The mirror's copy is the same.
    Same {
        /// The request.
        id: u64,
        /// The file as it was when it was compared.
        entry: Entry,
    },
    /// It is not sent, or what was sent of it is void.
    Failed {
        /// The request.
        id: u64,
        /// Why.
        failure: Failure,
        /// The same for people.
        reason: String,
    },
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadMessage(&'static str);

const SHORT: BadMessage = BadMessage("a message ends early");
const LONG: BadMessage = BadMessage("a field is too long");

impl Message {
    /// Appends the frame.
    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        let begin = to.len();
        to.extend_from_slice(&[0; 4]);
        self.body(to);
        let length = u32::try_from(to.len() - begin - 4).unwrap_or(u32::MAX);
        if let Some(slot) = to.get_mut(begin..begin + 4) {
            slot.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// The frame.
    pub(crate) fn to_frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        self.encode(&mut frame);
        frame
    }

    fn body(&self, to: &mut Vec<u8>) {
        match self {
            Self::Hello { version, site } => {
                to.push(1);
                to.extend_from_slice(&version.to_be_bytes());
                put_bytes(to, site.as_str().as_bytes());
            }
            Self::Refused { reason } => {
                to.push(2);
                put_text(to, reason);
            }
            Self::Ping => to.push(3),
            Self::Begin { patterns, source } => {
                to.push(4);
                put_u32(to, patterns.len());
                patterns.iter().for_each(|p| put_bytes(to, p));
                match source {
                    Source::Listed => to.push(0),
                    Source::Missing => to.push(1),
                    Source::Unreadable(why) => {
                        to.push(2);
                        put_text(to, why);
                    }
                }
            }
            Self::Entries(entries) => {
                to.push(5);
                put_u32(to, entries.len());
                for (path, entry) in entries {
                    put_listed(to, path, Some(entry));
                }
            }
            Self::End { problems } => {
                to.push(6);
                put_u32(to, problems.len());
                for (path, why) in problems {
                    put_bytes(to, path.as_bytes());
                    put_text(to, why);
                }
            }
            Self::Changes { more, changes } => {
                to.push(7);
                to.push(u8::from(*more));
                put_u32(to, changes.len());
                for (path, entry) in changes {
                    put_listed(to, path, entry.as_ref());
                }
            }
            Self::Need { id, path, have } => {
                to.push(8);
                to.extend_from_slice(&id.to_be_bytes());
                put_bytes(to, path.as_bytes());
                to.push(u8::from(have.is_some()));
                to.extend_from_slice(have.as_ref().map_or(&[], |h| h));
            }
            Self::File { id, entry, hash, content } => {
                to.push(9);
                to.extend_from_slice(&id.to_be_bytes());
                put_entry(to, Some(entry));
                to.extend_from_slice(hash);
                put_bytes(to, content);
            }
            Self::Start { id, entry } => {
                to.push(10);
                to.extend_from_slice(&id.to_be_bytes());
                put_entry(to, Some(entry));
            }
            Self::Data { id, content } => {
                to.push(11);
                to.extend_from_slice(&id.to_be_bytes());
                put_bytes(to, content);
            }
            Self::Finish { id, hash } => {
                to.push(12);
                to.extend_from_slice(&id.to_be_bytes());
                to.extend_from_slice(hash);
            }
            Self::Same { id, entry } => {
                to.push(13);
                to.extend_from_slice(&id.to_be_bytes());
                put_entry(to, Some(entry));
            }
            Self::Failed { id, failure, reason } => {
                to.push(14);
                to.extend_from_slice(&id.to_be_bytes());
                to.push(match failure {
                    Failure::Vanished => 0,
                    Failure::Changing => 1,
                    Failure::Unreadable => 2,
                });
                put_text(to, reason);
            }
        }
    }

    /// Reads a frame without its length.
    ///
    /// # Errors
    /// When it is not exactly one message.
    pub(crate) fn decode(frame: Bytes) -> Result<Self, BadMessage> {
        if frame.len() > MAX_FRAME {
            return Err(LONG);
        }
        let mut from = Reader(frame);
        let message = match from.u8()? {
            1 => Self::Hello { version: from.u16()?, site: from.name()? },
            2 => Self::Refused { reason: from.text()? },
            3 => Self::Ping,
            4 => Self::Begin { patterns: from.patterns()?, source: from.source()? },
            5 => Self::Entries(from.many(usize::MAX, |r| {
                let (path, entry) = r.listed()?;
                Ok((path, entry.ok_or(BadMessage("a listed path has no entry"))?))
            })?),
            6 => Self::End { problems: from.many(MAX_PROBLEMS, |r| Ok((r.path()?, r.text()?)))? },
            7 => Self::Changes {
                more: from.flag()?,
                changes: from.many(usize::MAX, Reader::listed)?,
            },
            8 => Self::Need {
                id: from.u64()?,
                path: from.path()?,
                have: if from.flag()? { Some(from.hash()?) } else { None },
            },
            9 => Self::File {
                id: from.u64()?,
                entry: from.file()?,
                hash: from.hash()?,
                content: from.bytes(MAX_DATA)?,
            },
            10 => Self::Start { id: from.u64()?, entry: from.file()? },
            11 => Self::Data { id: from.u64()?, content: from.bytes(MAX_DATA)? },
            12 => Self::Finish { id: from.u64()?, hash: from.hash()? },
            13 => Self::Same { id: from.u64()?, entry: from.file()? },
            14 => Self::Failed {
                id: from.u64()?,
                failure: match from.u8()? {
                    0 => Failure::Vanished,
                    1 => Failure::Changing,
                    2 => Failure::Unreadable,
                    _ => return Err(BadMessage("an unknown failure")),
                },
                reason: from.text()?,
            },
            _ => return Err(BadMessage("an unknown message")),
        };
        if from.0.has_remaining() {
            return Err(BadMessage("a message is longer than it says"));
        }
        Ok(message)
    }
}

fn put_u32(to: &mut Vec<u8>, value: usize) {
    to.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes());
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(to, bytes.len());
    to.extend_from_slice(bytes);
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let cut = text.get(..end).unwrap_or_default();
    let plain: String = cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    put_bytes(to, plain.as_bytes());
}

fn put_listed(to: &mut Vec<u8>, path: &RelPath, entry: Option<&Entry>) {
    put_bytes(to, path.as_bytes());
    put_entry(to, entry);
}

fn put_entry(to: &mut Vec<u8>, entry: Option<&Entry>) {
    let Some(entry) = entry else {
        to.push(0);
        return;
    };
    match &entry.kind {
        Kind::Dir => to.push(1),
        Kind::File { size } => {
            to.push(2);
            to.extend_from_slice(&size.to_be_bytes());
        }
        Kind::Symlink { target } => {
            to.push(3);
            put_bytes(to, target);
        }
        Kind::Special => to.push(4),
    }
    for number in [entry.mode, entry.uid, entry.gid] {
        to.extend_from_slice(&number.to_be_bytes());
    }
    for stamp in [entry.mtime, entry.ctime] {
        to.extend_from_slice(&stamp.secs.to_be_bytes());
        to.extend_from_slice(&stamp.nanos.to_be_bytes());
    }
}

/// Takes fields off the front of a frame.
struct Reader(Bytes);

impl Reader {
    fn u8(&mut self) -> Result<u8, BadMessage> {
        self.0.try_get_u8().map_err(|_| SHORT)
    }

    fn u16(&mut self) -> Result<u16, BadMessage> {
        self.0.try_get_u16().map_err(|_| SHORT)
    }

    fn u32(&mut self) -> Result<u32, BadMessage> {
        self.0.try_get_u32().map_err(|_| SHORT)
    }

    fn u64(&mut self) -> Result<u64, BadMessage> {
        self.0.try_get_u64().map_err(|_| SHORT)
    }

    fn flag(&mut self) -> Result<bool, BadMessage> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(BadMessage("a flag is neither set nor clear")),
        }
    }

    fn bytes(&mut self, most: usize) -> Result<Bytes, BadMessage> {
        let length = usize::try_from(self.u32()?).map_err(|_| LONG)?;
        if length > most {
            return Err(LONG);
        }
        if length > self.0.remaining() {
            return Err(SHORT);
        }
        Ok(self.0.split_to(length))
    }

    fn text(&mut self) -> Result<String, BadMessage> {
        let bytes = self.bytes(MAX_TEXT)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| BadMessage("a text is not UTF-8"))?;
        // It ends up in logs and on pages.
        if text.contains(char::is_control) {
            return Err(BadMessage("a text has control characters"));
        }
        Ok(text.to_owned())
    }

    fn name(&mut self) -> Result<Name, BadMessage> {
        self.text()?.parse().map_err(|_| BadMessage("not the name of a site"))
    }

    fn path(&mut self) -> Result<RelPath, BadMessage> {
        RelPath::parse(&self.bytes(MAX_PATH)?).ok_or(BadMessage("not a path within a tree"))
    }

    fn hash(&mut self) -> Result<Hash, BadMessage> {
        let mut hash = [0; 32];
        self.0.try_copy_to_slice(&mut hash).map_err(|_| SHORT)?;
        Ok(hash)
    }

    /// A list; memory grows with what is really there, not with what is announced.
    fn many<T>(
        &mut self,
        most: usize,
        mut one: impl FnMut(&mut Self) -> Result<T, BadMessage>,
    ) -> Result<Vec<T>, BadMessage> {
        let count = usize::try_from(self.u32()?).map_err(|_| LONG)?;
        if count > most {
            return Err(LONG);
        }
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(one(self)?);
        }
        Ok(all)
    }

    fn patterns(&mut self) -> Result<Vec<Vec<u8>>, BadMessage> {
        self.many(MAX_PATTERNS, |r| Ok(r.bytes(MAX_PATTERN)?.to_vec()))
    }

    fn source(&mut self) -> Result<Source, BadMessage> {
        Ok(match self.u8()? {
            0 => Source::Listed,
            1 => Source::Missing,
            2 => Source::Unreadable(self.text()?),
            _ => return Err(BadMessage("an unknown state of the origin")),
        })
    }

    fn listed(&mut self) -> Result<(RelPath, Option<Entry>), BadMessage> {
        let path = self.path()?;
        let entry = self.entry()?;
        if path.is_root() && entry.as_ref().is_some_and(|e| !e.is_dir()) {
            return Err(BadMessage("the root is no directory"));
        }
        Ok((path, entry))
    }

    fn file(&mut self) -> Result<Entry, BadMessage> {
        self.entry()?.filter(Entry::is_file).ok_or(BadMessage("not a file"))
    }

    fn entry(&mut self) -> Result<Option<Entry>, BadMessage> {
        let kind = match self.u8()? {
            0 => return Ok(None),
            1 => Kind::Dir,
            2 => match self.u64()? {
                // A file system's sizes are signed.
                size if size > u64::MAX >> 1 => return Err(LONG),
                size => Kind::File { size },
            },
            3 => {
                let target = self.bytes(MAX_TARGET)?;
                if target.is_empty() || target.contains(&0) {
                    return Err(BadMessage("a link to nowhere"));
                }
                Kind::Symlink { target: target.as_ref().into() }
            }
            4 => Kind::Special,
            _ => return Err(BadMessage("an unknown kind of entry")),
        };
        let entry = Entry {
            kind,
            mode: self.u32()?,
            uid: self.u32()?,
            gid: self.u32()?,
            mtime: self.stamp()?,
            ctime: self.stamp()?,
        };
        // (uid_t) -1 means "leave as it is" to the kernel.
        if entry.mode > 0o7777 || entry.uid == u32::MAX || entry.gid == u32::MAX {
            return Err(BadMessage("impossible attributes"));
        }
        Ok(Some(entry))
    }

    fn stamp(&mut self) -> Result<Stamp, BadMessage> {
        let secs = self.0.try_get_i64().map_err(|_| SHORT)?;
        let nanos = self.u32()?;
        if nanos >= 1_000_000_000 {
            return Err(BadMessage("an impossible time"));
        }
        Ok(Stamp { secs, nanos })
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
