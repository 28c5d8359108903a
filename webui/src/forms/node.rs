//! A board.

use super::{Field, Form, Head, Invalid};
use model::{Edit, Link, Node, NodeId, Role, Settings};

/// The form of one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeForm {
    pub(crate) head: Head,
    base: Option<Node>,
    pub(crate) id: Field,
    pub(crate) name: Field,
    pub(crate) roles: Field,
    pub(crate) eth0: Field,
    pub(crate) eth0_gateway: Field,
    pub(crate) eth0_dns: Field,
    pub(crate) eth0_ntp: Field,
    pub(crate) wlan0: Field,
    pub(crate) wlan0_gateway: Field,
    pub(crate) wlan0_dns: Field,
    pub(crate) wlan0_ntp: Field,
}

impl Form for NodeForm {
    type Part = Node;

    fn head(&mut self) -> &mut Head {
        &mut self.head
    }

    fn fields(&mut self) -> Vec<(&'static str, &mut Field)> {
        vec![
            ("id", &mut self.id),
            ("name", &mut self.name),
            ("roles", &mut self.roles),
            ("eth0.address", &mut self.eth0),
            ("eth0.gateway", &mut self.eth0_gateway),
            ("eth0.dns", &mut self.eth0_dns),
            ("eth0.ntp", &mut self.eth0_ntp),
            ("wlan0.address", &mut self.wlan0),
            ("wlan0.gateway", &mut self.wlan0_gateway),
            ("wlan0.dns", &mut self.wlan0_dns),
            ("wlan0.ntp", &mut self.wlan0_ntp),
        ]
    }

    fn fill(&mut self, node: &Node) {
        self.id.set(&node.id);
        self.name.set(&node.name);
        self.roles.set_list(node.roles.iter().map(|r| keyword(*r)));
        self.eth0.set_option(node.eth0.address);
        self.eth0_gateway.set_option(node.eth0.gateway);
        self.eth0_dns.set_list(&node.eth0.dns);
        self.eth0_ntp.set_list(&node.eth0.ntp);
        self.wlan0.set_option(node.wlan0.address);
        self.wlan0_gateway.set_option(node.wlan0.gateway);
        self.wlan0_dns.set_list(&node.wlan0.dns);
        self.wlan0_ntp.set_list(&node.wlan0.ntp);
    }

    fn part(&self, settings: &Settings) -> Option<Node> {
        settings.nodes.iter().find(|n| n.id.as_str() == self.id.value).cloned()
    }

    fn place(&self, settings: &Settings) -> String {
        let known = settings.nodes.iter().position(|n| n.id.as_str() == self.id.value);
        format!("nodes[{}]", known.unwrap_or(settings.nodes.len()))
    }

    fn start_from(&mut self, part: Option<Node>) {
        self.base = part;
    }
}

/// A role as the form and the settings write it.
pub(crate) const fn keyword(role: Role) -> &'static str {
    match role {
        Role::Web => "web",
        Role::Balancer => "balancer",
    }
}

impl TryFrom<&mut NodeForm> for Edit {
    type Error = Invalid;

    fn try_from(form: &mut NodeForm) -> Result<Self, Invalid> {
        if form.head.new && form.base.is_some() {
            form.id.refuse("there is a node with this identity already; choose another");
        }
        let id = form.id.read::<NodeId>();
        let name = form.name.read();
        let eth0 =
            link(&mut form.eth0, &mut form.eth0_gateway, &mut form.eth0_dns, &mut form.eth0_ntp);
        let wlan0 = link(
            &mut form.wlan0,
            &mut form.wlan0_gateway,
            &mut form.wlan0_dns,
            &mut form.wlan0_ntp,
        );
        let mut node = form.base.clone().unwrap_or_default();
        node.roles = [Role::Web, Role::Balancer]
            .into_iter()
            .filter(|r| form.roles.has(keyword(*r)))
            .collect();
        match (id, name, eth0, wlan0) {
            (Some(id), Some(name), Some(eth0), Some(wlan0)) if form.id.error.is_none() => {
                Ok(Self::PutNode(Node { id, name, eth0, wlan0, ..node }))
            }
            _ => Err(Invalid),
        }
    }
}

/// One interface; each field is read, so that each says what is wrong with it.
fn link(
    address: &mut Field,
    gateway: &mut Field,
    dns: &mut Field,
    ntp: &mut Field,
) -> Option<Link> {
    let (address, gateway) = (address.optional(), gateway.optional());
    let (dns, ntp) = (dns.words(), ntp.words());
    Some(Link { address: address?, gateway: gateway?, dns: dns?, ntp: ntp? })
}
