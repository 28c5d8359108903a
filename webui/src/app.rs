//! What all requests share.

use crate::csrf;
use crate::password::{Hasher, Remembered};
use crate::ports::Ports;
use crate::session::Store;
use crate::throttle::Throttle;
use control::{Shutdown, Snapshot};
use model::Name;
use model::status::FailoverReport;
use model::token::Token;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The stored password hash is read again after so long: `bramble password` may have set another.
const CREDENTIAL_AGE: Duration = Duration::from_secs(1);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Single assignments and counters only: valid after any panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What came of the last failover asked for on this node.
#[derive(Clone, Debug)]
pub(crate) struct LastFailover {
    pub(crate) at: Instant,
    pub(crate) result: Result<FailoverReport, String>,
}

pub(crate) struct Shared {
    pub(crate) ports: Ports,
    pub(crate) store: Store,
    pub(crate) throttle: Mutex<Throttle>,
    pub(crate) hasher: Hasher,
    pub(crate) remembered: Mutex<Remembered>,
    credential: Mutex<Option<(Instant, Option<String>)>>,
    pub(crate) key: [u8; 32],
    pub(crate) failovers: Mutex<BTreeMap<Name, LastFailover>>,
    /// Sign-ins that failed and are not in the audit log yet.
    pub(crate) failures: Mutex<crate::audit::Failures>,
    tokens: Mutex<Option<(Instant, Arc<Vec<Token>>)>>,
    /// When each token was last used, since the start.
    pub(crate) tokens_used: Mutex<BTreeMap<String, Instant>>,
    pub(crate) streams: Mutex<crate::live::Streams>,
    pub(crate) rendered: Mutex<crate::live::Rendered>,
    pub(crate) shutdown: Option<Shutdown>,
    /// The firmware update that is under way, or what came of the last one.
    pub(crate) update: Mutex<crate::update::Update>,
    /// What trying out the networks of the nodes came to.
    pub(crate) tried_out: Mutex<crate::pages::diagnostics::Tried>,
    /// A backup that was opened and waits for a yes.
    pub(crate) restore: Mutex<Option<crate::pages::backup::Pending>>,
    /// The Wi-Fi network that was last tried from this page.
    pub(crate) tried: Mutex<Option<crate::tries::Tried>>,
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

impl std::ops::Deref for App {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    pub(crate) fn new(ports: Ports, shutdown: Option<Shutdown>) -> Self {
        let mut key = [0; 32];
        if let Err(error) = getrandom::fill(&mut key) {
            // Nobody can sign in without random numbers anyway (sessions ask for some as well),
            // but a key an outsider knows must not be left in place.
            tracing::error!("there are no random numbers: {error}");
            key = *blake3::hash(format!("{:?}{error}", Instant::now()).as_bytes()).as_bytes();
        }
        Self(Arc::new(Shared {
            store: Store(ports.sessions.clone()),
            ports,
            throttle: Mutex::default(),
            hasher: Hasher::new(),
            remembered: Mutex::default(),
            credential: Mutex::default(),
            key,
            failovers: Mutex::default(),
            failures: Mutex::default(),
            tokens: Mutex::default(),
            tokens_used: Mutex::default(),
            streams: Mutex::default(),
            rendered: Mutex::default(),
            shutdown,
            update: Mutex::default(),
            tried_out: Mutex::default(),
            restore: Mutex::default(),
            tried: Mutex::default(),
        }))
    }

    /// Tells one run of this process from the next, and nothing else.
    pub(crate) fn run_id(&self) -> String {
        let hash = blake3::keyed_hash(&self.key, b"run").to_hex();
        hash.chars().take(12).collect()
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.ports.control.snapshot()
    }

    /// The stored password hash; None while nobody has claimed this node.
    pub(crate) async fn password_hash(&self) -> Result<Option<String>, String> {
        if let Some((read, hash)) = lock(&self.credential).as_ref() {
            if read.elapsed() < CREDENTIAL_AGE {
                return Ok(hash.clone());
            }
        }
        let credentials = self.ports.credentials.clone();
        let hash = tokio::task::spawn_blocking(move || credentials.password_hash())
            .await
            .map_err(|e| e.to_string())??;
        *lock(&self.credential) = Some((Instant::now(), hash.clone()));
        Ok(hash)
    }

    /// Stores the first password; false when somebody else was faster.
    pub(crate) async fn claim(&self, hash: String) -> Result<bool, String> {
        let credentials = self.ports.credentials.clone();
        let done = tokio::task::spawn_blocking(move || credentials.claim(&hash))
            .await
            .map_err(|e| e.to_string())?;
        *lock(&self.credential) = None;
        done
    }

    pub(crate) async fn set_password(&self, hash: String) -> Result<(), String> {
        let credentials = self.ports.credentials.clone();
        let done = tokio::task::spawn_blocking(move || credentials.set_password_hash(&hash))
            .await
            .map_err(|e| e.to_string())?;
        *lock(&self.credential) = None;
        *lock(&self.remembered) = Remembered::default();
        done
    }

    /// The tokens of programs, at most a second old.
    pub(crate) async fn tokens(&self) -> Result<Arc<Vec<Token>>, String> {
        if let Some((read, tokens)) = lock(&self.tokens).as_ref() {
            if read.elapsed() < CREDENTIAL_AGE {
                return Ok(tokens.clone());
            }
        }
        let port = self.ports.tokens.clone();
        let list = tokio::task::spawn_blocking(move || port.list()).await;
        let tokens = Arc::new(list.map_err(|e| e.to_string())??);
        *lock(&self.tokens) = Some((Instant::now(), tokens.clone()));
        Ok(tokens)
    }

    /// Some were made or removed here.
    pub(crate) fn tokens_changed(&self) {
        *lock(&self.tokens) = None;
    }

    pub(crate) fn visitor_token(&self, peer: IpAddr) -> String {
        csrf::visitor_token(&self.key, peer, now_unix())
    }

    pub(crate) fn visitor_token_holds(&self, peer: IpAddr, token: &str) -> bool {
        csrf::visitor_token_holds(&self.key, peer, now_unix(), token)
    }
}

pub(crate) fn now_unix() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}
