//! Deadlines of a thread's connections, looked at every tick rather than each with a timer of
//! its own: setting one costs a store.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

const NEVER: u64 = u64::MAX;

#[derive(Debug, Default)]
struct Slots {
    /// Milliseconds of the process; `NEVER` for none.
    deadlines: Vec<u64>,
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// All deadlines of a thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers(Rc<RefCell<Slots>>);

impl Timers {
    /// A new timer, not set.
    pub(crate) fn timer(&self) -> Timer {
        let mut slots = self.0.borrow_mut();
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.deadlines.push(NEVER);
            slots.wakers.push(None);
            slots.deadlines.len() - 1
        });
        Timer { all: self.clone(), slot }
    }

    /// Is there any?
    pub(crate) fn is_empty(&self) -> bool {
        let slots = self.0.borrow();
        slots.free.len() == slots.deadlines.len()
    }

    /// Wakes those whose time has come.
    pub(crate) fn tick(&self, now: u64) {
        let slots = self.0.borrow();
        for (deadline, waker) in slots.deadlines.iter().zip(&slots.wakers) {
            if *deadline <= now {
                if let Some(waker) = waker {
                    waker.wake_by_ref();
                }
            }
        }
    }

    /// Wakes everybody, because something happened that each may have to look at.
    pub(crate) fn wake_all(&self) {
        self.0.borrow().wakers.iter().flatten().for_each(Waker::wake_by_ref);
    }
}

/// One connection's deadline.
#[derive(Debug)]
pub(crate) struct Timer {
    all: Timers,
    slot: usize,
}

impl Timer {
    /// Sets or moves it; None for never.
    pub(crate) fn set(&self, at: Option<u64>) {
        self.all.0.borrow_mut().deadlines[self.slot] = at.unwrap_or(NEVER);
    }

    /// Ready when its time has come; else the task is woken then, and by [`Timers::wake_all`].
    pub(crate) fn poll(&self, cx: &mut Context<'_>, now: u64) -> Poll<()> {
        let mut slots = self.all.0.borrow_mut();
        if slots.deadlines[self.slot] <= now {
            return Poll::Ready(());
        }
        let waker = &mut slots.wakers[self.slot];
        match waker {
            Some(old) if old.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut slots = self.all.0.borrow_mut();
        slots.deadlines[self.slot] = NEVER;
        slots.wakers[self.slot] = None;
        slots.free.push(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn a_deadline_wakes_its_task_once_it_has_come() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let all = Timers::default();
        let timer = all.timer();
        timer.set(Some(100));
        assert!(timer.poll(&mut cx, 99).is_pending());
        all.tick(99);
        assert_eq!(count.0.load(Relaxed), 0);
        timer.set(Some(200));
        all.tick(100);
        assert_eq!(count.0.load(Relaxed), 0);
        all.tick(200);
        assert_eq!(count.0.load(Relaxed), 1);
        assert!(timer.poll(&mut cx, 200).is_ready());
        timer.set(None);
        assert!(timer.poll(&mut cx, u64::MAX - 1).is_pending());
        drop(timer);
        assert!(all.is_empty());
        all.wake_all();
        assert_eq!(count.0.load(Relaxed), 1);
    }
}
