//! What board this is and how it feels.
