//! What is to be said next between two nodes that exchange their documents. Pure.

use serde::{Deserialize, Serialize};

/// How far a side is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Equal exactly when the documents are.
    pub heads: String,
    /// Equal exactly when the keys are.
    pub keys: String,
}

/// Something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    /// How far this side is.
    State(State),
    /// Whatever the merging engine has for the other side.
    Messages,
    /// The cluster's keys.
    Keys,
}

/// One side of an exchange, for as long as the connection lasts.
///
/// Keys go to a node only once it has the same document: one that was removed meanwhile must not
/// be told by a node that has not heard of it yet.
#[derive(Debug, Default)]
pub struct Dialogue {
    /// How far the other side last said it is.
    theirs: Option<State>,
    /// What this side last said.
    told: Option<State>,
    /// The documents were found to differ once: from then on the engine knows what the other has.
    begun: bool,
}

impl Dialogue {
    /// What is due now that this side is so far. Saying it is part of the deal.
    pub fn due(&mut self, now: &State) -> Vec<Say> {
        let mut due = Vec::new();
        if self.told.as_ref() != Some(now) {
            self.told = Some(now.clone());
            due.push(Say::State(now.clone()));
        }
        let Some(theirs) = &self.theirs else { return due };
        let same = theirs.heads == now.heads;
        if !same || self.begun {
            self.begun = true;
            due.push(Say::Messages);
        }
        if same && theirs.keys != now.keys {
            due.push(Say::Keys);
            // Not again until the other side says how far it is then.
            self.theirs = None;
        }
        due
    }

    /// The other side said how far it is.
    pub fn heard_state(&mut self, theirs: State) {
        self.theirs = Some(theirs);
    }

    /// The other side sent a message of the engine.
    pub fn heard_message(&mut self) {
        self.begun = true;
    }

    /// The other side sent its keys. It waits to hear how far this side is then, news or not.
    pub fn heard_keys(&mut self) {
        self.told = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(heads: &str, keys: &str) -> State {
        State { heads: heads.into(), keys: keys.into() }
    }

    #[test]
    fn two_that_are_the_same_have_little_to_say() {
        let mut side = Dialogue::default();
        assert_eq!(side.due(&state("a", "k")), [Say::State(state("a", "k"))]);
        side.heard_state(state("a", "k"));
        assert_eq!(side.due(&state("a", "k")), []);
        // Something changes here.
        let now = state("b", "k");
        assert_eq!(side.due(&now), [Say::State(now.clone()), Say::Messages]);
        assert_eq!(side.due(&now), [Say::Messages], "the engine knows whether there is more");
    }

    #[test]
    fn keys_follow_the_document_and_are_sent_once() {
        let mut side = Dialogue::default();
        side.due(&state("a", "old"));
        side.heard_state(state("b", "new"));
        assert_eq!(side.due(&state("a", "old")), [Say::Messages], "not while they differ");
        side.heard_state(state("a", "new"));
        assert_eq!(side.due(&state("a", "old")), [Say::Messages, Say::Keys]);
        assert_eq!(side.due(&state("a", "old")), []);
        side.heard_keys();
        assert_eq!(side.due(&state("a", "new")), [Say::State(state("a", "new"))]);
    }
}
