//! One question to the kernel and its answer, over a synchronous rtnetlink socket.
//!
//! ```text
//!  0                   1                   2                   3
//! |             length            |      type     |     flags     |  struct nlmsghdr
//! |            sequence           |          port number          |  (netlink(7))
//! | payload, padded to 4 bytes ...
//! ```
//!
//! The kernel answers while `sendto` runs, so a question takes microseconds; the receive timeout
//! is only there so that a broken kernel cannot hang a thread.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The kernel's dump answers come in pieces of at most 32 KiB (netlink(7)).
const BUFFER: usize = 32 * 1024;
/// A dump that changed while it was read is asked for again, so often at most.
const DUMP_TRIES: usize = 4;
const HEADER: usize = 16;

/// A socket for questions.
pub(crate) struct Requests {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
    /// Messages that made no sense, since the start.
    pub(crate) garbage: u64,
}

/// What one received message means for the question with this sequence number.
#[derive(Debug)]
enum Answer {
    Part(RouteNetlinkMessage),
    End { interrupted: bool },
    Failed(io::Error),
}

impl Requests {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        setsockopt(&borrow(&socket), sockopt::ReceiveTimeout, &TimeVal::seconds(1))?;
        // Lets the kernel filter dumps by what the request says. Before Linux 4.20 there was no
        // such option; the callers filter as well.
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER], garbage: 0 })
    }

    /// Asks for something to be done.
    pub(crate) fn act(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        self.answers().map(|_| ())
    }

    /// Asks for one object; None when the kernel has no such thing.
    pub(crate) fn get(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> io::Result<Option<RouteNetlinkMessage>> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK)?;
        match self.answers() {
            Ok((mut parts, _)) => Ok(parts.pop()),
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Asks for a whole table.
    pub(crate) fn dump(
        &mut self,
        message: &RouteNetlinkMessage,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut last = Vec::new();
        for _ in 0..DUMP_TRIES {
            self.send(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            let (parts, interrupted) = self.answers()?;
            if !interrupted {
                return Ok(parts);
            }
            last = parts;
        }
        // The table never stands still. What was read is good enough: every change to it also
        // comes as an event, after which it is read again.
        Ok(last)
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = NetlinkMessage::from(message);
        packet.header.flags = flags;
        packet.header.sequence_number = self.sequence;
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        Ok(())
    }

    fn answers(&mut self) -> io::Result<(Vec<RouteNetlinkMessage>, bool)> {
        let mut parts = Vec::new();
        loop {
            let mut space: &mut [u8] = &mut self.buffer;
            let (length, from) = match self.socket.recv_from(&mut space, 0) {
                Ok(received) => received,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let received = self.buffer.get(..length).unwrap_or_default();
            if from.port_number() != 0 {
                self.garbage += 1; // not from the kernel
                continue;
            }
            for answer in read(received, self.sequence, &mut self.garbage) {
                match answer {
                    Answer::Part(message) => parts.push(message),
                    Answer::End { interrupted } => return Ok((parts, interrupted)),
                    Answer::Failed(error) => return Err(error),
                }
            }
        }
    }
}

/// The descriptor of a socket, for as long as the socket lives.
pub(crate) fn borrow(socket: &Socket) -> BorrowedFd<'_> {
    // SAFETY: the socket owns the descriptor and outlives the borrow.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}

/// Takes one datagram apart. Messages that belong to another question are skipped, what makes no
/// sense is counted and skipped.
fn read(mut bytes: &[u8], sequence: u32, garbage: &mut u64) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let Some((length, flags, number)) = header(bytes) else {
            *garbage += 1;
            break;
        };
        let message = bytes.get(..length).unwrap_or_default();
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        if number != sequence {
            continue;
        }
        let interrupted = flags & NLM_F_DUMP_INTR != 0;
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(message).map(|m| m.payload) {
            Ok(NetlinkPayload::InnerMessage(part)) => answers.push(Answer::Part(part)),
            Ok(NetlinkPayload::Done(_)) => answers.push(Answer::End { interrupted }),
            Ok(NetlinkPayload::Error(error)) if error.code.is_none() => {
                answers.push(Answer::End { interrupted: false });
            }
            Ok(NetlinkPayload::Error(error)) => answers.push(Answer::Failed(error.to_io())),
            Ok(_) => {}
            Err(_) => *garbage += 1,
        }
    }
    answers
}

/// Length, flags and sequence number of the message at the front.
fn header(bytes: &[u8]) -> Option<(usize, u16, u32)> {
    let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let flags = bytes.get(6..8)?.try_into().ok().map(u16::from_ne_bytes)?;
    let length = usize::try_from(word(0)?).ok()?;
    (HEADER <= length && length <= bytes.len()).then_some((length, flags, word(8)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + payload.len()).unwrap();
        let mut bytes = Vec::new();
        bytes.extend(length.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(0_u16.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn an_error_and_an_acknowledgement_are_told_apart() {
        let mut garbage = 0;
        let refused = message(2, 7, &[&(-libc::EEXIST).to_ne_bytes()[..], &[0; 16]].concat());
        let answers = read(&refused, 7, &mut garbage);
        assert!(matches!(&answers[..], [Answer::Failed(e)]
            if e.raw_os_error() == Some(libc::EEXIST)));
        let done = message(2, 7, &[0; 20]);
        assert!(matches!(&read(&done, 7, &mut garbage)[..], [Answer::End { interrupted: false }]));
        assert!(read(&done, 8, &mut garbage).is_empty(), "an answer to another question");
        assert_eq!(garbage, 0);
    }

    #[test]
    fn garbage_is_counted_and_never_a_panic() {
        let mut garbage = 0;
        for bytes in [&[1, 2, 3][..], &[0; 16], &[0xff; 64], &message(20, 7, &[2, 24])] {
            assert!(read(bytes, 7, &mut garbage).is_empty());
        }
        assert_eq!(garbage, 4);
        // Every message type with a payload of noise, of every length.
        let mut noise = noise::Noise::new(1);
        for kind in 0..128 {
            for length in 0..96 {
                let noise = noise.bytes(length);
                read(&message(kind, 7, &noise), 7, &mut garbage);
            }
        }
    }
}
