//! Everything the pages show.

use crate::pages::Ctx;
use axum::Json;
use axum::response::{IntoResponse, Response};
use model::status::{NodeReport, VrrpState};
use serde_json::{Value, json};

pub(crate) async fn get(ctx: Ctx) -> Response {
    let snapshot = ctx.snapshot();
    let reports = ctx.app.ports.board.nodes();
    let v = crate::view::ClusterView::new(&snapshot, &reports);
    let vrrp: Vec<Value> = snapshot
        .effective
        .vrrp
        .iter()
        .map(|d| {
            let (holder, since_ms) = holder(&reports, &d.instance.name);
            json!({
                "name": d.instance.name,
                "virtual_router_id": d.instance.virtual_router_id,
                "addresses": d.addresses,
                "holder": holder.map(|r| json!({ "id": r.status.id, "name": r.status.name })),
                "holder_since_ms": since_ms,
                "members": d.members.iter().map(|(id, priority)| {
                    json!({ "id": id, "priority": priority })
                }).collect::<Vec<_>>(),
            })
        })
        .collect();
    let roles: Vec<Value> = snapshot
        .settings
        .nodes
        .iter()
        .map(|n| json!({ "id": n.id, "name": n.name, "roles": n.roles }))
        .collect();
    let complaints = crate::health::complaints(&snapshot, &ctx.app.ports.board.own());
    Json(json!({
        "node": snapshot.node(),
        "revision": snapshot.revision,
        "healthy": complaints.is_empty(),
        "verdict": {
            "state": v.verdict.tone.class(),
            "headline": v.verdict.headline,
            "reasons": v.verdict.reasons,
        },
        "roles": roles,
        "vrrp": vrrp,
        "nodes": reports,
        "replication": replication(&ctx.app.ports.control.replication().borrow()),
    }))
    .into_response()
}

/// How far this node's copy of the settings is, and what waits for somebody. No secret is in it.
fn replication(now: &control::Replication) -> Value {
    let by = |note: &control::Note| json!({ "node": note.node, "author": note.author, "sentence": note.sentence });
    let lost = now.lost.iter().map(|l| {
        json!({
            "key": l.key, "path": l.path, "current": l.current, "current_by": by(&l.current_by),
            "other": l.other, "other_by": by(&l.other_by), "change": l.change.to_string(),
        })
    });
    let decision = now.decision.as_ref().map(|d| {
        let changes = d.changes.iter().map(|c| {
            json!({
                "key": c.key, "path": c.path, "running": c.running, "merged": c.merged,
                "by": by(&c.by),
            })
        });
        json!({ "problems": d.problems, "changes": changes.collect::<Vec<_>>() })
    });
    json!({ "heads": now.heads, "lost": lost.collect::<Vec<_>>(), "decision": decision })
}

/// The reachable node that says it holds the floating IPs, and for how long.
fn holder<'a>(
    reports: &'a [NodeReport],
    name: &model::Name,
) -> (Option<&'a NodeReport>, Option<u64>) {
    let master = reports.iter().filter(|r| r.reachable).find_map(|r| {
        let v = r.status.vrrp.iter().find(|v| v.name == *name)?;
        (v.state == VrrpState::Master).then_some((r, v.since_ms + r.age_ms))
    });
    (master.map(|m| m.0), master.map(|m| m.1))
}
