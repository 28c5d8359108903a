//! What can go wrong, by whose fault it is.

use rustix::io::Errno;

/// Why a listener could not be opened; the text is for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{address} cannot be opened: {source}")]
pub(crate) struct ListenError {
    pub(crate) address: std::net::SocketAddrV4,
    pub(crate) source: std::io::Error,
}

/// Why a file is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It would have to be fetched from the card first; ask again where waiting is allowed.
    Again,
    /// There is no such file, as far as a visitor may know.
    Missing,
    /// It is there and may not be read by everyone.
    Forbidden,
    /// This node is short of descriptors or memory.
    Busy,
    /// The card or the file system failed.
    Broken(Errno),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN | Errno::OPNOTSUPP => Self::Again,
            // XDEV is RESOLVE_BENEATH's word for a path that leads outside; NXIO a socket or a
            // device without a driver; NAMETOOLONG cannot name anything that exists.
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::NAMETOOLONG
            | Errno::XDEV
            | Errno::NXIO
            | Errno::NODEV
            | Errno::INVAL
            | Errno::ILSEQ => Self::Missing,
            Errno::ACCESS | Errno::PERM => Self::Forbidden,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => Self::Busy,
            other => Self::Broken(other),
        }
    }
}
