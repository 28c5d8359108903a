//! What goes wrong here, in the operator's words.

use std::fmt;
use std::io;
use std::path::Path;
use thiserror::Error;

/// Something that did not work: what happened, what it means, what to do. It never stops the
/// board; it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Problem(pub String);

impl Problem {
    pub(crate) fn new(text: impl fmt::Display) -> Self {
        Self(text.to_string())
    }
}

/// `path: reason`, for an error that does not name its file.
pub(crate) fn at(path: &Path, error: impl fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}
