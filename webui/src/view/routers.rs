//! The virtual routers and who holds the floating IPs.

use super::{Tone, name_of};
use crate::words::span;
use control::Snapshot;
use model::DerivedInstance;
use model::status::{NodeReport, VrrpState, VrrpStatus};

#[derive(Clone, Debug)]
pub(crate) struct MemberView {
    pub(crate) name: String,
    pub(crate) here: bool,
    pub(crate) tone: Tone,
    pub(crate) word: String,
    pub(crate) since: String,
    pub(crate) priority: u8,
    /// The priority it competes with, where that is another.
    pub(crate) effective: Option<u8>,
    pub(crate) held_back: bool,
    pub(crate) fault: Option<String>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) dropped: u64,
    pub(crate) became_master: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct RouterView {
    pub(crate) name: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) vrid: u8,
    pub(crate) interface: String,
    pub(crate) version: u8,
    pub(crate) interval: String,
    pub(crate) preempt: bool,
    /// Who holds the floating IPs, as far as anybody says.
    pub(crate) holder: Option<String>,
    /// More than one node says it does.
    pub(crate) rivals: Vec<String>,
    pub(crate) since: String,
    /// Who would take over.
    pub(crate) next: Option<String>,
    pub(crate) members: Vec<MemberView>,
}

pub(super) fn views(snapshot: &Snapshot, reports: &[NodeReport]) -> Vec<RouterView> {
    snapshot.effective.vrrp.iter().map(|v| view(snapshot, v, reports)).collect()
}

fn view(snapshot: &Snapshot, derived: &DerivedInstance, reports: &[NodeReport]) -> RouterView {
    let instance = &derived.instance;
    let said = |r: &NodeReport| r.status.vrrp.iter().find(|v| v.name == instance.name).cloned();
    let live: Vec<(&NodeReport, VrrpStatus)> =
        reports.iter().filter(|r| r.reachable).filter_map(|r| said(r).map(|v| (r, v))).collect();
    let masters: Vec<_> = live.iter().filter(|(_, v)| v.state == VrrpState::Master).collect();
    let name = |r: &NodeReport| name_of(snapshot, &r.status.id);
    let (holder, since) = match masters.first() {
        Some((r, v)) => (Some(name(r)), span(v.since_ms + r.age_ms)),
        None => (heard(snapshot, &live), String::new()),
    };
    let members: Vec<MemberView> = derived
        .members
        .iter()
        .map(|(id, priority)| {
            let report = reports.iter().find(|r| &r.status.id == id);
            member(snapshot, id, priority.get(), report, report.and_then(said))
        })
        .collect();
    let standby = live.iter().filter(|(_, v)| v.state == VrrpState::Backup);
    let next = standby.max_by_key(|(_, v)| v.effective_priority).map(|(r, _)| name(r));
    RouterView {
        name: instance.name.to_string(),
        addresses: derived.addresses.iter().map(|a| a.addr().to_string()).collect(),
        vrid: instance.virtual_router_id.get(),
        interface: instance.interface.to_string(),
        version: instance.version.into(),
        interval: crate::words::short_span(u64::from(instance.advert_interval.get()) * 10),
        preempt: instance.preempt,
        rivals: if masters.len() > 1 {
            masters.iter().map(|(r, _)| name(r)).collect()
        } else {
            Vec::new()
        },
        holder,
        since,
        next,
        members,
    }
}

/// The master whose adverts a reachable member hears, when the master itself does not report.
fn heard(snapshot: &Snapshot, live: &[(&NodeReport, VrrpStatus)]) -> Option<String> {
    let heard = live.iter().filter(|(_, v)| v.state == VrrpState::Backup);
    let address = heard.filter_map(|(_, v)| v.master).next()?;
    let node = snapshot.settings.nodes.iter().find(|n| n.addresses().any(|a| a == address));
    Some(node.map_or_else(|| address.to_string(), |n| n.name.to_string()))
}

fn member(
    snapshot: &Snapshot,
    id: &model::NodeId,
    priority: u8,
    report: Option<&NodeReport>,
    said: Option<VrrpStatus>,
) -> MemberView {
    let reachable = report.is_some_and(|r| r.reachable);
    let (tone, word) = match (&said, report) {
        (Some(v), _) if reachable => match v.state {
            VrrpState::Master => (Tone::Good, "holds the floating IP"),
            VrrpState::Backup => (Tone::Info, "ready to take over"),
            VrrpState::Fault => (Tone::Bad, "fault"),
            VrrpState::Init => (Tone::Quiet, "starting"),
        },
        (_, Some(_)) if !reachable => (Tone::Bad, "not reachable"),
        (None, Some(_)) => (Tone::Warn, "not running"),
        _ => (Tone::Quiet, "not heard from yet"),
    };
    let counters = said.as_ref().map(|v| v.counters).unwrap_or_default();
    let c = counters;
    let dropped =
        c.bad_packet + c.bad_checksum + c.bad_ttl + c.bad_version + c.bad_auth + c.bad_interval;
    let since = said.as_ref().zip(report).filter(|_| reachable);
    MemberView {
        name: name_of(snapshot, id),
        here: id == snapshot.node(),
        tone,
        word: word.to_owned(),
        since: since.map(|(v, r)| span(v.since_ms + r.age_ms)).unwrap_or_default(),
        priority: said.as_ref().map_or(priority, |v| v.priority.get()),
        effective: said
            .as_ref()
            .map(|v| v.effective_priority.get())
            .filter(|e| said.as_ref().is_some_and(|v| *e != v.priority.get())),
        held_back: said.as_ref().is_some_and(|v| v.held_back),
        fault: said.and_then(|v| v.fault).filter(|_| reachable),
        sent: c.sent,
        received: c.received,
        dropped,
        became_master: c.became_master,
    }
}
