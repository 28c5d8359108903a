//! What makes one appliance of many nodes, besides the settings: sessions, the audit log, and what
//! one node asks of another. A few lines for each, and the audit log's view of the settings.

use control::{Author, Control, RevisionInfo, Shutdown, StatusBoard};
use journal::Journal;
use model::action::{Action, MOST_LINES, Reply};
use model::audit::{Actor, Deed, Entry, Head, Query, Record};
use model::session::News;
use model::status::{MirrorPhase, NetworkCheck};
use model::token::{MOST, Token};
use model::{Name, NodeId, Revision, Visit};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use store::{AuditLog, Sessions};
use tokio::sync::watch;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An order that is refused is refused so soon; one that is not may never be answered.
const PROMPT: Duration = Duration::from_millis(700);
/// Revisions that are looked at when the audit log follows the settings.
const REVISIONS: usize = 200;

const NO_BOARD: &str = "Bramble runs there as a program on somebody else's Linux: firmware, power \
     and reset are that system's affair";
const NO_RADIO: &str = "that node has no Wi-Fi of ours";

/// The nodes' sessions, in the store.
pub(crate) struct SharedSessions(pub(crate) Sessions);

impl cluster::SharedSessions for SharedSessions {
    fn news_since(&self, version: u64) -> (News, u64) {
        self.0.news_since(version)
    }
    fn merge(&self, news: &News) -> Result<(), String> {
        self.0.merge(news).map_err(|e| e.to_string())
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes()
    }
}

/// The nodes' stick tables, in the load balancer.
pub(crate) struct SharedVisits(pub(crate) proxy::Handle);

impl cluster::SharedVisits for SharedVisits {
    fn news_since(&self, number: u64) -> (Vec<Visit>, u64) {
        self.0.visits_since(number)
    }
    fn merge(&self, news: &[Visit]) {
        self.0.hear_visits(news);
    }
}

/// The nodes' audit logs, in the store.
pub(crate) struct AuditCopies {
    pub(crate) node: NodeId,
    pub(crate) log: AuditLog,
}

impl cluster::AuditCopies for AuditCopies {
    fn node(&self) -> NodeId {
        self.node.clone()
    }
    fn heads(&self) -> Vec<Head> {
        self.log.heads()
    }
    fn after(&self, head: &Head, most: usize) -> Result<Vec<Entry>, String> {
        self.log.after(&head.node, &head.log, head.seq, most).map_err(|e| e.to_string())
    }
    fn merge(&self, entries: &[Entry]) -> Result<(), String> {
        self.log.merge(entries).map(|_| ()).map_err(|e| e.to_string())
    }
    fn compare(&self, theirs: &[Head]) -> Result<(), String> {
        self.log.compare(theirs).map_err(|e| e.to_string())
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.log.changes()
    }
}

/// The page's tokens, among the values that the nodes share.
pub(crate) struct PageTokens(pub(crate) Control);

/// What the names of those values begin with.
const TOKENS: &str = "tokens/";

impl webui::Tokens for PageTokens {
    fn list(&self) -> Result<Vec<Token>, String> {
        let replication = self.0.replication().borrow().clone();
        let tokens = replication.shared.iter().filter(|(name, _)| name.starts_with(TOKENS));
        let read = tokens.map(|(name, text)| {
            serde_json::from_str(text).map_err(|e| format!("{name} cannot be understood: {e}"))
        });
        let mut readable = Vec::new();
        for token in read {
            match token {
                Ok(token) => readable.push(token),
                // One that a newer release wrote must not keep the others from being used.
                Err(error) => tracing::warn!("{error}"),
            }
        }
        Ok(readable)
    }
    fn add(&self, token: &Token) -> Result<(), String> {
        if self.list()?.len() >= MOST {
            return Err(format!("there are {MOST} tokens already; remove one first"));
        }
        let text = serde_json::to_string(token).map_err(|e| e.to_string())?;
        let name = format!("{TOKENS}{}", token.name);
        let sentence = format!("made the token {}", token.name);
        let added = self.0.share_first(&name, text, Author::Local, &sentence);
        if waited(added)? {
            Ok(())
        } else {
            Err("there is a token of that name already".to_owned())
        }
    }
    fn remove(&self, name: &Name) -> Result<bool, String> {
        let key = format!("{TOKENS}{name}");
        if self.0.shared(&key).is_none() {
            return Ok(false);
        }
        let sentence = format!("removed the token {name}");
        waited(self.0.share(&key, None, Author::Local, &sentence))?;
        Ok(true)
    }
}

/// Waits for the engine, on a thread where that is harmless.
pub(crate) fn waited<T>(
    asked: impl Future<Output = Result<T, control::Rejected>>,
) -> Result<T, String> {
    let here = tokio::runtime::Handle::try_current().map_err(|e| e.to_string())?;
    here.block_on(asked).map_err(|e| e.to_string())
}

/// Everything a node can be asked to do, by its own page or by another node.
pub(crate) struct Doer {
    pub(crate) id: NodeId,
    pub(crate) cluster: cluster::Handle,
    pub(crate) board: StatusBoard,
    pub(crate) vrrp: vrrp::Handle,
    pub(crate) proxy: proxy::Handle,
    pub(crate) mirror: mirror::Handle,
    pub(crate) journal: Journal,
    pub(crate) system: Option<Arc<dyn webui::System>>,
    pub(crate) radio: Option<Arc<dyn webui::Radio>>,
    pub(crate) sessions: Sessions,
    pub(crate) audit: AuditLog,
    pub(crate) network: network::Handle,
}

impl Doer {
    fn system(&self) -> Result<Arc<dyn webui::System>, String> {
        self.system.clone().ok_or_else(|| NO_BOARD.to_owned())
    }

    async fn order(
        &self,
        give: impl for<'a> Fn(&'a dyn webui::System) -> webui::Answer<'a, ()> + Send + 'static,
    ) -> Result<Reply, String> {
        let system = self.system()?;
        // On its own: the answer may be the last thing this process does.
        let given = tokio::spawn(async move { give(system.as_ref()).await });
        match tokio::time::timeout(PROMPT, given).await {
            Ok(Ok(refused @ Err(_))) => refused.map(|()| Reply::Done),
            Ok(Err(failed)) => Err(failed.to_string()),
            Ok(Ok(Ok(()))) | Err(_) => Ok(Reply::Done),
        }
    }

    async fn approve(&self, site: &Name) -> Result<Reply, String> {
        let own = self.board.own();
        let held = |m: &model::status::MirrorStatus| {
            m.site == *site && matches!(m.phase, MirrorPhase::Held { approvable: true, .. })
        };
        if !own.mirror.iter().any(held) {
            return Err(format!("node {} holds back no deletion of {site} now", self.id));
        }
        self.mirror.approve(site).await;
        self.board.touch();
        Ok(Reply::Done)
    }

    async fn perform(&self, action: Action) -> Result<Reply, String> {
        match action {
            Action::Failover { instance } => {
                let done = self.vrrp.failover(&instance).await;
                self.board.touch();
                done.map(Reply::Failover).map_err(|e| e.to_string())
            }
            Action::Reboot => self.order(|system| system.reboot()).await,
            Action::PowerOff => self.order(|system| system.power_off()).await,
            Action::Reset => self.order(|system| system.factory_reset()).await,
            Action::Blink { seconds } => {
                self.system()?.blink(seconds.min(300)).await.map(|()| Reply::Done)
            }
            Action::Logs { lines } => {
                let lines = usize::try_from(lines.min(MOST_LINES)).unwrap_or_default();
                Ok(Reply::Lines(self.journal.recent(lines)))
            }
            Action::AccessLog => Ok(Reply::Lines(self.proxy.recent_log())),
            Action::ApproveDeletion { site } => self.approve(&site).await,
            Action::ScanWifi => {
                let radio = self.radio.clone().ok_or_else(|| NO_RADIO.to_owned())?;
                radio.scan().await.map(Reply::Networks)
            }
            Action::Diagnose => {
                let found = serde_json::to_value(self.network.check().await);
                found.map(Reply::Document).map_err(|e| e.to_string())
            }
            Action::EndSessions => {
                let sessions = self.sessions.clone();
                let ended = tokio::task::spawn_blocking(move || sessions.end_all_except(None));
                let ended = ended.await.map_err(|e| e.to_string())?;
                ended.map(|()| Reply::Done).map_err(|e| e.to_string())
            }
            Action::Firmware => Ok(Reply::Firmware(self.board.own().system.firmware)),
        }
    }

    async fn note(&self, record: Record) {
        let audit = self.audit.clone();
        let noted = tokio::task::spawn_blocking(move || audit.record(&record)).await;
        if let Ok(Err(error)) = noted {
            tracing::error!("the audit log cannot be written: {error}");
        }
    }
}

/// What of an action goes into the audit log, and about what.
fn deed(action: &Action) -> Option<(Deed, String)> {
    let plain = |deed| Some((deed, String::new()));
    match action {
        Action::Failover { instance } => Some((Deed::Failover, instance.to_string())),
        Action::Reboot => plain(Deed::Reboot),
        Action::PowerOff => plain(Deed::PowerOff),
        Action::Blink { .. } => plain(Deed::Blink),
        Action::ApproveDeletion { site } => Some((Deed::DeletionApproved, site.to_string())),
        Action::EndSessions => Some((Deed::SessionsEnded, "all".to_owned())),
        Action::Reset => plain(Deed::FactoryReset),
        Action::Logs { .. }
        | Action::AccessLog
        | Action::ScanWifi
        | Action::Diagnose
        | Action::Firmware => None,
    }
}

impl cluster::Actions for Doer {
    fn perform<'a>(
        &'a self,
        from: &'a NodeId,
        author: &'a str,
        action: Action,
    ) -> Boxed<'a, Result<Reply, String>> {
        Box::pin(async move {
            let Some((deed, object)) = deed(&action) else {
                return self.perform(action).await;
            };
            tracing::info!(node = %from, author, "another node asks: {}", deed.words());
            let actor = Actor::Through { node: from.clone(), author: author.to_owned() };
            let record = Record::done(actor, deed, object);
            // What may end this process is written down before it is done.
            let last = matches!(action, Action::Reboot | Action::PowerOff | Action::Reset);
            if last {
                self.note(record.clone()).await;
            }
            let result = self.perform(action).await;
            if !last || result.is_err() {
                self.note(record.result(&result)).await;
            }
            result
        })
    }
}

impl webui::Remote for Doer {
    fn ask<'a>(
        &'a self,
        node: &'a NodeId,
        author: &'a str,
        action: Action,
    ) -> webui::Answer<'a, Reply> {
        Box::pin(async move {
            if *node == self.id {
                return self.perform(action).await;
            }
            self.cluster.ask(node, author, action).await
        })
    }
}

impl webui::Probes for Doer {
    fn check<'a>(&'a self, node: &'a NodeId) -> webui::Answer<'a, NetworkCheck> {
        Box::pin(async move {
            match webui::Remote::ask(self, node, "the page Diagnostics", Action::Diagnose).await? {
                Reply::Document(found) => serde_json::from_value(found).map_err(|_| {
                    format!("node {node} answered in a way this node does not understand; give both the same firmware")
                }),
                other => Err(format!("node {node} answered something else: {other:?}")),
            }
        })
    }
}

/// Writes every change of the settings that was made here into the audit log, and says on the
/// status board when logs do not fit together. Ends with the control.
pub(crate) async fn follow(
    control: Control,
    audit: AuditLog,
    node: NodeId,
    board: StatusBoard,
    shutdown: Shutdown,
) {
    let verified = audit.clone();
    match tokio::task::spawn_blocking(move || verified.verify()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::error!("the audit log cannot be read: {error}"),
        Err(error) => tracing::error!("the audit log cannot be read: {error}"),
    }
    let mut done = last_written(&audit, &node).unwrap_or_else(|| control.snapshot().revision);
    let (mut snapshots, mut logs) = (control.watch(), audit.changes());
    loop {
        snapshots.mark_unchanged();
        logs.mark_unchanged();
        done = catch_up(&control, &audit, done).await;
        let complaints = audit.complaints();
        if complaints.is_empty() {
            board.clear_notice("audit");
        } else {
            board.notice("audit", complaints.join(" "));
        }
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            changed = logs.changed() => if changed.is_err() { return },
            () = shutdown.requested() => return,
        }
    }
}

/// The last revision that is in the audit log.
fn last_written(audit: &AuditLog, node: &NodeId) -> Option<Revision> {
    let query = Query {
        node: Some(node.clone()),
        deed: Some(Deed::Settings.key().to_owned()),
        limit: 1,
        ..Query::default()
    };
    let entry = audit.list(&query).ok()?.entries.pop()?;
    entry.object.split_whitespace().nth(1)?.trim_end_matches(':').parse().ok().map(Revision)
}

async fn catch_up(control: &Control, audit: &AuditLog, done: Revision) -> Revision {
    let newest = control.snapshot().revision;
    if newest <= done {
        return newest;
    }
    let missing = usize::try_from(newest.0 - done.0).unwrap_or(REVISIONS);
    let Ok(history) = control.history(missing.min(REVISIONS)).await else { return done };
    let (before, mut done) = (done, done);
    for info in history.into_iter().rev().filter(|info| info.revision > before) {
        if let Some(record) = record(control, &info).await {
            let audit = audit.clone();
            let stored = tokio::task::spawn_blocking(move || audit.record(&record)).await;
            if !matches!(stored, Ok(Ok(()))) {
                tracing::error!("the audit log cannot be written: {stored:?}");
                return done;
            }
        }
        done = info.revision;
    }
    done
}

async fn record(control: &Control, info: &RevisionInfo) -> Option<Record> {
    let actor = match &info.author {
        Author::Operator(from) => Actor::Operator { address: from.clone() },
        Author::Local => Actor::Node,
        // The node it was made on has written it down.
        Author::Peer(_) => return None,
    };
    let object = format!("revision {}: {}", info.revision, info.sentence);
    let record = Record::done(actor, Deed::Settings, object);
    let before = Revision(info.revision.0.checked_sub(1)?);
    let (before, after) = (control.revision(before).await, control.revision(info.revision).await);
    let (Ok(Some(before)), Ok(Some(after))) = (before, after) else { return Some(record) };
    let (gone, come) = model::difference(&before, &after);
    Some(record.change(gone.join("; "), come.join("; ")))
}
