//! What can go wrong while the lab is built, driven or measured.

use std::io;

/// A failure of the lab itself, or of something a test waited for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program ended with a failure.
    #[error("`{command}` failed ({status}): {output}")]
    Command {
        /// The program with its arguments.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it wrote.
        output: String,
    },
    /// A condition did not come true in time.
    #[error("waited {seconds:.1} s for {what}; last seen: {last}")]
    Timeout {
        /// What was awaited.
        what: String,
        /// For how long.
        seconds: f64,
        /// What was seen instead.
        last: String,
    },
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

/// Everything here fails the same way.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// In words.
    pub fn other(text: impl Into<String>) -> Self {
        Self::Other(text.into())
    }
}

/// Names what was being done when the system refused.
pub trait Doing<T> {
    /// Adds the words.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::Io { what: what(), source: e.into() })
    }
}
