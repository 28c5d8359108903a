//! The board's own key, and the keys of others as they become settings.

use cluster::Identity;
use control::{Author, Change, Control, StatusBoard};
use model::Edit;
use std::path::Path;
use std::sync::Arc;
use store::{Kept, KeyFile};

const FILE: &str = "node.key";

/// The board's key, and what the operator should know about it.
pub(crate) struct Key {
    pub(crate) identity: Identity,
    notice: Option<(&'static str, String)>,
}

impl Key {
    /// Shows what was wrong.
    pub(crate) fn say(&self, board: &StatusBoard) {
        if let Some((key, text)) = &self.notice {
            board.notice(key, text.clone());
        }
    }
}

/// The board's key, made at the first start. One that cannot be read is set aside; one that
/// cannot be kept serves until the next start.
pub(crate) fn key(data: &Path) -> anyhow::Result<Key> {
    let fresh = Identity::generate()?;
    let good = |content: &[u8]| Identity::read(content).is_ok();
    let kept = KeyFile::new(data, FILE).and_then(|file| file.keep(good, || fresh.clone()));
    Ok(match kept {
        Ok(Kept::Replaced { content, aside }) => Key {
            identity: Identity::read(&content)?,
            notice: Some((
                "key-damaged",
                format!(
                    "This board's key could not be read. It was set aside as {} and this board has a new one: use Replace on its page on another node, so that the others trust it again.",
                    aside.display()
                ),
            )),
        },
        Ok(kept) => Key { identity: Identity::read(kept.content())?, notice: None },
        Err(error) => Key {
            identity: Identity::read(&fresh)?,
            notice: Some((
                "key-not-kept",
                format!(
                    "This board's key could not be kept ({error}): until that is put right, the others will not know it after its next start."
                ),
            )),
        },
    })
}

/// Writes the keys of boards that were met into the settings.
pub(crate) fn pins(control: Control) -> cluster::Pins {
    Arc::new(move |node, device| {
        let control = control.clone();
        let edits = vec![Edit::PinNode { node: node.clone(), device }];
        tokio::spawn(async move {
            let change = Change { base: None, author: Author::Local, edits };
            if let Err(error) = control.submit(change).await {
                tracing::warn!("the key of node {node} could not be pinned: {error}");
            }
        });
    })
}
