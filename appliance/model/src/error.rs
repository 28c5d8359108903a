//! What can be wrong with a single value.

/// A value that an operator or a document gave and that cannot be used; the text says why, in
/// words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadValue(String);

impl BadValue {
    /// Wraps a sentence.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
