//! A virtual router.

use super::{Field, Form, Head, Invalid};
use model::{Edit, NodeId, Priority, Secret, Settings, VrrpInstance, VrrpVersion};
use std::collections::BTreeMap;

/// The form of one virtual router.
#[derive(Clone, Debug, Default)]
pub(crate) struct VirtualRouterForm {
    pub(crate) head: Head,
    base: Option<VrrpInstance>,
    pub(crate) name: Field,
    pub(crate) enabled: Field,
    pub(crate) version: Field,
    pub(crate) virtual_router_id: Field,
    pub(crate) interface: Field,
    pub(crate) advert_interval: Field,
    pub(crate) preempt: Field,
    pub(crate) preempt_delay: Field,
    pub(crate) addresses: Field,
    pub(crate) primary: Field,
    pub(crate) priorities: Field,
    pub(crate) auth_pass: Field,
    pub(crate) track_proxy: Field,
}

impl Form for VirtualRouterForm {
    type Part = VrrpInstance;

    fn head(&mut self) -> &mut Head {
        &mut self.head
    }

    fn fields(&mut self) -> Vec<(&'static str, &mut Field)> {
        vec![
            ("name", &mut self.name),
            ("enabled", &mut self.enabled),
            ("version", &mut self.version),
            ("virtual_router_id", &mut self.virtual_router_id),
            ("interface", &mut self.interface),
            ("advert_interval", &mut self.advert_interval),
            ("preempt", &mut self.preempt),
            ("preempt_delay", &mut self.preempt_delay),
            ("addresses", &mut self.addresses),
            ("primary", &mut self.primary),
            ("priorities", &mut self.priorities),
            ("auth_pass", &mut self.auth_pass),
            ("track_proxy", &mut self.track_proxy),
        ]
    }

    fn fill(&mut self, instance: &VrrpInstance) {
        self.name.set(&instance.name);
        self.enabled.set_on(instance.enabled);
        self.version.set(u8::from(instance.version));
        self.virtual_router_id.set(instance.virtual_router_id);
        self.interface.set(&instance.interface);
        self.advert_interval.set(instance.advert_interval);
        self.preempt.set_on(instance.preempt);
        self.preempt_delay.set(instance.preempt_delay);
        self.addresses.set_list(&instance.addresses);
        self.primary.set_option(instance.primary.as_ref());
        self.priorities.set_list(instance.priorities.iter().map(|(id, p)| format!("{id} {p}")));
        self.auth_pass.set(instance.auth_pass.masked().reveal());
        self.track_proxy.set_on(instance.track_proxy);
    }

    fn part(&self, settings: &Settings) -> Option<VrrpInstance> {
        settings.completed().vrrp.into_iter().find(|v| v.name.as_str() == self.name.value)
    }

    fn place(&self, settings: &Settings) -> String {
        let known = settings.vrrp.iter().position(|v| v.name.as_str() == self.name.value);
        format!("vrrp[{}]", known.unwrap_or(settings.vrrp.len()))
    }

    fn start_from(&mut self, part: Option<VrrpInstance>) {
        self.base = part;
    }
}

/// `lbmaster 120`, one a line.
fn priorities(field: &mut Field) -> Option<BTreeMap<NodeId, Priority>> {
    let mut found = BTreeMap::new();
    let mut good = true;
    for line in field.value.clone().lines().map(str::trim).filter(|l| !l.is_empty()) {
        let parts: Vec<&str> = line.split([' ', '=', ':']).filter(|p| !p.is_empty()).collect();
        let read = match parts.as_slice() {
            [id, priority] => id
                .parse::<NodeId>()
                .map_err(|e| e.to_string())
                .and_then(|id| Ok((id, priority.parse::<Priority>().map_err(|e| e.to_string())?))),
            _ => Err(format!(
                "{line:?} is not a node and its priority; write for example lbmaster 120"
            )),
        };
        match read {
            Ok((id, priority)) => {
                found.insert(id, priority);
            }
            Err(problem) => {
                field.refuse(&problem);
                good = false;
            }
        }
    }
    good.then_some(found)
}

impl TryFrom<&mut VirtualRouterForm> for Edit {
    type Error = Invalid;

    fn try_from(form: &mut VirtualRouterForm) -> Result<Self, Invalid> {
        if form.head.new && form.base.is_some() {
            form.name.refuse("there is a virtual router with this name already; choose another");
        }
        let mut instance = form.base.clone().unwrap_or_default();
        let name = form.name.read();
        let version = form.version.read::<u8>().and_then(|v| VrrpVersion::try_from(v).ok());
        if version.is_none() {
            form.version.refuse("choose version 2 or 3");
        }
        let virtual_router_id = form.virtual_router_id.read();
        let interface = form.interface.read();
        let advert_interval = form.advert_interval.read();
        let preempt_delay = form.preempt_delay.read();
        let addresses = form.addresses.words();
        let primary = form.primary.optional();
        let priorities = priorities(&mut form.priorities);
        instance.enabled = form.enabled.on();
        instance.preempt = form.preempt.on();
        instance.track_proxy = form.track_proxy.on();
        instance.auth_pass = Secret::new(form.auth_pass.value.as_str());
        instance.name = name.ok_or(Invalid)?;
        instance.version = version.ok_or(Invalid)?;
        instance.virtual_router_id = virtual_router_id.ok_or(Invalid)?;
        instance.interface = interface.ok_or(Invalid)?;
        instance.advert_interval = advert_interval.ok_or(Invalid)?;
        instance.preempt_delay = preempt_delay.ok_or(Invalid)?;
        instance.addresses = addresses.ok_or(Invalid)?;
        instance.primary = primary.ok_or(Invalid)?;
        instance.priorities = priorities.ok_or(Invalid)?;
        if form.name.error.is_some() {
            return Err(Invalid);
        }
        Ok(Self::PutVrrp(instance))
    }
}
