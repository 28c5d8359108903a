//! What every board does, on one page: roles, names, addresses and the floating IP.

use super::node::keyword;
use super::{Base, Field, Pairs};
use crate::view::suggest;
use control::Snapshot;
use model::status::NodeReport;
use model::{Cidr, Edit, Hostname, Node, Problem, Role, Settings};
use std::collections::BTreeSet;

/// One board.
#[derive(Clone, Debug, Default)]
pub(crate) struct Card {
    pub(crate) id: String,
    /// What it is called so far.
    pub(crate) was: String,
    pub(crate) model: String,
    /// How it is reached at this moment, for people.
    pub(crate) now: String,
    /// The interface whose address is shown.
    pub(crate) interface: &'static str,
    pub(crate) role: Field,
    pub(crate) name: Field,
    /// The name as it was suggested: one that was left alone follows the role.
    pub(crate) suggested: String,
    pub(crate) address: Field,
    pub(crate) here: bool,
    pub(crate) reachable: bool,
}

/// The whole page.
#[derive(Clone, Debug, Default)]
pub(crate) struct RolesForm {
    pub(crate) base: Base,
    pub(crate) top: Vec<String>,
    pub(crate) cards: Vec<Card>,
    pub(crate) floating_ip: Field,
    pub(crate) gateway: Field,
    pub(crate) dns: Field,
}

/// The roles as one choice.
pub(crate) const CHOICES: [(&str, &str); 4] =
    [("web", "Web"), ("balancer", "Balancer"), ("both", "Both"), ("spare", "Spare")];

fn choice(roles: &BTreeSet<Role>) -> &'static str {
    match (roles.contains(&Role::Web), roles.contains(&Role::Balancer)) {
        (true, true) => "both",
        (true, false) => keyword(Role::Web),
        (false, true) => keyword(Role::Balancer),
        (false, false) => "spare",
    }
}

fn chosen(choice: &str) -> Option<BTreeSet<Role>> {
    Some(match choice {
        "both" => BTreeSet::from([Role::Web, Role::Balancer]),
        "web" => BTreeSet::from([Role::Web]),
        "balancer" => BTreeSet::from([Role::Balancer]),
        "spare" => BTreeSet::new(),
        _ => return None,
    })
}

impl RolesForm {
    /// Filled in with what had best be done.
    pub(crate) fn suggested(snapshot: &Snapshot, reports: &[NodeReport]) -> Self {
        let settings = &snapshot.settings;
        let mut form = Self::blank(snapshot, reports);
        let roles = suggest::roles(settings, reports);
        let named = settings.nodes.iter().filter(|n| !n.roles.is_empty());
        let taken: BTreeSet<String> = named.map(|n| n.name.to_string()).collect();
        let fresh = |n: &Node| n.roles.is_empty();
        let wanted: Vec<_> = settings.nodes.iter().zip(&roles).filter(|(n, _)| fresh(n)).collect();
        let new: Vec<BTreeSet<Role>> = wanted.iter().map(|(_, r)| (*r).clone()).collect();
        let mut names = suggest::names(&new, &taken).into_iter();
        for ((card, node), roles) in form.cards.iter_mut().zip(&settings.nodes).zip(&roles) {
            card.role.set(choice(roles));
            if fresh(node) {
                card.name.set(names.next().unwrap_or_default());
                card.suggested = card.name.value.clone();
            } else {
                card.name.set(&node.name);
            }
            let written = link(node, card.interface).address;
            let now = suggest::address_now(node, card.interface, reports, settings);
            // The address it has is the one at which nobody loses it.
            let keep = now.filter(|_| fresh(node) && !roles.is_empty());
            card.address.set_option(written.or(keep));
        }
        let cluster = &settings.cluster;
        form.floating_ip.set_option(cluster.floating_ip);
        let lent = suggest::lender(reports);
        form.gateway.set_option(cluster.gateway.or(lent));
        let dns = cluster.dns.to_vec();
        form.dns.set_list(if dns.is_empty() { lent.into_iter().collect() } else { dns });
        form
    }

    /// What was typed.
    pub(crate) fn typed(pairs: &Pairs, snapshot: &Snapshot, reports: &[NodeReport]) -> Self {
        let mut form = Self::blank(snapshot, reports);
        form.base = Base::read(pairs.first("revision")).unwrap_or_default();
        for (card, node) in form.cards.iter_mut().zip(&snapshot.settings.nodes) {
            if !pairs.has(&format!("role.{}", card.id)) {
                // Joined since the page was opened: it stays as it is.
                card.role.set(choice(&node.roles));
                card.name.set(&node.name);
                card.address.set_option(link(node, card.interface).address);
                continue;
            }
            let of = |what: &str| pairs.first(&format!("{what}.{}", card.id)).to_owned();
            let (role, name, address) = (of("role"), of("name"), of("address"));
            card.suggested = of("suggested");
            card.role.value = role;
            card.name.value = name.trim().to_owned();
            card.address.value = address.trim().to_owned();
        }
        form.floating_ip.value = pairs.first("floating_ip").trim().to_owned();
        form.gateway.value = pairs.first("gateway").trim().to_owned();
        form.dns.value = pairs.joined("dns");
        form.follow_roles();
        form
    }

    /// Names that were suggested and left alone follow the roles that were chosen.
    fn follow_roles(&mut self) {
        let alone = |c: &Card| !c.suggested.is_empty() && c.name.value == c.suggested;
        let typed = self.cards.iter().filter(|c| !alone(c)).map(|c| c.name.value.clone());
        let taken: BTreeSet<String> = typed.collect();
        let roles = self.cards.iter().filter(|c| alone(c));
        let roles: Vec<_> = roles.map(|c| chosen(&c.role.value).unwrap_or_default()).collect();
        let names = suggest::names(&roles, &taken);
        for (card, name) in self.cards.iter_mut().filter(|c| alone(c)).zip(names) {
            card.name.set(&name);
            card.suggested = name.to_string();
        }
    }

    fn blank(snapshot: &Snapshot, reports: &[NodeReport]) -> Self {
        let settings = &snapshot.settings;
        let cards = settings.nodes.iter().map(|node| {
            let report = reports.iter().find(|r| r.status.id == node.id);
            let interface = suggest::interface(node, reports);
            let now = suggest::address_now(node, interface, reports, settings);
            let fixed = link(node, interface).address;
            let how = match (now, fixed) {
                (Some(now), Some(fixed)) if now.addr() == fixed.addr() => {
                    format!("{} on {interface}", now.addr())
                }
                (Some(now), _) => format!("{} on {interface}, by DHCP", now.addr()),
                (None, Some(fixed)) => format!("{} on {interface}", fixed.addr()),
                (None, None) => "no address known".to_owned(),
            };
            Card {
                id: node.id.to_string(),
                was: node.name.to_string(),
                model: report.and_then(|r| r.status.system.board.clone()).unwrap_or_default(),
                now: how,
                interface,
                here: node.id == *snapshot.node(),
                reachable: report.is_some_and(|r| r.reachable),
                ..Card::default()
            }
        });
        Self { base: Base::of(snapshot), cards: cards.collect(), ..Self::default() }
    }

    /// The edits the page stands for; None when something on it cannot be read.
    pub(crate) fn edits(&mut self, settings: &Settings) -> Option<Vec<Edit>> {
        let mut edits = Vec::new();
        let mut whole = true;
        for card in &mut self.cards {
            let Some(old) = settings.nodes.iter().find(|n| n.id.as_str() == card.id) else {
                continue;
            };
            match card.node(old) {
                Some(node) if node != *old => edits.push(Edit::PutNode(node)),
                Some(_) => {}
                None => whole = false,
            }
        }
        let balanced = self.cards.iter().any(|c| ["balancer", "both"].contains(&&*c.role.value));
        let (gateway, dns) = (self.gateway.optional(), self.dns.words());
        match (self.floating_ip.optional::<Cidr>(), gateway, dns) {
            (Some(address), Some(gateway), Some(dns)) => {
                if address.is_none() && balanced {
                    self.floating_ip.refuse(
                        "load balancers need an address that visitors use and one of them holds",
                    );
                    whole = false;
                }
                let mut cluster = settings.cluster.clone();
                (cluster.floating_ip, cluster.gateway, cluster.dns) = (address, gateway, dns);
                if cluster != settings.cluster {
                    edits.push(Edit::PutCluster(cluster));
                }
            }
            _ => whole = false,
        }
        whole.then_some(edits)
    }

    /// Shows problems of the settings that would come of it at the fields they concern.
    pub(crate) fn blame(&mut self, problems: &[Problem]) {
        for p in problems {
            let text = &p.problem;
            let cluster = match p.path.split_once('[').map_or(&*p.path, |(path, _)| path) {
                "cluster.floating_ip" => Some(&mut self.floating_ip),
                "cluster.gateway" => Some(&mut self.gateway),
                "cluster.dns" => Some(&mut self.dns),
                _ => None,
            };
            if let Some(field) = cluster {
                field.refuse(text);
                continue;
            }
            let inside = p.path.strip_prefix("nodes[").and_then(|rest| rest.split_once(']'));
            let card = inside.and_then(|(at, rest)| {
                let card = self.cards.get_mut(at.parse::<usize>().ok()?)?;
                let rest = rest.trim_start_matches('.');
                let address = format!("{}.address", card.interface);
                let field = match rest {
                    "name" => &mut card.name,
                    "roles" => &mut card.role,
                    _ if rest == address => &mut card.address,
                    _ => return None,
                };
                Some(field)
            });
            match card {
                Some(field) => field.refuse(text),
                None => self.top.push(crate::words::sentence(text)),
            }
        }
    }

    /// Something on the page is wrong.
    pub(crate) fn wrong(&self) -> bool {
        let fields = self.cards.iter().flat_map(|c| [&c.role, &c.name, &c.address]);
        !self.top.is_empty()
            || fields
                .chain([&self.floating_ip, &self.gateway, &self.dns])
                .any(|field| field.error.is_some())
    }
}

fn link<'a>(node: &'a Node, interface: &str) -> &'a model::Link {
    if interface == "wlan0" { &node.wlan0 } else { &node.eth0 }
}

impl Card {
    fn node(&mut self, old: &Node) -> Option<Node> {
        let roles = chosen(&self.role.value);
        if roles.is_none() {
            self.role.refuse("choose what this board does");
        }
        let name = self.name.read::<Hostname>();
        let address = self.address.optional::<Cidr>();
        if address == Some(None) && roles.as_ref().is_some_and(|r| r.contains(&Role::Web)) {
            self.address
                .refuse("a web server needs a fixed address, or the load balancers do not find it");
            return None;
        }
        let mut node = old.clone();
        (node.roles, node.name) = (roles?, name?);
        let address = address?;
        let link = if self.interface == "wlan0" { &mut node.wlan0 } else { &mut node.eth0 };
        link.address = address;
        if address.is_none() {
            link.gateway = None;
        }
        Some(node)
    }
}
