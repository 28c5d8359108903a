//! What a node reports about itself: the live data behind every page.
//!
//! A status is a snapshot. Ages are milliseconds before the snapshot was taken, because boards
//! without a clock chip may not know the time of day.

mod adoption;
mod failover;
mod mirror;
mod network_check;
mod node;
mod proxy;
pub mod stat;
mod subsystem;
mod system;

pub use adoption::{Asked, BoardState, BoardTrust, FoundBoard, JoinStep, Joining, Offer};
pub use failover::{FailoverReport, VrrpCounters, VrrpState, VrrpStatus};
pub use mirror::{MirrorPhase, MirrorStatus};
pub use network_check::{Duplicate, GatewayTry, NetworkCheck, PeerTry, ServerTry, TimeTry, Try};
pub use node::{
    AddressConflict, DhcpStatus, LinkStatus, NetworkTrial, NodeReport, NodeStatus, Notice,
    TrialState,
};
pub use proxy::{
    AgentStatus, BackendStatus, CheckStatus, FrontendStatus, Health, HttpCounters, ProxyStatus,
    QueueCounters, ServerStatus, TrafficCounters,
};
pub use subsystem::{Subsystem, SubsystemState, SubsystemStatus};
pub use system::{
    CardStatus, DataStatus, FirmwareProgress, FirmwareStatus, SetupStatus, SystemStatus, Watchdog,
    WifiAdapter, WifiConnection, WifiSecurity, WifiSeen, WifiStatus, WifiTrial, WifiVerdict,
};
