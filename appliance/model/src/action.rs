//! What one node may ask of another, on behalf of an operator.

use crate::status::{FailoverReport, FirmwareStatus, WifiSeen};
use crate::text::{Name, NodeId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The version of these requests. A node answers what it knows and says what it does not.
pub const VERSION: u32 = 1;
/// Longest request and answer, in bytes of JSON.
pub const LONGEST_REQUEST: usize = 16 * 1024;
/// See [`LONGEST_REQUEST`].
pub const LONGEST_REPLY: usize = 256 * 1024;
/// Most lines of a log that are sent.
pub const MOST_LINES: u32 = 2000;

/// Something another node is to do now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// Hand the floating IPs of a virtual router over.
    Failover {
        /// Which.
        instance: Name,
    },
    /// Stop everything in order and start again.
    Reboot,
    /// Stop everything in order and switch off.
    PowerOff,
    /// Let the green LED blink.
    Blink {
        /// For so long.
        seconds: u16,
    },
    /// The newest lines of the log, newest last.
    Logs {
        /// At most so many.
        lines: u32,
    },
    /// The newest lines of the load balancer's access log, newest last.
    AccessLog,
    /// Let the deletion of a site pass that the mirror holds back.
    ApproveDeletion {
        /// Which site.
        site: Name,
    },
    /// The Wi-Fi networks it hears.
    ScanWifi,
    /// What it finds when it looks at itself.
    Diagnose,
    /// End every session of the admin page.
    EndSessions,
    /// Forget everything and start as a new board: it is no longer a member.
    Reset,
    /// The firmware that runs and the one beside it.
    Firmware,
}

impl Action {
    /// How long it may take.
    pub const fn limit(&self) -> Duration {
        Duration::from_secs(match self {
            Self::Failover { .. } => 15,
            Self::ScanWifi | Self::Diagnose => 40,
            Self::Reboot | Self::PowerOff | Self::Reset => 10,
            _ => 5,
        })
    }

    /// May it be asked again when the first answer got lost? The others are asked once.
    pub const fn only_looks(&self) -> bool {
        matches!(
            self,
            Self::Logs { .. } | Self::AccessLog | Self::ScanWifi | Self::Diagnose | Self::Firmware
        )
    }
}

/// An action with who wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`] of the node that asks.
    pub version: u32,
    /// Who wants it, for the audit log: the operator's address.
    pub author: String,
    /// The action. Read by itself, so that one nobody here knows is refused by name.
    pub action: serde_json::Value,
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", content = "with", rename_all = "kebab-case")]
pub enum Reply {
    /// It was done, or has been begun.
    Done,
    /// Who holds the floating IPs now.
    Failover(FailoverReport),
    /// Lines of a log, newest last.
    Lines(Vec<String>),
    /// Wi-Fi networks, strongest first.
    Networks(Vec<WifiSeen>),
    /// The firmware; None where the board has no slots.
    Firmware(Option<FirmwareStatus>),
    /// A document whose shape the one who asked knows.
    Document(serde_json::Value),
}

impl Reply {
    /// Drops the oldest lines until the rest is short enough to be sent.
    pub fn shorten(&mut self) {
        if let Self::Lines(lines) = self {
            let mut room = LONGEST_REPLY - 1024;
            let cost =
                |line: &String| serde_json::to_string(line).map_or(usize::MAX, |t| t.len() + 1);
            let fitting = lines.iter().rev().take_while(|line| {
                let cost = cost(line);
                let fits = cost <= room;
                room = room.saturating_sub(cost);
                fits
            });
            let keep = fitting.count();
            lines.drain(..lines.len() - keep);
        }
    }
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// What came of it, or why not, for the operator.
    pub result: Result<Reply, String>,
}

/// Reads a request's action.
///
/// # Errors
/// A sentence for the operator, in the name of the node that refuses.
pub fn read(request: &Request, node: &NodeId) -> Result<Action, String> {
    serde_json::from_value(request.action.clone()).map_err(|_| {
        let name = request.action.get("do").and_then(serde_json::Value::as_str);
        let name: String =
            name.unwrap_or("that").chars().filter(|c| !c.is_control()).take(40).collect();
        format!("node {node} does not know how to do {name:?}; update its firmware")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_node_asks_is_refused_by_name() {
        let node = "web01".parse().unwrap();
        let request = |action| Request { version: 9, author: "10.0.0.1".into(), action };
        let good = request(serde_json::json!({"do": "blink", "seconds": 5, "colour": "red"}));
        assert_eq!(read(&good, &node), Ok(Action::Blink { seconds: 5 }));
        let other = read(&request(serde_json::json!({"do": "dance"})), &node).unwrap_err();
        assert_eq!(other, "node web01 does not know how to do \"dance\"; update its firmware");
        assert!(read(&request(serde_json::json!(7)), &node).is_err());
    }

    #[test]
    fn long_logs_lose_their_oldest_lines() {
        let mut reply =
            Reply::Lines((0..2000).map(|n| format!("{n} {}", "\"".repeat(300))).collect());
        reply.shorten();
        let Reply::Lines(lines) = &reply else { unreachable!() };
        assert!(lines.last().unwrap().starts_with("1999 ") && lines.len() > 300);
        let answer = Answered { result: Ok(reply) };
        assert!(serde_json::to_string(&answer).unwrap().len() <= LONGEST_REPLY);
    }
}
