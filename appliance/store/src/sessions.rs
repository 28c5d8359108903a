//! Sessions of the admin page: valid on every node, ended on every node.
//!
//! While the process runs, times are kept on the monotonic clock: a wall clock that is set or
//! jumps ends no session. The database has wall times, for the next start. What nodes send each
//! other are ages.

use crate::database::Shared;
use crate::error::StoreError;
use model::session::{LONGEST, MOST, News, Session};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Ended sessions that are remembered: more than can have lived lately. By number and not by
/// time, because the clock of a node that comes back may be anywhere.
const MOST_ENDED: usize = 1024;
/// A use this much later than the one that is known is news; less is the way it took to get here.
const NEWS_MS: i64 = 5000;
/// A use on another node is written down here when so much time lies between, to spare the card.
const WRITTEN_MS: i64 = 600_000;
/// A session from further ahead than this by the clock, at the start, is over.
const AHEAD_MS: i64 = 300_000;
const GENERATION: &str = "session_generation";

#[derive(Clone, Debug)]
struct Row {
    session: Session,
    /// On the monotonic clock of [`Held::begun`].
    since: i64,
    seen: i64,
    proven: i64,
    expires: i64,
    /// The last use that the database knows.
    written: i64,
    /// When it changed in a way the others want to know, by [`Held::version`].
    changed: u64,
}

#[derive(Debug)]
struct Held {
    begun: Instant,
    rows: BTreeMap<String, Row>,
    /// Ended sessions with when that was, by [`Held::version`].
    ended: BTreeMap<String, u64>,
    generation: u64,
    version: u64,
}

/// Sessions by their id. Cheap to clone; calls block for a disk write at most.
#[derive(Clone, Debug)]
pub struct Sessions {
    shared: Shared,
    held: Arc<Mutex<Held>>,
    changed: watch::Sender<u64>,
    ended: watch::Sender<u64>,
}

impl Sessions {
    pub(crate) fn open(shared: Shared) -> Result<Self, StoreError> {
        let held = load(&shared.lock(), Instant::now())?;
        let (changed, ended) = (watch::channel(0).0, watch::channel(0).0);
        Ok(Self { shared, held: Arc::new(Mutex::new(held)), changed, ended })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes up when there is something to tell the others.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Wakes up when sessions were ended, here or on another node.
    pub fn endings(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// A session; None when there is none, or its time is over.
    pub fn load(&self, id: &str) -> Option<Session> {
        let held = self.held();
        let now = held.now();
        held.rows.get(id).filter(|row| row.expires > now).map(|row| row.aged(now))
    }

    /// All sessions whose time is not over, the one used last first.
    pub fn list(&self) -> Vec<Session> {
        let held = self.held();
        let now = held.now();
        let rows = held.rows.values().filter(|row| row.expires > now);
        let mut all: Vec<Session> = rows.map(|row| row.aged(now)).collect();
        all.sort_by_key(|s| s.unused_ms);
        all
    }

    /// Stores a session, or what became of it. One that was ended meanwhile stays ended.
    ///
    /// # Errors
    /// When it is too long or not stored.
    pub fn save(&self, session: &Session) -> Result<(), StoreError> {
        if session.more.len() > LONGEST {
            return Err(StoreError::Unreadable("a session that is too long".to_owned()));
        }
        let mut held = self.held();
        if held.ended.contains_key(&session.id) {
            return Ok(());
        }
        let mut row = held.row(session);
        match held.rows.get(&session.id) {
            Some(old) => row.session.generation = old.session.generation,
            None => row.session.generation = held.generation,
        }
        row.changed = held.next();
        let connection = self.shared.lock();
        if !held.rows.contains_key(&session.id) && held.rows.len() >= MOST {
            held.make_room(&connection)?;
        }
        store(&connection, &held, &row)?;
        drop(connection);
        held.rows.insert(session.id.clone(), row);
        drop(held);
        bump(&self.changed);
        Ok(())
    }

    /// Ends a session on every node.
    ///
    /// # Errors
    /// When that is not stored.
    pub fn end(&self, id: &str) -> Result<(), StoreError> {
        let mut held = self.held();
        if held.rows.contains_key(id) {
            let locked = self.shared.lock();
            let connection = locked.unchecked_transaction()?;
            held.end(&connection, id)?;
            connection.commit()?;
        }
        drop(held);
        bump(&self.changed);
        bump(&self.ended);
        Ok(())
    }

    /// Ends all sessions but one, on every node; also those another node knows and this one does
    /// not.
    ///
    /// # Errors
    /// When that is not stored.
    pub fn end_all_except(&self, id: Option<&str>) -> Result<(), StoreError> {
        let mut held = self.held();
        let generation = held.generation.saturating_add(1);
        let locked = self.shared.lock();
        let connection = locked.unchecked_transaction()?;
        let version = held.next();
        if let Some(row) = id.and_then(|id| held.rows.get(id)).cloned() {
            let mut row = row;
            (row.session.generation, row.changed) = (generation, version);
            store(&connection, &held, &row)?;
            held.rows.insert(row.session.id.clone(), row);
        }
        held.rise(&connection, generation)?;
        connection.commit()?;
        drop(locked);
        drop(held);
        bump(&self.changed);
        bump(&self.ended);
        Ok(())
    }

    /// Forgets sessions whose time is over. That is no news: by another node's word one of them
    /// may have been used.
    ///
    /// # Errors
    /// When they are not removed.
    pub fn tidy(&self) -> Result<(), StoreError> {
        let mut held = self.held();
        let now = held.now();
        let over: Vec<String> =
            held.rows.iter().filter(|(_, r)| r.expires <= now).map(|(id, _)| id.clone()).collect();
        if over.is_empty() {
            return Ok(());
        }
        let locked = self.shared.lock();
        let connection = locked.unchecked_transaction()?;
        for id in over {
            remove(&connection, &id)?;
            held.rows.remove(&id);
        }
        connection.commit()?;
        Ok(())
    }

    /// What changed after `version` (0: everything there is), and the version this is.
    pub fn news_since(&self, version: u64) -> (News, u64) {
        let held = self.held();
        let now = held.now();
        let rows = held.rows.values().filter(|r| r.changed > version && r.expires > now);
        let ended = held.ended.iter().filter(|(_, at)| **at > version || version == 0);
        let news = News {
            generation: held.generation,
            sessions: rows.map(|row| row.aged(now)).collect(),
            ended: ended.map(|(id, _)| id.clone()).collect(),
        };
        (news, held.version)
    }

    /// Takes over what another node tells.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn merge(&self, news: &News) -> Result<(), StoreError> {
        let mut held = self.held();
        let version = held.version;
        let locked = self.shared.lock();
        let connection = locked.unchecked_transaction()?;
        let mut over = false;
        if news.generation > held.generation {
            held.next();
            held.rise(&connection, news.generation)?;
            over = true;
        }
        for id in news.ended.iter().take(MOST_ENDED).filter(|id| id.len() <= 64) {
            if !held.ended.contains_key(id) {
                over |= held.rows.contains_key(id);
                held.end(&connection, id)?;
            }
        }
        for session in news.sessions.iter().take(MOST) {
            let old = session.generation < held.generation;
            if old || held.ended.contains_key(&session.id) || !session.is_plausible() {
                continue;
            }
            let mut row = held.row(session);
            if let Some(known) = held.rows.get(&session.id) {
                let used = row.seen - known.seen >= NEWS_MS || row.proven - known.proven >= NEWS_MS;
                if !used && row.session.generation <= known.session.generation {
                    continue;
                }
                row.since = row.since.min(known.since);
                row.expires = row.expires.max(known.expires);
                row.seen = row.seen.max(known.seen);
                row.proven = row.proven.max(known.proven);
                row.session.more.clone_from(&known.session.more);
                row.session.csrf.clone_from(&known.session.csrf);
                row.session.credential.clone_from(&known.session.credential);
                // Everybody is told of a use by the node it was on.
                row.changed = known.changed;
                row.written = known.written;
                if row.seen - row.written < WRITTEN_MS
                    && row.session.generation == known.session.generation
                {
                    held.rows.insert(session.id.clone(), row);
                    continue;
                }
                row.written = row.seen;
            } else {
                if held.rows.len() >= MOST {
                    held.make_room(&connection)?;
                }
                row.changed = held.next();
            }
            store(&connection, &held, &row)?;
            held.rows.insert(session.id.clone(), row);
        }
        connection.commit()?;
        drop(locked);
        let passed_on = held.version != version;
        drop(held);
        if passed_on {
            bump(&self.changed);
        }
        if over {
            bump(&self.ended);
        }
        Ok(())
    }
}

fn bump(sender: &watch::Sender<u64>) {
    sender.send_modify(|n| *n = n.wrapping_add(1));
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

impl Row {
    fn aged(&self, now: i64) -> Session {
        let since = |then: i64| u64::try_from(now.saturating_sub(then)).unwrap_or(0);
        let unused_ms = since(self.seen);
        Session {
            age_ms: since(self.since).max(unused_ms),
            unused_ms,
            proven_ms: since(self.proven),
            left_ms: u64::try_from(self.expires.saturating_sub(now)).unwrap_or(0),
            ..self.session.clone()
        }
    }
}

impl Held {
    fn now(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX / 2)
    }

    fn next(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn row(&self, session: &Session) -> Row {
        let now = self.now();
        Row {
            session: session.clone(),
            since: now - signed(session.age_ms),
            seen: now - signed(session.unused_ms),
            proven: now - signed(session.proven_ms),
            expires: now + signed(session.left_ms),
            written: now - signed(session.unused_ms),
            changed: 0,
        }
    }

    fn end(&mut self, connection: &Connection, id: &str) -> Result<(), StoreError> {
        remove(connection, id)?;
        connection.execute("INSERT OR IGNORE INTO ended_sessions (id) VALUES (?)", [id])?;
        self.rows.remove(id);
        let version = self.next();
        self.ended.insert(id.to_owned(), version);
        if self.ended.len() > MOST_ENDED {
            let oldest = self.ended.iter().min_by_key(|(_, at)| **at).map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                connection.execute("DELETE FROM ended_sessions WHERE id = ?", [&oldest])?;
                self.ended.remove(&oldest);
            }
        }
        Ok(())
    }

    /// Everything of a lower generation is over.
    fn rise(&mut self, connection: &Connection, generation: u64) -> Result<(), StoreError> {
        let sql = "INSERT INTO local (name, value) VALUES (?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET value = ?2";
        connection.execute(sql, [GENERATION, &generation.to_string()])?;
        self.generation = generation;
        let over: Vec<String> = self
            .rows
            .values()
            .filter(|row| row.session.generation < generation)
            .map(|row| row.session.id.clone())
            .collect();
        for id in over {
            remove(connection, &id)?;
            self.rows.remove(&id);
        }
        Ok(())
    }

    /// Drops the session that was unused for longest.
    fn make_room(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let oldest = self.rows.values().min_by_key(|r| r.seen).map(|r| r.session.id.clone());
        if let Some(id) = oldest {
            remove(connection, &id)?;
            self.rows.remove(&id);
        }
        Ok(())
    }
}

fn remove(connection: &Connection, id: &str) -> Result<(), StoreError> {
    connection.execute("DELETE FROM sessions WHERE id = ?", [id])?;
    Ok(())
}

fn store(connection: &Connection, held: &Held, row: &Row) -> Result<(), StoreError> {
    let offset = now_ms() - held.now();
    let text =
        serde_json::to_string(&row.session).map_err(|e| StoreError::Unreadable(e.to_string()))?;
    let sql = "INSERT INTO sessions (id, session, more, since_ms, seen_ms, proven_ms, expires_ms)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO UPDATE
               SET session = ?2, more = ?3, since_ms = ?4, seen_ms = ?5, proven_ms = ?6,
                   expires_ms = ?7";
    connection.execute(
        sql,
        params![
            row.session.id,
            text,
            row.session.more,
            row.since + offset,
            row.seen + offset,
            row.proven + offset,
            row.expires + offset
        ],
    )?;
    Ok(())
}

/// What the run before left.
fn load(connection: &Connection, begun: Instant) -> Result<Held, StoreError> {
    let sql = "SELECT value FROM local WHERE name = ?";
    let mut statement = connection.prepare(sql)?;
    let generation = statement.query_map([GENERATION], |row| row.get::<_, String>(0))?;
    let generation = generation.filter_map(|v| v.ok()?.parse().ok()).next().unwrap_or(0);
    let mut held =
        Held { begun, rows: BTreeMap::new(), ended: BTreeMap::new(), generation, version: 1 };
    let offset = now_ms() - held.now();
    let mut statement = connection.prepare("SELECT id FROM ended_sessions ORDER BY number")?;
    for id in statement.query_map([], |row| row.get::<_, String>(0))? {
        let version = held.next();
        held.ended.insert(id?, version);
    }
    let mut statement = connection
        .prepare("SELECT session, more, since_ms, seen_ms, proven_ms, expires_ms FROM sessions")?;
    let mut rows = statement.query([])?;
    let mut over = Vec::new();
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        // One that cannot be read (of another version, or damaged) is over.
        let Ok(mut session) = serde_json::from_str::<Session>(&text) else { continue };
        session.more = row.get(1)?;
        let time = |i| row.get::<_, i64>(i).map(|at| at.saturating_sub(offset));
        let (since, seen, proven, expires) = (time(2)?, time(3)?, time(4)?, time(5)?);
        let now = held.now();
        if since > now + AHEAD_MS || expires <= now || session.generation < generation {
            over.push(session.id);
            continue;
        }
        let changed = held.next();
        let id = session.id.clone();
        held.rows.insert(id, Row { session, since, seen, proven, expires, written: seen, changed });
    }
    for id in over {
        remove(connection, &id)?;
    }
    Ok(held)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX / 4)
}
