//! Ports in memory, for tests and for the demo.
#![allow(dead_code, reason = "each test uses its part of it")]
#![allow(clippy::panic, reason = "a fake that cannot go on says so")]
#![allow(clippy::unwrap_used, reason = "tests state expectations with unwrap")]

#[path = "charts.rs"]
mod charts;
#[path = "../../src/demo.rs"]
pub(crate) mod demo;
#[path = "neighbours.rs"]
pub(crate) mod neighbours;

use neighbours::Neighbours;

use control::{Control, Engine, MemoryStorage, StatusBoard, Storage};
use model::action::{Action, Reply};
use model::audit;
use model::session::Session;
use model::status::{
    FailoverReport, GatewayTry, NetworkCheck, PeerTry, ServerTry, TimeTry, Try, WifiSecurity,
    WifiSeen, WifiTrial, WifiVerdict,
};
use model::token::Token;
use model::{Country, Name, NodeId, Settings, WifiNetwork};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use webui::{
    AccessLog, Answer, Audit, Credentials, Failover, FailoverFuture, Journal, MirrorApproval,
    Ports, Probes, Radio, Remote, SessionRows, System, Tokens,
};

pub(crate) struct Rows {
    pub(crate) rows: Mutex<BTreeMap<String, Session>>,
    pub(crate) saves: AtomicUsize,
    pub(crate) endings: watch::Sender<u64>,
}

impl Default for Rows {
    fn default() -> Self {
        let endings = watch::channel(0).0;
        Self { rows: Mutex::default(), saves: AtomicUsize::default(), endings }
    }
}

impl SessionRows for Rows {
    fn load(&self, id: &str) -> Result<Option<Session>, String> {
        Ok(self.rows.lock().unwrap().get(id).cloned())
    }
    fn save(&self, session: &Session) -> Result<(), String> {
        self.saves.fetch_add(1, Ordering::Relaxed);
        self.rows.lock().unwrap().insert(session.id.clone(), session.clone());
        Ok(())
    }
    fn list(&self) -> Result<Vec<Session>, String> {
        Ok(self.rows.lock().unwrap().values().cloned().collect())
    }
    fn end(&self, id: &str) -> Result<(), String> {
        self.rows.lock().unwrap().remove(id);
        self.endings.send_modify(|n| *n += 1);
        Ok(())
    }
    fn end_all_except(&self, id: Option<&str>) -> Result<(), String> {
        self.rows.lock().unwrap().retain(|k, _| Some(k.as_str()) == id);
        self.endings.send_modify(|n| *n += 1);
        Ok(())
    }
    fn tidy(&self) -> Result<(), String> {
        self.rows.lock().unwrap().retain(|_, session| session.left_ms > 0);
        Ok(())
    }
    fn endings(&self) -> watch::Receiver<u64> {
        self.endings.subscribe()
    }
}

/// An audit log in memory.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) entries: Mutex<Vec<audit::Entry>>,
}

impl Audit for Written {
    fn record(&self, record: &audit::Record) -> Result<(), String> {
        let (actor, name, address) = record.actor.parts();
        let mut entries = self.entries.lock().unwrap();
        let seq = u64::try_from(entries.len()).unwrap() + 1;
        entries.push(audit::Entry {
            node: "lbmaster".parse().unwrap(),
            seq,
            at_ms: 1_795_371_120_000 + i64::try_from(seq).unwrap() * 1000,
            clock_set: true,
            actor: actor.to_owned(),
            name,
            address,
            deed: record.deed.key().to_owned(),
            object: record.object.clone(),
            before: record.before.clone(),
            after: record.after.clone(),
            failure: record.failure.clone().unwrap_or_default(),
            ..audit::Entry::default()
        });
        Ok(())
    }
    fn list(&self, query: &audit::Query) -> Result<audit::Listed, String> {
        let entries = self.entries.lock().unwrap();
        let upto = query.after.as_ref().map_or(u64::MAX, |t| t.parse().unwrap());
        let wanted = |e: &&audit::Entry| {
            e.seq < upto
                && query.node.as_ref().is_none_or(|n| *n == e.node)
                && query.deed.as_ref().is_none_or(|d| *d == e.deed)
                && query.words.split_whitespace().all(|w| format!("{e:?}").contains(w))
        };
        let mut found: Vec<_> = entries.iter().rev().filter(wanted).cloned().collect();
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        let next = found.last().filter(|_| more).map(|e| e.seq.to_string());
        Ok(audit::Listed { entries: found, next, complaints: Vec::new() })
    }
}

/// Other nodes that note what they are asked and answer as they are set.
pub(crate) struct Others {
    pub(crate) asked: Mutex<Vec<(NodeId, String, Action)>>,
    pub(crate) answer: Mutex<Result<Reply, String>>,
}

impl Remote for Others {
    fn ask<'a>(&'a self, node: &'a NodeId, author: &'a str, action: Action) -> Answer<'a, Reply> {
        self.asked.lock().unwrap().push((node.clone(), author.to_owned(), action));
        let answer = self.answer.lock().unwrap().clone();
        Box::pin(async { answer })
    }
}

/// Tokens in memory.
#[derive(Default)]
pub(crate) struct Keys(pub(crate) Mutex<BTreeMap<Name, Token>>);

impl Tokens for Keys {
    fn list(&self) -> Result<Vec<Token>, String> {
        Ok(self.0.lock().unwrap().values().cloned().collect())
    }
    fn add(&self, token: &Token) -> Result<(), String> {
        let mut tokens = self.0.lock().unwrap();
        if tokens.contains_key(&token.name) {
            return Err("there is a token of that name already".to_owned());
        }
        tokens.insert(token.name.clone(), token.clone());
        Ok(())
    }
    fn remove(&self, name: &Name) -> Result<bool, String> {
        Ok(self.0.lock().unwrap().remove(name).is_some())
    }
}

#[derive(Default)]
pub(crate) struct Password {
    hash: Mutex<Option<String>>,
    /// What whoever claims it must type.
    pub(crate) code: Mutex<Option<&'static str>>,
}

impl Credentials for Password {
    fn password_hash(&self) -> Result<Option<String>, String> {
        Ok(self.hash.lock().unwrap().clone())
    }
    fn set_password_hash(&self, hash: &str) -> Result<(), String> {
        *self.hash.lock().unwrap() = Some(hash.to_owned());
        Ok(())
    }
    fn claim(&self, hash: &str) -> Result<bool, String> {
        let mut stored = self.hash.lock().unwrap();
        if stored.is_some() {
            return Ok(false);
        }
        *stored = Some(hash.to_owned());
        Ok(true)
    }
    fn claim_code(&self) -> Option<model::Secret> {
        self.code.lock().unwrap().map(model::Secret::new)
    }
}

/// Hands over at once, or says why not.
pub(crate) struct HandOver {
    pub(crate) answer: Mutex<Result<(&'static str, f64), String>>,
}

impl Failover for HandOver {
    fn failover<'a>(&'a self, name: &'a Name) -> FailoverFuture<'a> {
        Box::pin(async move {
            let (holder, gap_ms) = self.answer.lock().unwrap().clone()?;
            Ok(FailoverReport { name: name.clone(), holder: holder.parse().unwrap(), gap_ms })
        })
    }
}

pub(crate) struct Log(pub Vec<String>);

impl AccessLog for Log {
    fn recent(&self) -> Vec<String> {
        self.0.clone()
    }
    fn charts(&self) -> Vec<model::charts::Series> {
        charts::charts()
    }
    fn paths(&self) -> Vec<model::charts::Paths> {
        charts::paths()
    }
    fn shut_down_sessions(&self, backend: &Name, server: &Name) -> bool {
        (backend.as_str(), server.as_str()) == ("webservers", "web01-eth")
    }
}

/// Which sites' deletions were let pass.
#[derive(Default)]
pub(crate) struct Approved(pub Mutex<Vec<String>>);

impl MirrorApproval for Approved {
    fn approve<'a>(&'a self, site: &'a Name) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.0.lock().unwrap().push(site.to_string());
        Box::pin(async {})
    }
}

/// A board that notes what it is told and answers as it is set.
pub(crate) struct Board {
    pub(crate) orders: Mutex<Vec<String>>,
    pub(crate) answer: Mutex<Result<(), String>>,
    /// What an installation found in the uploaded file.
    pub(crate) installed: Mutex<Option<Vec<u8>>>,
    /// Installations wait while this is held.
    pub(crate) hold: tokio::sync::Mutex<()>,
    dir: tempfile::TempDir,
}

impl Board {
    fn new() -> Self {
        Self {
            orders: Mutex::default(),
            answer: Mutex::new(Ok(())),
            installed: Mutex::default(),
            hold: tokio::sync::Mutex::default(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn order(&self, what: &str) -> Answer<'_, ()> {
        self.orders.lock().unwrap().push(what.to_owned());
        let answer = self.answer.lock().unwrap().clone();
        Box::pin(async { answer })
    }
}

impl System for Board {
    fn reboot(&self) -> Answer<'_, ()> {
        self.order("reboot")
    }
    fn power_off(&self) -> Answer<'_, ()> {
        self.order("power off")
    }
    fn factory_reset(&self) -> Answer<'_, ()> {
        self.order("factory reset")
    }
    fn blink(&self, seconds: u16) -> Answer<'_, ()> {
        self.order(&format!("blink {seconds}"))
    }
    fn upload(&self) -> std::path::PathBuf {
        self.dir.path().join("bundle")
    }
    fn install(&self) -> Answer<'_, ()> {
        Box::pin(async {
            let _held = self.hold.lock().await;
            *self.installed.lock().unwrap() = std::fs::read(self.upload()).ok();
            self.order("install").await
        })
    }
    fn fail(&self, how: &str) -> Answer<'_, ()> {
        self.order(&format!("fail {how}"))
    }
}

/// A log in memory.
#[derive(Default)]
pub(crate) struct Lines {
    pub(crate) lines: Mutex<Vec<String>>,
    pub(crate) last_words: Mutex<Option<String>>,
}

impl Journal for Lines {
    fn recent(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
    fn last_words(&self) -> Option<String> {
        self.last_words.lock().unwrap().clone()
    }
}

/// Radios that hear and answer what they are set to.
pub(crate) struct Air {
    pub(crate) seen: Mutex<Result<Vec<WifiSeen>, String>>,
    pub(crate) joined: Mutex<Vec<(WifiNetwork, Option<Country>)>>,
    pub(crate) verdict: Mutex<WifiVerdict>,
    /// What the status shows.
    pub(crate) trial: Mutex<Option<WifiTrial>>,
    pub(crate) takes: std::time::Duration,
    board: StatusBoard,
}

impl Air {
    fn new(board: StatusBoard) -> Self {
        let seen = |ssid: &str, frequency, signal_dbm, security| WifiSeen {
            ssid: ssid.to_owned(),
            frequency,
            signal_dbm,
            security,
        };
        let list = vec![
            seen("home", 2437, -48, WifiSecurity::Wpa2),
            seen("Neighbours & friends", 2462, -66, WifiSecurity::Wpa2Wpa3),
            seen("Fast lane", 5220, -70, WifiSecurity::Wpa3),
            seen("University", 2412, -72, WifiSecurity::Enterprise),
            seen("Cafe", 2412, -79, WifiSecurity::Open),
            seen("", 2437, -82, WifiSecurity::Wpa2),
            seen("router1999", 2437, -84, WifiSecurity::Outdated),
        ];
        Self {
            seen: Mutex::new(Ok(list)),
            joined: Mutex::default(),
            verdict: Mutex::new(WifiVerdict::Connected {
                address: "192.168.1.77".parse().unwrap(),
            }),
            trial: Mutex::default(),
            takes: std::env::var("DEMO_JOIN_MS")
                .ok()
                .and_then(|t| t.parse().ok())
                .map_or(std::time::Duration::ZERO, std::time::Duration::from_millis),
            board,
        }
    }

    fn set(&self, ssid: &str, verdict: WifiVerdict) {
        *self.trial.lock().unwrap() = Some(WifiTrial { ssid: ssid.to_owned(), verdict });
        self.board.touch();
    }
}

impl Radio for Air {
    fn scan(&self) -> Answer<'_, Vec<WifiSeen>> {
        let seen = self.seen.lock().unwrap().clone();
        Box::pin(async { seen })
    }
    fn join(&self, network: WifiNetwork, country: Option<Country>) -> Answer<'_, ()> {
        Box::pin(async move {
            let ssid = network.ssid.to_string();
            self.joined.lock().unwrap().push((network, country));
            self.set(&ssid, WifiVerdict::Trying);
            tokio::time::sleep(self.takes).await;
            let verdict = self.verdict.lock().unwrap().clone();
            self.set(&ssid, verdict);
            Ok(())
        })
    }
}

/// Tries out networks, and finds what it is set to.
pub(crate) struct Trials {
    pub(crate) found: Mutex<Result<NetworkCheck, String>>,
    pub(crate) asked: Mutex<Vec<NodeId>>,
}

impl Trials {
    fn new(settings: &Settings) -> Self {
        let good = || Try::Answered { ms: 2 };
        let router = std::net::Ipv4Addr::new(192, 168, 1, 1);
        let peers = settings.nodes.iter().flat_map(|n| {
            let of = |address| PeerTry { node: n.id.clone(), address, answer: good() };
            n.addresses().map(of).collect::<Vec<_>>()
        });
        let check = NetworkCheck {
            gateways: ["eth0", "wlan0"]
                .map(|i| GatewayTry { interface: i.into(), address: router, answer: good() })
                .to_vec(),
            name_servers: vec![ServerTry { address: router, answer: good() }],
            internet: good(),
            time_servers: vec![TimeTry {
                server: "2.debian.pool.ntp.org".into(),
                answer: good(),
                ahead_ms: Some(4),
            }],
            peers: peers.collect(),
            ..NetworkCheck::default()
        };
        Self { found: Mutex::new(Ok(check)), asked: Mutex::default() }
    }
}

impl Probes for Trials {
    fn check<'a>(&'a self, node: &'a NodeId) -> Answer<'a, NetworkCheck> {
        self.asked.lock().unwrap().push(node.clone());
        let mut found = self.found.lock().unwrap().clone();
        if let Ok(found) = &mut found {
            found.peers.retain(|p| p.node != *node);
        }
        Box::pin(async { found })
    }
}

/// A node with everything behind its page in memory.
pub(crate) struct Node {
    pub(crate) ports: Ports,
    pub(crate) rows: Arc<Rows>,
    pub(crate) password: Arc<Password>,
    pub(crate) tokens: Arc<Keys>,
    pub(crate) audit: Arc<Written>,
    pub(crate) others: Arc<Others>,
    pub(crate) failover: Arc<HandOver>,
    pub(crate) approved: Arc<Approved>,
    pub(crate) system: Arc<Board>,
    pub(crate) journal: Arc<Lines>,
    pub(crate) air: Arc<Air>,
    pub(crate) trials: Arc<Trials>,
    pub(crate) neighbours: Arc<Neighbours>,
    pub(crate) control: Control,
    pub(crate) board: StatusBoard,
    /// How long ago the board was switched on, in milliseconds.
    pub(crate) up: Arc<AtomicU64>,
}

/// What a board runs that was never told anything.
pub(crate) fn fresh(id: &str, name: &str) -> Settings {
    let node = model::Node {
        id: id.parse().unwrap(),
        name: name.parse().unwrap(),
        ..model::Node::default()
    };
    Settings { nodes: vec![node], ..Settings::default() }
}

/// Puts three boards of one batch and some others in reach of a node; those that are adopted get
/// into its settings and report.
pub(crate) fn neighbourhood(node: &Node) {
    use model::status::{BoardState, BoardTrust};
    use neighbours::board;
    let mut boards = vec![
        board(1, "bramble-5eed01", BoardTrust::Card),
        board(2, "bramble-5eed02", BoardTrust::Card),
        board(3, "bramble-5eed03", BoardTrust::Code),
        board(4, "garage", BoardTrust::Code),
        board(5, "bramble-5eed05", BoardTrust::Code),
    ];
    boards[3].state = BoardState::Other { cluster: "Garage".to_owned() };
    boards[4].state = BoardState::Unknown { version: "0.9.2".to_owned() };
    *node.neighbours.found.lock().unwrap() = boards;
    let (control, board) = (node.control.clone(), node.board.clone());
    let settle = move |found: &model::status::FoundBoard, id: &NodeId, _: Option<&NodeId>| {
        let node = model::Node {
            id: id.clone(),
            name: found.name.parse().unwrap(),
            device: Some(found.device.clone()),
            ..model::Node::default()
        };
        let (control, board) = (control.clone(), board.clone());
        let (id, found) = (id.clone(), found.clone());
        tokio::spawn(async move {
            let edits = vec![model::Edit::PutNode(node)];
            let author = control::Author::Local;
            control.submit(control::Change { base: None, author, edits }).await.unwrap();
            let mut status = demo::status(&control.snapshot(), &id);
            status.links = vec![model::status::LinkStatus {
                name: if found.wired == Some(true) { "eth0" } else { "wlan0" }.to_owned(),
                running: true,
                addresses: vec![format!("{}/24", found.addresses[0]).parse().unwrap()],
                ..model::status::LinkStatus::default()
            }];
            board.heard(status);
        });
    };
    *node.neighbours.settle.lock().unwrap() = Some(Box::new(settle));
}

/// Another copy of this node's settings, on a node that is out of reach for a while.
pub(crate) async fn other_half(node: &Node) -> Control {
    let there: NodeId = "web02".parse().unwrap();
    let (engine, control) =
        Engine::new(MemoryStorage::default(), &there, Settings::default()).unwrap();
    tokio::spawn(engine.run());
    let author = control::Author::Local;
    // Only what was written is in the document.
    let mut cluster = node.control.snapshot().settings.cluster.clone();
    cluster.dns = vec![[192, 168, 1, 1].into(), [9, 9, 9, 9].into(), [1, 1, 1, 1].into()];
    let edits = vec![model::Edit::PutCluster(cluster)];
    let change = control::Change { base: None, author: author.clone(), edits };
    node.control.submit(change).await.unwrap();
    control.join(node.control.gift().await.unwrap(), author).await.unwrap();
    control
}

/// The two meet again.
pub(crate) async fn meet(a: &Control, b: &Control) {
    let (to_b, to_a) = (a.open_exchange().await.unwrap(), b.open_exchange().await.unwrap());
    b.add_keys(a.keys().await.unwrap().into_bytes(), a.snapshot().node().clone()).await.unwrap();
    for _ in 0..50 {
        let (x, y) = (to_b.next().await.unwrap(), to_a.next().await.unwrap());
        if x.is_none() && y.is_none() {
            return;
        }
        if let Some(message) = x {
            to_a.take(a.snapshot().node(), message).await.unwrap();
        }
        if let Some(message) = y {
            to_b.take(b.snapshot().node(), message).await.unwrap();
        }
    }
    panic!("they never end");
}

/// What an operator somewhere else does.
pub(crate) async fn change(control: &Control, edit: model::Edit) {
    let author = control::Author::Operator("192.168.1.51".to_owned());
    let edits = vec![edit];
    control.submit(control::Change { base: None, author, edits }).await.unwrap();
}

/// Both halves set the gateway, and give one address to two boards.
pub(crate) async fn split(node: &Node, gateways: bool, addresses: bool) -> Control {
    let other = other_half(node).await;
    for (control, gateway, board) in
        [(&node.control, "192.168.1.2", "web01"), (&other, "192.168.1.3", "web02")]
    {
        let settings = control.snapshot().settings.clone();
        if gateways {
            let mut cluster = settings.cluster.clone();
            cluster.gateway = gateway.parse().ok();
            change(control, model::Edit::PutCluster(cluster)).await;
        }
        if addresses {
            let mut board = settings.node(&board.parse().unwrap()).unwrap().clone();
            board.eth0.address = "192.168.1.30/24".parse().ok();
            change(control, model::Edit::PutNode(board)).await;
        }
    }
    meet(&node.control, &other).await;
    other
}

const KEYS: &str =
    r#"{"keys": [{"number": 1, "key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}]}"#;

/// Must be called inside a runtime: the engine runs there.
pub(crate) fn node(id: &str, settings: Settings) -> Node {
    let id: NodeId = id.parse().unwrap();
    let trials = Arc::new(Trials::new(&settings));
    let mut storage = MemoryStorage::default();
    // Settings with secrets in them come with keys to seal those.
    storage.set_keys(KEYS.as_bytes()).unwrap();
    let (engine, control) = Engine::new(storage, &id, settings).unwrap();
    tokio::spawn(engine.run());
    let board = StatusBoard::new(id.clone(), "0.1.0");
    board.running(&control.snapshot());
    let watched = control.clone();
    let own = id.clone();
    board.provide(move |status| {
        let snapshot = watched.snapshot();
        let notices = std::mem::take(&mut status.notices);
        *status = demo::status(&snapshot, &own);
        status.notices = notices;
    });
    let air = Arc::new(Air::new(board.clone()));
    let heard = air.clone();
    board.provide(move |status| {
        let trial = heard.trial.lock().unwrap().clone();
        if let Some(wifi) = &mut status.system.wifi {
            wifi.trial = trial;
        }
    });
    let neighbours = Arc::new(Neighbours::new(board.clone()));
    let system = Arc::new(Board::new());
    let journal = Arc::new(Lines::default());
    let snapshot = control.snapshot();
    for report in demo::reports(&snapshot).into_iter().filter(|r| r.status.id != id) {
        board.heard(report.status);
    }
    let rows = Arc::new(Rows::default());
    let password = Arc::new(Password::default());
    let up = Arc::new(AtomicU64::new(90_000));
    let since = up.clone();
    board.provide(move |status| {
        status.uptime_ms = since.load(Ordering::Relaxed);
        status.system.uptime_ms = status.uptime_ms;
    });
    let tokens = Arc::new(Keys::default());
    let audit = Arc::new(Written::default());
    let others = Arc::new(Others { asked: Mutex::default(), answer: Mutex::new(Ok(Reply::Done)) });
    let failover = Arc::new(HandOver { answer: Mutex::new(Ok(("192.168.1.12", 1.4))) });
    let approved = Arc::new(Approved::default());
    let log = vec![
        "192.168.1.50:51812 [22/Nov/2026:18:12:05.120] http-in webservers/web01-eth 0/0/0/3/4 200 5120 - - ---- 3/3/0/0/0 0/0 \"GET / HTTP/1.1\"".to_owned(),
        "192.168.1.50:51812 [22/Nov/2026:18:12:05.320] http-in webservers/web02-eth 0/0/0/2/2 304 180 - - ---- 3/3/0/0/0 0/0 \"GET /style.css HTTP/1.1\"".to_owned(),
    ];
    let ports = Ports {
        control: control.clone(),
        board: board.clone(),
        sessions: rows.clone(),
        credentials: password.clone(),
        tokens: tokens.clone(),
        audit: audit.clone(),
        remote: others.clone(),
        failover: failover.clone(),
        access_log: Arc::new(Log(log)),
        mirror: approved.clone(),
        system: Some(system.clone()),
        journal: journal.clone(),
        radio: Some(air.clone()),
        probes: Some(trials.clone()),
        adoption: Some(neighbours.clone()),
        trials: Some(neighbours.clone()),
        probe: Some(neighbours.clone()),
    };
    Node {
        ports,
        rows,
        password,
        tokens,
        audit,
        others,
        failover,
        approved,
        system,
        journal,
        air,
        trials,
        neighbours,
        control,
        board,
        up,
    }
}

/// Lets the time pass since the password was last typed in any session.
pub(crate) fn age(node: &Node, seconds: u64) {
    for session in node.rows.rows.lock().unwrap().values_mut() {
        session.proven_ms += seconds * 1000;
    }
}

/// Lets every session lie idle for so long; the rows themselves stay.
pub(crate) fn end(node: &Node, seconds: u64) {
    for session in node.rows.rows.lock().unwrap().values_mut() {
        session.unused_ms += seconds * 1000;
        session.age_ms += seconds * 1000;
    }
}
