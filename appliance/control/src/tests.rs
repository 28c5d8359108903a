//! The road of a change, with everything that can stop it.

use crate::*;
use model::{Cidr, Edit, Name, NodeId, Revision, Settings};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

fn node() -> NodeId {
    "here".parse().unwrap()
}

fn named(name: &str) -> Edit {
    let mut settings = Settings::default();
    settings.cluster.name = name.parse::<Name>().ok();
    Edit::PutCluster(settings.cluster)
}

fn change(base: Option<u64>, edit: Edit) -> Change {
    Change { base: base.map(Revision), author: Author::Local, edits: vec![edit] }
}

fn engine() -> (Engine<MemoryStorage>, Control) {
    Engine::new(MemoryStorage::default(), &node(), Settings::default()).unwrap()
}

#[tokio::test]
async fn a_change_is_stored_published_and_listed() {
    let (engine, control) = engine();
    let mut watch = control.watch();
    tokio::spawn(engine.run());
    assert_eq!(control.snapshot().revision, Revision(0));
    let outcome = control.submit(change(Some(0), named("one"))).await.unwrap();
    assert_eq!(outcome, Outcome::Applied(Revision(1)));
    watch.changed().await.unwrap();
    assert_eq!(watch.borrow().settings.cluster.name.as_ref().unwrap().as_str(), "one");
    let again = control.submit(change(None, named("one"))).await.unwrap();
    assert_eq!(again, Outcome::Unchanged(Revision(1)));
    assert_eq!(control.history(9).await.unwrap()[0].sentence, "changed the cluster's settings");
}

#[tokio::test]
async fn a_stale_form_learns_what_is_there_now() {
    let (engine, control) = engine();
    tokio::spawn(engine.run());
    control.submit(change(Some(0), named("one"))).await.unwrap();
    match control.submit(change(Some(0), named("two"))).await {
        Err(Rejected::Stale(now)) => assert_eq!(now.revision, Revision(1)),
        other => panic!("{other:?}"),
    }
    // An edit that means the same on any revision needs none.
    control.submit(change(None, named("two"))).await.unwrap();
}

#[tokio::test]
async fn going_back_is_a_new_revision() {
    let (engine, control) = engine();
    tokio::spawn(engine.run());
    control.submit(change(None, named("one"))).await.unwrap();
    control.submit(change(None, named("two"))).await.unwrap();
    let outcome = control.revert(Revision(1), Author::Local).await.unwrap();
    assert_eq!(outcome, Outcome::Applied(Revision(3)));
    assert_eq!(control.snapshot().settings.cluster.name.as_ref().unwrap().as_str(), "one");
    assert_eq!(control.history(1).await.unwrap()[0].sentence, "went back to revision 1");
    assert!(matches!(control.revert(Revision(9), Author::Local).await, Err(Rejected::Missing(_))));
}

struct Refuses;

impl Preflight for Refuses {
    fn name(&self) -> &'static str {
        "load balancer"
    }
    fn prepare<'a>(
        &'a self,
        _current: &'a Snapshot,
        next: &'a Snapshot,
    ) -> Pin<Box<dyn Future<Output = Result<(), Obstacle>> + Send + 'a>> {
        let named = next.settings.cluster.name.is_some();
        Box::pin(async move { if named { Err("port taken".to_owned().into()) } else { Ok(()) } })
    }
}

/// Keeps what a book writes, and can be made to fail.
#[derive(Clone, Default)]
struct Card(Arc<std::sync::Mutex<(MemoryStorage, bool)>>);

impl Card {
    fn with<T>(&self, work: impl FnOnce(&mut MemoryStorage) -> T) -> T {
        work(&mut self.0.lock().unwrap().0)
    }
}

impl Storage for Card {
    fn newest(&mut self) -> Result<Option<StoredRevision>, StorageError> {
        self.with(Storage::newest)
    }
    fn revision(&mut self, revision: Revision) -> Result<Option<StoredRevision>, StorageError> {
        self.with(|s| s.revision(revision))
    }
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StorageError> {
        if self.0.lock().unwrap().1 {
            return Err(StorageError("the card is full".into()));
        }
        self.with(|s| s.commit(commit))
    }
    fn history(&mut self, limit: usize) -> Result<Vec<RevisionInfo>, StorageError> {
        self.with(|s| s.history(limit))
    }
    fn document(&mut self) -> Result<Vec<Vec<u8>>, StorageError> {
        self.with(Storage::document)
    }
    fn keys(&mut self) -> Result<Option<Vec<u8>>, StorageError> {
        self.with(Storage::keys)
    }
    fn set_keys(&mut self, keys: &[u8]) -> Result<(), StorageError> {
        self.with(|s| s.set_keys(keys))
    }
}

#[tokio::test]
async fn nothing_changes_when_something_is_in_the_way() {
    let bad = |address: &str| {
        let mut settings = Settings::default();
        settings.cluster.floating_ip = address.parse::<Cidr>().ok();
        Edit::PutCluster(settings.cluster)
    };
    let (mut engine, control) = engine();
    engine.add_preflight(Arc::new(Refuses));
    tokio::spawn(engine.run());
    let rejected = control.submit(change(None, bad("127.0.0.1/8"))).await.unwrap_err();
    assert!(matches!(rejected, Rejected::Problems(p) if p[0].path == "cluster.floating_ip"));
    let rejected = control.submit(change(None, named("one"))).await.unwrap_err();
    assert_eq!(rejected.to_string(), "load balancer cannot do that: port taken");
    let gone = Edit::RemoveNode(node());
    assert!(matches!(control.submit(change(None, gone)).await, Err(Rejected::Missing(_))));
    assert_eq!(control.snapshot().revision, Revision(0));

    let broken = Card::default();
    broken.0.lock().unwrap().1 = true;
    let (engine, control) = Engine::new(broken, &node(), Settings::default()).unwrap();
    let watch = control.watch();
    tokio::spawn(engine.run());
    let rejected = control.submit(change(None, named("one"))).await.unwrap_err();
    assert!(rejected.to_string().contains("the card is full"));
    assert!(!watch.has_changed().unwrap(), "published although it is not on disk");
}

#[tokio::test]
async fn a_panicking_subsystem_is_started_again_and_shown() {
    let board = StatusBoard::new(node(), "0");
    let (trigger, shutdown) = Shutdown::new();
    let runs = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let reporter = board.reporter(model::status::Subsystem::Proxy);
    let (count, stop) = (runs.clone(), shutdown.clone());
    let supervised = tokio::spawn(supervise(reporter.clone(), shutdown, move || {
        let run = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let (reporter, stop) = (reporter.clone(), stop.clone());
        async move {
            assert!(run > 0, "the first run fails");
            reporter.applied(Revision(7));
            stop.requested().await;
        }
    }));
    let mut changes = board.changes();
    let state = |b: &StatusBoard| {
        b.own().subsystems.get(&model::status::Subsystem::Proxy).map(|s| s.state.clone())
    };
    let mut seen_failed = false;
    while state(&board) != Some(model::status::SubsystemState::Applied) {
        changes.changed().await.unwrap();
        seen_failed |= matches!(state(&board), Some(model::status::SubsystemState::Failed { reason }) if reason.contains("the first run fails"));
    }
    assert!(seen_failed);
    trigger.trigger();
    supervised.await.unwrap();
    assert_eq!(runs.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[test]
fn the_board_keeps_the_last_report_of_a_silent_node() {
    let board = StatusBoard::new(node(), "0");
    let other = model::status::NodeStatus {
        id: "there".parse().unwrap(),
        ..model::status::NodeStatus::default()
    };
    board.heard(other);
    board.provide(|status| status.uptime_ms = 7);
    board.notice("a", "one");
    board.notice("a", "two");
    let nodes = board.nodes();
    assert_eq!(nodes.len(), 2);
    assert_eq!(nodes[0].status.uptime_ms, 7);
    assert_eq!(nodes[0].status.notices.len(), 1);
    assert!(nodes[1].reachable);
    board.clear_notice("a");
    board.retain(|id| id.as_str() != "there");
    assert_eq!(board.nodes().len(), 1);
}

fn with_nodes() -> Settings {
    let node = |id: &str, address: &str| model::Node {
        id: id.parse().unwrap(),
        device: Some(blank(id)),
        name: id.parse().unwrap(),
        eth0: model::Link { address: address.parse().ok(), ..model::Link::default() },
        ..model::Node::default()
    };
    let mut settings = Settings {
        nodes: vec![node("here", "192.168.1.1/24"), node("there", "192.168.1.2/24")],
        ..Settings::default()
    };
    settings.wifi.networks.push(model::WifiNetwork {
        ssid: "home".parse().unwrap(),
        passphrase: model::Secret::new("hush hush hush"),
        hidden: false,
    });
    settings
}

fn blank(id: &str) -> model::DeviceId {
    format!("{:0>64}", id.len()).parse().unwrap()
}

async fn exchange(a: &Control, b: &Control) {
    let (to_b, to_a) = (a.open_exchange().await.unwrap(), b.open_exchange().await.unwrap());
    b.add_keys(a.keys().await.unwrap().into_bytes(), node()).await.unwrap();
    for _ in 0..50 {
        let (x, y) = (to_b.next().await.unwrap(), to_a.next().await.unwrap());
        if x.is_none() && y.is_none() {
            assert_eq!(a.replication().borrow().heads, b.replication().borrow().heads);
            return;
        }
        if let Some(message) = x {
            to_a.take(&node(), message).await.unwrap();
        }
        if let Some(message) = y {
            to_b.take(&"there".parse().unwrap(), message).await.unwrap();
        }
    }
    panic!("they never end");
}

async fn two() -> (Control, Control) {
    let (engine, a) = engine();
    tokio::spawn(engine.run());
    let edits = vec![Edit::Replace(Box::new(with_nodes()))];
    a.submit(Change { base: None, author: Author::Local, edits }).await.unwrap();
    let there: NodeId = "there".parse().unwrap();
    let (engine, b) = Engine::new(MemoryStorage::default(), &there, Settings::default()).unwrap();
    tokio::spawn(engine.run());
    b.join(a.gift().await.unwrap(), Author::Local).await.unwrap();
    assert_eq!(b.snapshot().settings, a.snapshot().settings);
    (a, b)
}

#[tokio::test]
async fn what_another_node_changed_is_a_revision_like_any_other() {
    let (a, b) = two().await;
    a.submit(change(None, named("one"))).await.unwrap();
    exchange(&a, &b).await;
    assert_eq!(b.snapshot().settings, a.snapshot().settings);
    let newest = b.history(1).await.unwrap().remove(0);
    assert_eq!(newest.author, Author::Peer("here".into()));
    assert_eq!(newest.sentence, "changed the cluster's settings");
    // Nothing comes of meeting again.
    let before = b.snapshot().revision;
    exchange(&a, &b).await;
    assert_eq!(b.snapshot().revision, before);
}

#[tokio::test]
async fn a_conflict_is_shown_on_both_sides_and_settled_on_one() {
    let (a, b) = two().await;
    a.submit(change(None, named("one"))).await.unwrap();
    b.submit(change(None, named("two"))).await.unwrap();
    exchange(&a, &b).await;
    let lost = b.replication().borrow().lost.clone();
    assert_eq!(lost.len(), 1);
    assert_eq!(a.replication().borrow().lost, lost);
    let choice = Choice::Theirs(lost[0].change);
    b.resolve(lost[0].key.clone(), choice, Author::Local).await.unwrap();
    exchange(&a, &b).await;
    let name = |c: &Control| c.snapshot().settings.cluster.name.clone().unwrap().to_string();
    assert_eq!((name(&a), name(&b)), (lost[0].other.clone(), lost[0].other.clone()));
    assert!(a.replication().borrow().lost.is_empty());
    let again = a.resolve(lost[0].key.clone(), choice, Author::Local).await;
    assert!(matches!(again, Err(Rejected::Missing(_))), "{again:?}");
}

#[tokio::test]
async fn one_change_is_taken_back_and_no_other() {
    let (a, _) = two().await;
    let named = a.submit(change(None, named("one"))).await.unwrap();
    let mut node = a.snapshot().settings.nodes[0].clone();
    node.name = "other".parse().unwrap();
    a.submit(change(None, Edit::PutNode(node))).await.unwrap();
    a.undo(named.revision(), Author::Local).await.unwrap();
    let settings = a.snapshot().settings.clone();
    assert_eq!(settings.cluster.name, None);
    assert_eq!(settings.nodes[0].name.as_str(), "other");
    let again = a.undo(named.revision(), Author::Local).await;
    assert!(matches!(again, Err(Rejected::Missing(why)) if why.contains("cluster.name")));
}

#[tokio::test]
async fn shared_values_are_first_come_and_travel() {
    let (a, b) = two().await;
    let mut set = Vec::new();
    for value in ["one", "two"] {
        let done = a.share_first("admin.password", value.into(), Author::Local, "claimed").await;
        set.push(done.unwrap());
    }
    assert_eq!(set, [true, false]);
    exchange(&a, &b).await;
    assert_eq!(b.shared("admin.password").as_deref(), Some("one"));
    b.share("admin.password", None, Author::Local, "forgot it").await.unwrap();
    exchange(&a, &b).await;
    assert_eq!(a.shared("admin.password"), None);
    assert_eq!(a.snapshot().revision, Revision(1), "no settings were changed by that");
}

#[tokio::test]
async fn who_left_cannot_read_what_is_secret_from_then_on() {
    let (a, b) = two().await;
    let before = a.keys().await.unwrap();
    a.submit(change(None, Edit::RemoveNode("there".parse().unwrap()))).await.unwrap();
    assert_ne!(a.keys().await.unwrap(), before);
    assert_eq!(b.keys().await.unwrap(), before);
}

#[test]
fn a_book_opens_where_it_was_closed_and_keeps_no_secret_in_clear() {
    let mut card = Card::default();
    let open = |card: &Card| {
        let mut book = Book::open(card.clone(), &node(), Settings::default()).unwrap();
        book.begin().unwrap();
        book
    };
    let mut book = open(&card);
    book.write_settings(with_nodes(), &Author::Local, "began").unwrap();
    for round in 0..250_u8 {
        let mut next = book.settings().clone();
        next.nodes[0].eth0.address = format!("192.168.1.{}/24", round + 3).parse().ok();
        book.write_settings(next, &Author::Local, "moved").unwrap();
    }
    assert!(card.document().unwrap().len() <= 100, "the pieces are put together");
    let stored = model::to_json(&card.newest().unwrap().unwrap().settings);
    assert!(stored.contains("sealed:") && !stored.contains("hush"), "{stored}");
    let again = open(&card);
    assert_eq!(again.settings(), book.settings());
    assert_eq!(again.revision(), Revision(251));
    assert_eq!(again.replication(), book.replication());

    // A card that fails changes nothing.
    card.0.lock().unwrap().1 = true;
    let before = book.replication().heads.clone();
    let failed = book.write_settings(Settings::default(), &Author::Local, "forgot everything");
    assert!(matches!(failed, Err(BookError::Storage(_))));
    assert_eq!((&book.replication().heads, book.settings()), (&before, again.settings()));
    card.0.lock().unwrap().1 = false;
    book.share("x", Some("y"), &Author::Local, "works again").unwrap();
    assert_eq!(open(&card).replication().shared.len(), 1);
}

#[test]
fn settings_of_a_release_without_a_document_get_one() {
    let mut card = Card::default();
    let (author, settings) = (Author::Local, with_nodes());
    let new =
        NewRevision { revision: Revision(7), author: &author, sentence: "", settings: &settings };
    card.with(|s| s.commit(&Commit { revision: Some(new), piece: Piece::Whole(&[]) }).unwrap());
    let mut book = Book::open(card.clone(), &node(), Settings::default()).unwrap();
    book.begin().unwrap();
    assert_eq!((book.settings(), book.revision()), (&settings, Revision(7)));
    assert!(card.document().unwrap().iter().any(|piece| piece.len() > 100));
    assert!(card.keys().unwrap().is_some());

    // Damage to the document costs the document, not the settings.
    card.with(|s| s.commit(&Commit { revision: None, piece: Piece::Whole(b"damage") }).unwrap());
    let mut book = Book::open(card.clone(), &node(), Settings::default()).unwrap();
    book.begin().unwrap();
    assert_eq!(book.settings(), &settings);
}
