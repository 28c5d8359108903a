//! A server of a backend, written by hand or derived from a web node.

use super::field::whole;
use super::{Field, Form, Head, Invalid};
use model::{Backend, Edit, Endpoint, Server, Settings};

/// The form of one server. Its entry is the whole backend, which holds it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerForm {
    pub(crate) head: Head,
    base: Option<Backend>,
    /// The backend's name.
    pub(crate) backend: String,
    pub(crate) name: Field,
    pub(crate) address: Field,
    pub(crate) weight: Field,
    pub(crate) backup: Field,
    pub(crate) hostname: Field,
    pub(crate) health: Field,
    pub(crate) agent: Field,
    pub(crate) maxconn: Field,
    pub(crate) minconn: Field,
    pub(crate) maxqueue: Field,
    pub(crate) send_proxy: Field,
    pub(crate) cookie: Field,
}

impl ServerForm {
    /// The server in its backend; one that `web_nodes` brings may not be written yet.
    pub(crate) fn server(&self, backend: &Backend) -> Option<Server> {
        backend.servers.iter().find(|s| s.name.as_str() == self.name.value).cloned()
    }
}

impl Form for ServerForm {
    type Part = Backend;

    fn head(&mut self) -> &mut Head {
        &mut self.head
    }

    fn fields(&mut self) -> Vec<(&'static str, &mut Field)> {
        vec![
            ("name", &mut self.name),
            ("address", &mut self.address),
            ("weight", &mut self.weight),
            ("backup", &mut self.backup),
            ("hostname", &mut self.hostname),
            ("health", &mut self.health),
            ("agent", &mut self.agent),
            ("maxconn", &mut self.maxconn),
            ("minconn", &mut self.minconn),
            ("maxqueue", &mut self.maxqueue),
            ("send_proxy", &mut self.send_proxy),
            ("cookie", &mut self.cookie),
        ]
    }

    fn fill(&mut self, backend: &Backend) {
        let server = self.server(backend).unwrap_or_default();
        self.address.set_option(server.address);
        self.weight.set(server.weight);
        self.backup.set_on(server.backup);
        self.hostname.set_option(server.hostname.as_ref());
        self.health.set(server.health);
        self.agent.set(server.agent);
        self.maxconn.set(server.maxconn);
        self.minconn.set(server.minconn);
        self.maxqueue.set(server.maxqueue);
        self.send_proxy.set(server.send_proxy);
        self.cookie.set_option(server.cookie);
    }

    fn part(&self, settings: &Settings) -> Option<Backend> {
        settings.completed().backends.into_iter().find(|b| b.name.as_str() == self.backend)
    }

    fn place(&self, settings: &Settings) -> String {
        let b = settings.backends.iter().position(|b| b.name.as_str() == self.backend);
        let servers = b.and_then(|b| settings.backends.get(b)).map(|b| b.servers.as_slice());
        let servers = servers.unwrap_or_default();
        let s = servers.iter().position(|s| s.name.as_str() == self.name.value);
        format!(
            "backends[{}].servers[{}]",
            b.unwrap_or(settings.backends.len()),
            s.unwrap_or(servers.len())
        )
    }

    fn compare(&mut self, current: Option<&Backend>) {
        let theirs = current.and_then(|b| self.server(b)).unwrap_or_default();
        let address = theirs.address.map(|a| a.to_string()).unwrap_or_default();
        let weight = theirs.weight.to_string();
        self.address.now = (self.address.value != address).then_some(address);
        self.weight.now = (self.weight.value != weight).then_some(weight);
    }

    fn start_from(&mut self, part: Option<Backend>) {
        self.base = part;
    }
}

impl TryFrom<&mut ServerForm> for Edit {
    type Error = Invalid;

    fn try_from(form: &mut ServerForm) -> Result<Self, Invalid> {
        let mut backend = form.base.clone().ok_or(Invalid)?;
        let at = backend.servers.iter().position(|s| s.name.as_str() == form.name.value.trim());
        if form.head.new && at.is_some() {
            form.name.refuse("there is a server with this name already; choose another");
            return Err(Invalid);
        }
        let name = form.name.read();
        let hostname = form.hostname.optional();
        let health = form.health.optional();
        let agent = form.agent.optional();
        let number = |field: &mut Field| match field.value.trim() {
            "" => Some(0),
            _ => whole(field),
        };
        let maxconn = number(&mut form.maxconn);
        let minconn = number(&mut form.minconn);
        let maxqueue = number(&mut form.maxqueue);
        let send_proxy = form.send_proxy.optional();
        let named = hostname.as_ref().is_some_and(Option::is_some);
        let address = if form.head.new && !named {
            form.address.read::<Endpoint>().map(Some)
        } else {
            form.address.optional()
        };
        let weight = form.weight.read();
        let cookie = form.cookie.optional();
        let old = at.and_then(|at| backend.servers.get(at)).cloned().unwrap_or_default();
        let server = Server {
            name: name.ok_or(Invalid)?,
            address: address.ok_or(Invalid)?,
            weight: weight.ok_or(Invalid)?,
            backup: form.backup.on(),
            hostname: hostname.ok_or(Invalid)?,
            health: health.ok_or(Invalid)?.unwrap_or_default(),
            agent: agent.ok_or(Invalid)?.unwrap_or_default(),
            maxconn: maxconn.ok_or(Invalid)?,
            minconn: minconn.ok_or(Invalid)?,
            maxqueue: maxqueue.ok_or(Invalid)?,
            send_proxy: send_proxy.ok_or(Invalid)?.unwrap_or_default(),
            cookie: cookie.ok_or(Invalid)?,
            ..old
        };
        match at.and_then(|at| backend.servers.get_mut(at)) {
            Some(entry) => *entry = server,
            None => backend.servers.push(server),
        }
        Ok(Self::PutBackend(backend))
    }
}
