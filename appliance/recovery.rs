//! Somebody found their way back in by a file on the boot partition. So that it does not go unnoticed,
//! every node says so until somebody dismisses it.

use control::{Author, Control};
use model::NodeId;

/// Puts the notice up, on every node.
pub(crate) async fn tell(control: Control, node: NodeId) {
    let snapshot = control.snapshot();
    let name =
        snapshot.settings.node(&node).map_or_else(|| node.to_string(), |n| n.name.to_string());
    let text = format!(
        "On {name} a file on the boot partition let somebody choose a new admin password. If that \
         was not you, somebody had its card in their hands: change the password, and have a look at \
         the board."
    );
    let key = format!("{}{node}", webui::NOTICE);
    let sentence =
        format!("a file on the boot partition of {name} let the password be chosen anew");
    if let Err(error) = control.share(&key, Some(text), Author::Local, &sentence).await {
        tracing::error!("the other nodes are not told of the recovery: {error}");
    }
}
