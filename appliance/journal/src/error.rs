//! What can go wrong at the edge.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Something that the log has to do without.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A device of the kernel cannot be opened.
    #[error("{} cannot be opened: {source}", .path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No thread can be started.
    #[error("no thread can be started for the log: {0}")]
    Thread(io::Error),
    /// The syslog server's address cannot be used.
    #[error("lines cannot be sent to {to}: {source}")]
    Send {
        /// Where to.
        to: SocketAddr,
        /// Why.
        source: io::Error,
    },
}
