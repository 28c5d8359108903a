//! Forms without scripts: what is typed is never lost.

use crate::browser::{Browser, PASSWORD, signed_in};
use crate::support::Node;
use control::{Author, Change};
use model::Edit;

const WEB01: &[(&str, &str)] = &[
    ("id", "web01"),
    ("name", "Web01"),
    ("roles", "web"),
    ("eth0.address", "192.168.1.10/24"),
    ("wlan0.address", "192.168.1.20/24"),
];

fn with<'a>(base: &[(&'a str, &'a str)], change: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = base.iter().filter(|(k, _)| !change.iter().any(|(c, _)| c == k));
    kept.chain(change).copied().collect()
}

async fn change(node: &Node, edit: Edit) {
    let change = Change { base: None, author: Author::Local, edits: vec![edit] };
    node.control.submit(change).await.unwrap();
}

#[tokio::test]
async fn a_node_gets_roles_and_addresses() {
    let (node, mut browser) = signed_in().await;
    let page = browser.get("/nodes/web01/edit").await;
    assert!(page.text().contains("value=\"192.168.1.10/24\""));
    let pairs = with(WEB01, &[("revision", "0"), ("roles", "web"), ("name", "Webserver1")]);
    let pairs = [pairs, vec![("roles", "balancer"), ("wlan0.gateway", "192.168.1.2")]].concat();
    let done = browser.post("/nodes/web01/edit", "/nodes/web01", &pairs).await;
    assert_eq!(
        (done.status.as_u16(), done.header("location")),
        (303, "/nodes/web01?saved=1"),
        "{}",
        done.text()
    );
    let snapshot = node.control.snapshot();
    let web01 = snapshot.settings.node(&"web01".parse().unwrap()).unwrap();
    assert_eq!((web01.name.as_str(), web01.roles.len()), ("Webserver1", 2));
    assert_eq!(web01.wlan0.gateway, "192.168.1.2".parse().ok());
    assert!(
        browser
            .get("/nodes/web01?saved=1")
            .await
            .text()
            .contains("Saved and running as revision 1.")
    );
}

#[tokio::test]
async fn errors_stand_at_their_fields_and_nothing_typed_is_lost() {
    let (node, mut browser) = signed_in().await;
    let typed =
        with(WEB01, &[("revision", "0"), ("name", "-bad-"), ("eth0.address", "192.168.1.10")]);
    let page = browser.post("/nodes/web01/edit", "/nodes/web01", &typed).await;
    assert_eq!(page.status, 422);
    let text = page.text();
    assert!(text.contains("value=\"-bad-\"") && text.contains("value=\"192.168.1.10\""));
    assert!(text.contains("id=\"name-e\"") && text.contains("id=\"eth0.address-e\""), "{text}");
    assert!(!text.contains("id=\"wlan0.address-e\""));
    assert!(text.contains("value=\"192.168.1.20/24\""));
    // What only the check of the whole finds is shown at the field as well.
    let typed = with(WEB01, &[("revision", "0"), ("eth0.address", "192.168.1.11/24")]);
    let page = browser.post("/nodes/web01/edit", "/nodes/web01", &typed).await;
    assert_eq!(page.status, 422);
    assert!(page.text().contains("value=\"192.168.1.11/24\""));
    assert_eq!(node.control.snapshot().revision.0, 0);
}

#[tokio::test]
async fn problems_of_other_entries_are_listed_on_top() {
    let (_node, mut browser) = signed_in().await;
    // Without LbMaster's network the floating IP has none to lie in.
    let pairs = [
        ("revision", "0"),
        ("id", "lbmaster"),
        ("name", "LbMaster"),
        ("roles", "balancer"),
        ("eth0.address", "10.9.9.9/24"),
    ];
    let page = browser.post("/nodes/lbmaster", "/nodes/lbmaster", &pairs).await;
    assert_eq!(page.status, 422);
    assert!(
        page.text().contains("role=\"alert\"") && page.text().contains("10.9.9.0/24"),
        "{}",
        page.text()
    );
}

#[tokio::test]
async fn a_stale_form_shows_both_values() {
    let (node, mut browser) = signed_in().await;
    let mut settings = node.control.snapshot().settings.clone();
    settings.cluster.gateway = "192.168.1.99".parse().ok();
    change(&node, Edit::PutCluster(settings.cluster.clone())).await;
    settings.cluster.gateway = "192.168.1.98".parse().ok();
    change(&node, Edit::PutCluster(settings.cluster)).await;
    let typed = [
        ("revision", "1"),
        ("floating_ip", "192.168.1.15/24"),
        ("gateway", "192.168.1.1"),
        ("dns", "192.168.1.1"),
        ("maxconn", "500"),
        ("key", "(kept)"),
    ];
    let page = browser.post("/cluster", "/cluster", &typed).await;
    assert_eq!(page.status, 409);
    let text = page.text();
    assert!(text.contains("Somebody else changed this meanwhile"));
    assert!(
        text.contains("value=\"192.168.1.1\"") && text.contains("<b>192.168.1.98</b>"),
        "{text}"
    );
    assert!(page.field("revision").starts_with("2-"), "it starts from what runs now");
    assert_eq!(node.control.snapshot().revision.0, 2);
    // Saving again, having seen it, is meant.
    let typed = with(&typed, &[("revision", "2")]);
    assert_eq!(browser.post("/cluster", "/cluster", &typed).await.status, 303);
    let settings = &node.control.snapshot().settings;
    assert_eq!(settings.cluster.gateway, "192.168.1.1".parse().ok());
    assert_eq!(settings.cluster.maxconn, Some(500));
    assert_eq!(settings.cluster.key.reveal().len(), 32, "and the key is still there");
}

#[tokio::test]
async fn a_change_elsewhere_does_not_make_a_form_stale() {
    let (node, mut browser) = signed_in().await;
    let mut settings = node.control.snapshot().settings.clone();
    settings.cluster.gateway = "192.168.1.99".parse().ok();
    change(&node, Edit::PutCluster(settings.cluster.clone())).await;
    settings.cluster.gateway = "192.168.1.98".parse().ok();
    change(&node, Edit::PutCluster(settings.cluster)).await;
    let typed = with(WEB01, &[("revision", "1"), ("name", "First")]);
    let done = browser.post("/nodes/web01/edit", "/nodes/web01", &typed).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let snapshot = node.control.snapshot();
    assert_eq!(snapshot.settings.cluster.gateway, "192.168.1.98".parse().ok());
    assert_eq!(snapshot.settings.node(&"web01".parse().unwrap()).unwrap().name.as_str(), "First");
}

#[tokio::test]
async fn nodes_come_and_go() {
    let (node, mut browser) = signed_in().await;
    let pairs = [
        ("new", "yes"),
        ("revision", "0"),
        ("name", "Web03"),
        ("roles", "web"),
        ("eth0.address", "192.168.1.13/24"),
    ];
    let done = browser.post("/nodes/new", "/nodes", &pairs).await;
    assert_eq!(done.status, 303, "{}", done.text());
    assert_eq!(node.control.snapshot().effective.backends[0].servers.len(), 5);
    let pairs = with(&pairs, &[("revision", "1")]);
    let again = browser.post("/nodes/new", "/nodes", &pairs).await;
    assert_eq!(again.status, 422);
    assert!(again.text().contains("id=\"id-e\""));
    let padded = with(&pairs, &[("name", " Web01 "), ("eth0.address", "")]);
    let again = browser.post("/nodes/new", "/nodes", &padded).await;
    assert_eq!(again.status, 422, "no way around it with spaces");
    let ask = browser.get("/nodes/web03/remove").await;
    assert!(ask.text().contains("web server"));
    let gone = browser
        .post(
            "/nodes/web03/remove",
            "/nodes/web03/remove",
            &[("revision", "1"), ("confirm", "web03")],
        )
        .await;
    assert_eq!(gone.status, 303);
    assert_eq!(browser.get("/nodes/web03").await.status, 404);
    let stale = browser
        .post("/nodes/web02/remove", "/nodes/web02/remove", &[("revision", "1"), ("held", "yes")])
        .await;
    assert_eq!(stale.status, 409, "somebody changed something since the question");
    assert!(node.control.snapshot().settings.node(&"web02".parse().unwrap()).is_some());
}

#[tokio::test]
async fn dns_by_form() {
    let (node, mut browser) = signed_in().await;
    let (form, path) = ("/balancing/backends/new", "/balancing/backends/new");
    let backend = [
        ("new", "yes"),
        ("revision", "0"),
        ("name", "dns"),
        ("mode", "udp"),
        ("balance", "leastconn"),
        ("hash_type", "map-based"),
        ("hash_balance_factor", "0"),
        ("slowstart", "0"),
        ("servers", "pihole1 192.168.1.53:53"),
        ("check.enabled", "on"),
        ("check.inter", "1s"),
        ("check.fall", "3"),
        ("check.rise", "2"),
        ("retries", "3"),
        ("redispatch", "on"),
        ("timeout_connect", "5s"),
        ("timeout_server", "5s"),
        ("udp_responses", "1"),
        ("udp_requests", "7"),
    ];
    let page = browser.post(form, path, &backend).await;
    assert!(page.status == 422 && page.text().contains("id=\"check.dns_name-e\""), "no check");
    let asks = with(
        &backend,
        &[("check.dns_name", "pi.hole"), ("check.dns_type", "A"), ("check.dns_codes", "NOERROR")],
    );
    let bad = with(&asks, &[("check.dns_address", "here")]);
    let page = browser.post(form, path, &bad).await;
    assert!(page.status == 422 && page.text().contains("id=\"check.dns_address-e\""));
    let good = with(&asks, &[("check.dns_address", "192.168.1.53")]);
    let done = browser.post(form, path, &good).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let snapshot = node.control.snapshot();
    let dns = snapshot.settings.backends.iter().find(|b| b.name.as_str() == "dns").unwrap();
    assert_eq!((dns.mode, dns.udp_responses, dns.udp_requests), (model::Mode::Udp, Some(1), 7));
    assert_eq!(dns.check.dns_address, "192.168.1.53".parse().ok());
    let page = browser.get("/balancing/backends/dns").await;
    let text = page.text();
    assert!(text.contains("value=\"pi.hole\"") && text.contains("value=\"7\""), "{text}");
    let page = browser.get("/balancing/frontends/new").await;
    assert!(page.text().contains("value=\"udp\""), "{}", page.text());
}

#[tokio::test]
async fn server_buttons_and_weights() {
    let (node, mut browser) = signed_in().await;
    let path = "/balancing/servers/webservers/web01-eth";
    let done = browser.post("/balancing", path, &[("state", "drain")]).await;
    assert_eq!(done.header("location"), "/balancing?saved=1");
    let done = browser.post("/balancing", path, &[("weight", "20")]).await;
    assert_eq!(done.header("location"), "/balancing?saved=2");
    let same = browser.post("/balancing", path, &[("weight", "20")]).await;
    assert_eq!(same.header("location"), "/balancing?same=1");
    let server = node.control.snapshot().effective.backends[0].servers[0].clone();
    assert_eq!((server.state, server.weight.get()), (model::ServerState::Drain, 20));
    for bad in ["257", "-1", "many", "", "1e3", "<b>"] {
        let page = browser.post("/balancing", path, &[("weight", bad)]).await;
        assert_eq!(page.status, 422, "{bad}");
        assert!(page.text().contains("role=\"alert\"") && !page.text().contains("value=\"<b>\""));
    }
    assert_eq!(browser.post("/balancing", path, &[("state", "gone")]).await.status, 422);
    let nowhere =
        browser.post("/balancing", "/balancing/servers/webservers/x", &[("state", "drain")]).await;
    assert_eq!(nowhere.status, 404);
    assert_eq!(node.control.snapshot().revision.0, 2);
}

#[tokio::test]
async fn frontends_backends_servers_and_sites_by_form() {
    let (node, mut browser) = signed_in().await;
    let backend = [
        ("new", "yes"),
        ("revision", "0"),
        ("name", "api"),
        ("balance", "leastconn"),
        ("hash_type", "map-based"),
        ("hash_balance_factor", "0"),
        ("slowstart", "0"),
        ("check.enabled", "on"),
        ("check.inter", "2s"),
        ("check.fall", "3"),
        ("check.rise", "2"),
        ("check.http_path", "/health"),
        ("retries", "3"),
        ("timeout_connect", "5s"),
        ("timeout_server", "50s"),
        ("timeout_tunnel", "0"),
        ("timeout_server_fin", "5s"),
        ("fullconn", "30"),
    ];
    let page = browser.post("/balancing/backends/new", "/balancing/backends/new", &backend).await;
    assert_eq!(page.status, 422, "a backend without servers");
    let backend = with(&backend, &[("servers", "app1 192.168.1.31")]);
    let page = browser.post("/balancing/backends/new", "/balancing/backends/new", &backend).await;
    assert!(page.status == 422 && page.text().contains("id=\"servers-e\""), "{}", page.text());
    let backend = with(&backend, &[("servers", "app1  192.168.1.31:80\n")]);
    let done = browser.post("/balancing/backends/new", "/balancing/backends/new", &backend).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let server = [
        ("new", "yes"),
        ("revision", "1"),
        ("name", "one"),
        ("address", "192.168.1.30:8080"),
        ("weight", "5"),
        ("backup", "on"),
        ("maxconn", "9"),
        ("minconn", "10"),
    ];
    let page = browser
        .post("/balancing/backends/api/servers/new", "/balancing/backends/api/servers/new", &server)
        .await;
    assert!(page.status == 422 && page.text().contains("id=\"minconn-e\""), "{}", page.text());
    let server = with(&server, &[("minconn", "3")]);
    let done = browser
        .post("/balancing/backends/api/servers/new", "/balancing/backends/api/servers/new", &server)
        .await;
    assert_eq!(done.status, 303, "{}", done.text());
    let frontend = [
        ("new", "yes"),
        ("revision", "2"),
        ("name", "api-in"),
        ("enabled", "on"),
        ("bind", "floating:8080\r\n192.168.1.14:8081"),
        ("default_backend", "api"),
        ("maxconn", "100"),
        ("timeout_client", "50s"),
        ("timeout_http_request", "10s"),
        ("timeout_http_keep_alive", "10s"),
        ("timeout_tarpit", "10s"),
        ("timeout_client_fin", "2s"),
        ("inspect_delay", "3s"),
        ("stats_uri", "/haproxy?stats"),
        ("stats_refresh", "10s"),
        ("http_ignore_probes", "on"),
    ];
    let done =
        browser.post("/balancing/frontends/new", "/balancing/frontends/new", &frontend).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let snapshot = node.control.snapshot();
    let found =
        snapshot.effective.frontends.iter().find(|f| f.frontend.name.as_str() == "api-in").unwrap();
    assert_eq!(found.listen.len(), 2);
    assert!(!found.frontend.forwardfor, "a box that was not ticked is off");
    let api =
        snapshot.effective.backends.iter().find(|b| b.backend.name.as_str() == "api").unwrap();
    let seconds = |s| Some(model::Millis::seconds(s));
    let front = &found.frontend;
    assert_eq!((front.timeout_client_fin, front.inspect_delay.0), (seconds(2), 3000));
    assert_eq!(front.stats_refresh, seconds(10));
    assert_eq!((front.dontlognull, front.http_ignore_probes), (false, true));
    assert!(!front.count_paths);
    assert_eq!(front.stats_uri.as_ref().map(model::StatsUri::as_str), Some("/haproxy?stats"));
    // An address that is none is said at its field, and nothing that was typed is lost.
    for (wrong, words) in [("haproxy?stats", "is a path such as"), ("/.well-known/s", "well-known")]
    {
        let bad = with(&frontend, &[("revision", "3"), ("name", "bad"), ("stats_uri", wrong)]);
        let page = browser.post("/balancing/frontends/new", "/balancing/frontends/new", &bad).await;
        assert_eq!(page.status, 422);
        assert!(page.text().contains("id=\"stats_uri-e\""), "{}", page.text());
        assert!(page.text().contains(words) && page.text().contains(wrong), "{}", page.text());
    }
    assert_eq!((api.backend.timeout_server_fin, api.backend.timeout_tunnel.0), (seconds(5), 0));
    assert_eq!((api.fullconn, api.servers[1].minconn, api.servers[1].maxconn), (30, 3, 9));
    assert!(api.servers[1].backup && api.servers[1].weight.get() == 5);
    // Taken ports are shown at the field.
    let taken = with(&frontend, &[("revision", "3"), ("name", "more"), ("bind", "*:1936")]);
    let page = browser.post("/balancing/frontends/new", "/balancing/frontends/new", &taken).await;
    assert_eq!(page.status, 422);
    assert!(page.text().contains("id=\"bind-e\""), "{}", page.text());
    let gone = browser
        .post(
            "/balancing/backends/api/servers/one",
            "/balancing/backends/api/servers/one/remove",
            &[("revision", "3")],
        )
        .await;
    assert_eq!(gone.status, 303);
    let gone = browser
        .post(
            "/balancing/frontends/api-in/remove",
            "/balancing/frontends/api-in/remove",
            &[("revision", "4")],
        )
        .await;
    assert_eq!(gone.status, 303);
    let site = [
        ("revision", "5"),
        ("port", "80"),
        ("index", "index.html"),
        ("mirror.enabled", "on"),
        ("mirror.exclude", "**/stats\r\n\r\n**/with space/x"),
        ("mirror.full_compare", "10m"),
    ];
    let done = browser.post("/sites/default", "/sites/default", &site).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let exclude: Vec<_> = node.control.snapshot().settings.sites[0]
        .mirror
        .exclude
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(exclude, ["**/stats", "**/with space/x"]);
}

#[tokio::test]
async fn virtual_routers_by_form_and_failover_by_button() {
    let (node, mut browser) = signed_in().await;
    let form = [
        ("revision", "0"),
        ("enabled", "on"),
        ("version", "3"),
        ("virtual_router_id", "78"),
        ("interface", "eth0"),
        ("advert_interval", "10"),
        ("preempt", "on"),
        ("preempt_delay", "0ms"),
        ("primary", "lbslave"),
        ("priorities", "lbmaster 120\nlbslave: 90"),
        ("track_proxy", "on"),
    ];
    let done = browser.post("/failover/VI_1/edit", "/failover/VI_1/edit", &form).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let v = node.control.snapshot().effective.vrrp[0].clone();
    assert_eq!((v.instance.virtual_router_id.get(), v.priority.map(|p| p.get())), (78, Some(120)));
    let slow = with(&form, &[("revision", "1"), ("version", "2")]);
    let page = browser.post("/failover/VI_1/edit", "/failover/VI_1/edit", &slow).await;
    assert_eq!(page.status, 422);
    assert!(page.text().contains("id=\"advert_interval-e\""));
    let handed = browser.post("/failover", "/failover/VI_1", &[]).await;
    assert_eq!(handed.header("location"), "/failover");
    let page = browser.get("/failover").await;
    assert!(
        page.text().contains("LbSlave holds the floating IP now.")
            && page.text().contains("1.4 ms")
    );
    *node.failover.answer.lock().unwrap() = Err("LbSlave does not answer".into());
    browser.post("/failover", "/failover/VI_1", &[]).await;
    let page = browser.get("/failover").await;
    assert!(
        page.text().contains("The failover did not happen.")
            && page.text().contains("LbSlave does not answer.")
    );
    assert_eq!(browser.post("/failover", "/failover/VI_9", &[]).await.status, 404);
}

#[tokio::test]
async fn history_goes_back() {
    let (node, mut browser) = signed_in().await;
    let path = "/balancing/servers/webservers/web01-eth";
    browser.post("/balancing", path, &[("weight", "5")]).await;
    browser.post("/balancing", path, &[("weight", "9")]).await;
    let page = browser.get("/history").await;
    assert!(page.text().contains("Set webservers/web01-eth to weight 9"), "{}", page.text());
    assert!(page.text().contains("backends[webservers].servers[web01-eth].weight = 9"));
    let done = browser.post("/history", "/history/1/revert", &[]).await;
    assert_eq!(done.header("location"), "/history?saved=3");
    assert_eq!(node.control.snapshot().effective.backends[0].servers[0].weight.get(), 5);
    assert_eq!(browser.post("/history", "/history/99/revert", &[]).await.status, 404);
    assert_eq!(browser.post("/history", "/history/x/revert", &[]).await.status, 400);
}

#[tokio::test]
async fn the_admin_pages_own_settings() {
    let (node, mut browser) = signed_in().await;
    let form = [
        ("revision", "0"),
        ("session_idle", "10m"),
        ("session_max", "2h"),
        ("hosts", "a.example, b.example"),
    ];
    assert_eq!(browser.post("/admin", "/admin", &form).await.status, 303);
    assert_eq!(node.control.snapshot().settings.admin.hosts, ["a.example", "b.example"]);
    let mut other = Browser::new(&node);
    let token = other.get("/login").await.field("csrf");
    let pairs = [("csrf", token.as_str()), ("username", "admin"), ("password", PASSWORD)];
    let done = other.post_raw("/login", &pairs).await;
    assert!(done.header("set-cookie").contains("Max-Age=600"), "{}", done.header("set-cookie"));
    let bad = with(&form, &[("revision", "1"), ("session_idle", "1ms")]);
    let page = browser.post("/admin", "/admin", &bad).await;
    assert_eq!(page.status, 422);
    assert!(page.text().contains("id=\"session_idle-e\""));
}

#[tokio::test]
async fn a_held_deletion_is_let_pass_by_hand_and_only_while_it_is_held() {
    let (node, mut browser) = signed_in().await;
    let nothing = browser.post("/failover", "/sites/default/approve", &[]).await;
    assert_eq!(nothing.status, 409);
    assert!(node.approved.0.lock().unwrap().is_empty());
    node.board.provide(|status| {
        status.mirror = vec![model::status::MirrorStatus {
            site: "default".parse().unwrap(),
            phase: model::status::MirrorPhase::Held {
                reason: "60 of 100 files vanished".into(),
                approvable: true,
            },
            ..model::status::MirrorStatus::default()
        }];
    });
    assert!(browser.get("/sites").await.text().contains("/sites/default/approve"));
    let question = browser.get("/sites/default/approve").await;
    assert!(question.text().contains("60 of 100 files vanished"));
    let done = browser.post("/sites/default/approve", "/sites/default/approve", &[]).await;
    assert_eq!(done.status, 303);
    assert_eq!(*node.approved.0.lock().unwrap(), ["default"]);
}
