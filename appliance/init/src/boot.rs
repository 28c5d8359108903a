//! The state that the phases of the start fill in.

use crate::cmdline::Cmdline;
use crate::console::Console;
use crate::disk::Disk;
use crate::error::Problem;
use crate::facts::Facts;
use crate::jobs::Jobs;
use crate::keep::Keep;
use crate::modules::uevent::Events;
use crate::paths::Paths;
use crate::ports::BootState;
use crate::watchdog::{Dog, patiently};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// What `/etc/bramble/build.json` says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Build {
    pub(crate) version: String,
    pub(crate) built_unix: u64,
}

/// Everything that is known so far.
pub(crate) struct Boot {
    pub(crate) paths: Paths,
    pub(crate) line: Cmdline,
    pub(crate) build: Build,
    pub(crate) facts: Facts,
    pub(crate) console: Console,
    pub(crate) dog: Option<Dog>,
    pub(crate) jobs: Jobs,
    pub(crate) events: Option<Events>,
    pub(crate) disk: Option<Disk>,
    pub(crate) keep: Option<Keep>,
    pub(crate) state: Arc<dyn BootState>,
    /// The board was switched on, as far as that can be told: it was not restarted.
    pub(crate) cold: bool,
    /// News about devices was passed over; all of them are to be looked at again.
    pub(crate) missed: bool,
    /// Why the data partition is to be emptied.
    pub(crate) reset: Option<String>,
}

impl Boot {
    /// Something did not work; it is said and shown, and the start goes on.
    pub(crate) fn problem(&mut self, problem: impl Into<Problem>) {
        let Problem(text) = problem.into();
        self.console.say(&text);
        self.facts.problems.push(text);
    }

    /// For what may hang: see [`patiently`].
    pub(crate) fn patiently<T: Send + 'static>(
        &self,
        limit: Duration,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        patiently(self.dog.as_ref(), limit, act)
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self(text)
    }
}
