//! How many streams of a connection are under way.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// A connection's streams.
#[derive(Debug, Default)]
pub(super) struct Life {
    streams: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Life {
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
}

/// One stream for as long as it is under way.
#[derive(Debug)]
pub(super) struct Guard(Rc<Life>);

impl Drop for Guard {
    fn drop(&mut self) {
        let left = self.0.streams.get().saturating_sub(1);
        self.0.streams.set(left);
        if left == 0 {
            self.0.waker.borrow().iter().for_each(Waker::wake_by_ref);
        }
    }
}
