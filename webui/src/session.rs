//! Sessions: a cookie with a random id, and a row behind it.

use crate::ports::SessionRows;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;
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
        self.blocking(move |rows| rows.delete_all_except(keep.as_deref())).await
    }

    /// Forgets sessions whose time is over.
    pub(crate) async fn tidy(&self, now_unix: i64) -> Result<()> {
        self.blocking(move |rows| rows.delete_expired(now_unix)).await
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
        let id = record.id.to_string();
        let data = serde_json::to_vec(record).map_err(|e| Error::Encode(e.to_string()))?;
        let expires = record.expiry_date.unix_timestamp();
        self.blocking(move |rows| rows.save(&id, &data, expires)).await
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let key = id.to_string();
        let Some(data) = self.blocking(move |rows| rows.load(&key)).await? else {
            return Ok(None);
        };
        // A row that cannot be read (of another version, or damaged) is a session that is over.
        let record = serde_json::from_slice::<Record>(&data).ok();
        Ok(record.filter(|r| r.id == *id && r.expiry_date > OffsetDateTime::now_utc()))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        let id = id.to_string();
        self.blocking(move |rows| rows.delete(&id)).await
    }
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
    #[serde(default)]
    pub(crate) proven: i64,
}

/// What becomes of a session at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Fine,
    WriteDown,
    Over,
}

impl SignedIn {
    pub(crate) fn new(now: i64, credential: String) -> std::result::Result<Self, String> {
        Ok(Self { since: now, seen: now, csrf: random_token()?, credential, proven: now })
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
        let s = SignedIn::new(1000, "c".into()).unwrap();
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
}
