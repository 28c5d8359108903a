//! The node-to-node channel and the exchange of status.
