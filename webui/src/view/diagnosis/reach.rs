//! What can be reached from the node: its router, name servers, the internet, time servers and the
//! other nodes.

use super::{Facts, Finding};
use crate::view::Tone;
use crate::words::{sentence, span};
use model::status::{GatewayTry, PeerTry, Try};
use std::net::Ipv4Addr;

/// A clock further off than this makes times in logs useless (in milliseconds).
const OFF: u64 = 2000;

const NOT_TRIED: &str = "not tried";

/// The routers the settings name, with the interfaces that use them.
fn set_gateways(facts: &Facts<'_>) -> Vec<(String, Ipv4Addr)> {
    let all = facts.settings.cluster.gateway;
    let Some(node) = facts.node() else { return Vec::new() };
    let with = |(name, link): (&str, &model::Link)| {
        link.address.and(link.gateway.or(all)).map(|g| (name.to_owned(), g))
    };
    node.links().into_iter().filter_map(with).collect()
}

pub(super) fn gateways(facts: &Facts<'_>) -> Vec<Finding> {
    let set = set_gateways(facts);
    let mut all = Vec::new();
    let node = facts.node();
    for (interface, gateway) in &set {
        let own = node.and_then(|n| {
            n.links().into_iter().find(|(name, _)| name == interface).and_then(|(_, l)| l.address)
        });
        let Some(own) = own else { continue };
        if !own.contains(*gateway) {
            all.push(Finding::bad(interface, format!("{gateway} is in another network")).so(format!(
                "{own} and its router have to be in one network. Correct the router or the prefix \
                 length of the address, under Nodes.",
            )));
        } else if own.addr() == *gateway
            || facts.settings.cluster.floating_ip.is_some_and(|f| f.addr() == *gateway)
        {
            all.push(Finding::bad(interface, format!("{gateway} is no router")).so(
                "It is an address of this cluster itself. Set the address of your router, under \
                 Nodes, Cluster.",
            ));
        }
    }
    let tried = facts.check.map(|c| c.gateways.as_slice()).unwrap_or_default();
    let wrong: Vec<String> = all.iter().map(|f| f.subject.clone()).collect();
    all.extend(tried.iter().filter(|t| !wrong.contains(&t.interface)).filter_map(gateway));
    if all.is_empty() {
        all.push(match (set.first(), facts.has_lease() || facts.check.is_none()) {
            (Some((_, gateway)), _) => Finding::quiet("Router", format!("{gateway}, {NOT_TRIED}")),
            (None, true) if facts.has_lease() => {
                Finding::quiet("Router", "as the DHCP server says")
            }
            (None, _) if !facts.board => Finding::quiet("Router", "left to this machine"),
            (None, _) => Finding::warn("Router", "none is set").so(
                "Nothing outside this network is reached: no internet, no time server. Set the \
                 address of your router under Nodes, Cluster, as the gateway.",
            ),
        });
    }
    all
}

fn gateway(tried: &GatewayTry) -> Option<Finding> {
    let GatewayTry { interface, address, answer } = tried;
    Some(match answer {
        Try::Untried => return None,
        Try::Answered { ms } => Finding::good(interface, format!("{address} answers in {ms} ms")),
        Try::Silent => Finding::bad(interface, format!("{address} does not answer")).so(
            "The router is off, has another address, or the cable to it is out. Look whether another \
             device in this network reaches the internet, and compare its router's address with \
             the one here.",
        ),
        Try::Failed { why } => {
            Finding::bad(interface, format!("{address} cannot be asked")).so(sentence(why))
        }
    })
}

/// Is it known that no router answers?
fn router_is_gone(facts: &Facts<'_>) -> bool {
    let tried = facts.check.map(|c| c.gateways.as_slice()).unwrap_or_default();
    !tried.is_empty() && tried.iter().all(|t| matches!(t.answer, Try::Silent | Try::Failed { .. }))
}

pub(super) fn name_servers(facts: &Facts<'_>) -> Vec<Finding> {
    let set = &facts.settings.cluster.dns;
    let own = facts.node().map(|n| n.links().into_iter().flat_map(|(_, l)| l.dns.clone()));
    let set: Vec<Ipv4Addr> = own.into_iter().flatten().chain(set.iter().copied()).collect();
    let tried = facts.check.map(|c| c.name_servers.as_slice()).unwrap_or_default();
    if tried.is_empty() {
        return vec![match set.first() {
            Some(server) => Finding::quiet("Name server", format!("{server}, {NOT_TRIED}")),
            None if facts.has_lease() && facts.check.is_none() => {
                Finding::quiet("Name server", "as the DHCP server says")
            }
            None if !facts.board => Finding::quiet("Name server", "left to this machine"),
            None => Finding::bad("Name server", "none is set").so(
                "Everything that goes by name fails, in ways that look unrelated: the time is not \
                 set, updates are not found, back ends given by name stay down. Set one under Nodes, \
                 Cluster; the address of your router is usually right.",
            ),
        }];
    }
    let silent = tried.iter().filter(|t| !t.answer.is_good()).count();
    let all_silent = silent == tried.len();
    let gone = router_is_gone(facts);
    let one = |t: &model::status::ServerTry| {
        let subject = t.address.to_string();
        let tone = if all_silent { Tone::Bad } else { Tone::Warn };
        match &t.answer {
            Try::Untried => Finding::quiet(subject, NOT_TRIED),
            Try::Answered { ms } => Finding::good(subject, format!("answers in {ms} ms")),
            Try::Silent if gone => Finding::new(subject, tone, "does not answer")
                .so("The router does not answer either: mend that first."),
            Try::Silent => Finding::new(subject, tone, "does not answer").so(if all_silent {
                "Nothing that goes by name works. Set another name server under Nodes, Cluster: the \
                 address of your router, or 9.9.9.9."
            } else {
                "Every look-up that begins with it waits before the next one is asked. Take it out \
                 under Nodes, Cluster, or mend it."
            }),
            Try::Failed { why } => Finding::new(subject, tone, "is no use").so(sentence(why)),
        }
    };
    tried.iter().map(one).collect()
}

pub(super) fn internet(facts: &Facts<'_>) -> Vec<Finding> {
    let Some(check) = facts.check else { return Vec::new() };
    let subject = "Internet";
    vec![match &check.internet {
        Try::Untried => return Vec::new(),
        Try::Answered { ms } => Finding::good(subject, format!("reached in {ms} ms")),
        Try::Silent | Try::Failed { .. } if router_is_gone(facts) => {
            Finding::warn(subject, "not reached").so("The router does not answer: mend that first.")
        }
        Try::Silent => Finding::warn(subject, "not reached").so(
            "The router answers, and nothing beyond it does: its own connection is down, or it does \
             not let this board out. The sites go on for everybody in this network; the time and \
             updates wait.",
        ),
        Try::Failed { why } => Finding::warn(subject, "not reached").so(sentence(why)),
    }]
}

pub(super) fn time(facts: &Facts<'_>) -> Vec<Finding> {
    let mut all = Vec::new();
    let tried = facts.check.map(|c| c.time_servers.as_slice()).unwrap_or_default();
    let silent = !tried.is_empty() && tried.iter().all(|t| !t.answer.is_good());
    if facts.board && facts.status.system.clock_unix_ms.is_none() {
        all.push(Finding::warn("Clock", "not set since the start").so(
            "This board has no clock chip. Times in the log and in History are wrong until a time \
             server answers; nothing else depends on them.",
        ));
    } else if facts.board {
        all.push(Finding::good("Clock", "set"));
    }
    for t in tried {
        all.push(match (&t.answer, t.ahead_ms) {
            (Try::Untried, _) => continue,
            (Try::Answered { .. }, Some(ahead)) if ahead.unsigned_abs() > OFF => {
                let way = if ahead > 0 { "ahead of" } else { "behind" };
                let by = span(ahead.unsigned_abs());
                Finding::warn(&t.server, format!("this node is {by} {way} it")).so(
                    "The clock is set by itself within minutes when the time servers agree. If this \
                     stays, one of them is wrong: set others under Nodes, Cluster.",
                )
            }
            (Try::Answered { ms }, _) => Finding::good(&t.server, format!("answers in {ms} ms")),
            (Try::Silent, _) if silent => Finding::warn(&t.server, "does not answer").so(
                "If names or the internet fail above, mend that first. Otherwise something between \
                 here and there drops NTP (UDP port 123): set your router as the time server under \
                 Nodes, Cluster.",
            ),
            (Try::Silent, _) => Finding::quiet(&t.server, "does not answer; others do"),
            (Try::Failed { why }, _) => Finding::warn(&t.server, "is no use").so(sentence(why)),
        });
    }
    all
}

pub(super) fn peers(facts: &Facts<'_>) -> Vec<Finding> {
    let mut all = Vec::new();
    let (mut mute, mut lost) = (0, 0);
    for node in facts.settings.nodes.iter().filter(|n| n.id != *facts.id) {
        let report = facts.reports.iter().find(|r| r.status.id == node.id);
        let tries = facts.check.map(|c| c.peers.as_slice()).unwrap_or_default();
        let tries: Vec<&PeerTry> = tries.iter().filter(|t| t.node == node.id).collect();
        let name = node.name.as_str();
        let heard = report.is_some_and(|r| r.reachable);
        // From another node's place, only what that node tried counts.
        let here = facts.reports.first().is_some_and(|r| r.status.id == *facts.id);
        let answers = tries.iter().any(|t| t.answer.is_good());
        let tried = tries.iter().any(|t| t.answer != Try::Untried);
        if (here && heard) || (!here && answers) {
            let silent: Vec<String> = tries
                .iter()
                .filter(|t| matches!(t.answer, Try::Silent | Try::Failed { .. }))
                .map(|t| t.address.to_string())
                .collect();
            all.push(if silent.is_empty() {
                Finding::good(name, "reached")
            } else {
                Finding::warn(name, format!("reached, but not at {}", silent.join(", "))).so(
                    "One of its ways is down: a cable, or its Wi-Fi. What is left carries it all, and \
                     nothing is left behind that.",
                )
            });
            if let Some(version) = report.map(|r| &r.status.version) {
                if here && *version != facts.status.version && !version.is_empty() {
                    all.push(Finding::warn(name, format!("runs version {version}")).so(format!(
                        "This node runs {}. They work together; install the same firmware on both \
                         all the same.",
                        facts.status.version
                    )));
                }
            }
        } else if here && answers {
            mute += 1;
            all.push(Finding::bad(name, "is there, and says nothing").so(
                "Its address answers, but its node channel (port 1937) does not let this node in: its \
                 program does not run, another machine has its address, or it belongs to another \
                 cluster. Open its own page.",
            ));
        } else if here || tried {
            let age = report.map(|r| format!(" for {}", span(r.age_ms))).unwrap_or_default();
            lost += 1;
            all.push(Finding::bad(name, format!("not reached{age}")).so(
                "It is off, or the network between is down. Look at its green LED and at the lights \
                 beside its plug; whoever stands in the same network as that board sees more on its \
                 own page.",
            ));
        } else {
            all.push(Finding::quiet(name, NOT_TRIED));
        }
    }
    if all.len() < 2 || (mute < all.len() && lost < all.len()) {
        return all;
    }
    // Not three boards at once, most likely, but this one.
    let subject = format!("All {} of them", all.len());
    vec![if mute == all.len() {
        Finding::bad(subject, "are there, and say nothing").so(
            "Their addresses answer, but their node channel (port 1937) does not let this node in. \
             Most likely it is this one that is no member any more, or whose program was just \
             started: open the page of another node and look whether this one is among its nodes.",
        )
    } else {
        Finding::bad(subject, "not reached").so(
            "Either all of them are off, or it is this node that is cut off: look at the cable of \
             this node and at the switch first.",
        )
    }]
}
