//! The board's own key, and the keys of others as they become settings.

use cluster::Identity;
use control::{Author, Change, Control, StatusBoard};
use model::Edit;
use std::path::Path;
use std::sync::Arc;
use store::{Kept, KeyFile};

const FILE: &str = "node.key";

/// The board's key, made at the first start. One that cannot be read is set aside; one that
/// cannot be kept serves until the next start.
pub(crate) fn identity(data: &Path, board: &StatusBoard) -> anyhow::Result<Identity> {
    let fresh = Identity::generate()?;
    let good = |content: &[u8]| Identity::read(content).is_ok();
    let kept = KeyFile::new(data, FILE).and_then(|file| file.keep(good, || fresh.clone()));
    match kept {
        Ok(kept) => {
            if let Kept::Replaced { aside, .. } = &kept {
                board.notice(
                    "key-damaged",
                    format!(
                        "This board's key could not be read. It was set aside as {} and this board has a new one: use Replace on its page on another node, so that the others trust it again.",
                        aside.display()
                    ),
                );
            }
            Ok(Identity::read(kept.content())?)
        }
        Err(error) => {
            board.notice(
                "key-not-kept",
                format!(
                    "This board's key could not be kept ({error}): until that is put right, the others will not know it after its next start."
                ),
            );
            Ok(Identity::read(&fresh)?)
        }
    }
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
