//! What goes over a status stream. Pure.
//!
//! ```text
//! | length (4 bytes, network order) | kind | rest |
//! kind 1: a whole report, JSON
//! kind 2: the last report still holds; the rest is the uptime in ms, 8 bytes
//! ```

use model::NodeId;
use model::status::NodeStatus;

/// The longest message; a report has a few kilobytes.
pub(crate) const LONGEST: usize = 1 << 20;
const REPORT: u8 = 1;
const STILL: u8 = 2;

/// A message as the other end understood it.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    Report(Box<NodeStatus>),
    Still { uptime_ms: u64 },
}

/// Turns this node's status into messages, a short one where nothing has changed.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    last: Option<NodeStatus>,
}

/// The frame of a whole report, and whether it says anything new.
pub(crate) struct Written {
    pub(crate) frame: Vec<u8>,
    pub(crate) news: bool,
}

impl Writer {
    /// A whole report if anything but the uptime has changed since the last one, else the short
    /// message. None if it is too long to be sent.
    pub(crate) fn write(&mut self, mut status: NodeStatus) -> Option<Written> {
        let uptime_ms = status.uptime_ms;
        status.uptime_ms = 0;
        if self.last.as_ref() == Some(&status) {
            return Some(Written { frame: still(uptime_ms), news: false });
        }
        self.last = Some(status.clone());
        status.uptime_ms = uptime_ms;
        let json = serde_json::to_vec(&status).ok()?;
        Some(Written { frame: frame(REPORT, &json)?, news: true })
    }
}

/// The message that the last report still holds.
pub(crate) fn still(uptime_ms: u64) -> Vec<u8> {
    frame(STILL, &uptime_ms.to_be_bytes()).unwrap_or_default()
}

fn frame(kind: u8, rest: &[u8]) -> Option<Vec<u8>> {
    let length = 1 + rest.len();
    if length > LONGEST {
        return None;
    }
    let mut frame = Vec::with_capacity(4 + length);
    frame.extend(u32::try_from(length).ok()?.to_be_bytes());
    frame.push(kind);
    frame.extend(rest);
    Some(frame)
}

/// The length of the message that follows; None for one that nobody sends.
pub(crate) fn length(bytes: [u8; 4]) -> Option<usize> {
    let length = usize::try_from(u32::from_be_bytes(bytes)).ok()?;
    (1..=LONGEST).contains(&length).then_some(length)
}

/// Reads a message of `peer`. None for one that makes no sense or speaks in another's name.
pub(crate) fn read(peer: &NodeId, message: &[u8]) -> Option<Message> {
    let (kind, rest) = message.split_first()?;
    match *kind {
        REPORT => {
            let status: NodeStatus = serde_json::from_slice(rest).ok()?;
            (status.id == *peer).then(|| Message::Report(Box::new(status)))
        }
        STILL => Some(Message::Still { uptime_ms: u64::from_be_bytes(rest.try_into().ok()?) }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(id: &str, uptime_ms: u64) -> NodeStatus {
        NodeStatus { id: id.parse().unwrap(), uptime_ms, ..NodeStatus::default() }
    }

    fn read_frame(peer: &str, frame: &[u8]) -> Option<Message> {
        let (head, rest) = frame.split_first_chunk::<4>().unwrap();
        assert_eq!(length(*head), Some(rest.len()));
        read(&peer.parse().unwrap(), rest)
    }

    #[test]
    fn only_what_changed_is_written_in_full() {
        let mut writer = Writer::default();
        let first = writer.write(status("web01", 5)).unwrap();
        assert!(first.news);
        let whole = Message::Report(Box::new(status("web01", 5)));
        assert_eq!(read_frame("web01", &first.frame), Some(whole));
        let second = writer.write(status("web01", 1005)).unwrap();
        assert!(!second.news && second.frame.len() == 13);
        assert_eq!(read_frame("web01", &second.frame), Some(Message::Still { uptime_ms: 1005 }));
        let other = NodeStatus { pid: 7, ..status("web01", 2005) };
        assert!(writer.write(other).unwrap().news);
    }

    #[test]
    fn nobody_speaks_for_another_and_garbage_is_nothing() {
        let frame = Writer::default().write(status("web02", 0)).unwrap().frame;
        assert_eq!(read_frame("web01", &frame), None);
        let peer = "web01".parse().unwrap();
        for bytes in [&[][..], &[1], &[1, b'{'], &[2, 1, 2], &[3, 0], &[0xff; 40]] {
            assert_eq!(read(&peer, bytes), None);
        }
        assert_eq!(length([0, 0, 0, 0]), None);
        assert_eq!(length([0, 16, 0, 1]), None);
        assert_eq!(length([0, 16, 0, 0]), Some(LONGEST));
        let mut huge = status("web01", 0);
        huge.version = "x".repeat(LONGEST);
        assert!(Writer::default().write(huge).is_none());
    }
}
