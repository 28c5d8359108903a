//! What has to be decided before a merge can be run.

use crate::note::Note;
use model::Problem;

/// The settings that came of a merge break a rule. The last good ones run until this is decided, on
/// this node or on another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is wrong with the merged settings.
    pub problems: Vec<Problem>,
    /// How they differ from what runs here.
    pub changes: Vec<PendingChange>,
}

/// One value of the merged settings that does not run here yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingChange {
    /// Its key in the document.
    pub key: String,
    /// The same for people: `nodes[web02].eth0.address`.
    pub path: String,
    /// What runs here; secrets are not shown.
    pub running: String,
    /// What the merged settings say.
    pub merged: String,
    /// Who set it.
    pub by: Note,
}
