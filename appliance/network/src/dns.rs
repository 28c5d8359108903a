//! DNS messages (RFC 1035 4), as far as two small responders need them: read with bounds, written
//! without compression.

use std::fmt;
use std::net::Ipv4Addr;

/// Record types (RFC 1035 3.2.2, RFC 2782, RFC 9460).
pub(crate) const A: u16 = 1;
pub(crate) const PTR: u16 = 12;
pub(crate) const TXT: u16 = 16;
pub(crate) const SRV: u16 = 33;
pub(crate) const NSEC: u16 = 47;
pub(crate) const ANY: u16 = 255;
pub(crate) const IN: u16 = 1;

/// RFC 1035 2.3.4.
const LONGEST_NAME: usize = 255;
const LONGEST_LABEL: usize = 63;
/// More questions or records than this in one message are not read.
const MOST: usize = 64;

/// A name. Compared without regard to case (RFC 1035 2.3.3).
#[derive(Clone, Default)]
pub(crate) struct Name(Vec<Vec<u8>>);

impl Name {
    /// From labels, first one first. Labels that are too long are cut.
    pub(crate) fn of<'a>(labels: impl IntoIterator<Item = &'a str>) -> Self {
        let cut = |l: &str| l.as_bytes().iter().copied().take(LONGEST_LABEL).collect();
        Self(labels.into_iter().map(cut).collect())
    }

    /// This label before the name.
    pub(crate) fn under(label: &str, parent: &Self) -> Self {
        let mut name = Self::of([label]);
        name.0.extend(parent.0.iter().cloned());
        name
    }

    /// One label more than the parent.
    pub(crate) fn is_under(&self, parent: &Self) -> bool {
        match self.0.split_first() {
            Some((_, rest)) if rest.len() == parent.0.len() => {
                rest.iter().zip(&parent.0).all(|(a, b)| a.eq_ignore_ascii_case(b))
            }
            _ => false,
        }
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        for label in &self.0 {
            bytes.push(u8::try_from(label.len()).unwrap_or(0));
            bytes.extend(label);
        }
        bytes.push(0);
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.put(&mut bytes);
        bytes
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        let pairs = || self.0.iter().zip(&other.0);
        self.0.len() == other.0.len() && pairs().all(|(a, b)| a.eq_ignore_ascii_case(b))
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, label) in self.0.iter().enumerate() {
            let dot = if place == 0 { "" } else { "." };
            write!(f, "{dot}{}", String::from_utf8_lossy(label))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) kind: u16,
    pub(crate) class: u16,
}

/// A record. Names inside `data` are written out in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) name: Name,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Vec<u8>,
}

impl Record {
    pub(crate) fn a(name: Name, ttl: u32, address: Ipv4Addr) -> Self {
        Self { name, kind: A, class: IN, ttl, data: address.octets().to_vec() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: u16,
    /// The second word, as it stands on the wire.
    pub(crate) flags: u16,
    pub(crate) questions: Vec<Question>,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
}

/// The bit that tells an answer from a question.
pub(crate) const RESPONSE: u16 = 0x8000;
/// The sender has the last word on this name.
pub(crate) const AUTHORITATIVE: u16 = 0x0400;
/// The part of the flags that says what kind of question it is; zero: an ordinary one.
pub(crate) const OPCODE: u16 = 0x7800;

impl Message {
    pub(crate) const fn is_response(&self) -> bool {
        self.flags & RESPONSE != 0
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(self.flags.to_be_bytes());
        let count = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes();
        let sections = [&self.answers, &self.authorities, &self.additionals];
        bytes.extend(count(self.questions.len()));
        for section in sections {
            bytes.extend(count(section.len()));
        }
        for question in &self.questions {
            question.name.put(&mut bytes);
            bytes.extend(question.kind.to_be_bytes());
            bytes.extend(question.class.to_be_bytes());
        }
        for record in sections.into_iter().flatten() {
            record.name.put(&mut bytes);
            bytes.extend(record.kind.to_be_bytes());
            bytes.extend(record.class.to_be_bytes());
            bytes.extend(record.ttl.to_be_bytes());
            bytes.extend(count(record.data.len()));
            bytes.extend(&record.data);
        }
        bytes
    }

    /// None when it does not add up.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let (id, flags) = (reader.word()?, reader.word()?);
        let counts = [reader.word()?, reader.word()?, reader.word()?, reader.word()?];
        let [questions, answers, authorities, additionals] = counts.map(usize::from);
        if questions + answers + authorities + additionals > MOST {
            return None;
        }
        let questions = (0..questions).map(|_| reader.question()).collect::<Option<_>>()?;
        let mut records =
            |count| (0..count).map(|_| reader.record()).collect::<Option<Vec<Record>>>();
        Some(Self {
            id,
            flags,
            questions,
            answers: records(answers)?,
            authorities: records(authorities)?,
            additionals: records(additionals)?,
        })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// RFC 1035 4.1.4: a pointer goes on elsewhere. Only backwards, so that it comes to an end.
    fn name(&mut self) -> Option<Name> {
        let mut labels = Vec::new();
        let mut length = 0;
        let mut limit = self.at;
        let mut back = None;
        loop {
            let size = *self.take(1)?.first()?;
            match size >> 6 {
                0 if size == 0 => break,
                0 => {
                    let label = self.take(usize::from(size))?.to_vec();
                    length += label.len() + 1;
                    if length >= LONGEST_NAME {
                        return None;
                    }
                    labels.push(label);
                }
                3 => {
                    let low = *self.take(1)?.first()?;
                    let target = usize::from(u16::from_be_bytes([size & 0x3f, low]));
                    back = back.or(Some(self.at));
                    if target >= limit {
                        return None;
                    }
                    limit = target;
                    self.at = target;
                }
                _ => return None,
            }
        }
        self.at = back.unwrap_or(self.at);
        Some(Name(labels))
    }

    fn question(&mut self) -> Option<Question> {
        Some(Question { name: self.name()?, kind: self.word()?, class: self.word()? })
    }

    fn record(&mut self) -> Option<Record> {
        let (name, kind, class) = (self.name()?, self.word()?, self.word()?);
        let ttl = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        let length = usize::from(self.word()?);
        let begin = self.at;
        let data = match kind {
            PTR => self.name()?.bytes(),
            SRV => {
                let mut data = self.take(6)?.to_vec();
                data.extend(self.name()?.bytes());
                data
            }
            _ => self.take(length)?.to_vec(),
        };
        (self.at == begin + length).then_some(Record { name, kind, class, ttl, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    fn message() -> Message {
        let host = Name::of(["web01", "local"]);
        let mut srv = vec![0, 0, 0, 0, 7, 144];
        srv.extend(host.bytes());
        Message {
            id: 7,
            flags: RESPONSE,
            questions: vec![Question { name: host.clone(), kind: ANY, class: IN }],
            answers: vec![Record::a(host.clone(), 120, Ipv4Addr::new(10, 0, 0, 1))],
            authorities: vec![Record {
                data: srv,
                kind: SRV,
                ..Record::a(host.clone(), 1, Ipv4Addr::LOCALHOST)
            }],
            additionals: vec![Record {
                data: host.bytes(),
                kind: PTR,
                ..Record::a(host, 1, Ipv4Addr::LOCALHOST)
            }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Message::parse(&message().bytes()), Some(message()));
        assert_eq!(Name::of(["Web01", "LOCAL"]), Name::of(["wEB01", "local"]));
        assert_ne!(Name::of(["web01"]), Name::of(["web01", "local"]));
        assert_eq!(Name::of(["a", "b"]).to_string(), "a.b");
    }

    #[test]
    fn pointers_are_followed_backwards_only() {
        let mut bytes = Message {
            questions: vec![Question { name: Name::of(["a", "local"]), kind: A, class: IN }],
            ..Message::default()
        }
        .bytes();
        bytes[5] = 2;
        bytes.extend([1, b'b', 0xc0, 14, 0, 1, 0, 1]); // b and the "local" of the first
        let read = Message::parse(&bytes).unwrap();
        assert_eq!(read.questions[1].name, Name::of(["b", "local"]));
        let at = bytes.len() - 5;
        for target in [27, 25, 60] {
            bytes[at] = target; // itself, its own beginning, beyond the end
            assert_eq!(Message::parse(&bytes), None, "{target}");
        }
    }

    #[test]
    fn noise_is_no_panic() {
        let whole = message().bytes();
        for length in 0..whole.len() {
            assert_eq!(Message::parse(&whole[..length]), None);
        }
        let mut chance = Chance::seeded(5);
        for _ in 0..50_000 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                let at = usize::try_from(chance.below(160)).unwrap();
                bytes[at.min(whole.len() - 1)] = chance.number().to_be_bytes()[0];
            }
            if let Some(read) = Message::parse(&bytes) {
                let _ = Message::parse(&read.bytes());
            }
        }
    }
}
