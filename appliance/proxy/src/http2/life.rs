//! How many streams of a connection are under way, and how much of them is in memory.

use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// What is read from a server at once for one stream.
const PIECE: usize = 16 * 1024;
/// As long as no more than this of a thread waits for visitors, all that there is.
const PLENTY: usize = 2 * 1024 * 1024;

/// A connection's streams.
#[derive(Debug)]
pub(super) struct Life {
    streams: Cell<usize>,
    waker: RefCell<Option<Waker>>,
    /// Content that servers have sent and the visitor has not been sent.
    waiting: Cell<usize>,
    worker: Rc<Worker>,
}

impl Life {
    pub(super) fn new(worker: &Rc<Worker>) -> Self {
        Self {
            streams: Cell::new(0),
            waker: RefCell::default(),
            waiting: Cell::new(0),
            worker: Rc::clone(worker),
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.streams.get() > 0
    }

    /// Has the task woken when the last stream ends.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &*waker {
            Some(old) if old.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
    }

    pub(super) fn enter(self: &Rc<Self>) -> Guard {
        self.streams.set(self.streams.get() + 1);
        Guard(Rc::clone(self))
    }

    /// So many bytes went to the visitor. Frames are more than the content in them, which makes no
    /// difference that matters.
    pub(super) fn sent(&self, bytes: usize) {
        let gone = bytes.min(self.waiting.get());
        self.waiting.set(self.waiting.get() - gone);
        let all = &self.worker.waiting;
        all.set(all.get().saturating_sub(gone));
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.sent(usize::MAX);
    }
}

/// One stream for as long as it is under way.
#[derive(Debug)]
pub(super) struct Guard(Rc<Life>);

impl Guard {
    /// How much to take from a server next, at most.
    pub(super) fn piece(&self) -> usize {
        if self.0.worker.waiting.get() < PLENTY { usize::MAX } else { PIECE }
    }

    /// So many bytes wait for the visitor.
    pub(super) fn took(&self, bytes: usize) {
        self.0.waiting.set(self.0.waiting.get() + bytes);
        let all = &self.0.worker.waiting;
        all.set(all.get() + bytes);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let left = self.0.streams.get().saturating_sub(1);
        self.0.streams.set(left);
        if left == 0 {
            self.0.waker.borrow().iter().for_each(Waker::wake_by_ref);
        }
    }
}
