//! What can go wrong at the start.

/// The proxy could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A thread could not be started.
    #[error("the load balancer's manager cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}
