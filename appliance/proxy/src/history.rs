//! The last minutes and hours of a frontend, backend or server, for the charts.
//!
//! In memory only, and bounded: 28 bytes for each of the last 300 seconds and 360 minutes, which is
//! 18 KiB for each of them.

use crate::live::{Traffic, lock};
use model::charts::Sample;
use std::collections::VecDeque;
use std::sync::Mutex;

/// Five minutes.
const SECONDS: usize = 300;
/// Six hours.
const MINUTES: usize = 360;

/// What the counters were the last time.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    requests: u64,
    classes: [u64; 4],
}

#[derive(Debug, Default)]
struct Kept {
    counted: u64,
    before: Before,
    seconds: VecDeque<Sample>,
    minutes: VecDeque<Sample>,
    /// The minute that is not over yet.
    minute: Sample,
}

/// See the file.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Kept>);

fn grown(now: u64, before: u64) -> u32 {
    u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX)
}

fn keep(list: &mut VecDeque<Sample>, most: usize, sample: Sample) {
    if list.len() >= most {
        list.pop_front();
    }
    list.push_back(sample);
}

impl History {
    /// Takes the counters as they are, about a second after the last time.
    pub(crate) fn take(&self, traffic: &Traffic, requests: u64, rtime: u64) {
        let [_, classes @ .., _] = &traffic.statuses;
        let classes = classes.each_ref().map(crate::live::Counter::get);
        let kept = &mut *lock(&self.0);
        let before = std::mem::replace(&mut kept.before, Before { requests, classes });
        let [a, b, c, d] = classes;
        let [a0, b0, c0, d0] = before.classes;
        let sample = Sample {
            requests: grown(requests, before.requests),
            sessions: grown(traffic.current.now(), 0),
            rtime: grown(rtime, 0),
            hrsp_2xx: grown(a, a0),
            hrsp_3xx: grown(b, b0),
            hrsp_4xx: grown(c, c0),
            hrsp_5xx: grown(d, d0),
        };
        keep(&mut kept.seconds, SECONDS, sample);
        kept.counted += 1;
        let minute = &mut kept.minute;
        minute.requests = minute.requests.saturating_add(sample.requests);
        minute.sessions = minute.sessions.max(sample.sessions);
        minute.rtime = sample.rtime;
        minute.hrsp_2xx = minute.hrsp_2xx.saturating_add(sample.hrsp_2xx);
        minute.hrsp_3xx = minute.hrsp_3xx.saturating_add(sample.hrsp_3xx);
        minute.hrsp_4xx = minute.hrsp_4xx.saturating_add(sample.hrsp_4xx);
        minute.hrsp_5xx = minute.hrsp_5xx.saturating_add(sample.hrsp_5xx);
        if kept.counted % 60 == 0 {
            let minute = std::mem::take(&mut kept.minute);
            keep(&mut kept.minutes, MINUTES, minute);
        }
    }

    /// How many seconds were counted, the last of them, and the last minutes; the oldest first.
    pub(crate) fn read(&self) -> (u64, Vec<Sample>, Vec<Sample>) {
        let kept = lock(&self.0);
        (
            kept.counted,
            kept.seconds.iter().copied().collect(),
            kept.minutes.iter().copied().collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_minutes_and_both_are_bounded() {
        let (history, traffic) = (History::default(), Traffic::default());
        let mut total = 0;
        for second in 1..=40_000_u64 {
            total += second % 3;
            traffic.status(200);
            if second % 10 == 0 {
                traffic.status(503);
            }
            history.take(&traffic, total, second);
        }
        let (counted, seconds, minutes) = history.read();
        assert_eq!((counted, seconds.len(), minutes.len()), (40_000, SECONDS, MINUTES));
        let last = seconds.last().unwrap();
        assert_eq!((last.requests, last.rtime), (40_000 % 3, 40_000));
        assert_eq!((last.hrsp_2xx, last.hrsp_5xx), (1, 1));
        // Any minute holds each remainder twenty times.
        assert!(minutes.iter().all(|m| (m.requests, m.hrsp_2xx, m.hrsp_5xx) == (60, 60, 6)));
    }
}
