//! Generic netlink as far as nl80211 needs it.
//!
//! ```text
//!  0                   1                   2                   3
//! |             length            |      type     |     flags     |  struct nlmsghdr
//! |            sequence           |          port number          |  (netlink(7))
//! |  command  |  version  |  reserved  |                             struct genlmsghdr
//! |  length   |   type    | value, padded to 4 bytes ...            struct nlattr, repeated
//! ```

use crate::netlink::borrow;
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io;

/// A split dump of a radio's properties comes in pieces of at most 32 KiB.
const BUFFER: usize = 32 * 1024;
const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;
/// Set in the type of attributes that hold others, and of those in network byte order
/// (linux/netlink.h).
const TYPE_MASK: u16 = 0x3fff;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// linux/genetlink.h: GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID and _NAME.
const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// A question under construction.
pub(crate) struct Question {
    command: u8,
    attributes: Vec<u8>,
}

impl Question {
    pub(crate) fn new(command: u8) -> Self {
        Self { command, attributes: Vec::new() }
    }

    pub(crate) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.attributes.extend(length.to_ne_bytes());
        self.attributes.extend(kind.to_ne_bytes());
        self.attributes.extend(value);
        self.attributes.resize(self.attributes.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    fn packet(&self, family: u16, flags: u16, sequence: u32) -> Vec<u8> {
        let length = HEADER + GENERIC_HEADER + self.attributes.len();
        let mut packet = Vec::with_capacity(length);
        packet.extend(u32::try_from(length).unwrap_or(0).to_ne_bytes());
        packet.extend(family.to_ne_bytes());
        packet.extend(flags.to_ne_bytes());
        packet.extend(sequence.to_ne_bytes());
        packet.extend(0_u32.to_ne_bytes());
        packet.extend([self.command, 1, 0, 0]);
        packet.extend(&self.attributes);
        packet
    }
}

/// Attributes, one after the other; stops at the first that makes no sense.
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & TYPE_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The first attribute of this type.
pub(crate) fn find(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    Attributes(attributes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    u32_at(bytes, at).map(|n| i32::from_ne_bytes(n.to_ne_bytes()))
}

/// A text with or without its final zero.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// What the messages of one datagram mean for the question with this sequence number.
#[derive(Debug)]
enum Answer {
    Part(Vec<u8>),
    Done,
    Failed(io::Error),
}

fn read(mut bytes: &[u8], sequence: u32) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some(length) = u32_at(bytes, 0).and_then(|l| usize::try_from(l).ok()) {
        let (Some(message), Some(kind)) = (bytes.get(..length), u16_at(bytes, 4)) else { break };
        let Some(payload) = message.get(HEADER..) else { break };
        if u32_at(bytes, 8) == Some(sequence) {
            match kind {
                NLMSG_DONE => answers.push(Answer::Done),
                NLMSG_ERROR => match i32_at(payload, 0) {
                    Some(0) => answers.push(Answer::Done),
                    Some(code) => answers.push(Answer::Failed(io::Error::from_raw_os_error(
                        code.checked_neg().unwrap_or(libc::EIO),
                    ))),
                    None => {}
                },
                _ => {
                    let attributes = payload.get(GENERIC_HEADER..).unwrap_or_default();
                    answers.push(Answer::Part(attributes.to_vec()));
                }
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    answers
}

/// A connection to one family of the kernel's generic netlink.
pub(crate) struct Family {
    socket: Socket,
    id: u16,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Family {
    /// None where the kernel has no such family, or not yet.
    pub(crate) fn open(name: &str) -> io::Result<Option<Self>> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        setsockopt(&borrow(&socket), sockopt::ReceiveTimeout, &TimeVal::seconds(5))?;
        let mut family = Self { socket, id: CONTROLLER, sequence: 0, buffer: vec![0; BUFFER] };
        let question = Question::new(GET_FAMILY).text(FAMILY_NAME, name);
        let answer = match family.ask(&question, 0) {
            Ok(answer) => answer,
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            Err(e) => return Err(e),
        };
        let id = answer.iter().find_map(|part| u16_at(find(part, FAMILY_ID)?, 0));
        Ok(id.map(|id| Self { id, ..family }))
    }

    /// Asks for one thing, or for something to be done.
    pub(crate) fn act(&mut self, question: &Question) -> io::Result<Vec<Vec<u8>>> {
        self.ask(question, 0)
    }

    /// Asks for all there are.
    pub(crate) fn dump(&mut self, question: &Question) -> io::Result<Vec<Vec<u8>>> {
        self.ask(question, NLM_F_DUMP)
    }

    /// The attributes of each part of the answer.
    fn ask(&mut self, question: &Question, flags: u16) -> io::Result<Vec<Vec<u8>>> {
        self.sequence = self.sequence.wrapping_add(1);
        let how = if flags == 0 { NLM_F_REQUEST | NLM_F_ACK } else { NLM_F_REQUEST | flags };
        let packet = question.packet(self.id, how, self.sequence);
        self.socket.send_to(&packet, &SocketAddr::new(0, 0), 0)?;
        let mut parts = Vec::new();
        loop {
            let mut space: &mut [u8] = &mut self.buffer;
            let (length, from) = match self.socket.recv_from(&mut space, 0) {
                Ok(received) => received,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if from.port_number() != 0 {
                continue; // not from the kernel
            }
            for answer in read(self.buffer.get(..length).unwrap_or_default(), self.sequence) {
                match answer {
                    Answer::Part(part) => parts.push(part),
                    Answer::Done => return Ok(parts),
                    Answer::Failed(error) => return Err(error),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_went() {
        let question = Question::new(1).number(3, 7).text(4, "ap0").bytes(6, &[1, 2, 3, 4, 5, 6]);
        let list: Vec<_> = Attributes(&question.attributes).collect();
        assert_eq!(list.len(), 3);
        assert_eq!((list[0].0, u32_at(list[0].1, 0)), (3, Some(7)));
        assert_eq!(text(find(&question.attributes, 4).unwrap()), "ap0");
        assert_eq!(find(&question.attributes, 6).unwrap(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(find(&question.attributes, 9), None);
        let packet = question.packet(16, 5, 9);
        assert_eq!(u32_at(&packet, 0), u32::try_from(packet.len()).ok());
        assert!(matches!(&read(&packet, 9)[..], [Answer::Part(p)] if *p == question.attributes));
        assert!(read(&packet, 8).is_empty(), "an answer to another question");
    }

    #[test]
    fn the_kernels_refusal_is_an_error() {
        let mut packet = Vec::new();
        packet.extend(20_u32.to_ne_bytes());
        packet.extend(NLMSG_ERROR.to_ne_bytes());
        packet.extend([0; 2]);
        packet.extend(1_u32.to_ne_bytes());
        packet.extend([0; 4]);
        packet.extend((-libc::EBUSY).to_ne_bytes());
        assert!(matches!(&read(&packet, 1)[..], [Answer::Failed(e)]
            if e.raw_os_error() == Some(libc::EBUSY)));
    }

    #[test]
    fn noise_is_never_a_panic() {
        let mut chance = noise::Noise::new(99);
        for length in 0..256 {
            let mut noise = chance.bytes(length);
            noise.iter_mut().for_each(|b| *b %= 40);
            let _ = Attributes(&noise).count();
            if length >= 16 {
                // A header that fits, so that what is inside is looked at.
                noise[..4].copy_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
                noise[8..12].copy_from_slice(&1_u32.to_ne_bytes());
            }
            let _ = read(&noise, 1);
        }
    }

    #[test]
    fn the_real_kernels_families() {
        assert!(Family::open("nlctrl").unwrap().is_some());
        assert!(Family::open("no-such-family").unwrap().is_none());
    }
}
