//! What is wrong with a settings document.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing that is wrong, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where, such as `nodes[1].eth0.address`.
    pub path: String,
    /// What, and what to do.
    pub problem: String,
}

impl Problem {
    /// A problem at a place.
    pub fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}
