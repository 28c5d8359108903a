//! What this node noticed about boards that are not who they should be, for the operator.

use control::StatusBoard;
use model::NodeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What does not happen again for so long is over.
const OVER: Duration = Duration::from_secs(120);

/// Notices about other boards. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Alarms {
    board: StatusBoard,
    raised: Arc<Mutex<BTreeMap<String, (String, Instant)>>>,
}

/// What there is to notice.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Alarm {
    /// A board says it is a node whose key is another.
    NewKey,
    /// Two boards have one key.
    Copied,
}

impl Alarm {
    fn key(self, node: &NodeId) -> String {
        match self {
            Self::NewKey => format!("new-key-{node}"),
            Self::Copied => format!("copied-{node}"),
        }
    }
}

impl Alarms {
    pub(crate) fn new(board: StatusBoard) -> Self {
        Self { board, raised: Arc::default() }
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, (String, Instant)>) -> T) -> T {
        change(&mut self.raised.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn raise(&self, alarm: Alarm, node: &NodeId, text: String) {
        let key = alarm.key(node);
        let before = self.change(|r| r.insert(key.clone(), (text.clone(), Instant::now())));
        if before.is_none_or(|(old, _)| old != text) {
            tracing::warn!("{text}");
            self.board.notice(&key, text);
        }
    }

    /// The right board came as this node.
    pub(crate) fn settle(&self, node: &NodeId) {
        let key = Alarm::NewKey.key(node);
        if self.change(|raised| raised.remove(&key)).is_some() {
            self.board.clear_notice(&key);
        }
    }

    /// Takes down what has not happened again, and what is about nodes that are gone.
    pub(crate) fn expire(&self, now: Instant) {
        let over: Vec<String> = self.change(|raised| {
            let over = |at: &Instant| now.saturating_duration_since(*at) >= OVER;
            let keys = raised.iter().filter(|(_, (_, at))| over(at)).map(|(key, _)| key.clone());
            let keys: Vec<String> = keys.collect();
            raised.retain(|key, _| !keys.contains(key));
            keys
        });
        for key in over {
            self.board.clear_notice(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_come_once_and_go() {
        let board = StatusBoard::new("web01".parse().unwrap(), "test");
        let alarms = Alarms::new(board.clone());
        let node: NodeId = "web02".parse().unwrap();
        alarms.raise(Alarm::NewKey, &node, "new".into());
        alarms.raise(Alarm::Copied, &node, "copied".into());
        let mut changes = board.own_changes();
        changes.mark_unchanged();
        alarms.raise(Alarm::NewKey, &node, "new".into());
        assert!(!changes.has_changed().unwrap(), "no storm");
        assert_eq!(board.own().notices.len(), 2);
        alarms.settle(&node);
        assert_eq!(board.own().notices.len(), 1);
        alarms.expire(Instant::now() + OVER / 2);
        assert_eq!(board.own().notices.len(), 1);
        alarms.expire(Instant::now() + OVER * 2);
        assert!(board.own().notices.is_empty());
    }
}
