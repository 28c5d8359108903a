//! Values that must not be shown.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What stands for a secret in a document that leaves the node; sent back, it means "as it was".
pub const MASK: &str = "(kept)";

/// A passphrase or key. `Debug` hides it; `Serialize` does not, because the store keeps it:
/// whatever leaves the node goes through [`crate::Settings::masked`] first.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The secret itself, for the one who uses it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
    /// Nothing set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// True for the stand-in of [`MASK`].
    pub fn is_mask(&self) -> bool {
        self.0 == MASK
    }
    /// Takes the place of the stand-in. Where there is nothing to keep the stand-in stays, and
    /// the check complains: a secret must not get lost on the way.
    pub(crate) fn unmask(&mut self, current: &Self) {
        if self.is_mask() && !current.is_empty() {
            *self = current.clone();
        }
    }
    /// The stand-in, or nothing where nothing is set.
    #[must_use]
    pub fn masked(&self) -> Self {
        if self.is_empty() { self.clone() } else { Self(MASK.to_owned()) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret(none)" } else { "Secret(***)" })
    }
}
