//! What goes into the audit log from here, and failed sign-ins, which are counted before they do.

use crate::app::{App, lock};
use model::audit::{Actor, Deed, Record};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failed sign-ins within this time are one entry, so that nobody can fill the log with them.
const TOGETHER: Duration = Duration::from_secs(60);
/// Addresses that are named; more are counted.
const NAMED: usize = 8;

/// Writes something down. That it cannot be written keeps nobody from doing it, and is logged.
pub(crate) async fn note(app: &App, record: Record) {
    let audit = app.ports.audit.clone();
    let done = tokio::task::spawn_blocking(move || audit.record(&record)).await;
    match done {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!("the audit log cannot be written: {error}"),
        Err(error) => tracing::error!("the audit log cannot be written: {error}"),
    }
}

/// Notes a sign-in that failed.
pub(crate) async fn failed(app: &App, from: IpAddr) {
    let due = lock(&app.failures).failed(from, Instant::now());
    for record in due {
        note(app, record).await;
    }
}

/// Writes down what was counted, once its time has come.
pub(crate) async fn flush(app: &App) {
    let due = lock(&app.failures).due(Instant::now());
    if let Some(record) = due {
        note(app, record).await;
    }
}

/// Failed sign-ins of the last minute. The first one is written down at once.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    since: Option<Instant>,
    more: u64,
    from: BTreeSet<IpAddr>,
    others: bool,
}

impl Failures {
    /// One more; what is to be written down now.
    fn failed(&mut self, from: IpAddr, now: Instant) -> Vec<Record> {
        let mut due: Vec<Record> = self.due(now).into_iter().collect();
        if self.since.is_none() {
            self.since = Some(now);
            let actor = Actor::Visitor { address: from };
            due.push(Record::done(actor, Deed::SignInFailed, ""));
            return due;
        }
        self.more += 1;
        if self.from.len() < NAMED || self.from.contains(&from) {
            self.from.insert(from);
        } else {
            self.others = true;
        }
        due
    }

    /// What was counted, if its time is over.
    fn due(&mut self, now: Instant) -> Option<Record> {
        let since = self.since?;
        if now.saturating_duration_since(since) < TOGETHER {
            return None;
        }
        let Self { more, from, others, .. } = std::mem::take(self);
        let first = from.first().copied()?;
        let mut names: Vec<String> = from.iter().map(ToString::to_string).collect();
        if others {
            names.push("others".to_owned());
        }
        let times = if more == 1 { "once" } else { "times" };
        let count = if more == 1 { String::new() } else { format!("{more} ") };
        let object = format!("{count}{times} more within a minute, from {}", names.join(", "));
        Some(Record::done(Actor::Visitor { address: first }, Deed::SignInFailed, object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn failed_sign_ins_do_not_flood_the_log() {
        let (mut failures, begun) = (Failures::default(), Instant::now());
        let mut written = Vec::new();
        for n in 0..1000_u32 {
            let from = ip(u8::try_from(n % 200).unwrap());
            written.extend(failures.failed(from, begun + Duration::from_millis(u64::from(n) * 10)));
        }
        assert_eq!(written.len(), 1, "the first one at once");
        assert_eq!(written[0].object, "");
        assert_eq!(failures.due(begun + Duration::from_secs(59)), None);
        let rest = failures.due(begun + Duration::from_secs(60)).unwrap();
        assert!(rest.object.starts_with("999 times more within a minute, from 192.0.2."));
        assert!(rest.object.ends_with(", others"), "{}", rest.object);
        assert_eq!(failures.due(begun + Duration::from_secs(200)), None);
        assert_eq!(failures.failed(ip(1), begun + Duration::from_secs(200)).len(), 1);
        failures.failed(ip(1), begun + Duration::from_secs(201));
        let both = failures.failed(ip(2), begun + Duration::from_secs(300));
        assert_eq!(both.len(), 2, "the last minute's, and a new one");
        assert_eq!(both[0].object, "once more within a minute, from 192.0.2.1");
    }
}
