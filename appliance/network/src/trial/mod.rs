//! A change of this node's own addresses or routers cannot lock anyone out.
//!
//! What the settings newly say is applied beside what was there before, which stays in use. Within
//! [`Confirm::within`] somebody has to get through: another node connects to the new address
//! ([`Witness`]), or the operator opens the page there and says so ([`crate::Handle::keep`]); and
//! a new router has to answer, if the one before did. Then the old one goes. Otherwise the new
//! one goes, and the settings are taken back with a sentence that says why.
//!
//! What was confirmed last is remembered ([`Memory`]), so that a power cut in between is no
//! confirmation. What nobody ever confirmed because it is the first that this board was given
//! counts as confirmed: there is nothing to go back to.
//!
//! `way.rs` and `machine.rs` are pure, `trials.rs` joins them to the outside, `witness.rs` has the
//! sockets.

mod machine;
mod record;
pub(crate) mod trials;
pub(crate) mod way;
mod witness;

use control::Control;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use machine::words;
pub use witness::{Call, Witness, answer, ask};

/// How long a change may wait for a confirmation.
pub const WITHIN: Duration = Duration::from_secs(90);

/// Remembers a text across power cuts. Calls may block for a disk write.
pub trait Memory: Send + Sync {
    /// What was kept last.
    fn recall(&self) -> Option<String>;
    /// Keeps it, in place of what was kept before.
    ///
    /// # Errors
    /// When it was not stored: why, for the operator.
    fn keep(&self, text: &str) -> Result<(), String>;
}

/// What it takes to try changes of the network before they hold.
#[derive(Clone)]
pub struct Confirm {
    /// Takes the settings back.
    pub control: Control,
    /// Remembers what was confirmed last.
    pub memory: Arc<dyn Memory>,
    /// Has other nodes connect to this one.
    pub witness: Arc<dyn Witness>,
    /// How long a change may wait, [`WITHIN`] except in tests.
    pub within: Duration,
}

impl fmt::Debug for Confirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirm").field("within", &self.within).finish_non_exhaustive()
    }
}
