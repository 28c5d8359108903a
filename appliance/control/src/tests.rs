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
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        let named = next.settings.cluster.name.is_some();
        Box::pin(async move { if named { Err("port taken".to_owned()) } else { Ok(()) } })
    }
}

struct Broken(MemoryStorage);

impl Storage for Broken {
    fn newest(&mut self) -> Result<Option<StoredRevision>, StorageError> {
        self.0.newest()
    }
    fn revision(&mut self, revision: Revision) -> Result<Option<StoredRevision>, StorageError> {
        self.0.revision(revision)
    }
    fn commit(&mut self, _: &Commit<'_>) -> Result<(), StorageError> {
        Err(StorageError("the card is full".into()))
    }
    fn history(&mut self, limit: usize) -> Result<Vec<RevisionInfo>, StorageError> {
        self.0.history(limit)
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

    let broken = Broken(MemoryStorage::default());
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
