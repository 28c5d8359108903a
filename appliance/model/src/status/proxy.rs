//! What the load balancer counts, under the names of HAProxy's CSV fields (management.txt 9.1).

use crate::balance::Balance;
use crate::balancing::Mode;
use crate::net::{Bind, Endpoint};
use crate::server::{ServerHealth, ServerState};
use crate::text::Name;
use crate::units::Weight;
use serde::{Deserialize, Serialize};

/// Whether a server can be used, as its checks see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Usable.
    #[default]
    Up,
    /// Finishes what it has (HAProxy's NOLB).
    Stopping,
    /// Not usable.
    Down,
    /// Not checked; counts as usable.
    Unchecked,
}

/// Counters that frontends, backends and servers share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrafficCounters {
    /// Requests (servers, backends) or connections (frontends) under way.
    pub scur: u64,
    /// The most of them at once.
    pub smax: u64,
    /// All of them since start.
    pub stot: u64,
    /// Bytes from visitors.
    pub bin: u64,
    /// Bytes to visitors.
    pub bout: u64,
    /// In the last second.
    pub rate: u64,
    /// The most in one second.
    pub rate_max: u64,
}

/// Responses by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpCounters {
    /// 1xx.
    pub hrsp_1xx: u64,
    /// 2xx.
    pub hrsp_2xx: u64,
    /// 3xx.
    pub hrsp_3xx: u64,
    /// 4xx.
    pub hrsp_4xx: u64,
    /// 5xx.
    pub hrsp_5xx: u64,
    /// Anything else.
    pub hrsp_other: u64,
}

impl HttpCounters {
    /// All of them.
    pub const fn sum(&self) -> u64 {
        let (a, b) = (self.hrsp_1xx + self.hrsp_2xx, self.hrsp_3xx + self.hrsp_4xx);
        a + b + self.hrsp_5xx + self.hrsp_other
    }
}

/// The last health check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckStatus {
    /// HAProxy's word: `L4OK`, `L4CON`, `L4TOUT`, `L7OK`, `L7OKC`, `L7STS`, `L7TOUT`, `L7RSP`,
    /// `SOCKERR`, `HANA`, `CHECKED`, `INI`.
    pub check_status: String,
    /// HTTP status code, if there was one.
    pub check_code: Option<u16>,
    /// Milliseconds it took.
    pub check_duration: Option<u64>,
    /// The next one is under way (HAProxy's `* ` before the word).
    pub running: bool,
    /// Words for the operator.
    pub last_chk: String,
    /// Checks passed or failed in a row, 0 to rise+fall-1; `rise` and more is up.
    pub check_health: u32,
    /// Failed checks while up.
    pub chkfail: u64,
    /// Times it went from up to down.
    pub chkdown: u64,
    /// Bad answers to visitors that counted as a failed check.
    pub hanafail: u64,
}

/// What a server's agent says (HAProxy `agent-check`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentStatus {
    /// The last question to it.
    pub check: CheckStatus,
    /// The state it asks for.
    pub state: ServerState,
    /// Percent of the weight it asks for.
    pub weight: Option<u32>,
    /// The limit it asks for.
    pub maxconn: Option<u32>,
}

/// Requests that wait for a server with room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueCounters {
    /// Now.
    pub qcur: u64,
    /// The most of them at once.
    pub qmax: u64,
    /// Average milliseconds of waiting, over the last 1,024 requests that were served.
    pub qtime: u64,
    /// The longest of these.
    pub qtime_max: u64,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name.
    pub name: Name,
    /// Its id within the backend, from 1.
    pub sid: u32,
    /// Its address.
    pub addr: Endpoint,
    /// What the operator wants.
    pub state: ServerState,
    /// What the checks say.
    pub health: Health,
    /// Whose word on its health counts.
    #[serde(default)]
    pub forced: ServerHealth,
    /// Its name in the DNS, where that is how it is known.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Its weight, as configured.
    pub weight: Weight,
    /// What its weight is after the agent's word (HAProxy `uweight`).
    #[serde(default)]
    pub user_weight: u32,
    /// Its weight of this moment.
    #[serde(default)]
    pub effective_weight: u32,
    /// Its limit; 0 for none.
    #[serde(default)]
    pub maxconn: u32,
    /// The limit of its queue; 0 for none.
    #[serde(default)]
    pub maxqueue: u32,
    /// Who waits for it.
    #[serde(default)]
    pub queue: QueueCounters,
    /// What its agent says; None where none is asked.
    #[serde(default)]
    pub agent: Option<AgentStatus>,
    /// It has checks (HAProxy `check`), whether or not they run at the moment.
    #[serde(default)]
    pub checked: bool,
    /// Bad answers to visitors count as well (HAProxy `observe layer7`).
    #[serde(default)]
    pub observed: bool,
    /// Percent of its weight it is given while it starts slowly (HAProxy `slowstart`); None
    /// otherwise.
    #[serde(default)]
    pub throttle: Option<u32>,
    /// Its name in the backend's persistence cookie; None without one.
    #[serde(default)]
    pub cookie: Option<String>,
    /// Used only when no other is up.
    pub backup: bool,
    /// Checks' fall.
    pub check_fall: u8,
    /// Checks' rise.
    pub check_rise: u8,
    /// The last check.
    pub check: CheckStatus,
    /// Seconds since it last went up or down.
    pub lastchg: u64,
    /// Seconds it was down altogether.
    pub downtime: u64,
    /// Seconds since its last request.
    pub lastsess: Option<u64>,
    /// Traffic.
    pub traffic: TrafficCounters,
    /// Responses.
    pub http: HttpCounters,
    /// Failed connections.
    pub econ: u64,
    /// Bad or broken responses.
    pub eresp: u64,
    /// Requests that came to nothing by a fault of ours, such as a head that rules made too long.
    #[serde(default)]
    pub eint: u64,
    /// Fields that rules could not write, because the head would have become too long.
    #[serde(default)]
    pub wrew: u64,
    /// Retries.
    pub wretr: u64,
    /// Requests sent to another server instead.
    pub wredis: u64,
    /// Times chosen.
    pub lbtot: u64,
    /// Connection attempts.
    pub connect: u64,
    /// Connections used again.
    pub reuse: u64,
    /// Idle connections kept.
    pub srv_icur: u64,
    /// Visitors who went away.
    pub cli_abrt: u64,
    /// Transfers the server broke off.
    pub srv_abrt: u64,
    /// Average milliseconds to connect, over the last 1,024 requests.
    pub ctime: u64,
    /// Average milliseconds to the response's head.
    pub rtime: u64,
    /// Average milliseconds altogether.
    pub ttime: u64,
    /// The most milliseconds to connect.
    #[serde(default)]
    pub ctime_max: u64,
    /// The most milliseconds to the response's head.
    #[serde(default)]
    pub rtime_max: u64,
    /// The most milliseconds altogether.
    #[serde(default)]
    pub ttime_max: u64,
}

impl ServerStatus {
    /// HAProxy's status column: `UP`, `UP 1/3`, `DOWN`, `DOWN 1/2`, `DOWN (agent)`, `NOLB`, `MAINT`,
    /// `MAINT (resolution)`, `DRAIN`, `DRAIN (agent)`, `no check`.
    pub fn status_word(&self) -> String {
        let (rise, fall) = (u32::from(self.check_rise), u32::from(self.check_fall));
        let seen = self.check.check_health;
        if self.unresolved() {
            return "MAINT (resolution)".to_owned();
        }
        if self.wanted() == ServerState::Maint {
            return "MAINT".to_owned();
        }
        // Where the operator's word counts, nothing is about to change.
        let counting = self.checked && self.forced == ServerHealth::Checked;
        if self.health == Health::Down {
            return if self.agent.as_ref().is_some_and(|a| a.check.check_health == 0) {
                "DOWN (agent)".to_owned()
            } else if counting && seen > 0 {
                format!("DOWN {}/{rise}", seen.min(rise))
            } else {
                "DOWN".to_owned()
            };
        }
        let left = (seen + 1).saturating_sub(rise);
        let word = match (self.wanted(), self.health) {
            (_, Health::Stopping) => "NOLB",
            (ServerState::Drain, _) if self.agent.is_some() => return "DRAIN (agent)".to_owned(),
            (ServerState::Drain, _) => "DRAIN",
            _ if !self.checked && self.forced == ServerHealth::Checked => {
                return "no check".to_owned();
            }
            _ => "UP",
        };
        if counting && left < fall { format!("{word} {left}/{fall}") } else { word.to_owned() }
    }

    /// Checks are to be made at this moment; otherwise HAProxy shows nothing of them.
    pub fn checks_run(&self) -> bool {
        self.checked && self.forced == ServerHealth::Checked && self.state != ServerState::Maint
    }

    /// What the operator and the agent want together.
    pub fn wanted(&self) -> ServerState {
        let agent = self.agent.as_ref().map_or(ServerState::Ready, |a| a.state);
        match (self.state, agent) {
            (ServerState::Maint, _) | (_, ServerState::Maint) => ServerState::Maint,
            (ServerState::Drain, _) | (_, ServerState::Drain) => ServerState::Drain,
            _ => ServerState::Ready,
        }
    }

    /// Its name has led to no address so far.
    pub fn unresolved(&self) -> bool {
        self.hostname.is_some() && self.addr.0.ip().is_unspecified()
    }

    /// Takes new visitors.
    pub fn usable(&self) -> bool {
        self.wanted() == ServerState::Ready
            && matches!(self.health, Health::Up | Health::Unchecked)
            && self.effective_weight > 0
            && !self.unresolved()
    }
}

/// One frontend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrontendStatus {
    /// Its name.
    pub name: Name,
    /// Its id, from 1.
    pub iid: u32,
    /// What is spoken.
    #[serde(default)]
    pub mode: Mode,
    /// Where it listens, as configured.
    pub bind: Vec<Bind>,
    /// Listens on all of them.
    pub open: bool,
    /// Its limit.
    pub slim: u32,
    /// Connections.
    pub traffic: TrafficCounters,
    /// Responses.
    pub http: HttpCounters,
    /// Requests refused by rule.
    pub dreq: u64,
    /// Bad requests.
    pub ereq: u64,
    /// Requests.
    pub req_tot: u64,
    /// Requests in the last second.
    pub req_rate: u64,
    /// The most in one second.
    pub req_rate_max: u64,
    /// Connections refused by rule.
    #[serde(default)]
    pub dcon: u64,
    /// Requests answered by a rule, other than by a refusal.
    #[serde(default)]
    pub intercepted: u64,
    /// Requests that came to nothing by a fault of ours, such as a head that rules made too long.
    #[serde(default)]
    pub eint: u64,
    /// Fields that rules could not write, because the head would have become too long.
    #[serde(default)]
    pub wrew: u64,
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// Its name.
    pub name: Name,
    /// Its id, counted on after the frontends'.
    pub iid: u32,
    /// What is spoken.
    #[serde(default)]
    pub mode: Mode,
    /// Who waits for any of its servers.
    #[serde(default)]
    pub queue: QueueCounters,
    /// How servers are chosen.
    pub balance: Balance,
    /// Requests.
    pub traffic: TrafficCounters,
    /// Responses.
    pub http: HttpCounters,
    /// The number of requests at which servers reach their full limit (HAProxy `fullconn`).
    #[serde(default)]
    pub slim: u64,
    /// The name of the persistence cookie; None without one.
    #[serde(default)]
    pub cookie: Option<String>,
    /// Requests no server could be found for.
    pub econ: u64,
    /// Requests that came to nothing by a fault of ours, such as a head that rules made too long.
    #[serde(default)]
    pub eint: u64,
    /// Fields that rules could not write, because the head would have become too long.
    #[serde(default)]
    pub wrew: u64,
    /// Seconds since it last went up or down.
    pub lastchg: u64,
    /// Seconds without a usable server.
    pub downtime: u64,
    /// Times it went down.
    pub chkdown: u64,
    /// Its servers.
    pub servers: Vec<ServerStatus>,
}

/// The load balancer of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProxyStatus {
    /// Frontends.
    pub frontends: Vec<FrontendStatus>,
    /// Backends.
    pub backends: Vec<BackendStatus>,
    /// Open connections of visitors.
    pub curr_conns: u64,
    /// The most open connections this node takes.
    pub maxconn: u64,
    /// Worker threads.
    pub threads: u32,
    /// Connections of visitors in the last second.
    pub conn_rate: u64,
    /// The most in one second.
    pub conn_rate_max: u64,
    /// Lines of the access log that were dropped because the writer could not keep up.
    pub dropped_logs: u64,
}
