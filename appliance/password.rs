//! One admin password for all nodes: a value that they share, and the copy that each one keeps,
//! which is what `bramble password` and the boot partition set on a board that does not run.

use crate::services::waited;
use control::{Author, Control, Shutdown, StatusBoard};
use model::NodeId;
use model::audit::{Actor, Deed, Record};
use std::sync::Arc;
use std::time::Duration;
use store::{AuditLog, Local};
use tokio::time::{Instant, sleep};

/// The shared value's name.
const NAME: &str = "admin.password";
/// The board's own copy is looked at so often: the command line may have set another.
const LOOK: Duration = Duration::from_secs(2);
/// Boards that were given passwords of their own before they ever met: each waits so much longer
/// than the one before it for another's, so that they do not contradict each other.
const TURN: Duration = Duration::from_secs(2);
const LONGEST_TURN: Duration = Duration::from_secs(30);

/// The page's password.
pub(crate) struct PagePassword {
    pub(crate) local: Local,
    pub(crate) control: Control,
    pub(crate) node: NodeId,
}

/// What is to be done about the two.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    /// The cluster has another one: this board takes it.
    Take(String),
    /// This board has one that the cluster does not know: everybody is told.
    Tell(String),
    /// As [`Self::Tell`], once this board's turn has come.
    TellInTurn(String),
}

fn next(own: Option<String>, agreed: Option<String>, shared: Option<String>) -> Next {
    match (own, agreed, shared) {
        (own, _, shared) if own == shared => match shared {
            // The same, but not yet known to be.
            Some(shared) => Next::Take(shared),
            None => Next::Nothing,
        },
        (None, _, Some(shared)) => Next::Take(shared),
        (Some(own), Some(agreed), _) if own != agreed => Next::Tell(own),
        // Never agreed on one: this board was set up before it met the others.
        (Some(_), None, Some(shared)) => Next::Take(shared),
        (Some(own), None, None) => Next::TellInTurn(own),
        (Some(_), Some(_), Some(shared)) => Next::Take(shared),
        // The value cannot be read for the moment; the copy is as good.
        (_, _, None) => Next::Nothing,
    }
}

impl PagePassword {
    fn current(&self) -> Result<Option<String>, String> {
        let text = |e: store::StoreError| e.to_string();
        if self.local.password_is_forgotten().map_err(text)? {
            return Ok(None);
        }
        let own = self.local.password_hash().map_err(text)?;
        let agreed = self.local.agreed_password_hash().map_err(text)?;
        let shared = self.control.shared(NAME);
        Ok(match next(own.clone(), agreed, shared) {
            Next::Take(hash) | Next::Tell(hash) | Next::TellInTurn(hash) => Some(hash),
            Next::Nothing => own,
        })
    }

    fn sentence(&self) -> String {
        format!("set the admin password on node {}", self.node)
    }

    fn tell(&self, hash: &str) -> Result<(), String> {
        let sentence = self.sentence();
        let told = self.control.share(NAME, Some(hash.to_owned()), Author::Local, &sentence);
        waited(told)?;
        self.local.agree_on_password_hash(hash).map_err(|e| e.to_string())
    }

    /// Brings the two together.
    fn agree(&self, turn: bool) -> Result<(), String> {
        let text = |e: store::StoreError| e.to_string();
        if self.local.password_is_forgotten().map_err(text)? {
            return Ok(());
        }
        let own = self.local.password_hash().map_err(text)?;
        let agreed = self.local.agreed_password_hash().map_err(text)?;
        match next(own.clone(), agreed.clone(), self.control.shared(NAME)) {
            Next::Nothing => {}
            Next::Take(shared) => {
                if own.as_ref() != Some(&shared) || agreed.as_ref() != Some(&shared) {
                    self.local.agree_on_password_hash(&shared).map_err(text)?;
                }
                if own.is_some_and(|own| own != shared) {
                    tracing::info!("the admin password was set on another node");
                }
            }
            Next::TellInTurn(_) if !turn => {}
            Next::Tell(own) | Next::TellInTurn(own) => {
                self.tell(&own)?;
                tracing::info!("this node's admin password is every node's now");
            }
        }
        Ok(())
    }

    /// When it is this board's turn, counted from its start.
    fn turn(&self) -> Duration {
        let nodes = &self.control.snapshot().settings.nodes;
        let before = nodes.iter().filter(|n| n.id < self.node).count();
        TURN.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX)).min(LONGEST_TURN)
    }
}

impl webui::Credentials for PagePassword {
    fn password_hash(&self) -> Result<Option<String>, String> {
        self.current()
    }

    fn set_password_hash(&self, hash: &str) -> Result<(), String> {
        self.tell(hash)
    }

    fn claim_code(&self) -> Option<model::Secret> {
        // Whoever put `reset-admin` on the card had it in their hands.
        if self.local.password_is_forgotten().unwrap_or(false) {
            return None;
        }
        self.local.join_token().ok().flatten().map(model::Secret::new)
    }

    fn claim(&self, hash: &str) -> Result<bool, String> {
        if self.current()?.is_some() {
            return Ok(false);
        }
        let anew = self.local.password_is_forgotten().map_err(|e| e.to_string())?;
        if !self.local.claim(hash).map_err(|e| e.to_string())? {
            return Ok(false);
        }
        if anew {
            self.tell(hash)?;
            return Ok(true);
        }
        let sentence = self.sentence();
        let first = self.control.share_first(NAME, hash.to_owned(), Author::Local, &sentence);
        let first = waited(first)?;
        let holds = if first { Some(hash.to_owned()) } else { self.control.shared(NAME) };
        if let Some(holds) = holds {
            self.local.agree_on_password_hash(&holds).map_err(|e| e.to_string())?;
        }
        Ok(first)
    }
}

/// The order on the boot partition: the password is chosen anew on this board's page, and is every
/// node's then. True when it was carried out now.
pub(crate) fn forget(local: &Local, audit: &AuditLog, board: &StatusBoard) -> anyhow::Result<bool> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    if !local.forget_password(boot.trim())? {
        return Ok(false);
    }
    let record = Record::done(Actor::Node, Deed::RecoveredByFile, "reset-admin");
    if let Err(error) = audit.record(&record) {
        tracing::error!("the audit log cannot be written: {error}");
    }
    board.notice(
        "recovery",
        "A file on this board's boot partition lets the admin password be chosen anew on its page. \
         If that was not you, somebody had the card in hand.",
    );
    Ok(true)
}

/// Keeps the board's copy and the shared value the same. Ends with the appliance.
pub(crate) async fn agree(password: Arc<PagePassword>, shutdown: Shutdown) {
    let began = Instant::now();
    let mut replication = password.control.replication();
    loop {
        replication.mark_unchanged();
        let turn = began.elapsed() >= password.turn();
        let this = password.clone();
        match tokio::task::spawn_blocking(move || this.agree(turn)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the admin password is not shared: {error}"),
            Err(error) => tracing::warn!("the admin password is not shared: {error}"),
        }
        tokio::select! {
            changed = replication.changed() => if changed.is_err() { return },
            () = sleep(LOOK) => {}
            () = shutdown.requested() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_knows_the_newer_one_tells() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(next(None, None, None), Next::Nothing);
        assert_eq!(next(some("a"), None, None), Next::TellInTurn("a".into()));
        assert_eq!(next(some("a"), None, some("b")), Next::Take("b".into()), "it joined");
        assert_eq!(next(None, None, some("b")), Next::Take("b".into()));
        assert_eq!(next(some("a"), some("a"), some("b")), Next::Take("b".into()), "changed there");
        assert_eq!(next(some("b"), some("a"), some("a")), Next::Tell("b".into()), "set here");
        assert_eq!(next(some("c"), some("a"), some("b")), Next::Tell("c".into()));
        assert_eq!(next(some("b"), some("a"), None), Next::Tell("b".into()));
        assert_eq!(next(some("a"), some("a"), None), Next::Nothing, "not readable for a while");
        assert_eq!(next(some("a"), None, some("a")), Next::Take("a".into()));
    }
}
