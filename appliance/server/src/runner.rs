//! Keeps the open addresses and their sites in step with the settings.

use crate::error::ListenError;
use crate::files::SiteRoot;
use crate::hosts::HostTable;
use crate::listener::{Common, Listener};
use control::{Reporter, Shutdown, Snapshot, SnapshotReceiver};
use model::{DerivedSite, Role};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, Permissions, set_permissions};
use std::net::SocketAddrV4;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// An address that could not be opened is tried again after so long.
const RETRY: Duration = Duration::from_secs(2);

type Table = Arc<HostTable<SiteRoot>>;
/// A site with the hosts that lead to it.
type Named = (Vec<String>, Arc<SiteRoot>);

/// What runs. Outlives the runner, so that a fault in it closes nothing.
#[derive(Debug)]
pub(crate) struct Running {
    data_dir: PathBuf,
    pub(crate) common: Arc<Common>,
    listeners: Mutex<Listeners>,
}

#[derive(Debug, Default)]
struct Listeners {
    open: BTreeMap<SocketAddrV4, Arc<Listener>>,
    /// Nothing is opened any more.
    closed: bool,
}

impl Running {
    pub(crate) fn new(data_dir: PathBuf, common: Arc<Common>) -> Self {
        Self { data_dir, common, listeners: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        // A map and a flag, each changed by single calls: whole after any panic.
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses open now.
    pub(crate) fn addresses(&self) -> Vec<SocketAddrV4> {
        self.lock().open.keys().copied().collect()
    }

    /// Closes every address for good; connections end with their next response.
    pub(crate) fn retire_all(&self) {
        let mut listeners = self.lock();
        listeners.closed = true;
        for listener in std::mem::take(&mut listeners.open).into_values() {
            listener.retire();
        }
    }

    /// Runs what `wanted` says: addresses that stay keep their sockets and connections.
    fn apply(&self, wanted: BTreeMap<SocketAddrV4, Table>) -> Vec<ListenError> {
        let mut listeners = self.lock();
        if listeners.closed {
            return Vec::new();
        }
        let mut failed = Vec::new();
        let mut next = BTreeMap::new();
        for (address, table) in wanted {
            if let Some(listener) = listeners.open.remove(&address) {
                listener.serve(table);
                next.insert(address, listener);
                continue;
            }
            match Listener::open(address, table, self.common.clone()) {
                Ok(listener) => {
                    tracing::info!("the web server listens on {address}");
                    next.insert(address, listener);
                }
                Err(error) => failed.push(error),
            }
        }
        for (address, gone) in std::mem::replace(&mut listeners.open, next) {
            tracing::info!("the web server no longer listens on {address}");
            gone.retire();
        }
        failed
    }
}

/// Follows the settings until shutdown.
pub(crate) async fn run(
    running: Arc<Running>,
    mut snapshots: SnapshotReceiver,
    reporter: Reporter,
    shutdown: Shutdown,
) {
    let mut again = follow(&running, &snapshots.borrow_and_update().clone(), &reporter);
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            changed = snapshots.changed() => {
                if changed.is_err() {
                    // Nobody will publish settings any more; these are the last.
                    shutdown.requested().await;
                    break;
                }
            }
            () = sleep(RETRY), if again => {}
        }
        again = follow(&running, &snapshots.borrow_and_update().clone(), &reporter);
    }
    running.retire_all();
}

/// Runs one snapshot and reports. True: something failed that may work later.
fn follow(running: &Running, snapshot: &Snapshot, reporter: &Reporter) -> bool {
    if !snapshot.effective.is(Role::Web) {
        running.apply(BTreeMap::new());
        reporter.idle(snapshot.revision);
        return false;
    }
    let mut problems = Vec::new();
    for site in &snapshot.effective.sites {
        if let Err(problem) = make_directory(&running.data_dir, site) {
            problems.push(problem);
        }
    }
    let failed = running.apply(tables(&running.data_dir, &snapshot.effective.sites));
    problems.extend(failed.iter().map(|error| {
        let busy = error.source.kind() == std::io::ErrorKind::AddrInUse;
        let who = busy.then(|| crate::preflight::holder(error.address)).flatten();
        let who = who.map(|w| format!(" ({w} listens there)")).unwrap_or_default();
        format!("{error}{who}; it is tried again every {} s", RETRY.as_secs())
    }));
    if problems.is_empty() {
        reporter.applied(snapshot.revision);
    } else {
        reporter.degraded(snapshot.revision, problems.join("; "));
    }
    !problems.is_empty()
}

/// The sites behind each address.
fn tables(data_dir: &Path, sites: &[DerivedSite]) -> BTreeMap<SocketAddrV4, Table> {
    let mut behind: BTreeMap<SocketAddrV4, Vec<Named>> = BTreeMap::new();
    for site in sites.iter().filter(|s| is_below(&s.directory)) {
        let hosts: Vec<String> = site.site.hosts.iter().map(ToString::to_string).collect();
        let plain = |name: &&String| !name.is_empty() && !name.contains(['/', '\0']);
        let root = Arc::new(SiteRoot {
            path: data_dir.join(&site.directory),
            directory: site.directory.clone(),
            index: site.site.index.iter().filter(plain).cloned().collect(),
        });
        for address in &site.listen {
            behind.entry(*address).or_default().push((hosts.clone(), root.clone()));
        }
    }
    behind
        .into_iter()
        .map(|(address, sites)| {
            let sites = sites.iter().map(|(hosts, root)| (hosts.as_slice(), root.clone()));
            (address, Arc::new(HostTable::new(sites)))
        })
        .collect()
}

/// A site must not be the data directory itself, where the secrets are.
fn is_below(directory: &str) -> bool {
    !directory.is_empty() && directory.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn make_directory(data_dir: &Path, site: &DerivedSite) -> Result<(), String> {
    if !is_below(&site.directory) {
        return Err(format!(
            "the site {} has a name that cannot be a directory; give it another",
            site.site.name
        ));
    }
    let path = data_dir.join(&site.directory);
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&path)
        // The mask of this process may have taken bits away that visitors need.
        .and_then(|()| set_permissions(&path, Permissions::from_mode(0o755)))
        .map_err(|e| format!("the directory {} of a site cannot be made: {e}", site.directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories() {
        for good in ["site", "sites/a.b", "sites/..a"] {
            assert!(is_below(good), "{good}");
        }
        for bad in ["", ".", "..", "sites/..", "sites/.", "/etc", "sites//x", "sites/"] {
            assert!(!is_below(bad), "{bad}");
        }
    }
}
