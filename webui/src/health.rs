//! Whether this node does what its role asks: `/healthz`.

use crate::app::App;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use control::Snapshot;
use http::StatusCode;
use model::Role;
use model::status::{NodeStatus, Subsystem, SubsystemState};

/// What is in the way; empty when nothing is.
pub(crate) fn complaints(snapshot: &Snapshot, status: &NodeStatus) -> Vec<String> {
    let mut needed = Vec::new();
    if snapshot.effective.is(Role::Balancer) {
        needed.extend([Subsystem::Proxy, Subsystem::Vrrp]);
    }
    if snapshot.effective.is(Role::Web) {
        needed.push(Subsystem::Server);
    }
    let complaint = |subsystem: Subsystem| {
        let state = status.subsystems.get(&subsystem).map(|s| &s.state);
        match state {
            Some(SubsystemState::Applied | SubsystemState::Idle) => None,
            Some(SubsystemState::Starting) | None => Some(format!("{subsystem}: starting")),
            Some(SubsystemState::Degraded { reason }) => {
                Some(format!("{subsystem}: degraded: {reason}"))
            }
            Some(SubsystemState::Failed { reason }) => {
                Some(format!("{subsystem}: failed: {reason}"))
            }
        }
    };
    needed.into_iter().filter_map(complaint).collect()
}

pub(crate) async fn healthz(State(app): State<App>) -> Response {
    let complaints = complaints(&app.snapshot(), &app.ports.board.own());
    // By this a page that waits for a restart knows that there was one.
    let head = [("x-bramble-run", app.run_id())];
    if complaints.is_empty() {
        (StatusCode::OK, head, "ok\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, head, complaints.join("\n") + "\n").into_response()
    }
}
