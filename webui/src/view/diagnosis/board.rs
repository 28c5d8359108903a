//! Card, power and heat: what the page of the board says, as findings.

use super::{Facts, Finding};
use crate::view::Tone;
use crate::view::board::{Fact, groups};

/// The groups of that page that tell how the board is, and not merely what it is.
const TELLING: [&str; 3] = ["Power and heat", "Card and data", "Watching over it"];

pub(super) fn board(facts: &Facts<'_>) -> Vec<Finding> {
    let all = groups(facts.status).into_iter().filter(|g| TELLING.contains(&g.title));
    let facts = all.flat_map(|g| g.facts.into_iter().map(move |f| finding(g.title, f)));
    facts.filter(|f| f.tone != Tone::Quiet).collect()
}

/// Away from its heading a label needs to say of what it is.
fn finding(title: &str, fact: Fact) -> Finding {
    let subject = match fact.label.as_str() {
        "Errors" | "Wear" if title == "Card and data" => format!("{} of the card", fact.label),
        _ => fact.label,
    };
    Finding { subject, tone: fact.tone, found: fact.value, advice: fact.note }
}
