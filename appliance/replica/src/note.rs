//! What the history says of an edit.

use model::NodeId;
use serde::{Deserialize, Serialize};

/// Who made an edit, where, and what it does. Travels with the edit to every node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Note {
    /// The node it was made on.
    pub node: NodeId,
    /// Who made it, for the operator.
    pub author: String,
    /// What it does.
    pub sentence: String,
}

/// A longer one is cut, in characters: it stays in the document for ever.
const LONGEST: usize = 300;

impl Note {
    pub(crate) fn written(&self) -> String {
        let short = |text: &str| text.chars().take(LONGEST).collect();
        let note = Self {
            node: self.node.clone(),
            author: short(&self.author),
            sentence: short(&self.sentence),
        };
        serde_json::to_string(&note).unwrap_or_default()
    }

    /// Another node's words: cut, and without control characters.
    pub(crate) fn read(text: Option<&str>) -> Self {
        let note: Self = text.and_then(|t| serde_json::from_str(t).ok()).unwrap_or_default();
        let plain = |text: String| {
            text.chars().filter(|c| !c.is_control()).take(LONGEST).collect::<String>()
        };
        Self { node: note.node, author: plain(note.author), sentence: plain(note.sentence) }
    }
}
