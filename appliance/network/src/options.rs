//! What the composition root decides.

use crate::dhcp::runner::LeaseMemory;
use crate::hostname::{OwnHostName, SetHostName};
use crate::mdns::browse::ServiceSeen;
use crate::mdns::names::About;
use crate::time::Clock;
use crate::trial::Confirm;
use std::fmt;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::Arc;

/// Where things are, and what is to be done at all. By default nothing beyond what the settings
/// say: on somebody else's Linux, addresses, names and time are theirs.
#[derive(Clone)]
pub struct Options {
    /// The file that lists the name servers.
    pub resolv_conf: PathBuf,
    /// The kernel's settings.
    pub proc_sys: PathBuf,
    /// How to set the host name; None: not at all.
    pub host_name: Option<Arc<dyn SetHostName>>,
    /// Whether interfaces without an address in the settings ask a DHCP server for one.
    pub dhcp: bool,
    /// Remembers what was lent across power cuts.
    pub lease_memory: Option<Arc<dyn LeaseMemory>>,
    /// Whether to answer to this node's name, and to `bramble.local`, on every link.
    pub mdns: bool,
    /// What this board says of itself with its service; None: nothing.
    pub about: Option<Arc<dyn Fn() -> About + Send + Sync>>,
    /// Told of every board that says here what it is. Must not block.
    pub found: Option<Arc<dyn Fn(ServiceSeen) + Send + Sync>>,
    /// What to set to the time of the time servers; None: they are not asked.
    pub clock: Option<Arc<dyn Clock>>,
    /// Names or addresses of time servers, asked when nobody names any.
    pub time_servers: Vec<String>,
    /// Where something on the internet takes connections, by number: whether there is a way out.
    pub internet: Vec<SocketAddrV4>,
    /// A name that every name server can find.
    pub well_known_name: String,
    /// How changes of addresses and routers are tried before they hold; None: they hold at once.
    pub confirm: Option<Confirm>,
}

impl Default for Options {
    fn default() -> Self {
        let pool = (0..4).map(|n| format!("{n}.pool.ntp.org"));
        Self {
            resolv_conf: "/etc/resolv.conf".into(),
            proc_sys: "/proc/sys".into(),
            host_name: Some(Arc::new(OwnHostName)),
            dhcp: false,
            lease_memory: None,
            mdns: false,
            about: None,
            found: None,
            clock: None,
            time_servers: pool.collect(),
            // Resolvers that anybody may use, of three operators (Cloudflare, Google, Quad9): DNS
            // over TCP (RFC 7766).
            internet: [[1, 1, 1, 1], [8, 8, 8, 8], [9, 9, 9, 9]]
                .map(|address| SocketAddrV4::new(address.into(), 53))
                .to_vec(),
            well_known_name: "pool.ntp.org".to_owned(),
            confirm: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("resolv_conf", &self.resolv_conf)
            .field("proc_sys", &self.proc_sys)
            .field("host_name", &self.host_name.is_some())
            .field("dhcp", &self.dhcp)
            .field("lease_memory", &self.lease_memory.is_some())
            .field("mdns", &self.mdns)
            .field("about", &self.about.is_some())
            .field("found", &self.found.is_some())
            .field("clock", &self.clock.is_some())
            .field("time_servers", &self.time_servers)
            .field("internet", &self.internet)
            .field("well_known_name", &self.well_known_name)
            .field("confirm", &self.confirm)
            .finish()
    }
}
