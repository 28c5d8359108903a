//! Stick tables, as other balancers are told of them.

use crate::Handle;
use model::Visit;

/// The most that is told at once.
const MOST: usize = 2000;
/// The longest key that is taken over.
const LONGEST_KEY: usize = 128;

impl Handle {
    /// What has changed in the stick tables after a number (0: all there is), the oldest first,
    /// and the number up to which this is everything. There may be more behind it.
    pub fn visits_since(&self, after: u64) -> (Vec<Visit>, u64) {
        let shared = &self.0.shared;
        // Read first: what gets a number later may be missing below, and is told the next time.
        let newest = shared.registry.changes.now();
        if newest == after {
            return (Vec::new(), after);
        }
        let config = shared.config();
        let now = shared.now_ms();
        let tables = config.backends.iter().filter(|b| b.settings.stick_table.is_some());
        let mut all: Vec<(u64, Visit)> =
            tables.flat_map(|b| b.live.stick.since(&b.settings.name, after, MOST, now)).collect();
        all.sort_by_key(|(number, _)| *number);
        all.truncate(MOST);
        let full = all.len() == MOST;
        let last = all.last().map_or(newest, |(number, _)| *number);
        let upto = if full { last } else { newest };
        (all.into_iter().map(|(_, visit)| visit).collect(), upto)
    }

    /// Takes over where another balancer has sent its visitors; what is older than what is known
    /// here, and what is about tables that are not here, changes nothing.
    pub fn hear_visits(&self, visits: &[Visit]) {
        let shared = &self.0.shared;
        let config = shared.config();
        let now = shared.now_ms();
        for visit in visits.iter().take(MOST).filter(|v| v.key.len() <= LONGEST_KEY) {
            let backend = config.backends.iter().find(|b| b.settings.name == visit.backend);
            if let Some((b, table)) =
                backend.and_then(|b| Some((b, b.settings.stick_table.as_ref()?)))
            {
                b.live.stick.hear(table, visit, now);
            }
        }
    }
}
