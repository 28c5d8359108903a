use super::*;

fn rule(text: &str) -> Rule {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn rules_that_are_understood() {
    for text in [
        "acl api path_beg /api/ /v2/",
        "acl big hdr(x-size) -m reg ^[0-9]{5,}$",
        "use_backend api if api",
        "use_backend api if { path_beg /api } !{ method POST } or { hdr(host) -i api.example.org }",
        "use_backend b unless api or TRUE",
        "use_backend b",
        "http-request redirect scheme https code 301 if !{ ssl_fc }",
        "redirect location https://%[hdr(host)]/new?a=%[url_param(a)] code 308 if { path /old }",
        "http-request redirect prefix https://www.example.org drop-query append-slash",
        "http-request deny",
        "deny deny_status 429 if { src 10.0.0.0/8 192.168.1.7 }",
        "http-request set-header X-From \"%[src] 100%%\"",
        "add-header X-A b if METH_POST",
        "http-request del-header X-Forwarded-For",
        "http-request set-header Host other.example.org",
        "http-response set-header X-Frame-Options DENY if { status 200:299 ge 500 }",
        "http-response del-header Server if { path_end .php }",
        "http-response add-header X-S %[res.hdr(server)]",
        "tcp-request connection track-sc0 src",
        "tcp-request connection reject if { src_conn_cur gt 20 } !{ src 192.168.1.0/24 }",
        "tcp-request connection accept if LOCALHOST",
        "http-request track-sc0 src if { path_beg /login }",
        "http-request disable-l7-retry if METH_POST",
        "http-request deny deny_status 429 if { sc_http_req_rate(0) gt 100 } or { sc0_http_err_rate ge 10 }",
        "http-request tarpit deny_status 429 if { sc_conn_rate(0) gt 5 }",
    ] {
        assert_eq!(rule(text).to_string(), text);
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (text, says) in [
        ("", "is no rule"),
        ("frobnicate", "is no rule"),
        ("use_backend", "a name is"),
        ("use_backend a b", "too much"),
        ("use_backend a if", "condition is missing"),
        ("use_backend a if x or", "condition is missing"),
        ("use_backend a if path_beg /x", "no condition"),
        ("use_backend a if { path_beg /x", "missing its }"),
        ("use_backend a if { path_beg }", "needs a value"),
        ("use_backend a if { }", "a test is missing"),
        ("use_backend a if { paths /x }", "nothing a rule can look at"),
        ("use_backend a if { hdr x }", "needs a name"),
        ("use_backend a if { hdr(x }", "has no )"),
        ("use_backend a if { path -f /etc/passwd }", "not -f"),
        ("tcp-request content reject", "about the connection"),
        ("tcp-request connection deny", "knows track-sc0"),
        ("tcp-request connection reject if { path /x }", "not known yet"),
        ("http-request track-sc0 hdr(x)", "by their address"),
        ("http-request track-sc1 src", "is no rule"),
        ("http-request deny if { sc_http_req_rate(1) gt 1 }", "nothing a rule can look at"),
        ("http-request deny if { sc_http_req_rate(0) }", "sc_http_req_rate(0) needs a value"),
        ("use_backend a if { path -m len 5 }", "-m takes"),
        ("use_backend a if { path_reg ( }", "not usable"),
        ("use_backend a if { src 10.0.0.0/33 }", "no address"),
        ("use_backend a if { status 200 }", "http-response rules only"),
        ("use_backend a if { ssl_fc 1 }", "true or false"),
        ("http-request redirect", "a location, a prefix or a scheme"),
        ("http-request redirect location", "needs an address"),
        ("http-request redirect location / code 200", "code is 301"),
        ("http-request redirect location / now", "not \"now\""),
        ("http-request deny deny_status 200", "400 to 599"),
        ("http-request set-header Content-Length 5", "writes it itself"),
        ("http-request set-header X", "needs a value"),
        ("http-request set-header X a b", "too much"),
        ("http-request set-header X %[src,lower]", "converters"),
        ("http-request set-header X 5%", "percent sign"),
        ("http-request set-header X %[status]", "http-response rules only"),
        ("http-request set-header a:b c", "no name of a header field"),
        ("http-request del-header Host", "exactly one Host"),
        ("http-response deny", "http-response knows"),
        ("http-response set-header X \"a", "missing its second"),
        ("acl", "no name for an acl"),
        ("acl a", "a test is missing"),
    ] {
        let error = text.parse::<Rule>().unwrap_err().to_string();
        assert!(error.contains(says), "{text:?}: {error}");
    }
    let long = format!("use_backend a if {{ path {} }}", "x".repeat(3000));
    assert!(long.parse::<Rule>().is_err());
    let many = format!("use_backend a if {{ path {} }}", "x ".repeat(65));
    assert!(many.parse::<Rule>().is_err());
    let heavy = "use_backend a if { path_reg (((a{1,99}){1,99}){1,99}) }";
    assert!(heavy.parse::<Rule>().unwrap_err().to_string().contains("not usable"));
}

fn test(text: &str) -> Test {
    let words = words(text).unwrap();
    Test::new(&words).unwrap()
}

#[test]
fn values_are_compared() {
    for (text, value, want) in [
        ("path /a", "/a", true),
        ("path /a", "/A", false),
        ("path -i /a", "/A", true),
        ("path /a /b", "/b", true),
        ("path /a", "/ab", false),
        ("path_beg /api", "/api/x", true),
        ("path_beg /api", "/ap", false),
        ("path_end .php .jsp", "/x.jsp", true),
        ("path_end .php", ".ph", false),
        ("path_sub x=", "/ax=b", true),
        ("path_dir img", "/a/img/b.png", true),
        ("path_dir img", "/a/imgs/b.png", false),
        ("path_dir /img/", "/img", true),
        ("hdr_dom(host) example.org", "www.example.org:80", true),
        ("hdr_dom(host) example", "www.examples.org", false),
        ("path_reg ^/a[0-9]+$", "/a12", true),
        ("path_reg ^/a[0-9]+$", "/a", false),
        (r"path_reg \.php$", "/x.php", true),
        (r"path_reg \.php$", "/xphp", false),
        ("path_reg -i ^/A$", "/a", true),
        ("host www.Example.org", "WWW.example.org", true),
        ("hdr(x) -m found", "", true),
        ("hdr(x) -- -i", "-i", true),
    ] {
        assert_eq!(test(text).holds(value.as_bytes()), want, "{text} on {value}");
    }
    assert!(!test("path_reg .").holds(b"\xff\xfe"));
    let net = test("src 10.0.0.0/8 192.168.1.7 0.0.0.0/32");
    for (address, want) in
        [([10, 9, 8, 7], true), ([192, 168, 1, 7], true), ([192, 168, 1, 8], false)]
    {
        assert_eq!(net.holds_address(address.into()), want);
    }
    assert!(test("src 0.0.0.0/0").holds_address([1, 2, 3, 4].into()));
    let status = test("status 200:299 404 ge 500");
    for (number, want) in [(200, true), (300, false), (404, true), (499, false), (503, true)] {
        assert_eq!(status.holds_number(number), want, "{number}");
    }
}
