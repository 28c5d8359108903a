//! Boards in reach, and how far each is on its way into the cluster. Pure.

use super::Tone;
use crate::words::{sentence, span};
use model::NodeId;
use model::status::{BoardState, BoardTrust, FoundBoard, JoinStep, Joining};

/// A board that can be adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BoardRow {
    pub(crate) device: String,
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) place: String,
    /// Its card proves it ours.
    pub(crate) trusted: bool,
    /// When it was last heard of, where that is a while ago.
    pub(crate) seen: Option<String>,
}

/// A board that cannot, and what to do about that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StrangerRow {
    pub(crate) name: String,
    pub(crate) place: String,
    pub(crate) tone: Tone,
    pub(crate) word: String,
    pub(crate) advice: &'static str,
}

/// One step of an adoption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StepView {
    pub(crate) word: &'static str,
    /// "done", "doing" or "later".
    pub(crate) state: &'static str,
    pub(crate) said: &'static str,
}

/// A board on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinView {
    pub(crate) device: String,
    pub(crate) name: String,
    pub(crate) replaces: Option<String>,
    pub(crate) tone: Tone,
    pub(crate) word: &'static str,
    pub(crate) steps: Vec<StepView>,
    /// The code to compare, in two groups, and how often the green LED flashes.
    pub(crate) code: Option<(String, u8)>,
    /// The board's own page, which shows the code as well.
    pub(crate) page: Option<String>,
    pub(crate) failed: Option<String>,
    pub(crate) member: Option<String>,
}

/// The whole page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FoundView {
    pub(crate) free: Vec<BoardRow>,
    pub(crate) strangers: Vec<StrangerRow>,
    pub(crate) joining: Vec<JoinView>,
}

/// A board not heard of for longer may be gone.
const LATE: u64 = 15_000;

impl FoundView {
    pub(crate) fn new(found: &[FoundBoard], joining: &[Joining]) -> Self {
        let busy = |b: &&FoundBoard| joining.iter().any(|j| j.device == b.device);
        let rest = || found.iter().filter(|b| !busy(b));
        let mut free: Vec<_> =
            rest().filter(|b| b.state == BoardState::Unclaimed).map(row).collect();
        free.sort_by(|a, b| (!a.trusted, &a.name).cmp(&(!b.trusted, &b.name)));
        let mut strangers: Vec<_> = rest().filter_map(stranger).collect();
        strangers.sort_by(|a, b| a.name.cmp(&b.name));
        let joining =
            joining.iter().map(|j| join(j, found.iter().find(|b| b.device == j.device))).collect();
        Self { free, strangers, joining }
    }

    /// Boards that became nodes.
    pub(crate) fn members(&self) -> usize {
        self.joining.iter().filter(|j| j.member.is_some()).count()
    }

    /// Boards that neither are nodes yet nor failed.
    pub(crate) fn underway(&self) -> usize {
        self.joining.iter().filter(|j| j.member.is_none() && j.failed.is_none()).count()
    }
}

fn name(board: &FoundBoard) -> String {
    if board.name.is_empty() { "a board without a name".to_owned() } else { board.name.clone() }
}

fn place(board: &FoundBoard) -> String {
    let mut parts: Vec<String> = board.addresses.iter().map(ToString::to_string).take(2).collect();
    parts.extend(board.wired.map(|w| if w { "by cable" } else { "by Wi-Fi" }.to_owned()));
    parts.join(" · ")
}

fn row(board: &FoundBoard) -> BoardRow {
    // In steps, so that an open page is not drawn anew each second.
    let seen = (board.age_ms >= LATE).then(|| span(board.age_ms / 10_000 * 10_000));
    BoardRow {
        device: board.device.to_string(),
        name: name(board),
        model: board.model.clone(),
        place: place(board),
        trusted: board.trust == BoardTrust::Card,
        seen,
    }
}

fn stranger(board: &FoundBoard) -> Option<StrangerRow> {
    let (tone, word, advice) = match &board.state {
        BoardState::Unclaimed | BoardState::Ours { .. } => return None,
        BoardState::Other { cluster } if cluster.is_empty() => (
            Tone::Quiet,
            "was claimed on its own page".to_owned(),
            "To adopt it here, sign in on its own page and let it forget everything (More, This board), or put a file named factory-reset on the first partition of its card.",
        ),
        BoardState::Other { cluster } => (
            Tone::Quiet,
            format!("belongs to the cluster {cluster}"),
            "To adopt it here, remove it from that cluster first, on the page of any of its nodes. If that cluster is gone, put a file named factory-reset on the first partition of its card.",
        ),
        BoardState::Unknown { version } => (
            Tone::Warn,
            if version.is_empty() {
                "speaks a version this node does not know".to_owned()
            } else {
                format!("runs version {version}, which this node does not understand")
            },
            "Bring both to the same version: install the newer firmware on the older one, under More, Firmware, or write its card anew.",
        ),
    };
    Some(StrangerRow { name: name(board), place: place(board), tone, word, advice })
}

/// The steps as they are walked through.
const STEPS: [&str; 4] = ["Call it", "Make sure it is the right one", "Hand over", "Node"];

fn join(joining: &Joining, board: Option<&FoundBoard>) -> JoinView {
    let (at, tone, word) = match &joining.step {
        JoinStep::Pending => (0, Tone::Info, "waits its turn"),
        JoinStep::Connecting => (0, Tone::Info, "is called"),
        JoinStep::Compare { .. } => (1, Tone::Warn, "waits for you"),
        JoinStep::Joining => (2, Tone::Info, "is joining"),
        JoinStep::Member { .. } => (4, Tone::Good, "is a node now"),
        JoinStep::Failed { .. } => (5, Tone::Bad, "was not adopted"),
    };
    let steps = STEPS.iter().enumerate().map(|(i, word)| {
        let (state, said) = match i {
            _ if i < at => ("done", "done"),
            _ if i == at => ("doing", "under way"),
            _ => ("later", "to come"),
        };
        StepView { word, state, said }
    });
    let address = board.and_then(|b| b.addresses.first());
    JoinView {
        device: joining.device.to_string(),
        name: if joining.name.is_empty() { "The board".to_owned() } else { joining.name.clone() },
        replaces: joining.replaces.as_ref().map(NodeId::to_string),
        tone,
        word,
        // How far it got is in the reason.
        steps: if at > STEPS.len() { Vec::new() } else { steps.collect() },
        code: match &joining.step {
            JoinStep::Compare { code, blinks } => Some((groups(code), *blinks)),
            _ => None,
        },
        page: address.map(|a| format!("http://{a}:{}/", model::ADMIN_PORT)),
        failed: match &joining.step {
            JoinStep::Failed { reason } => Some(sentence(reason)),
            _ => None,
        },
        member: match &joining.step {
            JoinStep::Member { node } => Some(node.to_string()),
            _ => None,
        },
    }
}

/// Six digits as they are read aloud: "412 908".
pub(crate) fn groups(code: &str) -> String {
    match code.split_at_checked(3) {
        Some((a, b)) if code.len() == 6 && code.is_ascii() => format!("{a} {b}"),
        _ => code.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(n: u8, state: BoardState, trust: BoardTrust) -> FoundBoard {
        FoundBoard {
            device: format!("{n:064x}").parse().unwrap(),
            name: format!("bramble-{n}"),
            model: "Raspberry Pi 3".to_owned(),
            addresses: vec![[192, 168, 1, n].into()],
            wired: Some(n % 2 == 0),
            state,
            trust,
            age_ms: u64::from(n) * 1000,
        }
    }

    #[test]
    fn each_board_stands_where_it_belongs() {
        let ours = BoardState::Ours { node: "web01".parse().unwrap() };
        let other = BoardState::Other { cluster: "Garage".to_owned() };
        let newer = BoardState::Unknown { version: "9".to_owned() };
        let found = [
            board(31, BoardState::Unclaimed, BoardTrust::Code),
            board(2, BoardState::Unclaimed, BoardTrust::Card),
            board(3, ours, BoardTrust::Code),
            board(4, other, BoardTrust::Code),
            board(5, newer, BoardTrust::Code),
            board(6, BoardState::Unclaimed, BoardTrust::Card),
        ];
        let step = JoinStep::Compare { code: "412908".to_owned(), blinks: 4 };
        let joining = Joining {
            device: found[5].device.clone(),
            name: "bramble-6".to_owned(),
            replaces: None,
            step,
        };
        let v = FoundView::new(&found, &[joining]);
        let free: Vec<_> = v.free.iter().map(|b| (b.name.as_str(), b.trusted)).collect();
        assert_eq!(free, [("bramble-2", true), ("bramble-31", false)], "trusted ones first");
        assert_eq!(v.free[1].seen.as_deref(), Some("30 s"));
        assert_eq!(v.free[0].place, "192.168.1.2 · by cable");
        assert_eq!(v.strangers.len(), 2, "ours is none of them: {:#?}", v.strangers);
        assert!(v.strangers.iter().all(|s| !s.advice.is_empty()));
        let j = &v.joining[0];
        assert_eq!(j.code, Some(("412 908".to_owned(), 4)));
        assert_eq!(j.page.as_deref(), Some("http://192.168.1.6:1936/"));
        let states: Vec<_> = j.steps.iter().map(|s| s.state).collect();
        assert_eq!(states, ["done", "doing", "later", "later"]);
        assert_eq!((v.members(), v.underway()), (0, 1));
    }

    #[test]
    fn codes_of_another_length_are_left_alone() {
        assert_eq!(groups("412908"), "412 908");
        assert_eq!(groups("4129"), "4129");
        assert_eq!(groups("é2345"), "é2345");
    }
}
