//! The comment on every key of an exported document.

/// Section, key, comment. A key that stands in several sections is listed for each.
const COMMENTS: &[(&str, &str, &str)] = &[
    ("cluster", "name", "What the page calls the whole."),
    (
        "cluster",
        "floating_ip",
        "The address visitors use, with the network's prefix: held by one balancer at a time.",
    ),
    ("cluster", "gateway", "The router of every interface that names none of its own."),
    ("cluster", "dns", "Name servers of every node, in order, at most 3."),
    (
        "cluster",
        "ntp",
        "Time servers of every node, at most 4. None: the DHCP server's, or else public ones.",
    ),
    (
        "cluster",
        "maxconn",
        "Connections of visitors a balancer takes at once, more wait. Left out: what its limit of open files allows.",
    ),
    (
        "cluster",
        "key",
        "Lets nodes that have not met trust each other: at least 32 characters, the same on all. May go once every node has its \"device\".",
    ),
    ("nodes", "id", "The board's identity: a-z, 0-9 and -. Never changes."),
    (
        "nodes",
        "device",
        "Fingerprint of the board's key. Left out: the first board that knows the cluster's key.",
    ),
    ("nodes", "name", "Its host name."),
    ("nodes", "roles", "What it does: \"web\", \"balancer\", both, or nothing for a spare."),
    (
        "nodes.eth0",
        "address",
        "Static address of the wired link with its prefix. Left out: the link stays as it is found.",
    ),
    ("nodes.eth0", "gateway", "Router of this link. Left out: the cluster's."),
    ("nodes.eth0", "dns", "Name servers of this link, at most 3. None: the cluster's."),
    ("nodes.eth0", "ntp", "Time servers of this link, at most 4, asked before the cluster's."),
    (
        "nodes.wlan0",
        "address",
        "Static address of the wireless link with its prefix. Left out: the link stays as it is found.",
    ),
    ("nodes.wlan0", "gateway", "Router of this link. Left out: the cluster's."),
    ("nodes.wlan0", "dns", "Name servers of this link, at most 3. None: the cluster's."),
    ("nodes.wlan0", "ntp", "Time servers of this link, at most 4, asked before the cluster's."),
    ("wifi", "country", "Whose radio rules apply, for example \"GB\"."),
    ("wifi", "networks", "Wi-Fi networks, in the order they are tried."),
    ("wifi.networks", "ssid", "The network's name."),
    (
        "wifi.networks",
        "passphrase",
        "WPA passphrase, 8 to 63 characters; empty for an open network.",
    ),
    ("wifi.networks", "hidden", "The network does not announce its name."),
    ("sites", "name", "\"default\" lives in DIR/site, any other in DIR/sites/NAME."),
    ("sites", "hosts", "Host names that lead to this site; none: every host no other site claims."),
    ("sites", "port", "The port the web servers listen on."),
    ("sites", "index", "File names tried in a directory, in order."),
    ("sites.mirror", "enabled", "The other web servers follow the origin."),
    (
        "sites.mirror",
        "origin",
        "Id of the node where files are edited. Left out: the first web server.",
    ),
    ("sites.mirror", "exclude", "rsync exclude patterns: neither sent nor deleted."),
    ("sites.mirror", "full_compare", "Time between full compares, at least 10s."),
    ("certificates", "name", "What frontends call it."),
    ("certificates", "chain", "The certificate, then those that lead to its issuer, as PEM."),
    (
        "certificates",
        "key",
        "Its private key as PEM: PKCS#8, PKCS#1 or SEC1, without a passphrase.",
    ),
    (
        "frontends",
        "name",
        "Its name. \"http-in\" exists by itself once there are a floating IP and a balancer.",
    ),
    ("frontends", "enabled", "Off: kept here, does not listen."),
    ("frontends", "mode", "http, tcp (bytes are passed on as they come) or udp (datagrams are)."),
    (
        "frontends",
        "bind",
        "Where it listens: \"floating:80\", \"*:80\" or \"192.168.1.15:80\"; with TLS \"floating:443 ssl\".",
    ),
    (
        "frontends",
        "certificates",
        "Names of the certificates for TLS. The one that fits the name asked for, or else the first.",
    ),
    (
        "frontends",
        "strict_sni",
        "Without a certificate for the name asked for the handshake is refused.",
    ),
    ("frontends", "http2", "Offer HTTP/2 to visitors who speak TLS."),
    ("frontends", "ssl_min_ver", "The oldest version of TLS: TLSv1.2 or TLSv1.3."),
    (
        "frontends",
        "accept_proxy",
        "Every visitor comes through a proxy that speaks the PROXY protocol; others are refused.",
    ),
    ("frontends", "default_backend", "Where its requests go, unless a rule says otherwise."),
    (
        "frontends",
        "rules",
        "One rule each, as HAProxy writes them: acl, use_backend, http-request (redirect, deny, tarpit, track-sc0, disable-l7-retry, set-header, add-header, del-header), http-response, tcp-request connection (track-sc0, accept, reject).",
    ),
    (
        "frontends",
        "stick_table",
        "Where rules count visitors, for example \"type ip size 100k expire 30s store http_req_rate(10s)\".",
    ),
    ("frontends", "maxconn", "Concurrent connections; more wait in the kernel."),
    ("frontends", "forwardfor", "Add X-Forwarded-For with the visitor's address."),
    ("frontends", "httplog", "Write an access log line for each request."),
    ("frontends", "count_paths", "Count what is asked for most, for the page Balancing."),
    ("frontends", "dontlognull", "Connections without a byte are not logged."),
    (
        "frontends",
        "http_ignore_probes",
        "Connections without a byte are no errors and get no answer; off: 400, 408, counted.",
    ),
    ("frontends", "timeout_client", "Longest silence of a visitor."),
    ("frontends", "timeout_http_request", "Longest time for a whole request head."),
    ("frontends", "timeout_http_keep_alive", "Longest silence between two requests."),
    ("frontends", "timeout_tarpit", "How long a visitor waits for the answer of a tarpit rule."),
    (
        "frontends",
        "timeout_client_fin",
        "Longest silence of a visitor where one direction has ended, in tunnels and mode tcp. Left out: as before.",
    ),
    (
        "frontends",
        "inspect_delay",
        "Mode tcp: longest wait for the first bytes, where balance rdp-cookie looks at them.",
    ),
    (
        "frontends",
        "stats_uri",
        "Where it shows statistics, for example \"/haproxy?stats\", to who knows the admin page's password. Left out: nowhere.",
    ),
    (
        "frontends",
        "stats_refresh",
        "The statistics there load themselves again after so long. Left out: never.",
    ),
    ("backends", "name", "Its name. \"webservers\" exists by itself once there is a web server."),
    ("backends", "mode", "http, tcp or udp, as its frontends."),
    (
        "backends",
        "balance",
        "roundrobin, static-rr, leastconn, first, random, source, uri, url_param NAME, hdr(NAME) or rdp-cookie, with HAProxy's arguments.",
    ),
    (
        "backends",
        "hash_type",
        "map-based or consistent, then if you like sdbm, djb2, wt6 or crc32, then avalanche.",
    ),
    (
        "backends",
        "hash_balance_factor",
        "With hash_type consistent: no server gets more than so many percent of the average load; 0: no limit.",
    ),
    (
        "backends",
        "cookie",
        "Keeps a visitor on a server: \"SRV insert indirect nocache\". Left out: no cookie.",
    ),
    (
        "backends",
        "stick_table",
        "Remembers visitors' servers: \"type ip size 100k expire 30m\". Left out: none.",
    ),
    ("backends", "stick_on", "What visitors are remembered by: src or cookie(NAME)."),
    ("backends", "allbackups", "Use all backup servers at once, not only the first."),
    (
        "backends",
        "slowstart",
        "A server that comes back gets its full share after so long. 0ms: at once.",
    ),
    (
        "backends",
        "web_nodes",
        "Also every address of every web server, as web01-eth, web01-wlan and so on.",
    ),
    (
        "backends",
        "servers",
        "Servers of its own, and what differs for those that web_nodes brings.",
    ),
    (
        "backends",
        "fullconn",
        "So many requests are its full load, at which servers with minconn get their maxconn. Left out: a tenth of its frontends' maxconn.",
    ),
    ("backends", "retries", "Attempts after a failed connection."),
    ("backends", "redispatch", "Another server is tried when one fails."),
    (
        "backends",
        "retry_on",
        "What else is tried again: empty-response, junk-response, response-timeout, 404, 408, 425, 429, 500 to 504. Of any method, if it has at most 16 KiB; http-request disable-l7-retry makes exceptions.",
    ),
    ("backends", "timeout_connect", "Longest time for a connection to a server."),
    ("backends", "timeout_server", "Longest silence of a server."),
    (
        "backends",
        "timeout_queue",
        "Longest wait for a server with room. Left out: timeout_connect.",
    ),
    (
        "backends",
        "timeout_tunnel",
        "Longest silence of both sides after a change of protocol, and in mode tcp. 0ms: timeout_client and timeout_server.",
    ),
    (
        "backends",
        "timeout_server_fin",
        "Longest silence of a server where one direction has ended, in tunnels and mode tcp. Left out: as before.",
    ),
    (
        "backends",
        "udp_responses",
        "In mode udp: datagrams that answer one; 1 for DNS, 0 for none. Left out: any number.",
    ),
    (
        "backends",
        "udp_requests",
        "In mode udp: a server is chosen anew after so many datagrams of a visitor; 0: after silence.",
    ),
    ("backends.servers", "name", "Its name."),
    (
        "backends.servers",
        "address",
        "Where it listens, for example \"192.168.1.10:80\". Left out only for a server that web_nodes brings.",
    ),
    ("backends.servers", "weight", "Its share, 0 to 256; 0 takes no new visitors."),
    ("backends.servers", "state", "ready, drain (finishes what it has) or maint (out of service)."),
    (
        "backends.servers",
        "hostname",
        "Its name in the DNS and its port, instead of an address; asked for again and again.",
    ),
    (
        "backends.servers",
        "health",
        "checked, or the operator's word instead of the checks': up, stopping or down.",
    ),
    (
        "backends.servers",
        "agent",
        "asked, off (what the agent said last stays), or the operator's word instead of its: up, down.",
    ),
    ("backends.servers", "maxconn", "Requests it gets at once, more wait; 0: any number."),
    (
        "backends.servers",
        "minconn",
        "What maxconn goes down to while the backend has little to do; 0: no such thing.",
    ),
    ("backends.servers", "maxqueue", "Requests that may wait for it; 0: any number."),
    (
        "backends.servers",
        "send_proxy",
        "off, or the version of the PROXY protocol it is told the visitor's address in: v1, v2.",
    ),
    ("backends.servers", "backup", "Used only when no other server is up."),
    ("backends.servers", "cookie", "Its name in the persistence cookie. Left out: its own name."),
    ("backends.check", "enabled", "Off: servers count as up."),
    ("backends.check", "inter", "Time between checks."),
    (
        "backends.check",
        "fastinter",
        "The same while a server's state is about to change. Left out: inter.",
    ),
    ("backends.check", "downinter", "The same while a server is down. Left out: inter."),
    (
        "backends.check",
        "timeout",
        "Longest time for the answer once connected. Left out: what inter leaves.",
    ),
    ("backends.check", "fall", "Failures in a row until a server is down."),
    ("backends.check", "rise", "Successes in a row until it is up again."),
    (
        "backends.check",
        "http_path",
        "Ask for this path and expect 2xx or 3xx. Left out: a TCP connection is enough.",
    ),
    ("backends.check", "port", "Check this port instead of the server's."),
    ("backends.check", "http_method", "GET, HEAD or OPTIONS."),
    ("backends.check", "http_host", "The Host to ask with. Left out: the server's address."),
    (
        "backends.check",
        "expect_status",
        "Good statuses, for example \"200-299,304\". Left out: 200-399.",
    ),
    ("backends.check", "expect_string", "What a good answer contains."),
    (
        "backends.check",
        "dns_name",
        "Ask a DNS server for this name, for example \"example.org\". Left out: no DNS check.",
    ),
    (
        "backends.check",
        "dns_type",
        "What it is asked about the name: A, AAAA, NS, SOA, CNAME, MX, PTR, SRV or TXT.",
    ),
    (
        "backends.check",
        "dns_codes",
        "Codes of good answers, for example \"NOERROR,NXDOMAIN\". Left out: NOERROR.",
    ),
    ("backends.check", "dns_address", "The address a good answer contains. Left out: any."),
    (
        "backends.check",
        "disable_on_404",
        "A 404 lets a server finish what it has, without new visitors.",
    ),
    ("backends.check", "agent_port", "Ask the agent at this port of the server as well."),
    ("backends.check", "agent_inter", "Time between two questions to the agent."),
    ("backends.check", "shutdown_sessions", "Break off the requests of a server that goes down."),
    ("backends.check", "observe", "Watch the answers to visitors as well."),
    ("backends.check", "error_limit", "Bad answers in a row that count."),
    (
        "backends.check",
        "on_error",
        "What they do: fastinter, fail-check, sudden-death or mark-down.",
    ),
    (
        "vrrp",
        "name",
        "Its name. \"VI_1\" exists by itself once there are a floating IP and a balancer.",
    ),
    ("vrrp", "enabled", "Off: kept here, takes no part."),
    ("vrrp", "version", "2 (keepalived's default, whole seconds) or 3 (hundredths of a second)."),
    (
        "vrrp",
        "virtual_router_id",
        "1 to 255, the same on all its balancers, different from any other on this network.",
    ),
    ("vrrp", "interface", "eth0 or wlan0: where adverts travel and the floating IP is set."),
    ("vrrp", "advert_interval", "Hundredths of a second between adverts."),
    (
        "vrrp",
        "preempt",
        "A node with a higher priority takes the floating IP from one that holds it.",
    ),
    ("vrrp", "preempt_delay", "How long such a node waits first."),
    ("vrrp", "addresses", "The floating IPs; none: the cluster's."),
    ("vrrp", "primary", "Id of the node that should hold them. Left out: the first balancer."),
    (
        "vrrp",
        "auth_pass",
        "Version 2 password, at most 8 characters, sent in clear text; empty: none.",
    ),
    (
        "vrrp",
        "track_proxy",
        "Give the floating IP up when this node's own load balancer does not work.",
    ),
    (
        "vrrp.priorities",
        "*",
        "Priority of this node; the others get 101 (primary), 100, 99 and so on.",
    ),
    ("admin", "session_idle", "A session ends after so long without a request."),
    ("admin", "session_max", "A session ends after so long in any case."),
    (
        "admin",
        "stats_uri",
        "Where the statistics are besides /stats, for example \"/haproxy?stats\".",
    ),
    (
        "admin",
        "stats_refresh",
        "The statistics load themselves again after so long. Left out: never.",
    ),
    ("admin", "hosts", "More names the page may be opened under, besides the nodes' own."),
    // Lists that are empty stand at the top of the document.
    ("", "nodes", "The boards."),
    (
        "",
        "sites",
        "What the web servers serve; \"default\" exists by itself once there is a web server.",
    ),
    ("", "certificates", "What frontends show visitors who speak TLS."),
    ("", "frontends", "Where visitors arrive; \"http-in\" exists by itself."),
    ("", "backends", "The servers behind them; \"webservers\" exists by itself."),
    ("", "vrrp", "Virtual routers; \"VI_1\" exists by itself."),
];

/// Writes its comment over every key of a TOML document as `toml` prints it.
pub(crate) fn commented(toml: &str) -> String {
    let mut section = String::new();
    let mut text = String::with_capacity(toml.len() * 2);
    for line in toml.lines() {
        if let Some(header) = line.strip_prefix('[') {
            header.trim_matches(['[', ']']).clone_into(&mut section);
        } else if let Some(comment) = key(line).and_then(|key| comment(&section, key)) {
            text.extend(["# ", comment, "\n"]);
        }
        text.extend([line, "\n"]);
    }
    text
}

/// The key of a line `key = value`; lines inside a value spread over several lines have none.
fn key(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(" = ")?;
    let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-\"".contains(&b));
    plain.then_some(key)
}

fn comment(section: &str, key: &str) -> Option<&'static str> {
    let found = COMMENTS.iter().find(|(s, k, _)| *s == section && (*k == key || *k == "*"));
    found.map(|(_, _, comment)| *comment)
}

#[cfg(test)]
mod tests {
    use crate::tests::reference;

    #[test]
    fn every_key_has_a_comment() {
        let mut settings = reference().completed();
        // One entry for every list and every optional value.
        settings.nodes[0].eth0.gateway = settings.cluster.gateway;
        settings.nodes[0].wlan0.gateway = settings.cluster.gateway;
        settings.cluster.name = "home".parse().ok();
        settings.cluster.ntp = vec!["192.168.1.1".parse().unwrap()];
        let node = &mut settings.nodes[0];
        for link in [&mut node.eth0, &mut node.wlan0] {
            link.dns = vec!["9.9.9.9".parse().unwrap()];
            link.ntp = vec!["pool.ntp.org".parse().unwrap()];
        }
        settings.sites[0].mirror.origin = Some(settings.nodes[0].id.clone());
        let backend = &mut settings.backends[0];
        backend.timeout_queue = Some(crate::Millis(1));
        backend.udp_responses = Some(1);
        backend.cookie = "SRV insert".parse().ok();
        backend.stick_table = "type ip size 1k expire 30m".parse().ok();
        backend.stick_on = "src".parse().ok();
        let check = &mut backend.check;
        check.http_path = "/".parse().ok();
        check.http_host = "h".parse().ok();
        check.expect_status = "200".parse().ok();
        check.expect_string = "ok".parse().ok();
        check.port = "81".parse().ok();
        check.agent_port = "82".parse().ok();
        check.fastinter = Some(crate::Millis(100));
        check.downinter = Some(crate::Millis(100));
        check.timeout = Some(crate::Millis(100));
        // A check asks for a path or for a name.
        let mut resolvers = crate::Backend {
            name: "resolvers".parse().unwrap(),
            web_nodes: true,
            ..crate::Backend::default()
        };
        resolvers.check.dns_name = "example.org".parse().ok();
        resolvers.check.dns_codes = "NOERROR".parse().ok();
        resolvers.check.dns_address = "192.0.2.1".parse().ok();
        settings.backends.push(resolvers);
        settings.backends[0].servers.push(crate::Server {
            name: "x".parse().unwrap(),
            address: "192.168.1.9:80".parse().ok(),
            cookie: "s1".parse().ok(),
            ..crate::Server::default()
        });
        settings.backends[0].servers.push(crate::Server {
            name: "y".parse().unwrap(),
            hostname: "y.example.org:80".parse().ok(),
            ..crate::Server::default()
        });
        settings.vrrp[0].primary = Some(settings.nodes[2].id.clone());
        settings.vrrp[0]
            .priorities
            .insert(settings.nodes[2].id.clone(), crate::Priority::constant(7));
        let text = crate::to_toml(&settings);
        let mut before = "";
        for line in text.lines() {
            if super::key(line).is_some() {
                assert!(before.starts_with("# "), "no comment over {line}");
            }
            before = line;
        }
        assert_eq!(crate::from_toml(&text, &crate::Settings::default()), Ok(settings));
    }

    #[test]
    fn an_empty_document_is_commented_and_read_again() {
        let text = crate::to_toml(&crate::Settings::default());
        assert!(text.contains("# The boards.\nnodes = []"), "{text}");
        assert_eq!(
            crate::from_toml(&text, &crate::Settings::default()),
            Ok(crate::Settings::default())
        );
    }
}
