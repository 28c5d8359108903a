//! From what is wanted and what the kernel has to the steps in between. Pure.
//!
//! The reference topology has eth0 and wlan0 in ONE subnet. Three things keep them apart:
//!
//! - The main table has both subnets and both default routes, the wired ones with the lower
//!   metric; a route whose interface lost its carrier is skipped by the kernel
//!   (`ignore_routes_with_linkdown`), so traffic moves to wlan0 without our doing anything.
//! - Each interface has a routing table of its own, and a rule `from ADDRESS lookup TABLE` makes
//!   a reply leave through the interface of its source address.
//! - ARP answers only for addresses of the interface that was asked (see `sysctl.rs`).
//!
//! The subnet's route is the kernel's own, given our metric through IFA_RT_PRIORITY, because the
//! kernel puts that one back by itself when an interface comes up again.

use crate::dhcp::machine::Source;
use crate::trial::trials::Ways;
use crate::trial::way::Way;
use crate::view::{Address, Interface, MAIN, MARK, Route, Rule, View};
use control::Snapshot;
use model::{Cidr, Node};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// What this node's settings say of its network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) links: Vec<WantedLink>,
    /// Addresses that are tried on interfaces which keep what they have.
    pub(crate) beside: Vec<WantedLink>,
    /// Interfaces that wait for an address and have to be switched on for it.
    pub(crate) waiting: Vec<String>,
    /// Addresses that belong to the virtual routers and are none of our business.
    pub(crate) floating: BTreeSet<Ipv4Addr>,
}

/// What is known beside the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learned {
    /// Interfaces without an address in the settings ask for one.
    pub(crate) dhcp: bool,
    /// What they got.
    pub(crate) sources: BTreeMap<String, Source>,
    /// Interfaces that somebody else uses at the moment.
    pub(crate) reserved: BTreeSet<String>,
    /// What is in force and what is tried where that may differ from the settings.
    pub(crate) ways: BTreeMap<String, Ways>,
    /// Addresses that are not to be used at the moment: it is not known yet whether somebody else
    /// has them, or somebody has.
    pub(crate) held: BTreeSet<(String, Cidr)>,
}

impl Learned {
    /// What an interface is to be given.
    pub(crate) fn ways(&self, name: &str, link: &model::Link, snapshot: &Snapshot) -> Ways {
        let settings = || Ways { in_force: Way::of(link, &snapshot.settings), beside: None };
        self.ways.get(name).copied().unwrap_or_else(settings)
    }
}

/// One interface of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedLink {
    pub(crate) name: String,
    pub(crate) address: Cidr,
    pub(crate) gateway: Option<Ipv4Addr>,
    /// Metric of its routes in the main table: the lower, the preferred. From the settings: below
    /// those of the usual DHCP clients (100 and up), above a route set by hand (0).
    pub(crate) metric: u32,
    /// Its own table.
    pub(crate) table: u32,
    /// Floating IPs that appear on this interface: replies from them leave through it.
    pub(crate) floating: Vec<Ipv4Addr>,
    /// Not from the settings: that there is no such interface, or no cable in it, is no problem.
    pub(crate) learned: bool,
}

/// A link's metric, table and rule priorities by its place in [`model::Node::links`].
const METRICS: u32 = 50;
const METRIC_STEP: u32 = 10;
/// Added to the metric of what a DHCP server lent, and of what nobody did.
const LEASED: u32 = 50;
const LINK_LOCAL: u32 = 250;
const TABLES: u32 = 183;
/// The tables of addresses that are tried.
const BESIDE: u32 = 193;
const PRIORITIES: u32 = 1830;

/// An address, its router, and the metric of its routes.
type Found = (Cidr, Option<Ipv4Addr>, u32);

impl Learned {
    /// What an interface has, or can have, this way.
    fn find(&self, name: &str, way: &Way, metric: u32) -> Option<Found> {
        if let Some(address) = way.address {
            let held = self.held.contains(&(name.to_owned(), address));
            return (!held).then_some((address, way.router(), metric));
        }
        let source = self.sources.get(name).filter(|_| self.dhcp)?;
        match (&source.lease, source.local) {
            (Some(lease), _) => {
                Some((lease.address, way.gateway.or(lease.router), metric + LEASED))
            }
            (None, Some(local)) => Some((local, None, metric + LINK_LOCAL)),
            (None, None) => None,
        }
    }
}

impl Wanted {
    pub(crate) fn of(snapshot: &Snapshot, known: &Learned) -> Self {
        let unknown = Node::default();
        let node = snapshot.settings.node(snapshot.node());
        let links = match node {
            Some(node) => node.links(),
            // A board that nobody has claimed yet is reached through what a server lends it.
            None if known.dhcp => unknown.links(),
            None => return Self::default(),
        };
        let floating = snapshot.settings.floating_ips().into_iter().map(Cidr::addr).collect();
        let on = |interface: &str| {
            snapshot
                .effective
                .vrrp
                .iter()
                .filter(|v| v.priority.is_some() && v.instance.interface.as_str() == interface)
                .flat_map(|v| v.addresses.iter().map(|a| a.addr()))
                .collect()
        };
        let mut wanted = Self { floating, ..Self::default() };
        for (place, (name, link)) in (0..).zip(links) {
            if known.reserved.contains(name) {
                continue;
            }
            let ways = known.ways(name, link, snapshot);
            let metric = METRICS + METRIC_STEP * place;
            let wanted_link = |(address, gateway, metric): Found, table, learned| WantedLink {
                name: name.to_owned(),
                address,
                gateway,
                metric,
                table,
                floating: if table < BESIDE { on(name) } else { Vec::new() },
                learned,
            };
            let table = TABLES + place;
            let found = known.find(name, &ways.in_force, metric);
            let beside = ways.beside.and_then(|way| known.find(name, &way, metric));
            // A router alone is tried by asking for it.
            let beside = beside.filter(|(address, ..)| found.is_none_or(|f| f.0 != *address));
            if let Some(beside) = beside {
                let learned = ways.beside.is_some_and(|way| way.address.is_none());
                wanted.beside.push(wanted_link(beside, BESIDE + place, learned));
            }
            match found {
                Some(found) => {
                    let learned = ways.in_force.address.is_none();
                    wanted.links.push(wanted_link(found, table, learned));
                }
                // A radio is switched on by what joins it to a network.
                None if (known.dhcp && !name.starts_with("wl"))
                    || known.held.iter().any(|(held, _)| held == name) =>
                {
                    wanted.waiting.push(name.to_owned());
                }
                None => {}
            }
        }
        wanted
    }

    /// Interfaces of this node that get, or try to get, an address from a server, and that nobody
    /// else uses.
    pub(crate) fn without_address(snapshot: &Snapshot, known: &Learned) -> Vec<&'static str> {
        let unknown = Node::default();
        let node = snapshot.settings.node(snapshot.node()).unwrap_or(&unknown);
        let asks = |name: &str, link: &model::Link| {
            let ways = known.ways(name, link, snapshot);
            let lent = |way: &Way| way.address.is_none();
            lent(&ways.in_force) || ways.beside.as_ref().is_some_and(lent)
        };
        let links = node.links().into_iter();
        let links =
            links.filter(|(name, link)| !known.reserved.contains(*name) && asks(name, link));
        links.map(|(name, _)| name).collect()
    }
}

/// The address that was lent to this interface, and its router, as a process before this one set
/// them.
pub(crate) fn left_behind(interface: u32, view: &View) -> Option<(Cidr, Option<Ipv4Addr>)> {
    let lent = |metric: u32| (METRICS + LEASED..METRICS + LINK_LOCAL).contains(&metric);
    let found = view
        .addresses
        .iter()
        .find(|a| a.interface == interface && a.protocol == Some(MARK) && lent(a.metric))?;
    let router = view.routes.iter().find(|r| {
        r.interface == interface && r.protocol == MARK && r.to.is_none() && r.gateway.is_some()
    });
    Some((found.address, router.and_then(|r| r.gateway)))
}

impl WantedLink {
    fn subnet(&self) -> Option<Cidr> {
        Cidr::new(self.address.network(), self.address.prefix()).ok()
    }

    /// The router, unless it is this node itself or out of reach.
    fn router(&self) -> Option<Ipv4Addr> {
        self.gateway.filter(|g| *g != self.address.addr() && self.address.contains(*g))
    }

    /// What is tried stays out of the main table: nothing that works may change its path. The
    /// route to its network is the kernel's, if there is none yet.
    const fn tried(&self) -> bool {
        self.table >= BESIDE
    }

    fn routes(&self, index: u32) -> Vec<Route> {
        let local = self.address.addr();
        let route = |table, to, gateway, metric| Route {
            table,
            to,
            gateway,
            interface: index,
            source: Some(local),
            metric,
            protocol: MARK,
        };
        let mut routes = Vec::new();
        for (table, metric) in [(MAIN, self.metric), (self.table, 0)] {
            if table == MAIN && self.tried() {
                continue;
            }
            // A /32 has no subnet to route.
            if self.address.prefix() < 32 {
                routes.push(route(table, self.subnet(), None, metric));
            }
            if let Some(router) = self.router() {
                routes.push(route(table, None, Some(router), metric));
            }
        }
        routes
    }

    fn rules(&self) -> Vec<Rule> {
        let own = std::iter::once(self.address.addr());
        own.chain(self.floating.iter().copied())
            .map(|from| Rule {
                priority: PRIORITIES + self.table - TABLES,
                from: Some(from),
                table: self.table,
                protocol: MARK,
            })
            .collect()
    }
}

/// One step. Every step is harmless when it turns out to be done already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    SwitchOn(u32),
    AddAddress { interface: u32, address: Cidr, metric: u32 },
    RemoveAddress { interface: u32, address: Cidr },
    AddRoute { route: Route, replace: bool },
    RemoveRoute(Route),
    AddRule(Rule),
    RemoveRule(Rule),
}

/// The steps in order, and what stands in the way, for the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) ops: Vec<Op>,
    /// Interfaces that do what the settings say.
    pub(crate) working: Vec<String>,
    pub(crate) problems: Vec<String>,
}

/// Compares. `taken` are the interfaces that were switched on before: one that is off again was
/// switched off by somebody, and stays so.
pub(crate) fn plan(wanted: &Wanted, view: &View, taken: &BTreeSet<u32>) -> Plan {
    let mut plan = Plan::default();
    let mut keep = Keep::default();
    for link in &wanted.links {
        match view.interface(&link.name) {
            Some(interface) => plan.take_on(link, interface, view, taken, &mut keep),
            None if link.learned => {}
            None => plan.problems.push(format!(
                "this board has no {}: {} is set when it appears",
                link.name, link.address
            )),
        }
    }
    for link in &wanted.beside {
        if let Some(interface) = view.interface(&link.name) {
            plan.put(link, interface, view, taken, &mut keep);
        }
    }
    for name in &wanted.waiting {
        let off = view.interface(name).filter(|i| !i.up && !taken.contains(&i.index));
        plan.ops.extend(off.map(|i| Op::SwitchOn(i.index)));
    }
    plan.clear_away(wanted, view, &keep);
    plan
}

/// What must stay.
#[derive(Default)]
struct Keep {
    addresses: Vec<(u32, Cidr)>,
    routes: Vec<Route>,
    rules: Vec<Rule>,
}

impl Plan {
    fn take_on(
        &mut self,
        link: &WantedLink,
        interface: &Interface,
        view: &View,
        taken: &BTreeSet<u32>,
        keep: &mut Keep,
    ) {
        let will_be_up = self.put(link, interface, view, taken, keep);
        self.judge(link, interface, will_be_up);
    }

    /// True when the interface will be switched on.
    fn put(
        &mut self,
        link: &WantedLink,
        interface: &Interface,
        view: &View,
        taken: &BTreeSet<u32>,
        keep: &mut Keep,
    ) -> bool {
        let index = interface.index;
        keep.addresses.push((index, link.address));
        let present =
            view.addresses.iter().find(|a| a.interface == index && a.address == link.address);
        let will_be_up = interface.up || !taken.contains(&index);
        if !interface.up && will_be_up {
            self.ops.push(Op::SwitchOn(index));
        }
        if !present.is_some_and(|a| is_ours(a, link)) {
            let address = link.address;
            self.ops.push(Op::AddAddress { interface: index, address, metric: link.metric });
        }
        // The kernel takes a route only through an interface that is switched on; it forgets the
        // routes of one that is switched off.
        if will_be_up {
            for route in link.routes(index) {
                self.add_route(&route, present.is_some() && interface.up, view);
                keep.routes.push(route);
            }
        }
        for rule in link.rules() {
            if !view.rules.contains(&rule) {
                self.ops.push(Op::AddRule(rule.clone()));
            }
            keep.rules.push(rule);
        }
        will_be_up
    }

    fn add_route(&mut self, route: &Route, kernel_had_its_turn: bool, view: &View) {
        // Adding the address or switching the interface on makes the kernel add this one itself.
        // Only when somebody took it away later is there something to do.
        let kernels = route.table == MAIN && route.to.is_some();
        if kernels && !kernel_had_its_turn {
            return;
        }
        if view.routes.iter().any(|r| r.does_the_same(route)) {
            return;
        }
        let replace = view.routes.iter().any(|r| r.protocol == MARK && r.same_place(route));
        // While an address is being changed, the kernel's route still has the old source; it is
        // rewritten when the old address goes.
        if kernels && view.routes.iter().any(|r| r.same_place(route)) && !replace {
            return;
        }
        self.ops.push(Op::AddRoute { route: route.clone(), replace });
    }

    fn judge(&mut self, link: &WantedLink, interface: &Interface, will_be_up: bool) {
        let name = &link.name;
        let before = self.problems.len();
        if link.learned && !(interface.up && interface.running) {
            return;
        }
        if !will_be_up {
            self.problems.push(format!("{name} is switched off"));
        } else if interface.up && !interface.running {
            self.problems.push(if name.starts_with("wl") {
                format!("{name} is not connected to a Wi-Fi network")
            } else {
                format!("{name} has no link: check its cable and the switch")
            });
        }
        if let (Some(gateway), None) = (link.gateway, link.router()) {
            if gateway != link.address.addr() {
                self.problems.push(format!(
                    "the router {gateway} is not in {name}'s network {}: {name} reaches only that \
                     network; correct the router or the address",
                    link.address
                ));
            }
        }
        if self.problems.len() == before {
            self.working.push(name.clone());
        }
    }

    /// Removes what we set once and want no longer; routes before the addresses they name.
    fn clear_away(&mut self, wanted: &Wanted, view: &View, keep: &Keep) {
        for rule in view.rules.iter().filter(|r| r.protocol == MARK) {
            if !keep.rules.contains(rule) {
                self.ops.push(Op::RemoveRule(rule.clone()));
            }
        }
        for route in view.routes.iter().filter(|r| r.protocol == MARK) {
            let replaced = self
                .ops
                .iter()
                .any(|op| matches!(op, Op::AddRoute { route: new, .. } if new.same_place(route)));
            if !keep.routes.contains(route) && !replaced {
                self.ops.push(Op::RemoveRoute(route.clone()));
            }
        }
        for old in view.addresses.iter().filter(|a| a.protocol == Some(MARK)) {
            let kept = keep.addresses.contains(&(old.interface, old.address));
            if !kept && !wanted.floating.contains(&old.address.addr()) {
                let (interface, address) = (old.interface, old.address);
                self.ops.push(Op::RemoveAddress { interface, address });
            }
        }
    }
}

/// Linux before 5.18 keeps no IFA_PROTO; the metric tells there.
fn is_ours(address: &Address, link: &WantedLink) -> bool {
    address.metric == link.metric && address.protocol.is_none_or(|p| p == MARK)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
