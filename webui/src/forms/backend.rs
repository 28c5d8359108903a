//! A group of servers: how one is chosen, and how they are checked.

use super::field::whole;
use super::{CheckFields, Field, Form, Head, Invalid};
use model::{Backend, Edit, Endpoint, Name, Server, Settings};

/// The form of one backend; its servers have forms of their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct BackendForm {
    pub(crate) head: Head,
    base: Option<Backend>,
    pub(crate) name: Field,
    pub(crate) mode: Field,
    pub(crate) balance: Field,
    pub(crate) hash_type: Field,
    pub(crate) hash_balance_factor: Field,
    pub(crate) cookie: Field,
    pub(crate) stick_table: Field,
    pub(crate) stick_on: Field,
    pub(crate) allbackups: Field,
    pub(crate) slowstart: Field,
    pub(crate) web_nodes: Field,
    pub(crate) check: Field,
    pub(crate) inter: Field,
    pub(crate) fall: Field,
    pub(crate) rise: Field,
    pub(crate) http_path: Field,
    pub(crate) finer: CheckFields,
    pub(crate) retries: Field,
    pub(crate) timeout_connect: Field,
    pub(crate) timeout_server: Field,
    /// The servers of a new backend, one a line.
    pub(crate) servers: Field,
}

impl Form for BackendForm {
    type Part = Backend;

    fn head(&mut self) -> &mut Head {
        &mut self.head
    }

    fn fields(&mut self) -> Vec<(&'static str, &mut Field)> {
        let mut all = vec![
            ("name", &mut self.name),
            ("mode", &mut self.mode),
            ("balance", &mut self.balance),
            ("hash_type", &mut self.hash_type),
            ("hash_balance_factor", &mut self.hash_balance_factor),
            ("cookie", &mut self.cookie),
            ("stick_table", &mut self.stick_table),
            ("stick_on", &mut self.stick_on),
            ("allbackups", &mut self.allbackups),
            ("slowstart", &mut self.slowstart),
            ("web_nodes", &mut self.web_nodes),
            ("check.enabled", &mut self.check),
            ("check.inter", &mut self.inter),
            ("check.fall", &mut self.fall),
            ("check.rise", &mut self.rise),
            ("check.http_path", &mut self.http_path),
            ("retries", &mut self.retries),
            ("timeout_connect", &mut self.timeout_connect),
            ("timeout_server", &mut self.timeout_server),
            ("servers", &mut self.servers),
        ];
        all.extend(self.finer.fields());
        all
    }

    fn fill(&mut self, backend: &Backend) {
        self.name.set(&backend.name);
        self.mode.set(backend.mode);
        self.finer.fill(backend);
        self.balance.set(&backend.balance);
        self.hash_type.set(backend.hash_type);
        self.hash_balance_factor.set(backend.hash_balance_factor);
        self.cookie.set_option(backend.cookie.as_ref());
        self.stick_table.set_option(backend.stick_table.as_ref());
        self.stick_on.set_option(backend.stick_on.as_ref());
        self.allbackups.set_on(backend.allbackups);
        self.slowstart.set(backend.slowstart);
        self.web_nodes.set_on(backend.web_nodes);
        self.check.set_on(backend.check.enabled);
        self.inter.set(backend.check.inter);
        self.fall.set(backend.check.fall);
        self.rise.set(backend.check.rise);
        self.http_path.set_option(backend.check.http_path.as_ref());
        self.retries.set(backend.retries);
        self.timeout_connect.set(backend.timeout_connect);
        self.timeout_server.set(backend.timeout_server);
    }

    fn part(&self, settings: &Settings) -> Option<Backend> {
        settings.completed().backends.into_iter().find(|b| b.name.as_str() == self.name.value)
    }

    fn place(&self, settings: &Settings) -> String {
        let known = settings.backends.iter().position(|b| b.name.as_str() == self.name.value);
        format!("backends[{}]", known.unwrap_or(settings.backends.len()))
    }

    fn start_from(&mut self, part: Option<Backend>) {
        self.base = part;
    }
}

/// `app1 192.168.1.30:8080`, one a line.
fn servers(field: &mut Field) -> Option<Vec<Server>> {
    let mut found = Vec::new();
    for line in field.value.clone().lines().map(str::trim).filter(|l| !l.is_empty()) {
        let read = match line.split_once(char::is_whitespace) {
            Some((name, address)) => name.parse::<Name>().and_then(|name| {
                let address = Some(address.trim().parse::<Endpoint>()?);
                Ok(Server { name, address, ..Server::default() })
            }),
            None => Err(model::BadValue::new(format!(
                "{line:?} is not a name and an address; write for example app1 192.168.1.30:8080"
            ))),
        };
        match read {
            Ok(server) => found.push(server),
            Err(problem) => field.refuse(&problem.to_string()),
        }
    }
    field.error.is_none().then_some(found)
}

impl TryFrom<&mut BackendForm> for Edit {
    type Error = Invalid;

    fn try_from(form: &mut BackendForm) -> Result<Self, Invalid> {
        if form.head.new && form.base.is_some() {
            form.name.refuse("there is a backend with this name already; choose another");
        }
        let mut backend = form.base.clone().unwrap_or_default();
        let name = form.name.read();
        let mode = form.mode.optional();
        let balance = form.balance.read();
        let finer = form.finer.read(&mut backend);
        let hash_type = form.hash_type.read();
        let factor = whole(&mut form.hash_balance_factor);
        let cookie = form.cookie.optional();
        let stick_table = form.stick_table.optional();
        let stick_on = form.stick_on.optional();
        let slowstart = form.slowstart.read();
        let inter = form.inter.read();
        let fall = whole(&mut form.fall);
        let rise = whole(&mut form.rise);
        let http_path = form.http_path.optional();
        let retries = whole(&mut form.retries);
        let connect = form.timeout_connect.read();
        let server = form.timeout_server.read();
        if form.head.new {
            backend.servers = servers(&mut form.servers).ok_or(Invalid)?;
        }
        finer?;
        backend.mode = mode.ok_or(Invalid)?.unwrap_or_default();
        backend.web_nodes = form.web_nodes.on();
        backend.check.enabled = form.check.on();
        backend.name = name.ok_or(Invalid)?;
        backend.balance = balance.ok_or(Invalid)?;
        backend.hash_type = hash_type.ok_or(Invalid)?;
        backend.hash_balance_factor = factor.ok_or(Invalid)?;
        backend.cookie = cookie.ok_or(Invalid)?;
        backend.stick_table = stick_table.ok_or(Invalid)?;
        backend.stick_on = stick_on.ok_or(Invalid)?;
        backend.allbackups = form.allbackups.on();
        backend.slowstart = slowstart.ok_or(Invalid)?;
        backend.check.inter = inter.ok_or(Invalid)?;
        backend.check.fall = fall.ok_or(Invalid)?;
        backend.check.rise = rise.ok_or(Invalid)?;
        backend.check.http_path = http_path.ok_or(Invalid)?;
        backend.retries = retries.ok_or(Invalid)?;
        backend.timeout_connect = connect.ok_or(Invalid)?;
        backend.timeout_server = server.ok_or(Invalid)?;
        if form.name.error.is_some() {
            return Err(Invalid);
        }
        Ok(Self::PutBackend(backend))
    }
}
