//! Boards that are nobody's, found and taken in by a node, each on a loopback address of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests")]

mod common;

use cluster::{AdoptError, Hint, Identity, Verified, Versions};
use common::{Fixture, address, eventually, id, key, node, settings};
use model::status::{BoardState, BoardTrust, FoundBoard, JoinStep, Offer};
use model::{DeviceId, NODE_PORT, Secret, Settings};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::Ordering;
use std::time::Duration;

const TOKEN: &str = "a token of 128 bits or more";

/// What the settings of a node say that is alone.
fn alone(name: &str, at: Ipv4Addr) -> Settings {
    let mut settings = settings(&[node(name, at)]);
    settings.cluster.key = Secret::default();
    settings.cluster.name = Some("home".parse().unwrap());
    settings
}

/// A node of a cluster that calls these boards when it looks for some.
fn adopter(boards: &[Ipv4Addr]) -> Fixture {
    let targets = boards.iter().map(|at| SocketAddrV4::new(*at, NODE_PORT)).collect();
    let settings = alone("web01", address());
    Fixture::calling("web01", &settings, &key(), Versions::OURS, targets)
}

fn board(name: &str, at: Ipv4Addr) -> Fixture {
    board_with(name, at, &key())
}

fn board_with(name: &str, at: Ipv4Addr, key: &[u8]) -> Fixture {
    let mut settings = alone(name, at);
    settings.cluster.name = None;
    let board = Fixture::with(name, &settings, key, Versions::OURS);
    board.home.claimed.store(false, Ordering::Relaxed);
    board
}

fn give_token(fixture: &Fixture, token: &str) {
    *fixture.home.token.lock().unwrap() = Some(Secret::new(token));
}

async fn finds(one: &Fixture, other: &Fixture) -> FoundBoard {
    let device = other.device().unwrap();
    let found = || one.handle.found().into_iter().find(|board| board.device == device);
    eventually("found", || found().is_some()).await;
    found().unwrap()
}

fn step(one: &Fixture, device: &DeviceId) -> Option<JoinStep> {
    let all = one.handle.progress();
    all.into_iter().find(|joining| joining.device == *device).map(|joining| joining.step)
}

/// A node, a board that it has found, and that board's fingerprint.
async fn two() -> (Fixture, Fixture, DeviceId) {
    let at = address();
    let (one, two) = (adopter(&[at]), board("pi-2", at));
    finds(&one, &two).await;
    let device = two.device().unwrap();
    (one, two, device)
}

#[tokio::test]
async fn boards_in_reach_are_found_and_say_whose_they_are() {
    let [nobodys, batch, other, newer] = [(); 4].map(|()| address());
    let one = adopter(&[nobodys, batch, other, newer]);
    give_token(&one, TOKEN);
    let (two, three) = (board("pi-2", nobodys), board("pi-3", batch));
    give_token(&three, TOKEN);
    let theirs = Fixture::with("web07", &alone("web07", other), &key(), Versions::OURS);
    let future = Versions { min: 8, max: 9 };
    let four = Fixture::with("pi-4", &alone("pi-4", newer), &key(), future);

    let found = finds(&one, &two).await;
    assert_eq!((found.name.as_str(), found.model.as_str()), ("pi-2", "Raspberry Pi 3"));
    assert_eq!((found.state, found.trust), (BoardState::Unclaimed, BoardTrust::Code));
    assert_eq!(found.addresses, [nobodys]);
    assert_eq!(finds(&one, &three).await.trust, BoardTrust::Card);
    let found = finds(&one, &theirs).await;
    assert_eq!(found.state, BoardState::Other { cluster: "home".into() });
    assert!(matches!(finds(&one, &four).await.state, BoardState::Unknown { .. }));
    // What was asked knows who asked.
    let found = finds(&two, &one).await;
    assert_eq!(found.state, BoardState::Other { cluster: "home".into() });
    // By address, and by other means of discovery.
    let lonely = board("pi-5", address());
    lonely.listens().await;
    let found = one.handle.look_at(*lonely.at.ip()).await.unwrap();
    assert_eq!((found.device, found.state), (lonely.device().unwrap(), BoardState::Unclaimed));
    one.handle.hint(Hint::new("d".repeat(64).parse().unwrap(), "heard", true), &[address()]);
    assert!(one.handle.found().iter().any(|board| board.name == "heard"));
    let error = one.handle.look_at(address()).await.unwrap_err();
    assert!(matches!(error, AdoptError::Unreachable(_)), "{error}");
    assert_eq!(one.handle.look_at(*one.at.ip()).await.unwrap_err(), AdoptError::OwnBoard);
    four.listens().await;
    let error = one.handle.look_at(newer).await.unwrap_err();
    assert!(error.to_string().contains("a much newer release"), "{error}");
}

#[tokio::test]
async fn cards_of_one_batch_need_no_comparison() {
    let (one, two, device) = two().await;
    give_token(&one, TOKEN);
    give_token(&two, TOKEN);
    assert_eq!(one.handle.begin(&device, None).await, Ok(Offer::Trusted));
    let asked = two.handle.asked().unwrap();
    assert_eq!((asked.cluster.as_str(), asked.node.as_str()), ("home", "web01"));
    assert_eq!(asked.code, "", "nothing to compare");
    assert!(one.home.invited.lock().unwrap().is_empty(), "nothing has left yet");
    assert_eq!(one.handle.confirm(&device, Verified::Card).await, Ok(id("pi-2")));
    assert_eq!(step(&one, &device), Some(JoinStep::Member { node: id("pi-2") }));
    assert_eq!(one.home.invited.lock().unwrap()[0].verified, Verified::Card);
    // Pinned in the document that both have now, without a cluster key anywhere.
    one.meets(&two).await;
    assert_eq!(two.pinned("web01"), one.device());
    assert_eq!(two.pinned("pi-2"), Some(device.clone()));
    eventually("nobody is asked any more", || two.handle.asked().is_none()).await;
    eventually("nor is it shown", || two.notices().is_empty()).await;
    assert_eq!(finds(&one, &two).await.state, BoardState::Ours { node: id("pi-2") });
    let again = one.handle.begin(&device, None).await;
    assert_eq!(again, Err(AdoptError::Member("pi-2".into())));
    one.handle.cancel(&device);
    assert_eq!(one.handle.progress(), []);
}

#[tokio::test]
async fn others_are_compared_first() {
    let (one, two, device) = two().await;
    give_token(&one, TOKEN);
    give_token(&two, "a token of another batch of cards");
    let offer = one.handle.begin(&device, None).await.unwrap();
    let Offer::Compare { code, blinks } = offer else { panic!("{offer:?}") };
    assert_eq!(step(&one, &device), Some(JoinStep::Compare { code: code.clone(), blinks }));
    let asked = two.handle.asked().unwrap();
    let shown = format!("{} {}", &code[..3], &code[3..]);
    assert!(two.notices().contains(&shown), "on its screen as well: {}", two.notices());
    assert_eq!((asked.code, asked.blinks), (code, blinks), "the board shows the same");
    one.handle.blink(&device).await.unwrap();
    assert_eq!(*two.home.flashes.lock().unwrap(), [Some(blinks)]);
    assert!(one.home.invited.lock().unwrap().is_empty(), "nothing has left yet");
    // Not to compare is not offered here.
    let skipped = one.handle.confirm(&device, Verified::Skipped).await;
    assert_eq!(skipped, Err(AdoptError::NotCompared));
    assert_eq!(one.handle.confirm(&device, Verified::Code).await, Ok(id("pi-2")));
    assert_eq!(one.home.invited.lock().unwrap()[0].verified, Verified::Code);
    assert_eq!(*two.home.accepted.lock().unwrap(), [id("pi-2")]);
    one.meets(&two).await;
    assert_eq!(one.handle.confirm(&device, Verified::Code).await, Err(AdoptError::NotBegun));
}

#[tokio::test]
async fn a_board_can_be_told_from_others_before_anything_begins() {
    let (one, two, device) = two().await;
    one.handle.blink(&device).await.unwrap();
    assert_eq!(*two.home.flashes.lock().unwrap(), [None]);
    assert_eq!(two.handle.asked(), None);
    assert_eq!(one.handle.confirm(&device, Verified::Code).await, Err(AdoptError::NotBegun));
}

#[tokio::test]
async fn a_board_that_must_not_be_adopted_says_why() {
    let (one, two, device) = two().await;
    let begin = || one.handle.begin(&device, None);
    let unknown: DeviceId = "f".repeat(64).parse().unwrap();
    assert_eq!(one.handle.begin(&unknown, None).await, Err(AdoptError::NotFound));
    let nobody = id("web09");
    let error = one.handle.begin(&device, Some(&nobody)).await;
    assert_eq!(error, Err(AdoptError::NoSuchNode("web09".into())));

    *two.home.powered_for.lock().unwrap() = Duration::from_secs(30 * 60);
    assert_eq!(begin().await, Err(AdoptError::Window));
    let reason = AdoptError::Window.to_string();
    assert_eq!(step(&one, &device), Some(JoinStep::Failed { reason }));
    *two.home.powered_for.lock().unwrap() = Duration::ZERO;

    two.home.claimed.store(true, Ordering::Relaxed);
    assert_eq!(begin().await, Err(AdoptError::Claimed(String::new())));
    two.change(|s| s.cluster.name = Some("theirs".parse().unwrap()));
    assert_eq!(begin().await, Err(AdoptError::Claimed("theirs".into())));
    // Claimed, by a cluster of our name, and no node of ours: it was removed.
    two.change(|s| s.cluster.name = Some("home".parse().unwrap()));
    assert_eq!(begin().await, Err(AdoptError::Removed));
    two.home.claimed.store(false, Ordering::Relaxed);

    one.home.claimed.store(false, Ordering::Relaxed);
    assert_eq!(begin().await, Err(AdoptError::Unclaimed));
    one.home.claimed.store(true, Ordering::Relaxed);
    assert!(one.home.invited.lock().unwrap().is_empty());
    assert!(matches!(begin().await, Ok(Offer::Compare { .. })), "and now it may");
}

#[tokio::test]
async fn a_copy_of_the_own_card_is_told_from_this_board() {
    let at = address();
    let own = key();
    let targets = vec![SocketAddrV4::new(at, NODE_PORT)];
    let settings = alone("web01", address());
    let one = Fixture::calling("web01", &settings, &own, Versions::OURS, targets);
    let copy = board_with("pi-2", at, &own);
    copy.listens().await;
    assert_eq!(one.handle.look_at(*copy.at.ip()).await, Err(AdoptError::Copied));
}

#[tokio::test]
async fn a_board_is_adopted_by_one_at_a_time_and_begun_again_at_will() {
    let at = address();
    let (one, other, two) = (adopter(&[at]), adopter(&[at]), board("pi-2", at));
    let device = finds(&one, &two).await.device;
    finds(&other, &two).await;
    let first = one.handle.begin(&device, None).await.unwrap();
    assert_eq!(other.handle.begin(&device, None).await, Err(AdoptError::Busy));
    assert_eq!(two.handle.asked().unwrap().node, "web01");
    let second = one.handle.begin(&device, None).await.unwrap();
    assert_ne!(first, second, "another code, but for one time in a million");
    one.handle.cancel(&device);
    eventually("the board notices", || two.handle.asked().is_none()).await;
    assert!(matches!(other.handle.begin(&device, None).await, Ok(Offer::Compare { .. })));
    // Guessing the code by trying often is no way.
    other.handle.cancel(&device);
    eventually("too often", || two.handle.asked().is_none()).await;
    for _ in 0..6 {
        let _ = one.handle.begin(&device, None).await;
        one.handle.cancel(&device);
        eventually("the board notices", || two.handle.asked().is_none()).await;
    }
    assert_eq!(one.handle.begin(&device, None).await, Err(AdoptError::Often));
}

#[tokio::test]
async fn a_board_that_cannot_take_it_stays_nobodys_and_is_no_node() {
    let (one, two, device) = two().await;
    *two.home.cannot.lock().unwrap() = Some("the card is full".into());
    one.handle.begin(&device, None).await.unwrap();
    let error = one.handle.confirm(&device, Verified::Code).await;
    assert_eq!(error, Err(AdoptError::NotAccepted("the card is full".into())));
    assert_eq!(one.home.withdrawn.lock().unwrap().len(), 1);
    assert_eq!(one.settings().nodes.len(), 1);
    *two.home.cannot.lock().unwrap() = None;
    one.handle.begin(&device, None).await.unwrap();
    assert_eq!(one.handle.confirm(&device, Verified::Code).await, Ok(id("pi-2")));
    one.meets(&two).await;
}

#[tokio::test]
async fn a_board_that_loses_power_halfway_is_adopted_again() {
    let (at, card) = (address(), key());
    let (one, two) = (adopter(&[at]), board_with("pi-2", at, &card));
    let device = finds(&one, &two).await.device;
    two.home.dies.store(true, Ordering::Relaxed);
    one.handle.begin(&device, None).await.unwrap();
    let cut = async {
        eventually("it is given", || !one.home.invited.lock().unwrap().is_empty()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(two);
    };
    let (joined, ()) = tokio::join!(one.handle.confirm(&device, Verified::Code), cut);
    assert_eq!(joined, Err(AdoptError::Halfway));
    assert_eq!(one.pinned("pi-2"), Some(device.clone()), "it may have taken it");
    // It had not: it comes back as nobody's, and becomes the node it was to be.
    let two = board_with("pi-2", at, &card);
    two.listens().await;
    eventually("found again", || {
        one.handle.found().iter().any(|b| b.device == device && b.state == BoardState::Unclaimed)
    })
    .await;
    one.handle.begin(&device, None).await.unwrap();
    assert_eq!(one.handle.confirm(&device, Verified::Code).await, Ok(id("pi-2")));
    assert!(one.home.invited.lock().unwrap()[1].replaces);
    assert_eq!(one.settings().nodes.len(), 2);
    one.meets(&two).await;
}

#[tokio::test]
async fn another_board_takes_the_place_of_a_node() {
    let (old, at) = (key(), address());
    let one = adopter(&[at]);
    let mut lost = node("web02", address());
    lost.device = Some(Identity::read(&old).unwrap().device().clone());
    one.change(|s| s.nodes.push(lost.clone()));
    let (card, place) = (key(), id("web02"));
    let two = board_with("pi-2", at, &card);
    let device = finds(&one, &two).await.device;
    one.handle.begin(&device, Some(&place)).await.unwrap();
    assert_eq!(one.handle.progress()[0].replaces, Some(place.clone()));
    assert_eq!(one.handle.confirm(&device, Verified::Code).await, Ok(place.clone()));
    assert_eq!(*two.home.accepted.lock().unwrap(), [place]);
    assert_eq!(one.pinned("web02"), Some(device));
    // It starts again as that node; the lost one, should it come back, is told.
    let settings = two.settings();
    drop(two);
    let two = Fixture::with("web02", &settings, &card, Versions::OURS);
    one.meets(&two).await;
    let mut before = one.settings();
    let elsewhere = node("web02", address()).eth0;
    before.nodes[1] = model::Node { eth0: elsewhere, ..lost };
    let back = Fixture::with("web02", &before, &old, Versions::OURS);
    back.degraded("web02 has a new key").await;
}

#[tokio::test]
async fn two_boards_of_one_name_become_two_nodes() {
    let [first, second] = [(); 2].map(|()| address());
    let one = adopter(&[first, second]);
    let (two, three) = (board("pi-2", first), board("pi-2", second));
    let mut nodes = Vec::new();
    for board in [&two, &three] {
        let device = finds(&one, board).await.device;
        one.handle.begin(&device, None).await.unwrap();
        nodes.push((one.handle.confirm(&device, Verified::Code).await.unwrap(), device));
    }
    assert_eq!(nodes[0].0, id("pi-2"));
    assert_eq!(nodes[1].0.as_str(), format!("pi-{}", &nodes[1].1.as_str()[..8]));
}

#[tokio::test]
async fn noise_on_the_port_is_counted_and_harms_nobody() {
    let (one, two, _) = two().await;
    let stranger = tokio::net::UdpSocket::bind((address(), 0)).await.unwrap();
    for bytes in [&b"bramble {}"[..], &[0xff; 512], &[b'x'; 1400], b""] {
        stranger.send_to(bytes, one.at).await.unwrap();
    }
    eventually("counted", || one.handle.counters().hints_garbage == 4).await;
    for number in 0..200 {
        let hint = format!(
            "bramble {{\"device\":\"{number:064x}\",\"name\":\"x\",\"claimed\":false,\"min\":1,\
             \"max\":1}}"
        );
        stranger.send_to(hint.as_bytes(), one.at).await.unwrap();
    }
    eventually("counted", || one.handle.counters().hints_dropped >= 100).await;
    assert!(one.handle.found().len() <= 64);
    assert!(one.handle.found().iter().any(|b| Some(&b.device) == two.device().as_ref()));
}

#[tokio::test]
async fn nodes_that_a_dhcp_server_gives_their_addresses_find_each_other() {
    let places = [(); 2].map(|()| SocketAddrV4::new(address(), NODE_PORT));
    let keys = [key(), key()];
    let mut nodes = ["web01", "web02"].map(|name| node(name, address()));
    for (node, key) in nodes.iter_mut().zip(&keys) {
        node.eth0.address = None;
        node.device = Some(Identity::read(key).unwrap().device().clone());
    }
    let mut all = settings(&nodes);
    all.cluster.key = Secret::default();
    let start = |n: usize, at: SocketAddrV4| {
        let name = ["web01", "web02"][n];
        Fixture::at(name, &all, &keys[n], Versions::OURS, places.to_vec(), at)
    };
    let (one, two) = (start(0, places[0]), start(1, places[1]));
    one.meets(&two).await;
    // Another lease. What was known is of no use, and it is found again.
    drop(two);
    let moved = SocketAddrV4::new(address(), NODE_PORT);
    let two = Fixture::at("web02", &all, &keys[1], Versions::OURS, places.to_vec(), moved);
    one.meets(&two).await;
}

#[tokio::test]
async fn a_board_without_an_address_in_its_settings_is_a_node_at_once() {
    let at = SocketAddrV4::new(address(), NODE_PORT);
    let one = adopter(&[*at.ip()]);
    let mut own = alone("pi-2", address());
    own.nodes[0].eth0.address = None;
    let two = Fixture::at("pi-2", &own, &key(), Versions::OURS, Vec::new(), at);
    two.home.claimed.store(false, Ordering::Relaxed);
    let device = finds(&one, &two).await.device;
    one.handle.begin(&device, None).await.unwrap();
    one.handle.confirm(&device, Verified::Code).await.unwrap();
    one.meets(&two).await;
}
