//! The audit logs of several nodes: in order, complete, and honest about what does not fit.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use model::NodeId;
use model::audit::{Actor, Deed, Entry, KEPT, Query, Record};
use std::path::Path;
use store::{AuditLog, Store};
use tempfile::TempDir;

fn open(dir: &Path, node: &str) -> AuditLog {
    let node: NodeId = node.parse().unwrap();
    Store::open(dir).unwrap().audit(&node, || true).unwrap()
}

fn node(name: &str) -> (TempDir, AuditLog) {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), name);
    (dir, log)
}

fn write(log: &AuditLog, what: &str) {
    let actor = Actor::Operator { address: "192.168.1.50".to_owned() };
    log.record(&Record::done(actor, Deed::Settings, what)).unwrap();
}

/// One sends what the other lacks.
fn send(from: &AuditLog, to: &AuditLog) {
    to.compare(&from.heads()).unwrap();
    for head in from.heads() {
        let theirs = to.heads();
        let has = theirs.iter().find(|h| (&h.node, &h.log) == (&head.node, &head.log));
        let mut has = has.map_or(0, |h| h.seq);
        loop {
            // Several at once; a long log is more than one piece.
            let batch = from.after(&head.node, &head.log, has, 200_000).unwrap();
            let Some(last) = batch.last() else { break };
            has = last.seq;
            to.merge(&batch).unwrap();
        }
    }
}

fn objects(log: &AuditLog) -> Vec<String> {
    let query = Query { limit: 10_000, ..Query::default() };
    let mut all: Vec<String> =
        log.list(&query).unwrap().entries.into_iter().map(|e| e.object).collect();
    all.sort();
    all
}

#[test]
fn everybody_has_everything_after_they_met() {
    let (a, b, c) = (node("a"), node("b"), node("c"));
    for n in 0..5 {
        write(&a.1, &format!("a{n}"));
        write(&b.1, &format!("b{n}"));
    }
    send(&a.1, &b.1);
    send(&b.1, &a.1);
    // c hears of a through b.
    send(&b.1, &c.1);
    write(&c.1, "c0");
    send(&c.1, &a.1);
    send(&c.1, &b.1);
    assert_eq!(objects(&a.1).len(), 11);
    assert_eq!(objects(&a.1), objects(&b.1));
    assert_eq!(objects(&a.1), objects(&c.1));
    for (_, log) in [&a, &b, &c] {
        assert_eq!(log.verify().unwrap(), [""; 0]);
        assert_eq!(log.complaints(), [""; 0]);
    }
    let mut changes = a.1.changes();
    changes.mark_unchanged();
    send(&c.1, &a.1);
    assert!(!changes.has_changed().unwrap(), "what is known is no news");
    let again = open(a.0.path(), "a");
    write(&again, "a5");
    assert_eq!(again.heads().iter().find(|h| h.node.as_str() == "a").unwrap().seq, 6);
    assert_eq!(again.verify().unwrap(), [""; 0]);
}

#[test]
fn the_list_is_newest_first_and_goes_on() {
    let (_dir, log) = node("a");
    for n in 0..25 {
        write(&log, &format!("change {n}"));
    }
    let actor = Actor::Visitor { address: "10.0.0.1".parse().unwrap() };
    log.record(&Record::done(actor, Deed::SignInFailed, "x\ny")).unwrap();
    let mut query = Query { limit: 10, ..Query::default() };
    let mut seen = Vec::new();
    loop {
        let page = log.list(&query).unwrap();
        seen.extend(page.entries.iter().map(|e| e.seq));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=26).rev().collect::<Vec<_>>());
    let find = |words: &str, deed: Option<Deed>, node: Option<&str>| {
        let query = Query {
            words: words.to_owned(),
            deed: deed.map(|d| d.key().to_owned()),
            node: node.map(|n| n.parse().unwrap()),
            limit: 100,
            after: None,
        };
        log.list(&query).unwrap().entries.len()
    };
    assert_eq!(find("CHANGE 24", None, None), 1);
    assert_eq!(find("", Some(Deed::SignInFailed), None), 1);
    assert_eq!(find("10.0.0.1 failed", None, Some("a")), 1);
    assert_eq!(find("", None, Some("b")), 0);
    let page = log.list(&Query { limit: 1, ..Query::default() }).unwrap();
    assert_eq!(page.entries[0].object, "x\\ny");
    for junk in ["", ".", "x.y", "9"] {
        let query = Query { after: Some(junk.into()), limit: 1, ..Query::default() };
        assert_eq!(log.list(&query).unwrap().entries.len(), 1);
    }
}

#[test]
fn nothing_is_rewritten_and_what_was_changed_is_found() {
    let (dir, log) = node("a");
    for n in 0..10 {
        write(&log, &format!("change {n}"));
    }
    let raw = rusqlite::Connection::open(dir.path().join("bramble.db")).unwrap();
    for sql in ["UPDATE audit SET entry = ''", "DELETE FROM audit WHERE seq = 10"] {
        let error = raw.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("never"), "{error}");
    }
    raw.execute_batch(
        "DROP TRIGGER audit_is_not_rewritten;
         UPDATE audit SET entry = replace(entry, 'change 4', 'nothing') WHERE seq = 5",
    )
    .unwrap();
    let found = log.verify().unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("node a") && found[0].contains("entry 5"), "{found:?}");
    let listed = log.list(&Query { limit: 1, ..Query::default() }).unwrap();
    assert_eq!(listed.complaints, found);
}

#[test]
fn a_changed_log_is_not_taken_over() {
    let (a, b) = (node("a"), node("b"));
    for n in 0..5 {
        write(&a.1, &format!("change {n}"));
    }
    send(&a.1, &b.1);
    for n in 5..8 {
        write(&a.1, &format!("change {n}"));
    }
    let head = a.1.heads().remove(0);
    let mut forged = a.1.after(&head.node, &head.log, 5, 100_000).unwrap();
    forged[0].object = "nothing".to_owned();
    let merged = b.1.merge(&forged).unwrap();
    assert_eq!((merged.new, merged.refused), (0, 3), "nor what comes after it");
    assert_eq!(objects(&b.1).len(), 5);
    assert_eq!(b.1.complaints().len(), 1);
    assert!(b.1.complaints()[0].contains("node a"));

    let hidden = Entry { object: "two\nlines".into(), ..forged[1].clone() };
    assert_eq!(b.1.merge(&[hidden]).unwrap().refused, 1);
    // From the beginning, the first entry must be one.
    let (_dir, c) = node("c");
    let first = a.1.after(&head.node, &head.log, 0, 1).unwrap();
    let forged = Entry { object: "nothing".into(), ..first[0].clone() };
    assert_eq!(c.merge(&[forged]).unwrap().new, 0);
    assert_eq!(c.complaints().len(), 1);
}

#[test]
fn a_node_set_back_to_an_old_copy_begins_another_log() {
    let (dir, a) = node("a");
    let b = node("b");
    for n in 0..3 {
        write(&a, &format!("before {n}"));
    }
    send(&a, &b.1);
    drop(a);
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap().flatten() {
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let a = open(dir.path(), "a");
    for n in 0..3 {
        write(&a, &format!("after {n}"));
    }
    send(&a, &b.1);
    // The card is replaced by its copy; nothing was written before the nodes meet.
    let old = open(copy.path(), "a");
    send(&b.1, &old);
    assert_eq!(objects(&old).len(), 6, "it gets back what it forgot");
    write(&old, "restored");
    send(&old, &b.1);
    assert_eq!(objects(&b.1).len(), 7);
    assert!(b.1.complaints().is_empty() && old.complaints().is_empty());

    // The same, but something was written before they meet: that cannot be hidden.
    let second = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap().flatten() {
        std::fs::copy(file.path(), second.path().join(file.file_name())).unwrap();
    }
    let (first, forked, third) = (open(dir.path(), "a"), open(second.path(), "a"), node("c"));
    write(&first, "on the first card");
    write(&forked, "on the second card");
    send(&first, &third.1);
    forked.compare(&third.1.heads()).unwrap();
    send(&forked, &third.1);
    assert_eq!((forked.complaints().len(), third.1.complaints().len()), (1, 1));
    assert!(!objects(&third.1).contains(&"on the second card".to_owned()));
    write(&forked, "from now on");
    send(&forked, &third.1);
    assert!(objects(&third.1).contains(&"from now on".to_owned()), "in a log of its own");
}

#[test]
fn a_log_has_an_end_and_the_rest_still_fits() {
    let (dir, a) = node("a");
    {
        // As if they had been written one by one, without waiting for the disk each time.
        let raw = rusqlite::Connection::open(dir.path().join("bramble.db")).unwrap();
        raw.pragma_update(None, "synchronous", "OFF").unwrap();
    }
    let count = KEPT + 100;
    let log = a.heads();
    assert!(log.is_empty());
    let mut previous = String::new();
    let mut entries = Vec::new();
    for seq in 1..=count {
        let mut entry = Entry {
            node: "z".parse().unwrap(),
            log: "1".into(),
            seq,
            object: format!("change {seq}"),
            at_ms: i64::try_from(seq).unwrap(),
            clock_set: true,
            ..Entry::default()
        };
        entry.chain = blake3::hash(&entry.material(&previous)).to_hex().to_string();
        previous.clone_from(&entry.chain);
        entries.push(entry);
    }
    assert_eq!(u64::try_from(a.merge(&entries).unwrap().new).unwrap(), count);
    let kept = objects(&a).len();
    assert_eq!(u64::try_from(kept).unwrap(), KEPT);
    assert_eq!(a.verify().unwrap(), [""; 0]);
    // A node that was never there gets what is left, and one that was away the rest.
    let b = node("b");
    b.1.merge(&entries[..10]).unwrap();
    send(&a, &b.1);
    assert_eq!(b.1.complaints(), [""; 0]);
    assert_eq!(objects(&b.1).len(), kept);
    let c = node("c");
    send(&a, &c.1);
    assert_eq!((objects(&c.1).len(), c.1.verify().unwrap().len()), (kept, 0));
}

#[test]
fn logs_of_nobody_known_are_few() {
    let (_dir, a) = node("a");
    for n in 0..100 {
        let mut entry = Entry {
            node: format!("n{n}").parse().unwrap(),
            log: "1".into(),
            seq: 1,
            ..Entry::default()
        };
        entry.chain = blake3::hash(&entry.material("")).to_hex().to_string();
        a.merge(&[entry]).unwrap();
    }
    assert_eq!(a.heads().len(), 32);
    write(&a, "mine");
    assert_eq!(a.heads().len(), 33);
}
