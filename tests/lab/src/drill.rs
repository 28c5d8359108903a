//! Things that happen under traffic, and what the visitors noticed.

use crate::error::{Error, Result};
use crate::figures::Figures;
use crate::lab::{Lab, site};
use crate::load::{Load, Plan, Report, Shape};
use crate::stalls::Stalls;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
/// Requests before and after what happens.
const BEFORE: u64 = 100;
const AFTER: u64 = 150;
/// A machine that stood still for longer says nothing about the cluster where a bar was missed.
const STALL: Duration = Duration::from_millis(30);
/// Without a stall for so long it is calm.
const CALM: Duration = Duration::from_secs(1);
/// How often steps are repeated because of that.
const ATTEMPTS: u32 = 3;

/// One thing that happens, and what it may cost.
pub struct Step<'a> {
    what: &'a str,
    most_failed: u64,
    longest_gap_ms: f64,
    event: &'a dyn Fn(&Lab),
    settled: &'a dyn Fn(&Lab),
}

impl<'a> Step<'a> {
    /// What happens, for people; how many requests may fail, and for how long nobody may be
    /// answered, in ms; what makes it happen, and waits until it has been dealt with.
    pub fn new(
        what: &'a str,
        (most_failed, longest_gap_ms): (u64, f64),
        event: &'a dyn Fn(&Lab),
        settled: &'a dyn Fn(&Lab),
    ) -> Self {
        Self { what, most_failed, longest_gap_ms, event, settled }
    }
}

impl std::fmt::Debug for Step<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.what)
    }
}

/// Waits until the machine has not stood still for a while; whether it ever does is its own affair.
fn calm() {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let stalls = Stalls::start();
        thread::sleep(CALM);
        if stalls.longest() < STALL {
            return;
        }
    }
}

/// Drills on one lab, under a hundred visitors a second.
#[derive(Debug)]
pub struct Drill<'a> {
    lab: &'a Lab,
    figures: Figures,
    complaints: Vec<String>,
}

impl<'a> Drill<'a> {
    /// None yet.
    pub fn new(lab: &'a Lab, figures: Figures) -> Self {
        Self { lab, figures, complaints: Vec::new() }
    }

    /// One step after the other, the last of which ends where the first began. They are repeated
    /// if one of them missed its bar while this machine stood still, or had more requests under
    /// way at the moment of the event than may fail.
    ///
    /// # Errors
    /// When the load breaks or does not go on.
    pub fn run(&mut self, steps: &[Step<'_>]) -> Result<()> {
        for attempt in 1..=ATTEMPTS {
            let (mut missed, mut disturbed) = (Vec::new(), false);
            for step in steps {
                let (report, under_way, stall) = self.watch(step)?;
                self.figures.row(step.what, &report);
                let lost = report.failed > step.most_failed;
                if !lost && report.longest_gap_ms <= step.longest_gap_ms {
                    continue;
                }
                missed.push(format!(
                    "{}: at most {} failed and {} ms wanted, {report:?}; {under_way} were under \
                     way and the machine stood still for {stall:?}",
                    step.what, step.most_failed, step.longest_gap_ms
                ));
                disturbed |= stall > STALL || (lost && under_way > step.most_failed);
            }
            if missed.is_empty() {
                return Ok(());
            }
            if !disturbed || attempt == ATTEMPTS {
                self.complaints.append(&mut missed);
                return Ok(());
            }
            eprintln!("once more, as the machine was busy: {}", missed.join("\n"));
            calm();
        }
        Ok(())
    }

    /// What the visitors noticed of one step, how many were being answered when it happened, and
    /// for how long this machine stood still.
    fn watch(&self, step: &Step<'_>) -> Result<(Report, u64, Duration)> {
        let stalls = Stalls::start();
        let plan = Plan {
            // Longer than it takes to find out that a web server is gone: a visitor who is kept
            // waiting until then is slow, not lost.
            timeout: Duration::from_secs(12),
            shape: Shape::Rate(100),
            ..Plan::steady(site())
        };
        let load = Load::start(&self.lab.client(), plan)?;
        load.reach(BEFORE, PATIENCE)?;
        let before = load.so_far();
        (step.event)(self.lab);
        let after = load.so_far();
        (step.settled)(self.lab);
        load.reach(load.so_far().total + AFTER, PATIENCE)?;
        let under_way = before.under_way().max(after.under_way());
        Ok((load.finish()?, under_way, stalls.longest()))
    }

    /// Publishes the figures.
    ///
    /// # Errors
    /// When they cannot be written, and with every bar that was missed.
    pub fn finish(self) -> Result<()> {
        self.figures.publish()?;
        if self.complaints.is_empty() {
            return Ok(());
        }
        Err(Error::other(self.complaints.join("\n")))
    }
}
