//! What all visitors share, and what they tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// What failed, and after how many changes.
pub(crate) type Failure = (usize, String);

/// Counters of one run.
#[derive(Clone, Default)]
pub(crate) struct Run {
    stop: Arc<AtomicBool>,
    /// Requests that were answered, at the frontend without TLS and at the one with it.
    pub(crate) plain: Arc<AtomicUsize>,
    pub(crate) secure: Arc<AtomicUsize>,
    pub(crate) handshakes: Arc<AtomicUsize>,
    /// Requests over HTTP/2 that were not sent any more, or said not to have been looked at.
    pub(crate) farewells: Arc<AtomicUsize>,
    pub(crate) refused: Arc<AtomicUsize>,
    /// What came back over connections that stay.
    pub(crate) echoes: Arc<AtomicUsize>,
    pub(crate) datagrams: Arc<AtomicUsize>,
    /// How many changes there have been.
    pub(crate) changes: Arc<AtomicUsize>,
}

impl Run {
    pub(crate) fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    pub(crate) fn end(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// A failure after the changes there have been.
    pub(crate) fn failure(&self, text: String) -> Failure {
        (self.changes.load(Ordering::SeqCst), text)
    }

    /// A visitor on a thread of his own.
    pub(crate) fn spawn(
        &self,
        visitor: impl FnOnce(&Self) -> Vec<Failure> + Send + 'static,
    ) -> JoinHandle<Vec<Failure>> {
        let run = self.clone();
        std::thread::spawn(move || visitor(&run))
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::SeqCst);
}

/// How many by now.
pub(crate) fn of(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::SeqCst)
}
