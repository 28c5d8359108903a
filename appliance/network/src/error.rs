//! What can go wrong at the edge, by whose fault.

use std::io;
use std::path::PathBuf;

/// A step that this system would not take.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The kernel refused a request.
    #[error("{what}: {}{}", .source, hint(.source))]
    Kernel {
        /// What was asked for, in words.
        what: String,
        /// Its answer.
        source: io::Error,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Without CAP_NET_ADMIN everything is refused, and the error number alone does not say why.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; setting addresses needs root (CAP_NET_ADMIN): start bramble as root"
        }
        _ => "",
    }
}
