//! What can go wrong when somebody asks for a failover.

/// Why the floating IP did not move; the text is for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailoverError {
    /// This node does not take part in a virtual router of that name.
    #[error("this node takes no part in a virtual router called {0}")]
    Unknown(String),
    /// In FAULT.
    #[error("this node cannot take part at the moment: {0}")]
    Fault(String),
    /// Nobody took over.
    #[error("no other balancer answered; this node keeps the floating IP")]
    NoAnswer,
    /// The holder owns the address.
    #[error("the holder has priority 255 and cannot be outbid; ask it to fail over instead")]
    Owner,
    /// One is under way.
    #[error("a failover is under way already; wait for it")]
    Busy,
    /// The node or this virtual router stops.
    #[error("this node is stopping")]
    Stopping,
}
