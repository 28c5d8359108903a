//! The reference cluster in network namespaces.
