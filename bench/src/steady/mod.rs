//! A load that does not wait for answers: `bench steady CASE PORT RATE SECONDS`.
//!
//! With a load that asks again as soon as it is answered (wrk, h2load) the faster proxy is asked
//! more often, and what its slowest requests take is then a matter of the load and of the server
//! behind, which share a processor. Here every proxy gets the same requests at the same moments,
//! and how long one takes is counted from when it was due, whatever kept it from being sent.

mod http1;
mod http2;
mod pace;
mod visitor;

use crate::plan::{Case, Way, cases};
use crate::process::Done;
use pace::{Alarm, Schedule};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::unbounded_channel;
use visitor::Target;

/// What comes first fills pools and caches and is not counted among the times.
const WARM_UP: Duration = Duration::from_millis(300);
/// Who has not been answered so long after the end never will be.
const PATIENCE: Duration = Duration::from_secs(5);
/// New events are looked for after so many tasks, so that one who is due is not late.
const BATCH: u32 = 8;

pub(crate) fn run(args: &[&str]) -> Done<()> {
    let [name, port, rate, seconds] = args else {
        return Err("usage: bench steady CASE PORT RATE SECONDS".into());
    };
    let case = cases(1).chain(cases(2)).find(|c| c.name == *name).ok_or("no such case")?;
    let length = WARM_UP + Duration::from_secs(seconds.parse()?);
    let target = Rc::new(Target::new(&case, port.parse()?)?);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().event_interval(BATCH).build()?;
    let local = tokio::task::LocalSet::new();
    let record = local.block_on(&runtime, load(&case, target, rate.parse()?, length))?;
    println!("{}", record.report(length));
    Ok(())
}

/// Asks at the given rate for the given time. Visitors take turns; whose turn comes while its
/// request before is still under way asks later, and that counts.
async fn load(case: &Case, target: Rc<Target>, rate: f64, length: Duration) -> Done<Rc<Record>> {
    let record = Rc::new(Record::default());
    let mut visitors = Vec::new();
    for _ in 0..case.clients {
        let (orders, receiver) = unbounded_channel();
        let (target, record) = (Rc::clone(&target), Rc::clone(&record));
        if case.way == Way::Http2 {
            let sender = http2::connect(&target).await?;
            tokio::task::spawn_local(http2::serve(sender, target, receiver, record));
        } else {
            let visitor = http1::Visitor::new(target).await?;
            tokio::task::spawn_local(visitor.serve(receiver, record));
        }
        visitors.push(orders);
    }
    let alarm = Alarm::new()?;
    let begun = Instant::now();
    let mut due = Schedule::new(rate).take_while(|due| *due < length).peekable();
    let mut turns = visitors.iter().cycle();
    while let Some(next) = due.peek() {
        alarm.until(begun + *next).await?;
        let now = begun.elapsed();
        while let Some(due) = due.next_if(|due| *due <= now) {
            let order = Order { due: begun + due, counts: due >= WARM_UP };
            record.ask(order, now - due);
            turns.next().ok_or("there are no visitors")?.send(order)?;
        }
    }
    let end = Instant::now() + PATIENCE;
    while record.open.get() > 0 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(record)
}

/// A request to be sent.
#[derive(Clone, Copy, Debug)]
struct Order {
    due: Instant,
    /// How long it takes is of interest.
    counts: bool,
}

/// What became of the requests.
#[derive(Debug, Default)]
struct Record {
    /// Sent or waiting to be, and not answered.
    open: Cell<u32>,
    answered: Cell<u32>,
    failed: Cell<u32>,
    times: RefCell<Vec<Duration>>,
    /// How late this program was by itself.
    late: RefCell<Vec<Duration>>,
    complaint: RefCell<Option<String>>,
}

impl Record {
    fn ask(&self, order: Order, late: Duration) {
        self.open.set(self.open.get() + 1);
        if order.counts {
            self.late.borrow_mut().push(late);
        }
    }

    fn end(&self, order: Order, result: Done<()>) {
        self.open.set(self.open.get() - 1);
        match result {
            Ok(()) => {
                self.answered.set(self.answered.get() + 1);
                if order.counts {
                    self.times.borrow_mut().push(order.due.elapsed());
                }
            }
            Err(error) => {
                self.failed.set(self.failed.get() + 1);
                self.complaint.borrow_mut().get_or_insert_with(|| error.to_string());
            }
        }
    }

    fn report(&self, length: Duration) -> serde_json::Value {
        let answered = self.answered.get();
        let mut times = self.times.borrow_mut();
        let mut late = self.late.borrow_mut();
        times.sort_unstable();
        late.sort_unstable();
        serde_json::json!({
            "requests": answered,
            "errors": self.failed.get() + self.open.get(),
            "complaint": *self.complaint.borrow(),
            "rate": f64::from(answered) / length.as_secs_f64(),
            "p50_ms": quantile(&times, 500),
            "p99_ms": quantile(&times, 990),
            "p999_ms": quantile(&times, 999),
            "late_ms": quantile(&late, 990),
        })
    }
}

/// What so many of a thousand do not exceed, in milliseconds.
fn quantile(sorted: &[Duration], permille: usize) -> f64 {
    let at = (sorted.len() * permille).div_ceil(1000).saturating_sub(1);
    sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_what_so_many_stay_below() {
        let times: Vec<Duration> = (1..=1000).map(Duration::from_millis).collect();
        for (permille, ms) in [(500, 500.0), (990, 990.0), (999, 999.0), (1000, 1000.0)] {
            assert!((quantile(&times, permille) - ms).abs() < 1e-6);
        }
        assert!((quantile(&times[..1], 990) - 1.0).abs() < 1e-6);
        assert!(quantile(&[], 990).abs() < 1e-6);
    }

    #[test]
    fn time_counts_from_when_it_was_due_and_failures_are_no_times() {
        let record = Record::default();
        let due = Instant::now().checked_sub(Duration::from_millis(40)).unwrap();
        let (order, early) = (Order { due, counts: true }, Order { due, counts: false });
        record.ask(order, Duration::from_millis(7));
        record.ask(order, Duration::ZERO);
        record.ask(early, Duration::ZERO);
        record.ask(order, Duration::ZERO);
        record.end(order, Ok(()));
        record.end(order, Err("broken".into()));
        record.end(early, Ok(()));
        let report = record.report(Duration::from_secs(1));
        assert_eq!(report["requests"], 2);
        // One failed and one was never answered.
        assert_eq!(report["errors"], 2);
        assert_eq!(report["complaint"], "broken");
        assert!(report["p99_ms"].as_f64().unwrap() >= 40.0);
        assert_eq!(record.times.borrow().len(), 1);
        assert!((report["late_ms"].as_f64().unwrap() - 7.0).abs() < 1e-6);
    }
}
