//! Card, power and heat: what the page of the board says, as findings.

use super::{Facts, Finding};
use crate::view::Tone;
use crate::view::board::{Fact, groups};

/// The groups of that page that tell how the board is, and not merely what it is.
const TELLING: [&str; 3] = ["Power and heat", "Card and data", "Watching over it"];

pub(super) fn board(facts: &Facts<'_>) -> Vec<Finding> {
    let all = groups(facts.status).into_iter().filter(|g| TELLING.contains(&g.title));
    let judged = all.flat_map(|g| g.facts).filter(|f| f.tone != Tone::Quiet);
    judged.map(finding).collect()
}

fn finding(fact: Fact) -> Finding {
    Finding { subject: fact.label, tone: fact.tone, found: fact.value, advice: fact.note }
}
