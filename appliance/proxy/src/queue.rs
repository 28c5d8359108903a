//! Who waits for a server with room: first come, first served.
//!
//! Only the first in a queue tries to get in. Whoever leaves a queue, by getting in, giving up or
//! being dropped, wakes the next one, and so does every request that ends: nobody is forgotten.

use crate::live::{Gauge, lock};
use model::status::QueueCounters;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

#[derive(Debug, Default)]
struct Waiter {
    called: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Waiter {
    fn call(&self) {
        self.called.store(true, Release);
        if let Some(waker) = lock(&self.waker).take() {
            waker.wake();
        }
    }
}

/// One queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<VecDeque<Arc<Waiter>>>,
    length: Gauge,
}

impl Queue {
    /// Does nobody wait? One load.
    pub(crate) fn is_empty(&self) -> bool {
        self.length.now() == 0
    }

    /// How many wait.
    pub(crate) fn len(&self) -> u64 {
        self.length.now()
    }

    /// Takes a place at the end.
    pub(crate) fn join(&self) -> Place<'_> {
        let waiter = Arc::new(Waiter::default());
        let mut waiting = lock(&self.waiting);
        self.length.enter();
        waiting.push_back(Arc::clone(&waiter));
        Place { queue: self, waiter }
    }

    /// There may be room: has the first one try; true when there is one.
    pub(crate) fn call(&self) -> bool {
        if self.is_empty() {
            return false;
        }
        let first = lock(&self.waiting).front().cloned();
        first.map(|w| w.call()).is_some()
    }

    /// Its length; how long the served ones have waited is the servers' to know.
    pub(crate) fn counters(&self) -> QueueCounters {
        let (qcur, qmax) = (self.length.now(), self.length.max());
        QueueCounters { qcur, qmax, ..QueueCounters::default() }
    }
}

/// A place in a queue, given up when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    queue: &'a Queue,
    waiter: Arc<Waiter>,
}

impl Place<'_> {
    /// Is it this one's turn to try?
    pub(crate) fn is_first(&self) -> bool {
        lock(&self.queue.waiting).front().is_some_and(|w| Arc::ptr_eq(w, &self.waiter))
    }

    /// Was it called since it was asked last? If not, the task is woken when it is.
    pub(crate) fn was_called(&self, cx: &Context<'_>) -> bool {
        *lock(&self.waiter.waker) = Some(cx.waker().clone());
        self.waiter.called.swap(false, AcqRel)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.queue.waiting);
        waiting.retain(|w| !Arc::ptr_eq(w, &self.waiter));
        self.queue.length.leave();
        let next = waiting.front().cloned();
        drop(waiting);
        if let Some(next) = next {
            next.call();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn whoever_leaves_calls_the_next() {
        let queue = Queue::default();
        assert!(!queue.call());
        let (a, b, c) = (queue.join(), queue.join(), queue.join());
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        assert!(a.is_first() && !b.is_first());
        assert!(!b.was_called(&cx));
        drop(a);
        assert_eq!(count.0.load(Relaxed), 1);
        assert!(b.is_first() && b.was_called(&cx) && !b.was_called(&cx));
        // Who gives up in the middle changes nobody's turn.
        drop(c);
        assert!(b.is_first());
        assert!(queue.call() && b.was_called(&cx));
        drop(b);
        assert_eq!((queue.counters().qcur, queue.counters().qmax), (0, 3));
    }

    /// Many threads, one place: everybody gets in, and never two at once.
    #[test]
    fn nobody_is_forgotten() {
        struct Unpark(std::thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let (queue, room) = (Queue::default(), Gauge::default());
        let served = AtomicUsize::new(0);
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
                    for _ in 0..500 {
                        let place = queue.join();
                        while !(place.is_first() && room.enter_below(1)) {
                            if !place.was_called(&Context::from_waker(&waker)) {
                                std::thread::park_timeout(std::time::Duration::from_secs(20));
                            }
                        }
                        drop(place);
                        assert_eq!(room.now(), 1);
                        served.fetch_add(1, Relaxed);
                        room.leave();
                        queue.call();
                    }
                });
            }
        });
        assert_eq!((served.load(Relaxed), queue.len(), room.max()), (4000, 0, 1));
    }
}
