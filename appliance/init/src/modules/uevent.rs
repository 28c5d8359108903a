//! The kernel's news about devices.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, socket,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Longer than any message of the kernel's (UEVENT_BUFFER_SIZE is 2048).
const LONGEST: usize = 8192;

/// What a message says, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) added: bool,
    pub(crate) modalias: Option<String>,
}

/// A socket on which they arrive.
#[derive(Debug)]
pub(crate) struct Events {
    socket: OwnedFd,
}

impl Events {
    pub(crate) fn listen() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkKObjectUEvent,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 1))?;
        Ok(Self { socket })
    }

    /// The next message; None when there is none now. Lost ones (ENOBUFS) are an addition of
    /// nobody knows what.
    pub(crate) fn next(&self) -> Option<Event> {
        let mut buffer = [0; LONGEST];
        loop {
            match recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                // Only the kernel has port 0; any process may send to the group.
                Ok((length, Some(from))) if from.pid() == 0 => {
                    return Some(parse(buffer.get(..length).unwrap_or_default()));
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => return Some(Event { added: true, modalias: None }),
                Err(_) => return None,
            }
        }
    }

    /// Waits until there is one, or so long.
    pub(crate) fn wait(&self, limit: Duration) {
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
        let _ = poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout);
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// `add@/devices/...`, then `KEY=value` strings, each ending with a zero.
fn parse(message: &[u8]) -> Event {
    let mut event = Event::default();
    for part in message.split(|byte| *byte == 0) {
        if part == b"ACTION=add" {
            event.added = true;
        } else if let Some(modalias) = part.strip_prefix(b"MODALIAS=") {
            event.modalias = Some(String::from_utf8_lossy(modalias).into_owned());
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugged_in_dongle() {
        let message = b"add@/devices/usb1/1-1/1-1:1.0\0ACTION=add\0DEVPATH=/devices/usb1\0\
                        SUBSYSTEM=usb\0MODALIAS=usb:v0BDAp8176d0200\0SEQNUM=1234\0";
        let event = parse(message);
        assert_eq!(event, Event { added: true, modalias: Some("usb:v0BDAp8176d0200".into()) });
        assert!(!parse(b"remove@/x\0ACTION=remove\0MODALIAS=usb:x\0").added);
        assert_eq!(parse(b""), Event::default());
        assert_eq!(
            parse(b"\0\0\xff\xfe=\0MODALIAS="),
            Event { added: false, modalias: Some(String::new()) }
        );
    }
}
