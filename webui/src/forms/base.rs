//! The settings a form was made from.

use crate::error::Failure;
use control::{Control, Rejected, Snapshot};
use model::{Revision, Settings};
use std::fmt;

/// Names the document a form was made from, on whatever node it is sent to: each node counts its
/// own revisions, so that the same number may stand for another document after the address in use
/// moved to the next node, and another number for the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Base {
    revision: Revision,
    /// A digest of the whole document; empty in a form that was not made by our pages.
    digest: String,
}

/// Hexadecimal digits of a digest: enough to tell the documents of one cluster apart.
const DIGITS: usize = 16;

fn digest(settings: &Settings) -> String {
    let mut shared = settings.clone();
    // Each node has its own idea of this one; it does not travel with the settings.
    shared.cluster.key = model::Secret::default();
    let hash = blake3::hash(model::to_json(&shared).as_bytes()).to_hex();
    hash.chars().take(DIGITS).collect()
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.revision)?;
        if self.digest.is_empty() { Ok(()) } else { write!(f, "-{}", self.digest) }
    }
}

/// Where a form's document stands among this node's revisions.
pub(crate) enum Place {
    /// It is the one that runs.
    Current,
    /// It is this older one.
    Older(Box<Settings>),
    /// This node never had it, or has forgotten it.
    Unknown,
}

impl Base {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Self { revision: snapshot.revision, digest: digest(&snapshot.settings) }
    }

    /// What a form carries; None where it carries nothing of the kind.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (number, digest) = text.split_once('-').unwrap_or((text, ""));
        let revision = Revision(number.parse().ok()?);
        Some(Self { revision, digest: digest.chars().take(DIGITS).collect() })
    }

    fn is(&self, settings: &Settings) -> bool {
        self.digest.is_empty() || self.digest == digest(settings)
    }

    /// Looks for the document here.
    pub(crate) async fn place(
        &self,
        control: &Control,
        current: &Snapshot,
    ) -> Result<Place, Rejected> {
        let same = if self.digest.is_empty() {
            self.revision == current.revision
        } else {
            self.digest == digest(&current.settings)
        };
        if same {
            return Ok(Place::Current);
        }
        let old = control.revision(self.revision).await?.filter(|old| self.is(old));
        Ok(old.map_or(Place::Unknown, |old| Place::Older(Box::new(old))))
    }

    /// The number of the running revision, if that is what the form was made from.
    pub(crate) async fn current(&self, control: &Control) -> Result<Revision, Failure> {
        let current = control.snapshot();
        match self.place(control, &current).await? {
            Place::Current => Ok(current.revision),
            _ => Err(Rejected::Stale(current).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_form() {
        let snapshot =
            Snapshot::new(Revision(12), crate::demo::settings(), &"web01".parse().unwrap());
        let base = Base::of(&snapshot);
        assert_eq!(Base::read(&base.to_string()), Some(base.clone()));
        assert!(base.to_string().starts_with("12-"), "{base}");
        let mut other = crate::demo::settings();
        other.wifi.networks[0].passphrase = model::Secret::new("another passphrase");
        assert!(base.is(&snapshot.settings) && !base.is(&other), "a secret counts too");
        let mut joined = crate::demo::settings();
        joined.cluster.key = model::Secret::default();
        assert!(base.is(&joined), "the node key stays where it is");
        assert_eq!(Base::read("7").map(|b| b.to_string()).as_deref(), Some("7"));
        assert_eq!((Base::read(""), Base::read("x-1")), (None, None));
    }
}
