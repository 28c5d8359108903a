//! Whole nodes' channels against each other and against strangers, each on a loopback address of
//! its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests")]

mod common;

use cluster::{Identity, Service, Versions};
use common::{Fixture, address, eventually, id, key, node, settings};
use model::status::{NodeStatus, SubsystemState};
use model::{NODE_PORT, Secret};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn two() -> (Fixture, Fixture) {
    let nodes = [node("web01", address()), node("web02", address())];
    let settings = settings(&nodes);
    (Fixture::start("web01", &settings), Fixture::start("web02", &settings))
}

#[tokio::test]
async fn two_nodes_know_how_the_other_is() {
    let (one, two) = two();
    one.meets(&two).await;
    assert_eq!(one.state(), Some(SubsystemState::Applied));
    let begun = Instant::now();
    one.board.notice("disk", "the card is full");
    let told = || two.knows(&one).is_some_and(|s| s.notices.len() == 1);
    eventually("the news arrives", told).await;
    println!("news arrive after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_millis(900), "sooner than the next heartbeat");

    // Signs of life keep a report fresh without repeating it.
    let mut news = two.board.own_changes();
    news.mark_unchanged();
    let before = one.handle.counters();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(4200) {
        assert!(two.knows(&one).is_some() && one.knows(&two).is_some());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!news.has_changed().unwrap(), "hearing is no change of one's own");
    let after = one.handle.counters();
    let (sent, received) =
        (after.bytes_sent - before.bytes_sent, after.bytes_received - before.bytes_received);
    println!("idle: {sent} bytes sent and {received} received in {:?}", begun.elapsed());
    assert!((90..400).contains(&sent), "{sent}");
    let uptime = two.knows(&one).unwrap().uptime_ms;
    assert!(uptime >= 3000, "the uptime goes on: {uptime}");

    // Silence is noticed and shown.
    let mut pages = two.board.changes();
    drop(one);
    pages.mark_unchanged();
    let begun = Instant::now();
    let silent = || two.board.nodes().iter().any(|n| !n.reachable);
    eventually("out of reach", silent).await;
    pages.changed().await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(3500));
}

#[tokio::test]
async fn nodes_whose_reports_never_repeat_do_not_keep_each_other_awake() {
    let (one, two) = two();
    for node in [&one, &two] {
        // As counters and ages do: another value at each look.
        let looks = AtomicU32::new(0);
        node.board.provide(move |status| status.pid = looks.fetch_add(1, Ordering::Relaxed));
    }
    one.meets(&two).await;
    tokio::time::sleep(Duration::from_millis(500)).await; // the news of the start are over
    let (before, mut changes) = (one.knows(&two).unwrap().pid, one.board.changes());
    changes.mark_unchanged();
    let (begun, mut wakes) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_millis(3100) {
        if tokio::time::timeout(Duration::from_millis(100), changes.changed()).await.is_ok() {
            wakes += 1;
        }
    }
    assert!((3..=5).contains(&wakes), "a report a second, not {wakes} in 3 s");
    assert!(one.knows(&two).unwrap().pid - before <= 5);
}

#[tokio::test]
async fn who_knows_the_key_is_pinned_once_by_both_and_needs_it_no_more() {
    let (one, two) = two();
    one.meets(&two).await;
    for node in [&one, &two] {
        eventually("everybody is pinned", || {
            node.pinned("web01") == one.device() && node.pinned("web02") == two.device()
        })
        .await;
        assert_eq!(node.desk.lock().unwrap().pins, 2, "and asked for once");
    }
    // The key can go, and what runs goes on.
    two.serves_echo();
    let mut stream = one.handle.open(&id("web02"), Service::Mirror).await.unwrap();
    for node in [&one, &two] {
        node.change(|s| s.cluster.key = Secret::default());
        eventually("applied", || node.state() == Some(SubsystemState::Applied)).await;
    }
    stream.write_all(b"hi").await.unwrap();
    stream.flush().await.unwrap();
    stream.read_exact(&mut [0; 2]).await.unwrap();
    one.handle.open(&id("web02"), Service::Mirror).await.unwrap();
    assert_eq!(one.desk.lock().unwrap().pins + two.desk.lock().unwrap().pins, 4);
}

#[tokio::test]
async fn a_pin_that_came_to_nothing_is_asked_for_again() {
    let (one, two) = two();
    one.desk.lock().unwrap().busy = 2;
    one.meets(&two).await;
    eventually("everybody is pinned", || {
        one.pinned("web01") == one.device() && one.pinned("web02") == two.device()
    })
    .await;
    assert!((4..=6).contains(&one.desk.lock().unwrap().pins));
}

#[tokio::test]
async fn another_key_is_refused_said_and_can_be_corrected_live() {
    let nodes = [node("web01", address()), node("web02", address())];
    let one = Fixture::start("web01", &settings(&nodes));
    let mut other = settings(&nodes);
    other.cluster.key = Secret::new("a key of the same length, but another one");
    let two = Fixture::start("web02", &other);
    one.degraded("node web02 refused: it has another cluster key").await;
    two.degraded("node web01 refused: it has another cluster key").await;
    eventually("counted", || two.handle.counters().wrong_key > 0).await;
    assert_eq!(two.handle.counters().admitted, 0);
    let error = one.handle.open(&id("web02"), Service::Status).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert_eq!((one.pinned("web02"), two.pinned("web01")), (None, None));

    let key = one.settings().cluster.key;
    two.change(|s| s.cluster.key = key);
    one.meets(&two).await;
    eventually("applied", || one.state() == Some(SubsystemState::Applied)).await;
    eventually("applied", || two.state() == Some(SubsystemState::Applied)).await;
}

#[tokio::test]
async fn without_a_key_boards_that_have_not_met_stay_strangers() {
    let nodes = [node("web01", address()), node("web02", address())];
    let mut keyless = settings(&nodes);
    keyless.cluster.key = Secret::default();
    let one = Fixture::start("web01", &keyless);
    eventually("idle", || one.state() == Some(SubsystemState::Idle)).await;
    let error = one.handle.open(&id("web02"), Service::Status).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    eventually("it listens, to be found", || std::net::TcpStream::connect(one.at).is_ok()).await;
    // Nor is one with a key believed.
    let two = Fixture::start("web02", &settings(&nodes));
    two.degraded("its board is not known yet").await;
    assert_eq!(one.pinned("web02"), None);
    one.change(|s| s.cluster.key = Secret::new("short"));
    one.degraded("shorter than 32 characters").await;
    // Of three nodes one is known.
    one.change(|s| {
        s.cluster.key = Secret::default();
        s.nodes.push(node("web03", address()));
        s.nodes[1].device = two.device();
    });
    one.degraded("web03: its board is not known yet: adopt it").await;
    two.change(|s| s.nodes[0].device = one.device());
    one.meets(&two).await;
}

#[tokio::test]
async fn a_board_with_another_key_than_the_pinned_one_is_refused_and_said_on_both() {
    let nodes = [node("web01", address()), node("web02", address())];
    let mut pinned = settings(&nodes);
    let (old, new) = (key(), key());
    pinned.nodes[1].device = Some(Identity::read(&old).unwrap().device().clone());
    let one = Fixture::start("web01", &pinned);
    let two = Fixture::with("web02", &pinned, &new, Versions::OURS);
    two.degraded("the cluster knows another key for web02").await;
    two.degraded("node web01 refused: web02 has a new key: its card was replaced or wiped").await;
    one.degraded("web02 has a new key: its card was replaced or wiped; use Replace").await;
    assert!(one.notices().contains("web02 has a new key"), "{}", one.notices());
    assert_eq!(two.pinned("web02"), one.pinned("web02"), "nothing is overwritten");
    // As Replace does it.
    one.change(|s| s.nodes[1].device = two.device());
    two.change(|s| s.nodes[1].device = two.device());
    one.meets(&two).await;
    eventually("applied", || one.state() == Some(SubsystemState::Applied)).await;
    assert_eq!(one.notices(), "");
}

#[tokio::test]
async fn releases_one_apart_work_together_and_others_say_what_to_do() {
    let nodes = [node("web01", address()), node("web02", address()), node("web03", address())];
    let settings = settings(&nodes);
    let one = Fixture::with("web01", &settings, &key(), Versions { min: 1, max: 2 });
    let two = Fixture::with("web02", &settings, &key(), Versions { min: 2, max: 3 });
    let three = Fixture::with("web03", &settings, &key(), Versions { min: 3, max: 4 });
    one.meets(&two).await;
    two.meets(&three).await;
    one.degraded("node web03 refused: it runs a much newer release").await;
    three.degraded("node web01 refused: it runs a much older release").await;
}

#[tokio::test]
async fn a_copied_card_is_refused_and_said() {
    let (first, copy) = (address(), address());
    let mut original = node("web02", first);
    let keys = [key(), key()];
    original.device = Some(Identity::read(&keys[1]).unwrap().device().clone());
    let mut watching = node("web01", address());
    watching.device = Some(Identity::read(&keys[0]).unwrap().device().clone());
    let all = settings(&[watching.clone(), original.clone()]);
    let one = Fixture::with("web01", &all, &keys[0], Versions::OURS);
    let two = Fixture::with("web02", &all, &keys[1], Versions::OURS);
    one.meets(&two).await;
    // The same card in another board, which got another address.
    let mut moved = settings(&[watching, original]);
    moved.nodes[1].eth0 = node("web02", copy).eth0;
    let double = Fixture::with("web02", &moved, &keys[1], Versions::OURS);
    double.degraded("the card of web02 was copied").await;
    eventually("said here too", || one.notices().contains("the card of web02 was copied")).await;
    assert!(two.knows(&one).is_some(), "the first stays in");
    drop(two);
    eventually("let in", || double.state() == Some(SubsystemState::Applied)).await;
}

#[tokio::test]
async fn a_member_that_leaves_is_cut_off_and_let_in_again() {
    let (one, two) = two();
    two.serves_echo();
    one.meets(&two).await;
    eventually("pinned", || two.pinned("web01").is_some()).await;
    let mut stream = one.handle.open(&id("web02"), Service::Mirror).await.unwrap();
    let nodes = two.settings().nodes;
    two.change(|s| s.nodes.retain(|n| n.id.as_str() == "web02"));
    assert!(stream.read(&mut [0]).await.is_err());
    one.degraded("node web02 refused: this board was removed from the cluster").await;
    assert_eq!(two.board.nodes().len(), 1, "forgotten");
    eventually("counted", || two.handle.counters().refused > 0).await;
    let error = two.handle.open(&id("web01"), Service::Status).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    two.change(|s| s.nodes = nodes);
    one.meets(&two).await;
    eventually("applied", || one.state() == Some(SubsystemState::Applied)).await;
}

#[tokio::test]
async fn streams_carry_much_and_end_properly() {
    let (one, two) = two();
    one.meets(&two).await;
    let error = one.handle.open(&id("web02"), Service::Mirror).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "nobody serves it yet: {error}");
    two.serves_echo();
    let stream = one.handle.open(&id("web02"), Service::Mirror).await.unwrap();
    assert_eq!(stream.peer(), &id("web02"));
    let (mut reader, mut writer) = tokio::io::split(stream);
    let block: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[0] ^ 0x5a).collect();
    const BLOCKS: usize = 32;
    let begun = Instant::now();
    let sent = block.clone();
    let sender = tokio::spawn(async move {
        for _ in 0..BLOCKS {
            writer.write_all(&sent).await.unwrap();
        }
        writer.shutdown().await.unwrap();
        writer
    });
    let mut heard = vec![0; block.len()];
    for _ in 0..BLOCKS {
        reader.read_exact(&mut heard).await.unwrap();
        assert!(heard == block);
    }
    assert_eq!(reader.read(&mut heard).await.unwrap(), 0, "a proper end");
    sender.await.unwrap();
    println!("echo of 32 MiB: {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_faster_than_the_wire() {
    const MEGABYTES: u32 = 64;
    let (one, two) = two();
    one.meets(&two).await;
    let (done, finished) = tokio::sync::oneshot::channel();
    let done = Mutex::new(Some(done));
    two.handle.on(
        Service::Mirror,
        Arc::new(move |_, mut stream| {
            let done = done.lock().unwrap().take();
            Box::pin(async move {
                let length = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.unwrap();
                done.unwrap().send(length).unwrap();
            })
        }),
    );
    let mut stream = one.handle.open(&id("web02"), Service::Mirror).await.unwrap();
    let block = vec![7; 1_000_000];
    let begun = Instant::now();
    for _ in 0..MEGABYTES {
        stream.write_all(&block).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    assert_eq!(finished.await.unwrap(), u64::from(MEGABYTES) * 1_000_000);
    println!("one way: {:.0} MB/s", f64::from(MEGABYTES) / begun.elapsed().as_secs_f64());
}

#[tokio::test]
async fn the_next_address_is_tried_when_the_first_is_silent() {
    let (wired, wireless) = (address(), address());
    let silent = TcpListener::bind((wired, NODE_PORT)).await.unwrap(); // takes calls, says nothing
    let mut other = node("web02", wired);
    other.wlan0 = node("web02", wireless).eth0;
    let settings = settings(&[node("web01", address()), other]);
    let one = Fixture::start("web01", &settings);
    let two = Fixture::start("web02", &settings); // listens on the last address
    assert_eq!(two.at.ip(), &wireless);
    two.serves_echo();
    let begun = Instant::now();
    one.handle.open(&id("web02"), Service::Mirror).await.unwrap();
    let silence = begun.elapsed();
    assert!((300..1500).contains(&silence.as_millis()), "{silence:?}");
    drop(silent);
    // The machine may stand still during some of them.
    let mut refusals = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        one.handle.open(&id("web02"), Service::Mirror).await.unwrap();
        refusals.push(begun.elapsed());
    }
    let refused = refusals.into_iter().min().unwrap();
    assert!(refused < Duration::from_millis(250), "a refusal is no reason to wait: {refused:?}");
    println!("a silent address costs {silence:?}, a refused one {refused:?}");
}

#[tokio::test]
async fn two_nodes_at_one_address_are_told_apart() {
    let (shared, own) = (address(), address());
    let confused = settings(&[node("web01", own), node("web02", shared), node("web03", shared)]);
    let three = Fixture::start("web03", &confused);
    let one = Fixture::start("web01", &confused);
    one.meets(&three).await;
    one.degraded("node web03 answers at the address of node web02").await;
}

#[tokio::test]
async fn garbage_is_counted_and_harms_nobody() {
    let (one, two) = two();
    one.meets(&two).await;
    for bytes in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 5000], &[0, 1, 1], &[0; 70_000]]
    {
        let mut stranger = TcpStream::connect(two.at).await.unwrap();
        let _ = stranger.write_all(bytes).await;
        let _ = stranger.shutdown().await;
        let mut answer = Vec::new();
        let _ = stranger.read_to_end(&mut answer).await;
        assert!(answer.len() <= 7, "an alert at most: {answer:?}");
    }
    eventually("counted", || {
        let counters = two.handle.counters();
        counters.garbage + counters.unfinished == 4 && counters.garbage >= 3
    })
    .await;
    assert!(one.knows(&two).is_some() && two.knows(&one).is_some());
}

#[tokio::test]
async fn half_open_connections_are_few_and_end() {
    let (one, two) = two();
    one.meets(&two).await;
    let begun = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(two.at).await.unwrap());
    }
    // The eight, and the stream of the other node.
    eventually("all are there", || two.handle.counters().incoming >= 9).await;
    for _ in 0..20 {
        let mut late = TcpStream::connect(two.at).await.unwrap();
        assert!(matches!(late.read(&mut [0]).await, Ok(0) | Err(_)), "sent away at once");
    }
    assert!(two.handle.counters().busy >= 20);
    for mut connection in silent {
        assert!(matches!(connection.read(&mut [0]).await, Ok(0) | Err(_)));
    }
    let ended = begun.elapsed();
    assert!((2000..4000).contains(&ended.as_millis()), "after the handshake's time: {ended:?}");
    eventually("counted", || two.handle.counters().unfinished >= 8).await;
    // Streams that were there are there, and new ones are welcome.
    assert!(one.knows(&two).is_some() && two.knows(&one).is_some());
    two.serves_echo();
    one.handle.open(&id("web02"), Service::Mirror).await.unwrap();
}

#[tokio::test]
async fn reports_that_are_too_long_or_in_anothers_name_are_not_believed() {
    let (one, two) = two();
    one.meets(&two).await;
    let forged = NodeStatus { id: id("web02"), ..NodeStatus::default() };
    let mut report = vec![1];
    report.extend(serde_json::to_vec(&forged).unwrap());
    let mut framed = u32::try_from(report.len()).unwrap().to_be_bytes().to_vec();
    framed.extend(report);
    let wrong = [framed, vec![0xff; 8], vec![0, 0, 0, 0], vec![0, 0, 0, 2, 1, b'{']];
    for (already, bytes) in (0..).zip(&wrong) {
        let mut stream = one.handle.open(&id("web02"), Service::Status).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)), "{bytes:?}");
        assert_eq!(two.handle.counters().bad_reports, already + 1);
    }
    let ids: Vec<_> = two.board.nodes().into_iter().map(|n| n.status.id).collect();
    assert_eq!(ids, [id("web02"), id("web01")]);
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_and_used_when_it_is_free() {
    let at = address();
    let taken = TcpListener::bind((at, NODE_PORT)).await.unwrap();
    let settings = settings(&[node("web01", at), node("web02", address())]);
    let one = Fixture::start("web01", &settings);
    one.degraded("is not free").await;
    drop(taken);
    eventually("applied", || one.state() == Some(SubsystemState::Applied)).await;
    let two = Fixture::start("web02", &settings);
    one.meets(&two).await;
}
