//! Where visitors arrive.

use super::{Field, Form, Head, Invalid, at_line};
use model::{Edit, Frontend, Rule, Settings};

/// The form of one frontend.
#[derive(Clone, Debug, Default)]
pub(crate) struct FrontendForm {
    pub(crate) head: Head,
    base: Option<Frontend>,
    pub(crate) name: Field,
    pub(crate) enabled: Field,
    pub(crate) mode: Field,
    pub(crate) bind: Field,
    pub(crate) certificates: Field,
    pub(crate) strict_sni: Field,
    pub(crate) http2: Field,
    pub(crate) ssl_min_ver: Field,
    pub(crate) accept_proxy: Field,
    pub(crate) default_backend: Field,
    /// One a line; an empty line is left out.
    pub(crate) rules: Field,
    pub(crate) stick_table: Field,
    pub(crate) maxconn: Field,
    pub(crate) forwardfor: Field,
    pub(crate) httplog: Field,
    pub(crate) count_paths: Field,
    pub(crate) dontlognull: Field,
    pub(crate) http_ignore_probes: Field,
    pub(crate) timeout_client: Field,
    pub(crate) timeout_http_request: Field,
    pub(crate) timeout_http_keep_alive: Field,
    pub(crate) timeout_tarpit: Field,
    pub(crate) timeout_client_fin: Field,
    pub(crate) inspect_delay: Field,
    pub(crate) stats_uri: Field,
    pub(crate) stats_refresh: Field,
}

impl Form for FrontendForm {
    type Part = Frontend;

    fn head(&mut self) -> &mut Head {
        &mut self.head
    }

    fn fields(&mut self) -> Vec<(&'static str, &mut Field)> {
        vec![
            ("name", &mut self.name),
            ("enabled", &mut self.enabled),
            ("mode", &mut self.mode),
            ("bind", &mut self.bind),
            ("certificates", &mut self.certificates),
            ("strict_sni", &mut self.strict_sni),
            ("http2", &mut self.http2),
            ("ssl_min_ver", &mut self.ssl_min_ver),
            ("accept_proxy", &mut self.accept_proxy),
            ("default_backend", &mut self.default_backend),
            ("rules", &mut self.rules),
            ("stick_table", &mut self.stick_table),
            ("maxconn", &mut self.maxconn),
            ("forwardfor", &mut self.forwardfor),
            ("httplog", &mut self.httplog),
            ("count_paths", &mut self.count_paths),
            ("dontlognull", &mut self.dontlognull),
            ("http_ignore_probes", &mut self.http_ignore_probes),
            ("timeout_client", &mut self.timeout_client),
            ("timeout_http_request", &mut self.timeout_http_request),
            ("timeout_http_keep_alive", &mut self.timeout_http_keep_alive),
            ("timeout_tarpit", &mut self.timeout_tarpit),
            ("timeout_client_fin", &mut self.timeout_client_fin),
            ("inspect_delay", &mut self.inspect_delay),
            ("stats_uri", &mut self.stats_uri),
            ("stats_refresh", &mut self.stats_refresh),
        ]
    }

    fn fill(&mut self, frontend: &Frontend) {
        self.name.set(&frontend.name);
        self.enabled.set_on(frontend.enabled);
        self.mode.set(frontend.mode);
        self.bind.set_list(&frontend.bind);
        self.certificates.set_list(&frontend.certificates);
        self.strict_sni.set_on(frontend.strict_sni);
        self.http2.set_on(frontend.http2);
        self.ssl_min_ver.set(frontend.ssl_min_ver);
        self.accept_proxy.set_on(frontend.accept_proxy);
        self.default_backend.set(&frontend.default_backend);
        self.rules.set_list(&frontend.rules);
        self.stick_table.set_option(frontend.stick_table.as_ref());
        self.maxconn.set(frontend.maxconn);
        self.forwardfor.set_on(frontend.forwardfor);
        self.httplog.set_on(frontend.httplog);
        self.count_paths.set_on(frontend.count_paths);
        self.dontlognull.set_on(frontend.dontlognull);
        self.http_ignore_probes.set_on(frontend.http_ignore_probes);
        self.timeout_client.set(frontend.timeout_client);
        self.timeout_http_request.set(frontend.timeout_http_request);
        self.timeout_http_keep_alive.set(frontend.timeout_http_keep_alive);
        self.timeout_tarpit.set(frontend.timeout_tarpit);
        self.timeout_client_fin.set_option(frontend.timeout_client_fin);
        self.inspect_delay.set(frontend.inspect_delay);
        self.stats_uri.set_option(frontend.stats_uri.as_ref());
        self.stats_refresh.set_option(frontend.stats_refresh);
    }

    fn part(&self, settings: &Settings) -> Option<Frontend> {
        settings.completed().frontends.into_iter().find(|f| f.name.as_str() == self.name.value)
    }

    fn place(&self, settings: &Settings) -> String {
        let known = settings.frontends.iter().position(|f| f.name.as_str() == self.name.value);
        format!("frontends[{}]", known.unwrap_or(settings.frontends.len()))
    }

    fn start_from(&mut self, part: Option<Frontend>) {
        self.base = part;
    }
}

/// The rules, with every line that is wrong named. What is shown again has no empty lines, so
/// that lines and rules have the same numbers.
fn rules(field: &mut Field) -> Option<Vec<Rule>> {
    let lines: Vec<String> = field.value.lines().map(|l| l.trim().to_owned()).collect();
    let lines: Vec<String> = lines.into_iter().filter(|l| !l.is_empty()).collect();
    field.value = lines.join("\n");
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        match line.parse() {
            Ok(rule) => found.push(rule),
            Err(error) => {
                let error: model::BadValue = error;
                field.refuse(&at_line(index, &error.to_string()));
            }
        }
    }
    field.error.is_none().then_some(found)
}

impl TryFrom<&mut FrontendForm> for Edit {
    type Error = Invalid;

    fn try_from(form: &mut FrontendForm) -> Result<Self, Invalid> {
        if form.head.new && form.base.is_some() {
            form.name.refuse("there is a frontend with this name already; choose another");
        }
        let mut frontend = form.base.clone().unwrap_or_default();
        let name = form.name.read();
        let bind = form.bind.entries();
        if bind.as_ref().is_some_and(Vec::is_empty) {
            form.bind.refuse("give at least one address, for example floating:80");
        }
        let mode = form.mode.optional();
        let certificates = form.certificates.words();
        let ssl_min_ver = form.ssl_min_ver.optional();
        let default_backend = form.default_backend.read();
        let rules = rules(&mut form.rules);
        let maxconn = super::field::whole(&mut form.maxconn);
        let client = form.timeout_client.read();
        let request = form.timeout_http_request.read();
        let keep_alive = form.timeout_http_keep_alive.read();
        let tarpit = form.timeout_tarpit.read();
        let stick_table = form.stick_table.optional();
        let client_fin = form.timeout_client_fin.optional();
        let inspect_delay = form.inspect_delay.optional();
        let (stats_uri, stats_refresh) = (form.stats_uri.optional(), form.stats_refresh.optional());
        frontend.enabled = form.enabled.on();
        frontend.forwardfor = form.forwardfor.on();
        frontend.httplog = form.httplog.on();
        frontend.count_paths = form.count_paths.on();
        frontend.dontlognull = form.dontlognull.on();
        frontend.http_ignore_probes = form.http_ignore_probes.on();
        frontend.accept_proxy = form.accept_proxy.on();
        frontend.strict_sni = form.strict_sni.on();
        frontend.http2 = form.http2.on();
        frontend.certificates = certificates.ok_or(Invalid)?;
        frontend.ssl_min_ver = ssl_min_ver.ok_or(Invalid)?.unwrap_or_default();
        frontend.mode = mode.ok_or(Invalid)?.unwrap_or_default();
        frontend.name = name.ok_or(Invalid)?;
        frontend.bind = bind.ok_or(Invalid)?;
        frontend.default_backend = default_backend.ok_or(Invalid)?;
        frontend.rules = rules.ok_or(Invalid)?;
        frontend.maxconn = maxconn.ok_or(Invalid)?;
        frontend.timeout_client = client.ok_or(Invalid)?;
        frontend.timeout_http_request = request.ok_or(Invalid)?;
        frontend.timeout_http_keep_alive = keep_alive.ok_or(Invalid)?;
        frontend.timeout_tarpit = tarpit.ok_or(Invalid)?;
        frontend.stick_table = stick_table.ok_or(Invalid)?;
        frontend.timeout_client_fin = client_fin.ok_or(Invalid)?;
        let plain = Frontend::default().inspect_delay;
        frontend.inspect_delay = inspect_delay.ok_or(Invalid)?.unwrap_or(plain);
        frontend.stats_uri = stats_uri.ok_or(Invalid)?;
        frontend.stats_refresh = stats_refresh.ok_or(Invalid)?;
        if form.name.error.is_some() || form.bind.error.is_some() {
            return Err(Invalid);
        }
        Ok(Self::PutFrontend(frontend))
    }
}
