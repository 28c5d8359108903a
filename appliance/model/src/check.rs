//! (being written)
use crate::{Problem, Settings};
/// (being written)
pub fn check(_settings: &Settings) -> Vec<Problem> {
    Vec::new()
}
