//! Boards in reach that do as they are set.

use control::StatusBoard;
use model::status::{Asked, BoardState, BoardTrust, FoundBoard, JoinStep, Joining, Offer};
use model::{DeviceId, NodeId};
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::Duration;
use webui::{AddressProbe, Adoption, Answer, NetworkTrials};

/// The fingerprint of the board with this number.
pub(crate) fn device(n: u8) -> DeviceId {
    format!("{n:02x}").repeat(32).parse().unwrap()
}

/// An unclaimed board with this number.
pub(crate) fn board(n: u8, name: &str, trust: BoardTrust) -> FoundBoard {
    FoundBoard {
        device: device(n),
        name: name.to_owned(),
        model: "Raspberry Pi 3 Model B Plus Rev 1.3".to_owned(),
        addresses: vec![Ipv4Addr::new(192, 168, 1, 70 + n)],
        wired: Some(n % 3 != 0),
        state: BoardState::Unclaimed,
        trust,
        age_ms: 400,
    }
}

/// What becomes of the board that is called.
pub(crate) type Fate = Result<Offer, String>;

/// A board, the node it became, and whose place it took.
pub(crate) type Settle = Box<dyn Fn(&FoundBoard, &NodeId, Option<&NodeId>) + Send>;

pub(crate) struct Neighbours {
    pub(crate) found: Mutex<Vec<FoundBoard>>,
    pub(crate) joining: Mutex<Vec<Joining>>,
    pub(crate) asked: Mutex<Option<Asked>>,
    /// What calling a board comes to, by its name.
    pub(crate) fate: Mutex<Vec<(String, Fate)>>,
    pub(crate) orders: Mutex<Vec<String>>,
    /// What is taken, and by whom.
    pub(crate) taken: Mutex<Vec<(Ipv4Addr, String)>>,
    /// How long each step takes.
    pub(crate) pace: Duration,
    /// Told when a board has become a node.
    pub(crate) settle: Mutex<Option<Settle>>,
    board: StatusBoard,
}

impl Neighbours {
    pub(crate) fn new(board: StatusBoard) -> Self {
        let pace = std::env::var("DEMO_STEP_MS").ok().and_then(|t| t.parse().ok());
        Self {
            found: Mutex::default(),
            joining: Mutex::default(),
            asked: Mutex::default(),
            fate: Mutex::default(),
            orders: Mutex::default(),
            taken: Mutex::default(),
            pace: pace.map_or(Duration::ZERO, Duration::from_millis),
            settle: Mutex::default(),
            board,
        }
    }

    fn order(&self, what: String) {
        self.orders.lock().unwrap().push(what);
    }

    fn named(&self, device: &DeviceId) -> Result<FoundBoard, String> {
        let found = self.found.lock().unwrap();
        let board = found.iter().find(|b| b.device == *device).cloned();
        board.ok_or_else(|| "this board is no longer in reach".to_owned())
    }

    pub(crate) fn step(&self, board: &FoundBoard, place: Option<&NodeId>, step: JoinStep) {
        let mut joining = self.joining.lock().unwrap();
        let replaces = place
            .cloned()
            .or_else(|| joining.iter().find(|j| j.device == board.device)?.replaces.clone());
        joining.retain(|j| j.device != board.device);
        let (device, name) = (board.device.clone(), board.name.clone());
        joining.push(Joining { device, name, replaces, step });
        joining.sort_by(|a, b| a.name.cmp(&b.name));
        drop(joining);
        self.board.touch();
    }
}

impl Adoption for Neighbours {
    fn found(&self) -> Vec<FoundBoard> {
        self.found.lock().unwrap().clone()
    }

    fn look_at(&self, address: Ipv4Addr) -> Answer<'_, FoundBoard> {
        Box::pin(async move {
            self.order(format!("look at {address}"));
            if address.octets()[3] == 99 {
                return Err(format!("nobody answers at {address}"));
            }
            let mut board = board(address.octets()[3], "looked-at", BoardTrust::Code);
            board.addresses = vec![address];
            self.found.lock().unwrap().push(board.clone());
            Ok(board)
        })
    }

    fn begin(&self, device: &DeviceId, as_node: Option<&NodeId>) -> Answer<'_, Offer> {
        let (device, place) = (device.clone(), as_node.cloned());
        Box::pin(async move {
            let board = self.named(&device)?;
            self.order(match &place {
                Some(node) => format!("begin {} as {node}", board.name),
                None => format!("begin {}", board.name),
            });
            self.step(&board, place.as_ref(), JoinStep::Connecting);
            tokio::time::sleep(self.pace).await;
            let fate = self.fate.lock().unwrap().iter().find(|f| f.0 == board.name).cloned();
            let fate = fate.map_or_else(
                || match board.trust {
                    BoardTrust::Card => Ok(Offer::Trusted),
                    BoardTrust::Code => Ok(Offer::Compare { code: "412908".to_owned(), blinks: 4 }),
                },
                |(_, fate)| fate,
            );
            self.step(
                &board,
                None,
                match &fate {
                    Ok(Offer::Trusted) => JoinStep::Joining,
                    Ok(Offer::Compare { code, blinks }) => {
                        JoinStep::Compare { code: code.clone(), blinks: *blinks }
                    }
                    Err(reason) => JoinStep::Failed { reason: reason.clone() },
                },
            );
            fate
        })
    }

    fn blink(&self, device: &DeviceId) -> Answer<'_, ()> {
        let named = self.named(device);
        Box::pin(async move {
            let board = named?;
            self.order(format!("blink {}", board.name));
            if board.name == "dark" { Err("it has no LED".to_owned()) } else { Ok(()) }
        })
    }

    fn confirm(&self, device: &DeviceId) -> Answer<'_, NodeId> {
        let device = device.clone();
        Box::pin(async move {
            let board = self.named(&device)?;
            self.order(format!("confirm {}", board.name));
            self.step(&board, None, JoinStep::Joining);
            tokio::time::sleep(self.pace).await;
            let joining = self.joining.lock().unwrap();
            let begun = joining.iter().find(|j| j.device == device);
            let place = begun.and_then(|j| j.replaces.clone());
            drop(joining);
            let node = place.clone().unwrap_or_else(|| board.name.parse().unwrap());
            let mut found = self.found.lock().unwrap();
            found
                .iter_mut()
                .filter(|b| b.device == device)
                .for_each(|b| b.state = BoardState::Ours { node: node.clone() });
            drop(found);
            if let Some(settle) = self.settle.lock().unwrap().as_ref() {
                settle(&board, &node, place.as_ref());
            }
            self.step(&board, None, JoinStep::Member { node: node.clone() });
            Ok(node)
        })
    }

    fn cancel(&self, device: &DeviceId) {
        let mut joining = self.joining.lock().unwrap();
        if joining.iter().any(|j| j.device == *device) {
            self.orders.lock().unwrap().push("cancel".to_owned());
        }
        joining.retain(|j| j.device != *device);
    }

    fn progress(&self) -> Vec<Joining> {
        self.joining.lock().unwrap().clone()
    }

    fn asked(&self) -> Option<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl AddressProbe for Neighbours {
    fn who_has(&self, address: Ipv4Addr) -> Answer<'_, Option<String>> {
        let taken = self.taken.lock().unwrap();
        let found = taken.iter().find(|(a, _)| *a == address).map(|(_, who)| who.clone());
        Box::pin(async { Ok(found) })
    }
}

impl NetworkTrials for Neighbours {
    fn keep(&self, through: Ipv4Addr) -> Result<(), String> {
        self.order(format!("keep through {through}"));
        if self.taken.lock().unwrap().is_empty() {
            Ok(())
        } else {
            Err("this page was opened at the address before the change".to_owned())
        }
    }
}
