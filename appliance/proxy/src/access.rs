//! The access log on its way out: bounded, never in the way of traffic.

use crate::live::{Counter, lock};
use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// More than this waiting to be written, and lines are dropped.
const LIMIT: usize = 1 << 20;
/// So much waiting wakes the writer before its time.
const HURRY: usize = LIMIT / 4;
/// The writer gathers lines for so long, to write them together.
const GATHER: Duration = Duration::from_millis(200);
/// The newest lines kept for the page.
const RECENT: usize = 500;

/// Lines waiting, and the newest ones.
#[derive(Debug, Default)]
pub(crate) struct AccessLog {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    recent: Mutex<VecDeque<String>>,
    /// Lines dropped because the writer could not keep up.
    pub(crate) dropped: Counter,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    /// The writer waits for the first line.
    asleep: bool,
    stop: bool,
}

impl AccessLog {
    /// Hands over one line, which ends in a newline.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut waiting = lock(&self.waiting);
        if waiting.text.len() + line.len() > LIMIT {
            drop(waiting);
            self.dropped.up();
            return;
        }
        waiting.text.extend_from_slice(line);
        if waiting.asleep || waiting.text.len() > HURRY {
            waiting.asleep = false;
            drop(waiting);
            self.wake.notify_one();
        }
    }

    /// The newest lines, oldest first, those not yet written included.
    pub(crate) fn recent(&self) -> Vec<String> {
        // The writer takes the two locks in this order too.
        let recent = lock(&self.recent);
        let text = lock(&self.waiting).text.clone();
        let text = String::from_utf8_lossy(&text);
        let late: Vec<_> = text.lines().rev().take(RECENT).map(str::to_owned).collect();
        let early = recent.iter().rev().take(RECENT - late.len()).rev().cloned();
        early.chain(late.into_iter().rev()).collect()
    }

    /// Ends the writer once everything is written.
    pub(crate) fn stop(&self) {
        lock(&self.waiting).stop = true;
        self.wake.notify_one();
    }

    /// The writer: runs until [`Self::stop`].
    pub(crate) fn write_to(&self, mut writer: Option<Box<dyn Write + Send>>) {
        let mut text = Vec::new();
        let mut failing = false;
        loop {
            let mut waiting = lock(&self.waiting);
            while waiting.text.is_empty() && !waiting.stop {
                waiting.asleep = true;
                waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            if !waiting.stop && waiting.text.len() < HURRY {
                let gathered = self
                    .wake
                    .wait_timeout_while(waiting, GATHER, |w| !w.stop && w.text.len() < HURRY);
                waiting = gathered.unwrap_or_else(PoisonError::into_inner).0;
            }
            drop(waiting);
            // Whoever hands over a line waits for the exchange of two buffers and nothing else.
            let mut recent = lock(&self.recent);
            let mut waiting = lock(&self.waiting);
            let stop = waiting.stop;
            std::mem::swap(&mut waiting.text, &mut text);
            drop(waiting);
            let lines = String::from_utf8_lossy(&text);
            let newest: Vec<_> = lines.lines().rev().take(RECENT).map(str::to_owned).collect();
            recent.extend(newest.into_iter().rev());
            let excess = recent.len().saturating_sub(RECENT);
            recent.drain(..excess);
            drop(recent);
            if let Some(out) = &mut writer {
                let result = out.write_all(&text).and_then(|()| out.flush());
                match (result, failing) {
                    (Err(error), false) => {
                        tracing::warn!("the access log cannot be written: {error}");
                        failing = true;
                    }
                    (Ok(()), true) => failing = false,
                    _ => {}
                }
            }
            // A busy proxy fills it again at once.
            if text.capacity() > HURRY && text.len() < HURRY / 2 {
                text = Vec::new();
            }
            text.clear();
            if stop {
                return;
            }
        }
    }
}
