//! What can go wrong, in the operator's words: what happened, what it means, what to do.

use std::io;

/// Why a firmware was not installed, or the boot state not changed. Whatever it is, the firmware
/// that runs is the one that starts next time too.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not begin like a bundle.
    #[error("This is not a Bramble update. Choose a file that ends in .bramble.")]
    NotABundle,
    /// It ends too early.
    #[error("The update file is incomplete: {have} of {want} bytes are there. Download it again.")]
    Truncated {
        /// Bytes that are there.
        have: u64,
        /// Bytes there should be.
        want: u64,
    },
    /// There is more in it than was signed.
    #[error("The update file is longer than it should be. It was altered; download it again.")]
    TooLong,
    /// The signature is not one of the manifest by the key that this firmware trusts.
    #[error(
        "The update is not signed by the maker of the firmware that runs here, or its beginning \
         was altered. Get it from the same source as the first card."
    )]
    WrongSignature,
    /// The payload is not what was signed.
    #[error("The update file was altered or damaged on its way. Download it again.")]
    Altered,
    /// Signed, and yet not to be understood.
    #[error("The update describes itself in a way this version cannot read ({0}).")]
    BadManifest(String),
    /// Signed, but for something else.
    #[error("This is an update for \"{0}\", not for Bramble.")]
    OtherProduct(String),
    /// It does not fit.
    #[error("The update is too large: {size} bytes, and {limit} fit.")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The room there is.
        limit: u64,
    },
    /// Not made for this board.
    #[error("The update is for {boards}, and this board is a {board}. Get the one for this board.")]
    OtherBoard {
        /// This board.
        board: String,
        /// What it was made for.
        boards: String,
    },
    /// Made before the one that runs.
    #[error(
        "The update (version {version}) is older than the version {running} that runs. Older \
         versions are not installed, because they may have faults that are known by now."
    )]
    Older {
        /// Its version.
        version: String,
        /// The version that runs.
        running: String,
    },
    /// What is in it could not be started.
    #[error("The update cannot be started: {0}. Report this to whoever made it.")]
    BadSlot(SlotFault),
    /// The other slot is what this board falls back to.
    #[error(
        "The firmware that runs is itself still on trial. Wait until it is confirmed, at most \
         five minutes, and try again."
    )]
    OnTrial,
    /// The card is not laid out as ours.
    #[error("This card has no two slots for firmware, so it cannot be updated. Flash it again.")]
    NoSlots,
    /// The key to check signatures with.
    #[error("The key that updates are checked with is missing from this firmware or damaged.")]
    BadKey,
    /// What was written is not what is read.
    #[error(
        "The card did not keep what was written to it. It is worn out or a counterfeit and should \
         be replaced; the firmware that runs is not affected."
    )]
    ReadBack,
    /// The card or the file could not be read or written.
    #[error("{what} failed ({source}). The firmware that runs is not affected; try again.")]
    Io {
        /// What was done.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

/// Why a slot cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotFault {
    /// It has never been written, or not to its end.
    #[error("there is no firmware in it")]
    Empty,
    /// The header is not whole.
    #[error("its header is damaged")]
    Header,
    /// Made by a later version of this program.
    #[error("it has format {0}, which this version does not know")]
    Format(u32),
    /// The parts are not where they may be.
    #[error("its parts do not fit")]
    Layout,
    /// The kernel is not whole.
    #[error("its kernel is damaged")]
    Kernel,
    /// The root is not whole.
    #[error("its root is damaged")]
    Initrd,
    /// It could not be read.
    #[error("it cannot be read")]
    Unreadable,
    /// It is not what the manifest says it is.
    #[error("it is another version than it says")]
    Version,
}
