use crate::{Choice, Keyring, Ledger, Note, Step};
use model::{Node, NodeId, Settings};

type Copy = Ledger;

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn note(node: &str, sentence: &str) -> Note {
    Note { node: id(node), author: format!("operator at {node}"), sentence: sentence.to_owned() }
}

fn reference() -> Settings {
    let mut settings =
        model::from_toml(include_str!("reference.toml"), &Settings::default()).unwrap();
    settings.vrrp.push(model::VrrpInstance {
        name: "VI_1".parse().unwrap(),
        auth_pass: model::Secret::new("hush"),
        ..Default::default()
    });
    settings
}

fn actor(number: u8) -> [u8; 16] {
    [number; 16]
}

fn first(number: u8, node: &str) -> Copy {
    Ledger::open(actor(number), id(node), &[], Keyring::from_shared("k"), reference()).unwrap()
}

/// A second copy of a cluster that `other` belongs to.
fn joined(number: u8, node: &str, other: &Copy) -> Copy {
    Ledger::join(actor(number), id(node), other.whole(), other.keyring().clone()).unwrap()
}

/// Two copies meet and talk until neither has anything to say.
fn meet(a: &mut Copy, b: &mut Copy) -> (Vec<Step>, Vec<Step>) {
    let (mut to_b, mut to_a) = Default::default();
    let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let (x, y) = (a.generate(&mut to_b), b.generate(&mut to_a));
        if x.is_none() && y.is_none() {
            assert_eq!(a.heads(), b.heads());
            return (at_a, at_b);
        }
        at_b.extend(x.map(|m| b.receive(&mut to_a, &m).unwrap()));
        at_a.extend(y.map(|m| a.receive(&mut to_b, &m).unwrap()));
    }
    panic!("they never end");
}

fn rename(copy: &mut Copy, node: &str, at: usize, name: &str) -> Step {
    let mut next = copy.running().clone();
    next.nodes[at].name = name.parse().unwrap();
    copy.edit(next, &note(node, &format!("named it {name}"))).unwrap()
}

fn move_to(copy: &mut Copy, node: &str, at: usize, address: &str) -> Step {
    let mut next = copy.running().clone();
    next.nodes[at].eth0.address = address.parse().ok();
    copy.edit(next, &note(node, &format!("moved to {address}"))).unwrap()
}

#[test]
fn what_one_writes_the_other_runs_and_no_secret_is_in_clear() {
    let mut a = first(1, "web01");
    let mut b = joined(2, "web02", &a);
    assert_eq!(a.running(), b.running());
    assert_eq!(a.running(), &reference());
    assert_eq!(a.heads(), b.heads());
    let step = rename(&mut a, "web01", 1, "Other");
    assert_eq!(step.settings.as_ref(), Some(a.running()));
    let (_, at_b) = meet(&mut a, &mut b);
    let news: Vec<&Note> = at_b.iter().flat_map(|s| &s.notes).collect();
    assert_eq!(news, [&note("web01", "named it Other")]);
    assert_eq!(b.running().nodes[1].name.as_str(), "Other");
    assert!(b.lost().is_empty() && b.decision().is_none());
    let whole = a.whole();
    assert!(!whole.windows(4).any(|w| w == b"hush"));
    assert_eq!(b.running().vrrp[0].auth_pass.reveal(), "hush");
}

#[test]
fn nodes_that_were_set_up_alike_become_one_cluster() {
    let (mut a, mut b) = (first(1, "web01"), first(2, "web02"));
    meet(&mut a, &mut b);
    assert_eq!(a.running(), &reference());
    assert!(a.lost().is_empty(), "{:?}", a.lost());
    rename(&mut a, "web01", 0, "A");
    meet(&mut a, &mut b);
    assert_eq!(b.running().nodes[0].name.as_str(), "A");
}

#[test]
fn different_edits_of_two_halves_both_hold() {
    let mut a = first(1, "web01");
    let mut b = joined(2, "web02", &a);
    rename(&mut a, "web01", 0, "A");
    move_to(&mut b, "web02", 0, "192.168.1.99/24");
    let mut next = b.running().clone();
    next.nodes.push(Node { id: id("new"), name: "New".parse().unwrap(), ..Node::default() });
    b.edit(next, &note("web02", "a new node")).unwrap();
    meet(&mut a, &mut b);
    for copy in [&a, &b] {
        assert_eq!(copy.running().nodes[0].name.as_str(), "A");
        assert_eq!(copy.running().nodes[0].eth0.address, "192.168.1.99/24".parse().ok());
        assert_eq!(copy.running().nodes.len(), 5);
        assert!(copy.lost().is_empty());
    }
}

#[test]
fn the_same_edit_made_differently_is_shown_until_somebody_decides() {
    let mut a = first(1, "web01");
    let mut b = joined(2, "web02", &a);
    rename(&mut a, "web01", 0, "A");
    rename(&mut b, "web02", 0, "B");
    meet(&mut a, &mut b);
    assert_eq!(a.running(), b.running());
    let winner = a.running().nodes[0].name.to_string();
    let loser = if winner == "A" { "B" } else { "A" };
    assert_eq!(a.lost(), b.lost());
    let lost = a.lost()[0].clone();
    assert_eq!(lost.path, "nodes[web01].name");
    assert_eq!((lost.current.as_str(), lost.other.as_str()), (winner.as_str(), loser));
    assert_eq!(lost.other_by.sentence, format!("named it {loser}"));

    // Theirs, on one node; the other follows.
    let next = a.with_theirs(&lost.key, lost.change).unwrap().unwrap();
    assert_eq!(next.nodes[0].name.as_str(), loser);
    a.edit(next, &note("web01", "took theirs")).unwrap();
    meet(&mut a, &mut b);
    assert_eq!(b.running().nodes[0].name.as_str(), loser);
    assert!(a.lost().is_empty() && b.lost().is_empty());
    assert!(a.with_theirs(&lost.key, lost.change).is_err(), "it is settled");

    // And "keep" leaves the value alone.
    rename(&mut a, "web01", 0, "A2");
    rename(&mut b, "web02", 0, "B2");
    meet(&mut a, &mut b);
    let (key, held) = (a.lost()[0].key.clone(), a.running().clone());
    a.settle(&key, Choice::Keep, &note("web01", "kept it")).unwrap();
    meet(&mut a, &mut b);
    assert!(a.lost().is_empty() && b.lost().is_empty());
    assert_eq!(b.running(), &held);
}

#[test]
fn a_merge_that_breaks_a_rule_waits_for_a_decision() {
    let mut a = first(1, "web01");
    let mut b = joined(2, "web02", &a);
    move_to(&mut a, "web01", 0, "192.168.1.77/24");
    move_to(&mut b, "web02", 1, "192.168.1.77/24");
    let (at_a, at_b) = (a.running().clone(), b.running().clone());
    meet(&mut a, &mut b);
    assert_eq!((a.running(), b.running()), (&at_a, &at_b), "what ran goes on running");
    let due = a.decision().unwrap().clone();
    assert!(due.problems[0].problem.contains("192.168.1.77"), "{:?}", due.problems);
    let paths: Vec<_> = due.changes.iter().map(|c| c.path.as_str()).collect();
    assert_eq!(paths, ["nodes[web02].eth0.address"]);
    assert_eq!(due.changes[0].by.node, id("web02"));

    // Work goes on meanwhile, on both sides, and is heard.
    rename(&mut a, "web01", 2, "Third");
    assert_eq!(a.running().nodes[2].name.as_str(), "Third");
    assert!(a.decision().is_some());

    // One side takes the other's change back: everybody runs the same again.
    a.take_back(Some(&due.changes[0].key), &note("web01", "took it back")).unwrap();
    assert!(a.decision().is_none());
    meet(&mut a, &mut b);
    assert!(b.decision().is_none());
    assert_eq!(a.running(), b.running());
    assert_eq!(a.running().nodes[0].eth0.address, "192.168.1.77/24".parse().ok());
    assert_eq!(a.running().nodes[1].eth0.address, "192.168.1.11/24".parse().ok());
    assert_eq!(b.running().nodes[2].name.as_str(), "Third");
}

#[test]
fn an_entry_changed_while_it_was_removed_elsewhere_is_not_forgotten() {
    let mut a = first(1, "web01");
    let board: model::DeviceId = "b".repeat(64).parse().unwrap();
    let mut next = a.running().clone();
    next.nodes[1].device = Some(board.clone());
    a.edit(next, &note("web01", "met web02")).unwrap();
    assert!(a.removed().is_empty());
    let mut b = joined(2, "web02", &a);
    let mut next = a.running().clone();
    next.nodes.remove(1);
    a.edit(next, &note("web01", "removed web02")).unwrap();
    rename(&mut b, "web02", 1, "Precious");
    meet(&mut a, &mut b);
    assert_eq!(a.running().nodes.len(), 3);
    assert_eq!(a.running(), b.running());
    assert!(a.removed().contains(&board) && b.removed().contains(&board));
    let lost = b.lost()[0].clone();
    assert_eq!(lost.other, "nodes[web02].name = Precious");
    let next = b.with_theirs(&lost.key, lost.change).unwrap().unwrap();
    assert_eq!(next.nodes.len(), 4);
    b.edit(next, &note("web02", "brought it back")).unwrap();
    meet(&mut a, &mut b);
    assert!(a.lost().is_empty(), "{:?}", a.lost());
    assert!(b.removed().is_empty(), "it is back");
    let back = a.running().node(&id("web02")).unwrap();
    assert_eq!((back.name.as_str(), back.roles.len()), ("Precious", 1));
    // Removed again and confirmed, nothing is left of it.
    let mut next = a.running().clone();
    next.nodes.retain(|n| n.id != id("web02"));
    a.edit(next, &note("web01", "removed web02")).unwrap();
    let at = b.running().nodes.iter().position(|n| n.id == id("web02")).unwrap();
    rename(&mut b, "web02", at, "Again");
    meet(&mut a, &mut b);
    let key = a.lost()[0].key.clone();
    a.settle(&key, Choice::Keep, &note("web01", "kept it removed")).unwrap();
    meet(&mut a, &mut b);
    assert!(a.lost().is_empty() && b.lost().is_empty());
    assert_eq!(b.running().nodes.len(), 3);
}

#[test]
fn shared_values_travel_and_no_settings_touch_them() {
    let mut a = first(1, "web01");
    let mut b = joined(2, "web02", &a);
    a.share("admin.password", Some("$argon2id$x"), &note("web01", "set the password")).unwrap();
    meet(&mut a, &mut b);
    assert_eq!(b.shared().get("admin.password").map(String::as_str), Some("$argon2id$x"));
    assert!(!a.whole().windows(9).any(|w| w == b"$argon2id"));
    a.share("admin.password", Some("one"), &note("web01", "set the password")).unwrap();
    b.share("admin.password", Some("two"), &note("web02", "set the password")).unwrap();
    meet(&mut a, &mut b);
    assert_eq!(a.shared(), b.shared());
    let lost = a.lost()[0].clone();
    assert_eq!((lost.path.as_str(), lost.other.as_str()), ("admin.password", "(a secret)"));
    assert!(a.with_theirs(&lost.key, lost.change).unwrap().is_none());
    let before = a.shared().clone();
    a.settle(&lost.key, Choice::Theirs(lost.change), &note("web01", "theirs")).unwrap();
    meet(&mut a, &mut b);
    assert_ne!(b.shared(), &before);
    b.share("admin.password", None, &note("web02", "gone")).unwrap();
    meet(&mut a, &mut b);
    assert!(a.shared().is_empty());
}

#[test]
fn after_a_rotation_the_old_keys_open_nothing_new() {
    let mut a = first(1, "web01");
    let mut b = joined(2, "web02", &a);
    let old = a.keyring().clone();
    a.rotate(&mut crate::from_system).unwrap();
    let mut next = a.running().clone();
    next.vrrp[0].auth_pass = model::Secret::new("fresh");
    a.edit(next, &note("web01", "new password")).unwrap();
    meet(&mut a, &mut b);
    // The document is there before the keys: what ran goes on.
    assert_eq!(b.running().vrrp[0].auth_pass.reveal(), "hush");
    assert!(b.decision().is_some());
    let (new, _) = b.add_keys(a.keyring());
    assert!(new && b.decision().is_none());
    assert_eq!(b.running().vrrp[0].auth_pass.reveal(), "fresh");
    let outsider = Ledger::<crate::Automerge>::join(actor(9), id("x"), a.whole(), old).unwrap();
    assert!(outsider.decision().is_some(), "the old keys read no secret");
    assert!(!b.add_keys(a.keyring()).0);
}

#[test]
fn a_document_is_stored_in_pieces_and_read_again() {
    let mut a = first(1, "web01");
    let mut pieces = vec![a.unstored()];
    a.stored();
    assert!(a.unstored().is_empty());
    for name in ["A", "B", "C"] {
        rename(&mut a, "web01", 0, name);
        pieces.push(a.unstored());
        a.stored();
    }
    let open = |number, pieces: &[Vec<u8>]| {
        Ledger::<crate::Automerge>::open(
            actor(number),
            id("web01"),
            pieces,
            a.keyring().clone(),
            reference(),
        )
    };
    let mut back = open(2, &pieces).unwrap();
    assert_eq!((back.running(), back.heads()), (a.running(), a.heads()));
    // An old copy under a new actor catches up, and may have edited meanwhile.
    let mut restored = open(3, &pieces[..2]).unwrap();
    rename(&mut restored, "web01", 1, "Meanwhile");
    meet(&mut restored, &mut back);
    assert_eq!(restored.running().nodes[1].name.as_str(), "Meanwhile");
    assert_eq!(restored.running().nodes[0].name.as_str(), "C");
    let damaged: Vec<Vec<u8>> = vec![pieces[0].iter().map(|b| b ^ 0x55).collect()];
    assert!(open(4, &damaged).is_err());
}

#[test]
fn garbage_from_the_network_is_an_error_and_nothing_else() {
    let mut a = first(1, "web01");
    let heads = a.heads();
    let mut good = Default::default();
    let message = a.generate(&mut good).unwrap();
    let mut noise = noise::Noise::new(1);
    for round in 0..2000_usize {
        let mut bytes = message.clone();
        let at = noise.below(bytes.len());
        bytes[at] ^= noise.byte() | 1;
        bytes.truncate(bytes.len() - round % bytes.len().min(50));
        let mut session = Default::default();
        let _ = a.receive(&mut session, &bytes);
    }
    assert_eq!(a.heads(), heads);
    let mut session = Default::default();
    assert!(a.receive(&mut session, &vec![0; crate::MAX_MESSAGE + 1]).is_err());
}
