//! Who holds the floating IP, who claims it as well, and what the services complain of.

use super::{Facts, Finding};
use crate::view::Tone;
use crate::words::{number, sentence};
use model::Role;
use model::status::{SubsystemState, VrrpState, VrrpStatus};

/// The priority of whoever owns the address itself (RFC 9568 5.2.4).
const OWNER: u8 = 255;

pub(super) fn routers(facts: &Facts<'_>) -> Vec<Finding> {
    let mut all = Vec::new();
    for v in &facts.status.vrrp {
        let before = all.len();
        if let Some(fault) = &v.fault {
            all.push(Finding::bad(v.name.as_str(), "cannot take part").so(sentence(fault)));
        }
        all.extend(rivals(facts, v));
        all.extend(stranger(facts, v));
        all.extend(counters(v));
        if v.held_back {
            all.push(Finding::new(v.name.as_str(), Tone::Info, "keeps back").so(
                "A failover was asked for here, so this node does not take the floating IP back by \
                 itself. Hand it over on the page Failover when it should.",
            ));
        }
        if all.len() == before {
            let found = match v.state {
                VrrpState::Master => "holds the floating IP".to_owned(),
                VrrpState::Backup => "stands by".to_owned(),
                VrrpState::Init | VrrpState::Fault => "has not begun".to_owned(),
            };
            let tone = if matches!(v.state, VrrpState::Master | VrrpState::Backup) {
                Tone::Good
            } else {
                Tone::Quiet
            };
            all.push(Finding::new(v.name.as_str(), tone, found));
        }
    }
    all
}

/// Nodes of ours that hold it at once.
fn rivals(facts: &Facts<'_>, v: &VrrpStatus) -> Option<Finding> {
    let holds = |r: &&model::status::NodeReport| {
        r.reachable
            && r.status.vrrp.iter().any(|o| o.name == v.name && o.state == VrrpState::Master)
    };
    let masters: Vec<String> =
        facts.reports.iter().filter(holds).map(|r| facts.name_of(&r.status.id)).collect();
    if masters.len() < 2 {
        return None;
    }
    let found = format!("{} hold it at once", masters.join(" and "));
    Some(Finding::bad(v.name.as_str(), found).so(format!(
        "They reach each other, but do not hear each other's adverts on {}. Something between them \
         drops multicast (224.0.0.18, protocol 112): switch \"IGMP snooping\" or \"multicast \
         filtering\" off at the switch or access point, or set unicast partners on the page Failover.",
        v.interface
    )))
}

/// A master that is none of ours.
fn stranger(facts: &Facts<'_>, v: &VrrpStatus) -> Option<Finding> {
    let master = v.master.filter(|_| v.state == VrrpState::Backup)?;
    let known = facts.settings.nodes.iter().flat_map(model::Node::addresses);
    let reported = facts.reports.iter().flat_map(|r| &r.status.links).flat_map(|l| &l.addresses);
    if known.chain(reported.map(|a| a.addr())).any(|a| a == master) {
        return None;
    }
    let id = v.virtual_router_id;
    let priority = match v.master_priority {
        Some(OWNER) => ", as the owner of its address,".to_owned(),
        Some(p) => format!(" with priority {p}"),
        None => String::new(),
    };
    let found = format!("{master}, which is no node of this cluster, is master");
    Some(Finding::bad(v.name.as_str(), found).so(format!(
        "Another router in this network uses virtual router number {id}{priority}, so nobody here \
         takes the floating IP. Give this one a number of its own on the page Failover (your own \
         router may use VRRP as well), or switch the other one off."
    )))
}

/// Packets that were turned away, by what they say about the sender.
fn counters(v: &VrrpStatus) -> Vec<Finding> {
    let c = v.counters;
    let id = v.virtual_router_id;
    let told = [
        (
            c.bad_auth,
            "another password",
            "Another router with the same number has another authentication, or none. Set the same \
             on both, or give this one another number on the page Failover.",
        ),
        (
            c.bad_version,
            "another version of VRRP",
            "Keepalived sends version 2 unless told otherwise. Set the same version on both sides.",
        ),
        (
            c.bad_interval,
            "another interval",
            "In version 2 both sides must send equally often. Set the same interval on both.",
        ),
        (
            c.address_mismatch,
            "other floating IPs",
            "Another router with the same number holds other addresses: its settings differ from \
             ours, or it is somebody else's. Compare them, or choose another number.",
        ),
        (
            c.bad_ttl,
            "a TTL that was counted down",
            "They came through a router, which real ones never do. Somebody may be forging them.",
        ),
        (
            c.bad_checksum,
            "a wrong checksum",
            "Something on the way damages packets: a cable, a switch, a driver. Exchange the cable \
             first.",
        ),
        (
            c.bad_packet,
            "no sense",
            "Another device sends something that is no VRRP under its number.",
        ),
    ];
    told.into_iter()
        .filter(|(n, ..)| *n > 0)
        .map(|(n, what, advice)| {
            let found = format!("{} of router {id} with {what}", adverts(n));
            Finding::warn(v.name.as_str(), found).so(format!("Since the start. {advice}"))
        })
        .collect()
}

fn adverts(n: u64) -> String {
    if n == 1 { "1 advert".to_owned() } else { format!("{} adverts", number(n)) }
}

pub(super) fn services(facts: &Facts<'_>) -> Vec<Finding> {
    let mut all = Vec::new();
    for (subsystem, status) in &facts.status.subsystems {
        let subject = sentence(&subsystem.to_string());
        let subject = subject.trim_end_matches('.');
        match &status.state {
            SubsystemState::Applied => all.push(Finding::good(subject, "runs")),
            SubsystemState::Idle => {}
            SubsystemState::Starting => all.push(Finding::quiet(subject, "starting")),
            SubsystemState::Degraded { reason } => {
                all.push(Finding::bad(subject, "not all of it works").so(sentence(reason)));
            }
            SubsystemState::Failed { reason } => {
                all.push(
                    Finding::bad(subject, "ended and is being started again").so(sentence(reason)),
                );
            }
        }
    }
    let balancer = facts.node().is_some_and(|n| n.is(Role::Balancer));
    for f in facts.status.proxy.iter().flat_map(|p| &p.frontends).filter(|f| balancer && !f.open) {
        let binds: Vec<String> = f.bind.iter().map(ToString::to_string).collect();
        all.push(Finding::bad(f.name.as_str(), format!("is not open at {}", binds.join(", "))).so(
            "Another program, or another front end, has that port on this node. Give one of them \
             another port on the page Balancing.",
        ));
    }
    all
}
