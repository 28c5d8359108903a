//! Signed bundles, the two slots and which of them starts.
