//! What reads the network, for those who feed it anything. Not an interface.

use crate::{Automerge, Keyring, Ledger};
use model::{NodeId, Settings};

/// A message in an exchange of documents, and keys.
pub fn message(bytes: &[u8]) {
    let _ = Keyring::from_json(bytes);
    let keyring = Keyring::from_shared("fuzzing");
    let node = NodeId::default();
    let opened = Ledger::<Automerge>::open([1; 16], node, &[], keyring, Settings::default());
    if let Ok(mut ledger) = opened {
        let _ = ledger.receive(&mut Default::default(), bytes);
        let _ = ledger.generate(&mut Default::default());
    }
}
