//! Sessions: a cookie with a random id, and a row behind it, which every node of the cluster has.

use crate::ports::SessionRows;
use async_trait::async_trait;
use model::NodeId;
use model::session::Session as KeptSession;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use time::OffsetDateTime;
use tower_sessions::cookie::SameSite;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error, Result};
use tower_sessions::{Expiry, SessionManagerLayer, SessionStore};

/// Where a session keeps who it belongs to.
pub(crate) const KEY: &str = "signed-in";
/// A session's last use is written down at most so often, to spare the SD card.
const WRITTEN_EVERY: i64 = 60;
/// Clocks of boards without a clock chip jump; a session from further ahead than this is over.
const AHEAD: i64 = 300;

/// A password that was typed is believed for so long.
const PROVEN: i64 = 300;

/// The rows behind tower-sessions.
#[derive(Clone)]
pub(crate) struct Store(pub(crate) Arc<dyn SessionRows>);

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn SessionRows) -> std::result::Result<T, String> + Send + 'static,
    ) -> Result<T> {
        let rows = self.0.clone();
        tokio::task::spawn_blocking(move || work(rows.as_ref()))
            .await
            .map_err(|e| Error::Backend(e.to_string()))?
            .map_err(Error::Backend)
    }

    /// Ends every session but this one.
    pub(crate) async fn end_others(&self, keep: Option<Id>) -> Result<()> {
        let keep = keep.map(|id| id.to_string());
        self.blocking(move |rows| rows.end_all_except(keep.as_deref())).await
    }

    /// Forgets sessions whose time is over.
    pub(crate) async fn tidy(&self) -> Result<()> {
        self.blocking(|rows| rows.tidy()).await
    }

    /// Every session there is.
    pub(crate) async fn list(&self) -> Result<Vec<KeptSession>> {
        self.blocking(|rows| rows.list()).await
    }

    /// Ends one session.
    pub(crate) async fn end(&self, id: String) -> Result<()> {
        self.blocking(move |rows| rows.end(&id)).await
    }
}

#[async_trait]
impl SessionStore for Store {
    async fn create(&self, record: &mut Record) -> Result<()> {
        while self.load(&record.id).await?.is_some() {
            record.id = Id::default();
        }
        self.save(record).await
    }

    async fn save(&self, record: &Record) -> Result<()> {
        // Nobody is signed in with it: nothing to remember.
        let Some(session) = to_session(record, OffsetDateTime::now_utc())? else {
            return Ok(());
        };
        self.blocking(move |rows| rows.save(&session)).await
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let key = id.to_string();
        let Some(session) = self.blocking(move |rows| rows.load(&key)).await? else {
            return Ok(None);
        };
        Ok(Some(to_record(*id, &session, OffsetDateTime::now_utc())?))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        let id = id.to_string();
        self.blocking(move |rows| rows.end(&id)).await
    }
}

/// Ages are kept, not times: seconds ago, from this moment on.
fn to_session(record: &Record, now: OffsetDateTime) -> Result<Option<KeptSession>> {
    let mut more = record.data.clone();
    let Some(signed_in) = more.remove(KEY) else { return Ok(None) };
    let signed_in: SignedIn =
        serde_json::from_value(signed_in).map_err(|e| Error::Encode(e.to_string()))?;
    let more = serde_json::to_string(&more).map_err(|e| Error::Encode(e.to_string()))?;
    let since = |then: i64| {
        let seconds = now.unix_timestamp().saturating_sub(then);
        u64::try_from(seconds).unwrap_or(0).saturating_mul(1000)
    };
    let (age_ms, unused_ms) = (since(signed_in.since), since(signed_in.seen));
    let left = (record.expiry_date - now).whole_milliseconds();
    Ok(Some(KeptSession {
        id: record.id.to_string(),
        generation: 0,
        address: signed_in.address,
        node: signed_in.node,
        csrf: signed_in.csrf,
        credential: signed_in.credential,
        age_ms: age_ms.max(unused_ms),
        unused_ms,
        proven_ms: since(signed_in.proven),
        left_ms: u64::try_from(left).unwrap_or(0),
        more,
    }))
}

fn to_record(id: Id, session: &KeptSession, now: OffsetDateTime) -> Result<Record> {
    let before =
        |ms: u64| now.unix_timestamp().saturating_sub(i64::try_from(ms / 1000).unwrap_or(i64::MAX));
    let signed_in = SignedIn {
        since: before(session.age_ms),
        seen: before(session.unused_ms),
        proven: before(session.proven_ms),
        csrf: session.csrf.clone(),
        credential: session.credential.clone(),
        address: session.address,
        node: session.node.clone(),
    };
    let mut data: HashMap<String, serde_json::Value> =
        serde_json::from_str(&session.more).unwrap_or_default();
    let value = serde_json::to_value(&signed_in).map_err(|e| Error::Decode(e.to_string()))?;
    data.insert(KEY.to_owned(), value);
    let left = i64::try_from(session.left_ms).unwrap_or(i64::MAX);
    let expiry_date = now.checked_add(time::Duration::milliseconds(left)).unwrap_or(now);
    Ok(Record { id, data, expiry_date })
}

pub(crate) fn layer(store: Store) -> SessionManagerLayer<Store> {
    SessionManagerLayer::new(store)
        .with_name(model::SESSION_COOKIE)
        .with_path("/")
        .with_http_only(true)
        .with_same_site(SameSite::Strict)
        // Plain http on a LAN: browsers drop Secure cookies there.
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(time::Duration::minutes(30)))
}

/// What a session knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignedIn {
    /// When, in seconds since 1970 by this node's clock.
    pub(crate) since: i64,
    /// Its last use that was written down.
    pub(crate) seen: i64,
    /// The token its forms carry.
    pub(crate) csrf: String,
    /// A fingerprint of the stored password hash it was opened with: a new password ends it.
    pub(crate) credential: String,
    /// When the password was last typed; see [`Self::proven_lately`].
    pub(crate) proven: i64,
    /// From where it was opened.
    pub(crate) address: IpAddr,
    /// On which node.
    pub(crate) node: NodeId,
}

/// What becomes of a session at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Fine,
    WriteDown,
    Over,
}

impl SignedIn {
    pub(crate) fn new(
        now: i64,
        credential: String,
        address: IpAddr,
        node: NodeId,
    ) -> std::result::Result<Self, String> {
        let csrf = random_token()?;
        Ok(Self { since: now, seen: now, csrf, credential, proven: now, address, node })
    }

    /// Was the password typed so lately that nobody else can have got hold of the browser?
    pub(crate) fn proven_lately(&self, now: i64) -> bool {
        (0..PROVEN).contains(&now.saturating_sub(self.proven))
    }

    /// `idle` and `longest` in seconds.
    pub(crate) fn judge(&self, now: i64, idle: i64, longest: i64, credential: &str) -> Use {
        let (age, unused) = (now.saturating_sub(self.since), now.saturating_sub(self.seen));
        if self.credential != credential || age < -AHEAD || age >= longest || unused >= idle {
            Use::Over
        } else if unused.abs() >= WRITTEN_EVERY.min(idle / 2) {
            Use::WriteDown
        } else {
            Use::Fine
        }
    }
}

/// What a session remembers of the password it was opened with.
pub(crate) fn fingerprint(stored_hash: &str) -> String {
    blake3::hash(stored_hash.as_bytes()).to_hex().chars().take(32).collect()
}

pub(crate) fn random_token() -> std::result::Result<String, String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| format!("there are no random numbers: {e}"))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_end_in_time() {
        let at = "192.0.2.1".parse().unwrap();
        let s = SignedIn::new(1000, "c".into(), at, "web01".parse().unwrap()).unwrap();
        assert_eq!(s.csrf.len(), 32);
        assert_eq!(s.judge(1010, 1800, 43_200, "c"), Use::Fine);
        assert_eq!(s.judge(1060, 1800, 43_200, "c"), Use::WriteDown);
        assert_eq!(s.judge(2800, 1800, 43_200, "c"), Use::Over);
        assert_eq!(s.judge(1010, 1800, 43_200, "d"), Use::Over, "another password");
        assert_eq!(s.judge(500, 1800, 43_200, "c"), Use::Over, "the clock jumped back");
        assert!(s.proven_lately(1000) && s.proven_lately(1299));
        assert!(!s.proven_lately(1300) && !s.proven_lately(999), "nor after a jump back");
        let used = SignedIn { seen: 44_000, ..s };
        assert_eq!(used.judge(44_100, 1800, 43_000, "c"), Use::Over);
    }

    #[test]
    fn a_session_is_as_old_by_another_nodes_clock() {
        let at = "192.0.2.1".parse().unwrap();
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let node: NodeId = "web01".parse().unwrap();
        let signed_in = SignedIn {
            seen: 1_799_999_990,
            ..SignedIn::new(1_799_999_000, "c".into(), at, node).unwrap()
        };
        let id = Id::default();
        let mut data = HashMap::new();
        data.insert(KEY.to_owned(), serde_json::to_value(&signed_in).unwrap());
        data.insert("wizard".to_owned(), serde_json::json!({"step": 3}));
        let expiry_date = now + time::Duration::seconds(600);
        let kept =
            to_session(&Record { id, data: data.clone(), expiry_date }, now).unwrap().unwrap();
        assert_eq!((kept.age_ms, kept.unused_ms, kept.left_ms), (1_000_000, 10_000, 600_000));
        let there = OffsetDateTime::from_unix_timestamp(86_400).unwrap();
        let record = to_record(id, &kept, there).unwrap();
        assert_eq!(record.expiry_date, there + time::Duration::seconds(600));
        assert_eq!(record.data["wizard"], data["wizard"]);
        let moved: SignedIn = serde_json::from_value(record.data[KEY].clone()).unwrap();
        assert_eq!((moved.since, moved.seen), (85_400, 86_390));
        assert_eq!((moved.csrf, moved.address), (signed_in.csrf, at));
        data.remove(KEY);
        assert!(to_session(&Record { id, data, expiry_date }, now).unwrap().is_none());
    }
}
