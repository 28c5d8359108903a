//! What the pages need of the rest of the appliance, as traits that the composition root joins to
//! the store, the failover and the proxy.

use control::{Control, StatusBoard};
use model::action::{Action, Reply};
use model::audit;
use model::session::Session;
use model::status::{Asked, FailoverReport, FoundBoard, Joining, NetworkCheck, Offer};
use model::token::Token;
use model::{DeviceId, Name, NodeId};
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::watch;

/// Sessions, of every node of the cluster. Calls may block briefly; they are made off the runtime's
/// thread.
pub trait SessionRows: Send + Sync {
    /// The session with this id, while its time is not over.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(&self, id: &str) -> Result<Option<Session>, String>;
    /// Stores a session, or what became of the one with this id. One that was ended meanwhile
    /// stays ended.
    ///
    /// # Errors
    /// When it is not stored.
    fn save(&self, session: &Session) -> Result<(), String>;
    /// Every session, the one used last first.
    ///
    /// # Errors
    /// When they cannot be read.
    fn list(&self) -> Result<Vec<Session>, String>;
    /// Ends a session, on every node; that there is none is no error.
    ///
    /// # Errors
    /// When it cannot be ended.
    fn end(&self, id: &str) -> Result<(), String>;
    /// Ends every session on every node, or every one but this.
    ///
    /// # Errors
    /// When they cannot be ended.
    fn end_all_except(&self, id: Option<&str>) -> Result<(), String>;
    /// Forgets sessions whose time is over.
    ///
    /// # Errors
    /// When they cannot be removed.
    fn tidy(&self) -> Result<(), String>;
    /// Wakes up when sessions were ended, wherever that was.
    fn endings(&self) -> watch::Receiver<u64>;
}

/// The audit log of this node, and what it knows of the others'. Calls may block briefly.
pub trait Audit: Send + Sync {
    /// Writes something down.
    ///
    /// # Errors
    /// When it is not stored.
    fn record(&self, record: &audit::Record) -> Result<(), String>;
    /// Entries of all nodes, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    fn list(&self, query: &audit::Query) -> Result<audit::Listed, String>;
}

/// Whatever a node can be asked to do, this one or another.
pub trait Remote: Send + Sync {
    /// Asks a node on behalf of `author`. The error is a sentence for the operator.
    fn ask<'a>(&'a self, node: &'a NodeId, author: &'a str, action: Action) -> Answer<'a, Reply>;
}

/// Tokens of programs, the same on every node. Calls may block briefly.
pub trait Tokens: Send + Sync {
    /// All of them, by name.
    ///
    /// # Errors
    /// When they cannot be read.
    fn list(&self) -> Result<Vec<Token>, String>;
    /// Stores a new one.
    ///
    /// # Errors
    /// When there is one of that name, there are too many, or it is not stored.
    fn add(&self, token: &Token) -> Result<(), String>;
    /// Removes one; false when there was none.
    ///
    /// # Errors
    /// When it is not removed.
    fn remove(&self, name: &Name) -> Result<bool, String>;
}

/// The password, kept as a hash in PHC form. Calls may block briefly.
pub trait Credentials: Send + Sync {
    /// The hash; None on a node nobody has claimed.
    ///
    /// # Errors
    /// When it cannot be read.
    fn password_hash(&self) -> Result<Option<String>, String>;
    /// Replaces the hash.
    ///
    /// # Errors
    /// When it is not stored.
    fn set_password_hash(&self, hash: &str) -> Result<(), String>;
    /// Stores the hash only where there is none, in one step; true when it did.
    ///
    /// # Errors
    /// When it cannot be read or stored.
    fn claim(&self, hash: &str) -> Result<bool, String>;
    /// The code that whoever claims this node must type: the one on its boot partition, if there
    /// is one.
    fn claim_code(&self) -> Option<model::Secret> {
        None
    }
}

/// What a failover comes to in the end.
pub type FailoverFuture<'a> =
    Pin<Box<dyn Future<Output = Result<FailoverReport, String>> + Send + 'a>>;

/// Hands the floating IP to the next node.
pub trait Failover: Send + Sync {
    /// Answers when the other node holds it. The error says why not, for the operator.
    fn failover<'a>(&'a self, name: &'a Name) -> FailoverFuture<'a>;
}

/// Lets deletions pass that a mirror holds back for safety.
pub trait MirrorApproval: Send + Sync {
    /// The deletion of this site held at this moment, and no later one.
    fn approve<'a>(&'a self, site: &'a Name) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// The load balancer of this node: its access log, and orders to it that are no settings.
pub trait AccessLog: Send + Sync {
    /// The newest lines, newest last; empty on a node that balances nothing.
    fn recent(&self) -> Vec<String>;
    /// The last minutes and hours of each frontend, backend and server.
    fn charts(&self) -> Vec<model::charts::Series>;
    /// What is asked for most at each frontend.
    fn paths(&self) -> Vec<model::charts::Paths>;
    /// Breaks off the requests under way at a server; false where there is no such server.
    fn shut_down_sessions(&self, backend: &Name, server: &Name) -> bool;
}

/// Everything the pages are joined to.
#[derive(Clone)]
pub struct Ports {
    /// The settings.
    pub control: Control,
    /// Live status.
    pub board: StatusBoard,
    /// Sessions.
    pub sessions: Arc<dyn SessionRows>,
    /// The password.
    pub credentials: Arc<dyn Credentials>,
    /// Tokens of programs.
    pub tokens: Arc<dyn Tokens>,
    /// The audit log.
    pub audit: Arc<dyn Audit>,
    /// The other nodes.
    pub remote: Arc<dyn Remote>,
    /// The button on the Failover page.
    pub failover: Arc<dyn Failover>,
    /// The log on the Balancing page.
    pub access_log: Arc<dyn AccessLog>,
    /// Held deletions.
    pub mirror: Arc<dyn MirrorApproval>,
    /// The board; None where Bramble runs on somebody else's Linux.
    pub system: Option<Arc<dyn System>>,
    /// The log.
    pub journal: Arc<dyn Journal>,
    /// The radios; None where there is no Wi-Fi of ours.
    pub radio: Option<Arc<dyn Radio>>,
    /// Boards in reach; None on a node that cannot look for any.
    pub adoption: Option<Arc<dyn Adoption>>,
    /// Tries out the network of a node; None where nobody can.
    pub probes: Option<Arc<dyn Probes>>,
    /// Network changes that are tried out; None where the network is not ours.
    pub trials: Option<Arc<dyn NetworkTrials>>,
    /// Asks the network whether an address is taken; None where nobody can.
    pub probe: Option<Arc<dyn AddressProbe>>,
}

/// A future whose error is a sentence for the operator.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// The board under this process. Absent where Bramble runs on somebody else's Linux.
pub trait System: Send + Sync {
    /// Stops everything in order and starts the board again.
    fn reboot(&self) -> Answer<'_, ()>;
    /// Stops everything in order and switches the board off.
    fn power_off(&self) -> Answer<'_, ()>;
    /// Forgets settings, password and sites, and starts the board again.
    fn factory_reset(&self) -> Answer<'_, ()>;
    /// Lets the green LED blink.
    fn blink(&self, seconds: u16) -> Answer<'_, ()>;
    /// Where an uploaded bundle is written, in memory. Nothing is there before.
    fn upload(&self) -> std::path::PathBuf;
    /// Verifies the uploaded bundle, writes it to the other slot and starts the board into it.
    /// Answers once it is written or refused; the status shows how far it is.
    fn install(&self) -> Answer<'_, ()>;
    /// Fails on purpose (`panic`, `hang`, `kill`); refused on every board that was not started
    /// for tests.
    fn fail(&self, how: &str) -> Answer<'_, ()>;
}

/// The log of this node.
pub trait Journal: Send + Sync {
    /// The newest lines, newest last.
    fn recent(&self) -> Vec<String>;
    /// The last lines of the run before, if it ended in a crash.
    fn last_words(&self) -> Option<String>;
}

/// The radios of this board. Absent where there is no Wi-Fi of ours.
pub trait Radio: Send + Sync {
    /// Networks in reach, strongest first, one entry a name.
    fn scan(&self) -> Answer<'_, Vec<model::status::WifiSeen>>;
    /// Tries to join while the setup access point stays up; the status shows the verdict, and
    /// only a network that let the board in is kept in the settings.
    fn join(&self, network: model::WifiNetwork, country: Option<model::Country>) -> Answer<'_, ()>;
}

/// Boards in reach, and how they come into the cluster.
///
/// An adoption that was begun is listed by [`Self::progress`] until it is cancelled or begun again:
/// whatever error [`Self::begin`] or [`Self::confirm`] end with is its last step there, too. An
/// adoption nobody confirms ends by itself.
pub trait Adoption: Send + Sync {
    /// Boards heard of lately, this one left out.
    fn found(&self) -> Vec<FoundBoard>;
    /// Looks at an address that no board was heard of from. Its answer is among [`Self::found`]
    /// from then on.
    fn look_at(&self, address: Ipv4Addr) -> Answer<'_, FoundBoard>;
    /// Calls a board, as a new node or in the place of one. No secret leaves yet.
    fn begin(&self, device: &DeviceId, as_node: Option<&NodeId>) -> Answer<'_, Offer>;
    /// Lets the board's green LED flash, the number of times that belongs to its code if it has
    /// been asked, and for half a minute otherwise.
    fn blink(&self, device: &DeviceId) -> Answer<'_, ()>;
    /// The operator's word that this is the board that is meant: it becomes a node.
    fn confirm(&self, device: &DeviceId) -> Answer<'_, NodeId>;
    /// Ends an adoption that is under way, or forgets one that has ended.
    fn cancel(&self, device: &DeviceId);
    /// Every adoption begun on this node.
    fn progress(&self) -> Vec<Joining>;
    /// On a board that nobody has claimed: who wants it.
    fn asked(&self) -> Option<Asked>;
}

/// Tries out the network of a node, for the page Diagnostics.
pub trait Probes: Send + Sync {
    /// One round of tries on this node, or on another one over the node channel. Takes seconds; the
    /// tries themselves end in the result, and only where there is none is it an error.
    fn check<'a>(&'a self, node: &'a NodeId) -> Answer<'a, NetworkCheck>;
}

/// Changes of this node's network that are tried out before they hold.
pub trait NetworkTrials: Send + Sync {
    /// The operator got through to this address of this node: what is tried may stay.
    ///
    /// # Errors
    /// Why it cannot be kept from there, for the operator.
    fn keep(&self, through: Ipv4Addr) -> Result<(), String>;
}

/// Asks the local network whether an address is taken (RFC 5227).
pub trait AddressProbe: Send + Sync {
    /// The hardware address of who answers; None: nobody does.
    fn who_has(&self, address: Ipv4Addr) -> Answer<'_, Option<String>>;
}
