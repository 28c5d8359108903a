//! The audit logs: this node's own, and copies of the others'.

use crate::database::Shared;
use crate::error::StoreError;
use model::NodeId;
use model::audit::{Entry, Head, KEPT, Listed, Query, Record, clean};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Logs kept at once; a node whose data were lost begins another.
const MOST_LOGS: usize = 32;
/// Old entries are removed when there are so many too many.
const PRUNED: u64 = 100;
/// Rows looked at for one page of a filtered list.
const LOOKED_AT: usize = 20_000;
const LOG: &str = "audit_log";

type Key = (NodeId, String);

/// Where this node's clock stands, as an entry notes it.
type ClockSet = Box<dyn Fn() -> bool + Send + Sync>;

struct Inner {
    shared: Shared,
    node: NodeId,
    boot: String,
    clock_set: ClockSet,
    held: Mutex<Held>,
    changed: watch::Sender<u64>,
}

struct Held {
    /// This node's own log.
    log: String,
    /// The end of each log.
    heads: BTreeMap<Key, (u64, String)>,
    /// What does not fit together.
    complaints: BTreeMap<Key, String>,
}

impl Held {
    /// Two nodes know a log differently; false when that was known.
    fn complain(&mut self, key: Key, seq: u64) -> bool {
        let node = &key.0;
        let sentence = format!(
            "Another node has something else in the audit log of node {node}, at entry {seq}, than \
             this one. One of the two copies was changed, or node {node} was set back to an old \
             copy of its data. Nothing more of that log is taken over."
        );
        let news = !self.complaints.contains_key(&key);
        self.complaints.entry(key).or_insert(sentence);
        news
    }
}

/// What came of taking over another node's entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Entries that were new here.
    pub new: usize,
    /// Entries nobody of ours could have sent.
    pub refused: usize,
}

/// The audit logs. Cheap to clone; calls block for a disk write at most.
#[derive(Clone)]
pub struct AuditLog(Arc<Inner>);

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").field("node", &self.0.node).finish_non_exhaustive()
    }
}

impl AuditLog {
    pub(crate) fn open(
        shared: Shared,
        node: &NodeId,
        clock_set: ClockSet,
    ) -> Result<Self, StoreError> {
        let (log, heads) = {
            let connection = shared.lock();
            (own_log(&connection)?, heads(&connection)?)
        };
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Ok(Self(Arc::new(Inner {
            shared,
            node: node.clone(),
            boot: clean(boot.trim()),
            clock_set,
            held: Mutex::new(Held { log, heads, complaints: BTreeMap::new() }),
            changed: watch::channel(0).0,
        })))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes up when there are new entries.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Writes an entry into this node's own log.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn record(&self, record: &Record) -> Result<(), StoreError> {
        let (actor, name, address) = record.actor.parts();
        let failure = record.failure.as_deref().map(|f| if f.is_empty() { "failed" } else { f });
        let mut held = self.held();
        let key = (self.0.node.clone(), held.log.clone());
        let (last, previous) = held.heads.get(&key).cloned().unwrap_or_default();
        let mut entry = Entry {
            node: key.0.clone(),
            log: key.1.clone(),
            seq: last + 1,
            boot: self.0.boot.clone(),
            uptime_ms: uptime_ms(),
            at_ms: now_ms(),
            clock_set: (self.0.clock_set)(),
            actor: actor.to_owned(),
            name: clean(&name),
            address: clean(&address),
            deed: record.deed.key().to_owned(),
            object: clean(&record.object),
            before: clean(&record.before),
            after: clean(&record.after),
            failure: clean(failure.unwrap_or_default()),
            chain: String::new(),
        };
        entry.chain = chain(&entry, &previous);
        let mut connection = self.0.shared.lock();
        let transaction = connection.transaction()?;
        insert(&transaction, &entry, entry.at_ms)?;
        prune(&transaction, &entry)?;
        transaction.commit()?;
        drop(connection);
        held.heads.insert(key, (entry.seq, entry.chain));
        drop(held);
        self.touch();
        Ok(())
    }

    fn touch(&self) {
        self.0.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// How far each log is known here.
    pub fn heads(&self) -> Vec<Head> {
        let held = self.held();
        let head = |((node, log), (seq, chain)): (&Key, &(u64, String))| Head {
            node: node.clone(),
            log: log.clone(),
            seq: *seq,
            chain: chain.clone(),
        };
        held.heads.iter().map(head).collect()
    }

    /// The entries of a log after this number, oldest first, `most` bytes of them at most but at
    /// least one.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn after(
        &self,
        node: &NodeId,
        log: &str,
        seq: u64,
        most: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let connection = self.0.shared.lock();
        let mut statement = connection.prepare_cached(
            "SELECT entry FROM audit WHERE node = ? AND log = ? AND seq > ? ORDER BY seq",
        )?;
        let mut rows = statement.query(params![node.as_str(), log, number(seq)])?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let text: String = row.get(0)?;
            bytes += text.len();
            if bytes > most && !entries.is_empty() {
                break;
            }
            entries.push(read(&text)?);
        }
        Ok(entries)
    }

    /// Takes over what another node sent, of one log and in order. What does not continue what is
    /// known is not taken, and the operator is told.
    ///
    /// # Errors
    /// When they are not stored.
    pub fn merge(&self, entries: &[Entry]) -> Result<Merged, StoreError> {
        let mut merged = Merged::default();
        let mut held = self.held();
        let before = held.complaints.clone();
        let mut connection = self.0.shared.lock();
        let transaction = connection.transaction()?;
        let mut heads = held.heads.clone();
        let arrived = (self.0.clock_set)().then(now_ms);
        let own = (self.0.node.clone(), held.log.clone());
        let mut forked = false;
        for entry in entries {
            if !entry.is_clean() {
                merged.refused += 1;
                continue;
            }
            let key = (entry.node.clone(), entry.log.clone());
            if held.complaints.contains_key(&key) {
                merged.refused += 1;
                continue;
            }
            match fit(&transaction, &heads, entry)? {
                Fit::Known => continue,
                Fit::Next => {}
                Fit::TooMany => {
                    merged.refused += 1;
                    continue;
                }
                Fit::Other => {
                    forked |= key == own;
                    held.complain(key, entry.seq);
                    merged.refused += 1;
                    continue;
                }
            }
            // A time by a clock that was not set would hide the entry among old ones.
            let order = if entry.clock_set { entry.at_ms } else { arrived.unwrap_or(entry.at_ms) };
            insert(&transaction, entry, order)?;
            prune(&transaction, entry)?;
            heads.insert(key, (entry.seq, entry.chain.clone()));
            merged.new += 1;
        }
        // Somebody knows more of this node's own log than it does itself: it was set back to an
        // old copy. What it writes from now on must not pass for what it wrote then.
        if forked || heads.get(&own) != held.heads.get(&own) {
            held.log = new_log(&transaction)?;
        }
        transaction.commit()?;
        drop(connection);
        held.heads = heads;
        let news = merged.new > 0 || held.complaints != before;
        drop(held);
        if news {
            self.touch();
        }
        Ok(merged)
    }

    /// Looks whether what another node says of the logs it knows goes with what is known here.
    ///
    /// # Errors
    /// When the logs cannot be read.
    pub fn compare(&self, theirs: &[Head]) -> Result<(), StoreError> {
        let mut held = self.held();
        let mut news = false;
        for head in theirs {
            let connection = self.0.shared.lock();
            let known = chain_of(&connection, &head.node, &head.log, head.seq)?;
            if known.is_none_or(|chain| chain == head.chain) {
                continue;
            }
            let key = (head.node.clone(), head.log.clone());
            if key == (self.0.node.clone(), held.log.clone()) {
                held.log = new_log(&connection)?;
            }
            news |= held.complain(key, head.seq);
        }
        drop(held);
        if news {
            self.touch();
        }
        Ok(())
    }

    /// Entries as somebody wants to see them, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn list(&self, query: &Query) -> Result<Listed, StoreError> {
        let words: Vec<String> = query.words.split_whitespace().map(str::to_lowercase).collect();
        let place = query.after.as_deref().and_then(|t| {
            let (order, id) = t.split_once('.')?;
            Some((order.parse::<i64>().ok()?, id.parse::<i64>().ok()?))
        });
        let (order, id) = place.unwrap_or((i64::MAX, i64::MAX));
        let mut listed = Listed {
            complaints: self.held().complaints.values().cloned().collect(),
            ..Listed::default()
        };
        let connection = self.0.shared.lock();
        let mut statement = connection.prepare_cached(
            "SELECT entry, order_ms, id FROM audit WHERE (order_ms, id) < (?, ?) \
             ORDER BY order_ms DESC, id DESC",
        )?;
        let mut rows = statement.query(params![order, id])?;
        let mut place = None;
        let mut looked_at = 0;
        while let Some(row) = rows.next()? {
            if listed.entries.len() >= query.limit || looked_at >= LOOKED_AT {
                listed.next = place;
                break;
            }
            looked_at += 1;
            let text: String = row.get(0)?;
            place = Some(format!("{}.{}", row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
            let entry = read(&text)?;
            if wanted(&entry, query, &words) {
                listed.entries.push(entry);
            }
        }
        Ok(listed)
    }

    /// Reads every log from its first entry and looks whether each entry continues the one before.
    /// What does not is a complaint of every list from then on.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn verify(&self) -> Result<Vec<String>, StoreError> {
        let mut found = BTreeMap::new();
        for head in self.heads() {
            let broken = {
                let connection = self.0.shared.lock();
                broken(&connection, &head)?
            };
            if let Some(sentence) = broken {
                found.insert((head.node, head.log), sentence);
            }
        }
        let mut held = self.held();
        held.complaints.extend(found.clone());
        drop(held);
        if !found.is_empty() {
            self.touch();
        }
        Ok(found.into_values().collect())
    }

    /// Logs that do not fit what is known of them, a sentence each.
    pub fn complaints(&self) -> Vec<String> {
        self.held().complaints.values().cloned().collect()
    }
}

/// How an entry goes with what is known.
enum Fit {
    Known,
    Next,
    Other,
    TooMany,
}

fn fit(
    transaction: &Transaction<'_>,
    heads: &BTreeMap<Key, (u64, String)>,
    entry: &Entry,
) -> Result<Fit, StoreError> {
    let key = (entry.node.clone(), entry.log.clone());
    let Some((last, previous)) = heads.get(&key) else {
        if heads.len() >= MOST_LOGS {
            return Ok(Fit::TooMany);
        }
        // The beginning of what the others still have; what was before is known to nobody.
        let whole = entry.seq > 1 || entry.chain == chain(entry, "");
        return Ok(if whole { Fit::Next } else { Fit::Other });
    };
    if entry.seq > last + 1 {
        // The sender has nothing in between any more either.
        return Ok(Fit::Next);
    }
    if entry.seq == last + 1 {
        return Ok(if entry.chain == chain(entry, previous) { Fit::Next } else { Fit::Other });
    }
    match chain_of(transaction, &entry.node, &entry.log, entry.seq)? {
        Some(chain) if chain != entry.chain => Ok(Fit::Other),
        _ => Ok(Fit::Known),
    }
}

fn chain_of(
    connection: &Connection,
    node: &NodeId,
    log: &str,
    seq: u64,
) -> Result<Option<String>, StoreError> {
    let sql = "SELECT entry FROM audit WHERE node = ? AND log = ? AND seq = ?";
    let known: Option<String> = connection
        .query_row(sql, params![node.as_str(), log, number(seq)], |row| row.get(0))
        .optional()?;
    known.map(|text| Ok(read(&text)?.chain)).transpose()
}

fn broken(connection: &Connection, head: &Head) -> Result<Option<String>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT entry FROM audit WHERE node = ? AND log = ? ORDER BY seq")?;
    let mut rows = statement.query(params![head.node.as_str(), head.log])?;
    let mut before: Option<Entry> = None;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        let Ok(entry) = read(&text) else {
            return Ok(Some(format!(
                "The copy of the audit log of node {} kept here holds something unreadable.",
                head.node
            )));
        };
        let previous = match &before {
            None if entry.seq == 1 => Some(""),
            Some(b) if b.seq + 1 == entry.seq => Some(b.chain.as_str()),
            // The entry before is not kept any more.
            _ => None,
        };
        if previous.is_some_and(|p| chain(&entry, p) != entry.chain) {
            return Ok(Some(format!(
                "The audit log of node {} as it is kept here was changed: entry {} does not \
                 continue the one before.",
                head.node, entry.seq
            )));
        }
        before = Some(entry);
    }
    Ok(None)
}

fn wanted(entry: &Entry, query: &Query, words: &[String]) -> bool {
    if query.node.as_ref().is_some_and(|n| *n != entry.node)
        || query.deed.as_ref().is_some_and(|d| *d != entry.deed)
    {
        return false;
    }
    if words.is_empty() {
        return true;
    }
    let mut text = format!("{} {} {}", entry.node, entry.deed_words(), entry.who());
    for part in [&entry.object, &entry.before, &entry.after, &entry.failure] {
        text.push(' ');
        text.push_str(part);
    }
    let text = text.to_lowercase();
    words.iter().all(|w| text.contains(w.as_str()))
}

fn chain(entry: &Entry, previous: &str) -> String {
    blake3::hash(&entry.material(previous)).to_hex().to_string()
}

fn insert(transaction: &Transaction<'_>, entry: &Entry, order_ms: i64) -> Result<(), StoreError> {
    let text = serde_json::to_string(entry).map_err(|e| StoreError::Unreadable(e.to_string()))?;
    transaction
        .prepare_cached(
            "INSERT INTO audit (node, log, seq, order_ms, entry) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![entry.node.as_str(), entry.log, number(entry.seq), order_ms, text])?;
    Ok(())
}

fn prune(transaction: &Transaction<'_>, entry: &Entry) -> Result<(), StoreError> {
    if entry.seq > KEPT && entry.seq % PRUNED == 0 {
        let sql = "DELETE FROM audit WHERE node = ? AND log = ? AND seq <= ?";
        let upto = number(entry.seq - KEPT);
        transaction.execute(sql, params![entry.node.as_str(), entry.log, upto])?;
    }
    Ok(())
}

fn heads(connection: &Connection) -> Result<BTreeMap<Key, (u64, String)>, StoreError> {
    // SQLite gives the other columns of the row that has the maximum.
    let mut statement =
        connection.prepare("SELECT max(seq), entry FROM audit GROUP BY node, log")?;
    let mut rows = statement.query([])?;
    let mut heads = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let entry = read(&row.get::<_, String>(1)?)?;
        heads.insert((entry.node, entry.log), (entry.seq, entry.chain));
    }
    Ok(heads)
}

fn own_log(connection: &Connection) -> Result<String, StoreError> {
    let sql = "SELECT value FROM local WHERE name = ?";
    let known: Option<String> = connection.query_row(sql, [LOG], |row| row.get(0)).optional()?;
    known.map_or_else(|| new_log(connection), Ok)
}

/// A name no other log has.
fn new_log(connection: &Connection) -> Result<String, StoreError> {
    let sql = "INSERT INTO local (name, value) VALUES (?, lower(hex(randomblob(8))))
               ON CONFLICT (name) DO UPDATE SET value = excluded.value RETURNING value";
    Ok(connection.query_row(sql, [LOG], |row| row.get(0))?)
}

fn read(text: &str) -> Result<Entry, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Unreadable(format!("audit log: {e}")))
}

fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Since the start of the board, sleep included.
fn uptime_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let time = Duration::try_from(time).unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
