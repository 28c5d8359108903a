//! A node and a board across whatever stands between them.

use super::board::{About, Door, attend};
use super::code::Meeting;
use super::node::{Introduced, Suitor, hand_over, introduce, who};
use super::wire::{self, Ask, Tell};
use super::{AdoptError, Answer, Gift, Household, NewBoard, Verified};
use crate::discover::Hint;
use crate::error::HandshakeError;
use crate::identity::Identity;
use crate::proof::Token;
use crate::tls::Tls;
use control::StatusBoard;
use model::{DeviceId, NodeId, Secret};
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{DuplexStream, duplex};

#[derive(Default)]
struct Home {
    token: Option<Secret>,
    taken: Mutex<Vec<Vec<u8>>>,
}

impl Household for Home {
    fn claimed(&self) -> bool {
        false
    }
    fn powered_for(&self) -> Duration {
        Duration::ZERO
    }
    fn join_token(&self) -> Option<Secret> {
        self.token.clone()
    }
    fn blink(&self, _: Option<u8>) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

impl Gift for Home {
    fn invite(&self, _: NewBoard) -> Answer<'_, Vec<u8>> {
        Box::pin(async { Err("a board invites nobody".to_owned()) })
    }
    fn withdraw(&self, _: NewBoard) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
    fn accept(&self, _: NodeId, gift: Vec<u8>) -> Answer<'_, ()> {
        self.taken.lock().unwrap().push(gift);
        Box::pin(async { Ok(()) })
    }
}

fn identity() -> Identity {
    Identity::read(&Identity::generate().unwrap()).unwrap()
}

fn token() -> Secret {
    Secret::new("a token of 128 bits or more")
}

fn suitor(token: Option<Secret>) -> Suitor {
    let token = token.and_then(|secret| Token::derive(&secret));
    Suitor { cluster: "home".into(), node: "web01".into(), token }
}

fn device(letter: &str) -> DeviceId {
    letter.repeat(64).parse().unwrap()
}

fn door() -> Door {
    Door::new(StatusBoard::new("pi-2".parse().unwrap(), "test"))
}

fn about<'a>(home: &'a Home, door: &'a Door) -> About<'a> {
    About {
        hint: Hint::new(device("b"), "pi-2", false),
        node: "pi-2".parse().unwrap(),
        entry: None,
        household: home,
        gift: home,
        door,
    }
}

/// The board's side of a pipe, with a binding.
async fn serve(
    io: DuplexStream,
    home: Home,
    door: Door,
    binding: [u8; 32],
) -> (Result<(), HandshakeError>, Home) {
    let mut io = io;
    let (node, board) = (device("a"), device("b"));
    let meeting = Meeting { binding: &binding, node: &node, board: &board };
    let outcome = attend(&mut io, &about(&home, &door), &meeting).await;
    (outcome, home)
}

async fn call(io: &mut DuplexStream, suitor: &Suitor) -> Result<Introduced, AdoptError> {
    let (node, board) = (device("a"), device("b"));
    let meeting = Meeting { binding: &[7; 32], node: &node, board: &board };
    introduce(io, suitor, &meeting).await
}

/// Somebody in the middle, with a key of their own, who passes on whatever is said.
async fn in_between(known: Option<Secret>) -> (Introduced, String) {
    let [node, middle, board] = [(); 3].map(|()| identity());
    let [a, b, c] = [&node, &middle, &board].map(|identity| Tls::new(identity).unwrap());
    let (left, right) = (duplex(1 << 16), duplex(1 << 16));
    let (one, mallory, allory, two) =
        tokio::join!(a.call(left.0), b.answer(left.1), b.call(right.0), c.answer(right.1));
    let [mut one, mut mallory, mut allory, mut two] =
        [one, mallory, allory, two].map(Result::unwrap);
    assert_eq!(one.device, *middle.device(), "the operator is not asked about this");
    let relay = tokio::spawn(async move {
        tokio::io::copy_bidirectional(&mut mallory.stream, &mut allory.stream).await
    });
    let (home, door) = (Home { token: known.clone(), ..Home::default() }, door());
    let shown = door.clone();
    let board_id = board.device().clone();
    let attending = tokio::spawn(async move {
        let meeting = Meeting { binding: &two.binding, node: &two.device, board: &board_id };
        attend(&mut two.stream, &about(&home, &door), &meeting).await
    });
    let meeting = Meeting { binding: &one.binding, node: node.device(), board: &one.device };
    let introduced = introduce(&mut one.stream, &suitor(known), &meeting).await.unwrap();
    let asked = shown.asked().unwrap();
    drop(one);
    let _ = tokio::join!(relay, attending);
    (introduced, asked.code)
}

#[tokio::test]
async fn who_stands_between_makes_the_codes_differ_and_the_token_fail() {
    // Each time by chance they may be the same, once in a million.
    let (first, shown_first) = in_between(None).await;
    let (second, shown_second) = in_between(None).await;
    assert!(first.code.digits != shown_first || second.code.digits != shown_second);
    // Both have the token; what the one proves is nothing to the other.
    let (introduced, shown) = in_between(Some(token())).await;
    assert!(!introduced.trusted, "never trusted through somebody");
    assert!(!shown.is_empty(), "the board wants a comparison as well");
}

#[tokio::test]
async fn nothing_is_given_before_it_is_confirmed() {
    let (mut here, there) = duplex(1 << 16);
    let board = tokio::spawn(serve(there, Home::default(), door(), [7; 32]));
    let introduced = call(&mut here, &suitor(None)).await.unwrap();
    assert!(!introduced.trusted);
    // As a node of this kind would never do.
    wire::send(&mut here, &Ask::Gift { node: introduced.node, length: 0 }).await.unwrap();
    assert!(matches!(wire::receive(&mut here).await.unwrap(), Tell::No { .. }));
    let (_, home) = board.await.unwrap();
    assert!(home.taken.lock().unwrap().is_empty());

    // Nor does it pass for trusted because the node says so.
    let (mut here, there) = duplex(1 << 16);
    let board = tokio::spawn(serve(there, Home::default(), door(), [7; 32]));
    let introduced = call(&mut here, &suitor(None)).await.unwrap();
    let given = hand_over(&mut here, Verified::Card, introduced.node, b"gift").await;
    assert!(matches!(given, Err(AdoptError::Refused(_) | AdoptError::Halfway)), "{given:?}");
    assert!(board.await.unwrap().1.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_gift_arrives_whole_or_not_at_all() {
    let home = Home { token: Some(token()), ..Home::default() };
    let (mut here, there) = duplex(1 << 10);
    let board = tokio::spawn(serve(there, home, door(), [7; 32]));
    assert_eq!(who(&mut here).await.unwrap().name, "pi-2");
    let introduced = call(&mut here, &suitor(Some(token()))).await.unwrap();
    assert!(introduced.trusted);
    let gift: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
    hand_over(&mut here, Verified::Card, introduced.node, &gift).await.unwrap();
    assert!(*board.await.unwrap().1.taken.lock().unwrap() == [gift]);

    let (mut here, there) = duplex(1 << 10);
    let board = tokio::spawn(serve(there, Home::default(), door(), [7; 32]));
    let introduced = call(&mut here, &suitor(None)).await.unwrap();
    wire::send(&mut here, &Ask::Confirm { verified: Verified::Code }).await.unwrap();
    wire::send(&mut here, &Ask::Gift { node: introduced.node, length: 9 }).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut here, b"half").await.unwrap();
    drop(here);
    let (outcome, home) = board.await.unwrap();
    assert!(outcome.is_err() && home.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_board_that_changes_its_number_is_caught() {
    let (mut here, mut there) = duplex(1 << 16);
    let cheat = tokio::spawn(async move {
        let _: Ask = wire::receive(&mut there).await.unwrap();
        let commitment = super::code::Nonce::new().unwrap().commitment();
        let commit = Tell::Commit {
            commitment,
            node: "pi-2".parse().unwrap(),
            entry: serde_json::Value::Null,
            model: String::new(),
        };
        wire::send(&mut there, &commit).await.unwrap();
        let _: Ask = wire::receive(&mut there).await.unwrap();
        let nonce = super::code::Nonce::new().unwrap().text();
        wire::send(&mut there, &Tell::Open { nonce, proof: None }).await.unwrap();
    });
    assert_eq!(call(&mut here, &suitor(None)).await.unwrap_err(), AdoptError::Cheated);
    cheat.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_not_waited_for() {
    // A caller that says nothing at all.
    let (silent, there) = duplex(1 << 16);
    let begun = tokio::time::Instant::now();
    let (outcome, _) = serve(there, Home::default(), door(), [7; 32]).await;
    assert!(matches!(outcome, Err(HandshakeError::TimedOut)));
    assert_eq!(begun.elapsed().as_secs(), 10);
    drop(silent);
    // A board that says nothing.
    let (mut here, silent) = duplex(1 << 16);
    let begun = tokio::time::Instant::now();
    assert_eq!(call(&mut here, &suitor(None)).await.unwrap_err(), AdoptError::Broken);
    assert_eq!(begun.elapsed().as_secs(), 10);
    drop(silent);
    // A node whose operator never comes back: the board is free for others again.
    let (mut here, there) = duplex(1 << 16);
    let door = door();
    let board = tokio::spawn(serve(there, Home::default(), door.clone(), [7; 32]));
    call(&mut here, &suitor(None)).await.unwrap();
    assert!(door.asked().is_some());
    let begun = tokio::time::Instant::now();
    assert!(matches!(board.await.unwrap().0, Err(HandshakeError::TimedOut)));
    assert_eq!(begun.elapsed().as_secs(), 5 * 60 + 10);
    assert!(door.asked().is_none());
}
