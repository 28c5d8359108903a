//! Sessions on several nodes: valid everywhere, ended everywhere, whatever the clocks say.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use model::session::{MOST, News, Session};
use store::{Sessions, Store};
use tempfile::TempDir;

struct Node {
    dir: TempDir,
    sessions: Sessions,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Store::open(dir.path()).unwrap().sessions().unwrap();
        Self { dir, sessions }
    }

    fn restart(&mut self) {
        self.sessions = Store::open(self.dir.path()).unwrap().sessions().unwrap();
    }

    /// What two nodes do when they meet.
    fn meets(&self, other: &Self) {
        let sent = |news: News| -> News {
            serde_json::from_str(&serde_json::to_string(&news).unwrap()).unwrap()
        };
        let (mine, theirs) = (self.all(), other.all());
        other.sessions.merge(&sent(mine)).unwrap();
        self.sessions.merge(&sent(theirs)).unwrap();
    }

    fn all(&self) -> News {
        self.sessions.news_since(0).0
    }

    fn has(&self, id: &str) -> bool {
        self.sessions.load(id).is_some()
    }
}

fn session(id: &str) -> Session {
    Session {
        id: id.to_owned(),
        generation: 0,
        address: "192.168.1.50".parse().unwrap(),
        node: "web01".parse().unwrap(),
        csrf: "token".to_owned(),
        credential: "print".to_owned(),
        age_ms: 60_000,
        unused_ms: 20_000,
        proven_ms: 60_000,
        left_ms: 1_800_000,
        more: String::new(),
    }
}

#[test]
fn a_session_is_valid_where_it_was_not_opened() {
    let (a, b) = (Node::new(), Node::new());
    a.sessions.save(&Session { more: "{\"x\":1}".into(), ..session("one") }).unwrap();
    a.meets(&b);
    let there = b.sessions.load("one").unwrap();
    assert!((60_000..65_000).contains(&there.age_ms), "{there:?}");
    assert!((20_000..25_000).contains(&there.unused_ms));
    assert!((1_790_000..=1_800_000).contains(&there.left_ms));
    assert_eq!((there.csrf.as_str(), there.more.as_str()), ("token", ""));
    assert_eq!(a.sessions.load("one").unwrap().more, "{\"x\":1}");
}

#[test]
fn one_that_was_ended_does_not_come_back() {
    let (a, mut b, c) = (Node::new(), Node::new(), Node::new());
    a.sessions.save(&session("one")).unwrap();
    a.meets(&b);
    a.meets(&c);
    // b is away while a ends it.
    a.sessions.end("one").unwrap();
    a.meets(&c);
    assert!(!a.has("one") && !c.has("one") && b.has("one"));
    b.restart();
    assert!(b.has("one"), "b does not know yet");
    c.meets(&b);
    assert!(!b.has("one") && !c.has("one"));
    // What was under way when it ended does not bring it back either.
    b.sessions.save(&session("one")).unwrap();
    assert!(!b.has("one"));
    b.restart();
    b.sessions.save(&session("one")).unwrap();
    assert!(!b.has("one"), "nor after a restart");
}

#[test]
fn signing_out_everywhere_ends_what_only_others_know() {
    let (a, b) = (Node::new(), Node::new());
    for id in ["one", "two"] {
        a.sessions.save(&session(id)).unwrap();
    }
    // Opened on b while it is away from a.
    b.sessions.save(&session("three")).unwrap();
    a.sessions.end_all_except(Some("two")).unwrap();
    assert!(!a.has("one") && a.has("two"));
    b.meets(&a);
    assert!(!b.has("three") && b.has("two") && a.has("two") && !a.has("three"));
    b.sessions.save(&session("four")).unwrap();
    b.meets(&a);
    assert!(a.has("four"), "opened after it");
    b.sessions.end_all_except(None).unwrap();
    a.meets(&b);
    assert!(!a.has("four") && !a.has("two"));
    let mut a = a;
    a.restart();
    a.sessions.save(&session("five")).unwrap();
    a.meets(&b);
    assert!(b.has("five"), "the number of the last sign-out survives a restart");
}

#[test]
fn the_later_use_counts_on_both() {
    let (a, b) = (Node::new(), Node::new());
    a.sessions.save(&session("one")).unwrap();
    a.meets(&b);
    b.sessions.save(&Session { unused_ms: 0, proven_ms: 0, ..session("one") }).unwrap();
    let before = a.sessions.news_since(0).1;
    a.meets(&b);
    for node in [&a, &b] {
        let s = node.sessions.load("one").unwrap();
        assert!(s.unused_ms < 5000 && s.proven_ms < 5000, "{s:?}");
    }
    assert_eq!(a.sessions.news_since(0).1, before, "and is not passed on for ever");
    let (news, version) = b.sessions.news_since(0);
    assert_eq!(news.sessions.len(), 1);
    let (news, _) = b.sessions.news_since(version);
    assert!(news.sessions.is_empty() && news.ended.is_empty());
}

#[test]
fn a_wall_clock_that_jumps_ends_nothing_while_the_process_runs() {
    let mut a = Node::new();
    a.sessions.save(&session("one")).unwrap();
    let raw = rusqlite::Connection::open(a.dir.path().join("bramble.db")).unwrap();
    // As if the clock had been ten years behind when it was written.
    let ten_years = 315_360_000_000_i64;
    let sql = "UPDATE sessions SET since_ms = since_ms - ?1, seen_ms = seen_ms - ?1, \
               proven_ms = proven_ms - ?1, expires_ms = expires_ms - ?1";
    raw.execute(sql, [ten_years]).unwrap();
    assert!(a.has("one"));
    a.sessions.tidy().unwrap();
    assert!(a.has("one"));
    a.restart();
    assert!(!a.has("one"), "at the next start nothing else is known");
    a.sessions.save(&session("two")).unwrap();
    raw.execute(sql, [-ten_years]).unwrap();
    a.restart();
    assert!(!a.has("two"), "opened in the future");
}

#[test]
fn sessions_end_in_time_and_the_list_is_short() {
    let a = Node::new();
    a.sessions.save(&Session { left_ms: 0, ..session("over") }).unwrap();
    assert!(!a.has("over") && a.sessions.list().is_empty());
    a.sessions.tidy().unwrap();
    for n in 0..u64::try_from(MOST).unwrap() + 10 {
        let age = 1_000_000 - n * 1000;
        let s = Session { age_ms: age, unused_ms: age, ..session(&format!("s{n}")) };
        a.sessions.save(&s).unwrap();
    }
    assert_eq!(a.sessions.list().len(), MOST);
    assert!(!a.has("s0") && a.has("s20"), "the one unused for longest makes room");
    let b = Node::new();
    b.sessions.save(&session("mine")).unwrap();
    b.meets(&a);
    assert_eq!(b.sessions.list().len(), MOST);
    assert!(b.has("mine"));
    let mut long = session("long");
    long.more = "x".repeat(5000);
    assert!(a.sessions.save(&long).is_err());
}

#[test]
fn what_makes_no_sense_is_not_taken() {
    let a = Node::new();
    let bad = [
        Session { id: String::new(), ..session("") },
        session(&"x".repeat(65)),
        Session { csrf: "ü".into(), ..session("a") },
        Session { credential: "x".repeat(500), ..session("b") },
        Session { unused_ms: 70_000, ..session("c") },
    ];
    let news = News { sessions: bad.to_vec(), ended: vec!["y".repeat(100)], generation: 0 };
    a.sessions.merge(&news).unwrap();
    assert!(a.sessions.list().is_empty());
    assert_eq!(a.all(), News::default());
    let far = Session { age_ms: u64::MAX, left_ms: u64::MAX, ..session("far") };
    a.sessions.merge(&News { sessions: vec![far], ..News::default() }).unwrap();
    assert!(a.has("far"));
}

#[test]
fn ended_sessions_are_remembered_to_a_limit() {
    let a = Node::new();
    for n in 0..1100 {
        let id = format!("s{n}");
        a.sessions.merge(&News { ended: vec![id], ..News::default() }).unwrap();
    }
    let ended = a.all().ended;
    assert_eq!(ended.len(), 1024);
    assert!(ended.contains(&"s1099".to_owned()) && !ended.contains(&"s3".to_owned()));
}
