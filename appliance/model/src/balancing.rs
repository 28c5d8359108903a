//! Frontends, backends and servers, under HAProxy's names.

use crate::balance::{Balance, HashType};
use crate::certificate::TlsVersion;
use crate::health_check::Check;
use crate::keyword::keywords;
use crate::net::Bind;
use crate::persistence::{PersistCookie, StickOn, StickTable};
use crate::rules::Rule;
use crate::server::Server;
use crate::text::{Name, StatsUri};
use crate::tracking::TrackTable;
use crate::units::Millis;
use serde::{Deserialize, Serialize};

/// The frontend that exists as soon as there is a floating IP and a balancer.
pub const DEFAULT_FRONTEND: &str = "http-in";
/// The backend that exists as soon as there is a web server.
pub const DEFAULT_BACKEND: &str = "webservers";

/// Where visitors arrive (HAProxy `frontend`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Frontend {
    /// Its name.
    pub name: Name,
    /// Off: it is kept in the settings and does not listen.
    pub enabled: bool,
    /// What is spoken here.
    pub mode: Mode,
    /// Where it listens.
    pub bind: Vec<Bind>,
    /// The certificates of the addresses where TLS is spoken, by name: the one that fits what the
    /// visitor asks for (SNI), or else the first (HAProxy `crt`).
    pub certificates: Vec<Name>,
    /// Without a certificate for the name that is asked for the handshake is refused, instead of
    /// showing the first (HAProxy `strict-sni`).
    pub strict_sni: bool,
    /// Offer HTTP/2 to visitors who speak TLS (HAProxy `alpn h2,http/1.1`).
    pub http2: bool,
    /// The oldest version of TLS that is spoken (HAProxy `ssl-min-ver`).
    pub ssl_min_ver: TlsVersion,
    /// Every visitor comes through a proxy that tells the real address in the PROXY protocol
    /// (HAProxy `accept-proxy`).
    pub accept_proxy: bool,
    /// Where its requests go, unless a rule says otherwise.
    pub default_backend: Name,
    /// What it does with requests and responses, one rule a line (HAProxy `acl`, `use_backend`,
    /// `http-request`, `http-response`).
    pub rules: Vec<Rule>,
    /// Where rules count how much each visitor asks for (HAProxy `stick-table`).
    pub stick_table: Option<TrackTable>,
    /// Concurrent connections; more wait in the kernel (HAProxy `maxconn`). In mode udp concurrent
    /// visitors; for more, those who have their answers or are silent longest are forgotten.
    pub maxconn: u32,
    /// Add `X-Forwarded-For` with the visitor's address (HAProxy `option forwardfor`).
    pub forwardfor: bool,
    /// Write an access log (HAProxy `option httplog`).
    pub httplog: bool,
    /// Count what is asked for most, for the page's list. HAProxy has no such thing.
    pub count_paths: bool,
    /// Connections without a byte are not logged (HAProxy `option dontlognull`, which Debian's
    /// settings have on): port scans, monitors and browsers that connect ahead.
    pub dontlognull: bool,
    /// Connections without a byte are no errors and get no answer (HAProxy
    /// `option http-ignore-probes`).
    pub http_ignore_probes: bool,
    /// Longest silence of a visitor, and in mode udp of both sides (HAProxy `timeout client`, nginx
    /// `proxy_timeout`).
    pub timeout_client: Millis,
    /// Longest time for a whole request head (HAProxy `timeout http-request`).
    pub timeout_http_request: Millis,
    /// Longest silence between two requests (HAProxy `timeout http-keep-alive`).
    pub timeout_http_keep_alive: Millis,
    /// How long a visitor waits for the answer of a `tarpit` rule (HAProxy `timeout tarpit`).
    pub timeout_tarpit: Millis,
    /// Longest silence of a visitor where one direction has ended, after a change of protocol and
    /// in mode tcp (HAProxy `timeout client-fin`). None: as before.
    pub timeout_client_fin: Option<Millis>,
    /// Mode tcp: longest wait for the visitor's first bytes, where `balance rdp-cookie` looks at
    /// them (HAProxy `tcp-request inspect-delay`).
    pub inspect_delay: Millis,
    /// Where this frontend shows the balancer's statistics, to who knows the password of the admin
    /// page (HAProxy `stats uri` with `stats auth`). None: nowhere.
    pub stats_uri: Option<StatsUri>,
    /// The page there loads itself again after so long (HAProxy `stats refresh`); never by default.
    pub stats_refresh: Option<Millis>,
}

impl Default for Frontend {
    fn default() -> Self {
        Self {
            name: Name::default(),
            enabled: true,
            mode: Mode::Http,
            bind: Vec::new(),
            certificates: Vec::new(),
            strict_sni: false,
            http2: true,
            ssl_min_ver: TlsVersion::Tls12,
            accept_proxy: false,
            default_backend: Name::default(),
            rules: Vec::new(),
            stick_table: None,
            maxconn: 2000,
            forwardfor: true,
            httplog: true,
            count_paths: true,
            dontlognull: true,
            http_ignore_probes: false,
            timeout_client: Millis::seconds(50),
            timeout_http_request: Millis::seconds(10),
            timeout_http_keep_alive: Millis::seconds(10),
            timeout_tarpit: Millis::seconds(5),
            timeout_client_fin: None,
            inspect_delay: Millis::seconds(5),
            stats_uri: None,
            stats_refresh: None,
        }
    }
}

keywords! {
    /// What is spoken (HAProxy `mode`).
    Mode, "mode",
    /// Every request is read, and balanced on its own.
    #[default]
    Http => "http",
    /// Bytes are passed on as they come; a connection is balanced as a whole.
    Tcp => "tcp",
    /// Datagrams are passed on as they come; those from one address and port stay together. No
    /// HAProxy has this; nginx has it as `listen … udp`.
    Udp => "udp",
}

keywords! {
    /// A failure after which a request may be sent again (HAProxy `retry-on`).
    RetryOn, "reason to try again",
    /// The server closed the connection without an answer.
    #[default]
    EmptyResponse => "empty-response",
    /// What the server sent was no answer.
    JunkResponse => "junk-response",
    /// The server did not answer in time.
    ResponseTimeout => "response-timeout",
    /// It answered 404.
    NotFound => "404",
    /// It answered 408.
    RequestTimeout => "408",
    /// It answered 425.
    TooEarly => "425",
    /// It answered 429.
    TooMany => "429",
    /// It answered 500.
    ServerError => "500",
    /// It answered 501.
    NotImplemented => "501",
    /// It answered 502.
    BadGateway => "502",
    /// It answered 503.
    Unavailable => "503",
    /// It answered 504.
    GatewayTimeout => "504",
}

impl RetryOn {
    /// The status it stands for.
    pub fn status(self) -> Option<u16> {
        self.keyword().parse().ok()
    }
}

/// A group of servers (HAProxy `backend`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backend {
    /// Its name.
    pub name: Name,
    /// What its servers speak.
    pub mode: Mode,
    /// How a server is chosen.
    pub balance: Balance,
    /// How a hash becomes a server (HAProxy `hash-type`).
    pub hash_type: HashType,
    /// No server gets more than so many percent of the average load, for `hash-type consistent`;
    /// 0: no limit (HAProxy `hash-balance-factor`).
    pub hash_balance_factor: u16,
    /// Keeps a visitor on a server by a cookie (HAProxy `cookie`).
    pub cookie: Option<PersistCookie>,
    /// Remembers visitors' servers (HAProxy `stick-table`).
    pub stick_table: Option<StickTable>,
    /// What visitors are remembered by (HAProxy `stick on`).
    pub stick_on: Option<StickOn>,
    /// Use all backup servers at once, not only the first (HAProxy `option allbackups`).
    pub allbackups: bool,
    /// A server that comes back gets its full share only after so long; 0: at once (HAProxy
    /// `slowstart`).
    pub slowstart: Millis,
    /// Also every address of every web server, under names such as `web01-eth`.
    pub web_nodes: bool,
    /// Servers of its own, and what differs for those that `web_nodes` brings.
    pub servers: Vec<Server>,
    /// How servers are checked.
    pub check: Check,
    /// So many requests are its full load, at which servers with `minconn` get their `maxconn`
    /// (HAProxy `fullconn`). None: a tenth of what the frontends that lead here take.
    pub fullconn: Option<u32>,
    /// Attempts after a failed connection (HAProxy `retries`).
    pub retries: u8,
    /// Another server is tried when one fails (HAProxy `option redispatch 1`).
    pub redispatch: bool,
    /// What else than a failed connection is tried again (HAProxy `retry-on`): requests of any
    /// method, as HAProxy does, whose head and content have 16 KiB at most. Those that must not
    /// be sent twice are named by a rule (`disable-l7-retry`).
    pub retry_on: Vec<RetryOn>,
    /// Longest time for a connection to a server (HAProxy `timeout connect`).
    pub timeout_connect: Millis,
    /// Longest silence of a server, in mode udp one that owes an answer (HAProxy `timeout server`).
    pub timeout_server: Millis,
    /// Longest wait for a server with room (HAProxy `timeout queue`). None: `timeout connect`.
    pub timeout_queue: Option<Millis>,
    /// Longest silence of both sides after a change of protocol, and in mode tcp (HAProxy
    /// `timeout tunnel`). 0: `timeout client` and `timeout server` count there, too.
    pub timeout_tunnel: Millis,
    /// Longest silence of a server where one direction has ended, after a change of protocol and
    /// in mode tcp (HAProxy `timeout server-fin`). None: as before.
    pub timeout_server_fin: Option<Millis>,
    /// In mode udp: datagrams that answer one; a visitor who has all his answers is forgotten after
    /// a second. 0: none are expected. None: any number, and silence ends it (nginx
    /// `proxy_responses`).
    pub udp_responses: Option<u32>,
    /// In mode udp: a server is chosen anew after so many datagrams of one visitor; 0: only after
    /// silence (nginx `proxy_requests`).
    pub udp_requests: u32,
}

impl Default for Backend {
    fn default() -> Self {
        Self {
            name: Name::default(),
            mode: Mode::Http,
            balance: Balance::default(),
            hash_type: HashType::default(),
            hash_balance_factor: 0,
            cookie: None,
            stick_table: None,
            stick_on: None,
            allbackups: false,
            slowstart: Millis(0),
            web_nodes: false,
            servers: Vec::new(),
            check: Check::default(),
            fullconn: None,
            retries: 3,
            redispatch: true,
            retry_on: Vec::new(),
            timeout_connect: Millis::seconds(5),
            timeout_server: Millis::seconds(50),
            timeout_queue: None,
            timeout_tunnel: Millis::seconds(3600),
            timeout_server_fin: None,
            udp_responses: None,
            udp_requests: 0,
        }
    }
}
