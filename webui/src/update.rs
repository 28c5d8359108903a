//! A firmware update, from the upload to the word of the one who installs it.

use crate::app::{App, lock};
use crate::audit;
use crate::ports::System;
use crate::upload::{self, Refused, Source};
use model::audit::{Actor, Deed, Record};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// One update at a time, and what came of the last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Update {
    /// Somebody is at it.
    pub(crate) busy: bool,
    /// Bytes that have arrived, while they do.
    pub(crate) arrived: Option<u64>,
    /// What the installation came to.
    pub(crate) outcome: Option<Result<(), String>>,
}

/// The right to update; given back when it is dropped.
pub(crate) struct Turn {
    app: App,
    system: Arc<dyn System>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut update = lock(&self.app.update);
        update.busy = false;
        update.arrived = None;
        drop(update);
        self.app.ports.board.touch();
    }
}

/// Why there is no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// There are no slots here.
    NoSystem,
    /// Somebody is at it.
    Busy,
}

impl NoTurn {
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::NoSystem => NO_BOARD,
            Self::Busy => {
                "Another update is under way. Wait until it is done; the page Firmware shows how \
                 far it is."
            }
        }
    }
}

/// Said wherever something needs the board itself.
pub(crate) const NO_BOARD: &str = "Bramble runs here as a program on somebody else's Linux: \
     firmware, power and reset are that system's affair.";

impl Turn {
    pub(crate) fn take(app: &App) -> Result<Self, NoTurn> {
        let system = app.ports.system.clone().ok_or(NoTurn::NoSystem)?;
        let mut update = lock(&app.update);
        if update.busy {
            return Err(NoTurn::Busy);
        }
        *update = Update { busy: true, ..Update::default() };
        drop(update);
        Ok(Self { app: app.clone(), system })
    }

    /// Takes the file in.
    pub(crate) async fn receive(&self, source: Source) -> Result<u64, Refused> {
        let told = |bytes| lock(&self.app.update).arrived = Some(bytes);
        let received = upload::receive(source, self.system.upload(), told).await;
        lock(&self.app.update).arrived = None;
        received
    }

    /// Installs what was taken in. It goes on when nobody waits for the answer: a browser that
    /// leaves must not stop a half-written slot.
    pub(crate) fn install(self, actor: Actor) -> JoinHandle<Result<(), String>> {
        tokio::spawn(async move {
            // Before: afterwards the board starts into it at once.
            let record = Record::done(actor, Deed::Firmware, "");
            audit::note(&self.app, record.clone()).await;
            let outcome = self.system.install().await;
            if outcome.is_err() {
                audit::note(&self.app, record.result(&outcome)).await;
            }
            if let Err(problem) = &outcome {
                tracing::warn!("the firmware update was refused: {problem}");
                upload::remove(&self.system.upload());
            }
            lock(&self.app.update).outcome = Some(outcome.clone());
            outcome
        })
    }
}
