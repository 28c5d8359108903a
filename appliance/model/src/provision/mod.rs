//! The settings file of the boot partition, `bramble.toml`: what somebody wrote into it on
//! another computer before the card went into the board.
//!
//! Nothing in it is fatal. [`read()`] lists every mistake with its line and keeps whatever is
//! right; [`Provision::edits`] merges that into the settings and leaves out what would make them
//! unusable; [`wiped()`] is the same text with the secrets taken out once they are kept on the
//! board, and a report on top. [`Provision::digest`] is what the board remembers of it, so that a
//! file that was not changed since ([`Provision::fresh`]) does not undo what was changed on the
//! page.

mod merge;
mod piece;
mod read;
mod rewrite;
mod sections;
mod syntax;

pub use merge::Merged;
pub use piece::Provision;
pub use read::{read, text_of};
pub use rewrite::{Wipe, wiped};

use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of the file on the boot partition.
pub const FILE_NAME: &str = "bramble.toml";
/// A longer file is not looked at, in bytes. Together with a report and the escapes of JSON it
/// still fits one message to process 1.
pub const MAX_FILE: usize = 24 * 1024;

/// One thing that is wrong in the file, in words for the operator. No secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mistake {
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: u32,
    /// What is wrong and what to do.
    pub text: String,
}

impl Mistake {
    /// A mistake at a line.
    pub fn new(line: u32, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{FILE_NAME}: {}", self.text),
            line => write!(f, "{FILE_NAME}, line {line}: {}", self.text),
        }
    }
}

/// The file as the card is made with: every key explained, every line commented out.
pub fn template() -> &'static str {
    include_str!("template.toml")
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
