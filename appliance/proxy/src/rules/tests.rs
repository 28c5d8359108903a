use super::*;
use crate::track::Counts;

const HEAD: &str = "GET /api/v1?a=1&b=2 HTTP/1.1\r\nHost: Www.Example.org:8080\r\n\
    X-Multi: one, two\r\nX-Multi: three\r\nCookie: k=v\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n";

const FACTS: Facts = Facts {
    source: Ipv4Addr::new(10, 1, 2, 3),
    port: 8080,
    tls: false,
    counts: Counts::NONE,
    tracked: false,
    once: false,
};

fn request(rules: &Rules, head: &mut Vec<u8>) -> Verdict {
    rules.request(&mut { FACTS }, head, &mut |_| {})
}

use std::net::Ipv4Addr;

fn rules(lines: &[&str]) -> Rules {
    let all: Vec<Rule> = lines.iter().map(|l| l.parse().unwrap()).collect();
    Rules::new(&all, &[])
}

/// Does a condition hold for the request above?
fn holds(condition: &str) -> bool {
    let deny = rules(&[
        "acl api path_beg /api/",
        "acl either path /x",
        "acl either hdr(x-multi) two",
        &format!("deny {condition}"),
    ]);
    matches!(request(&deny, &mut HEAD.as_bytes().to_vec()), Verdict::Deny(403))
}

#[test]
fn conditions() {
    for (condition, want) in [
        ("", true),
        ("if api", true),
        ("if !api", false),
        ("unless api", false),
        ("if either", true),
        ("if api !either or { path /y }", false),
        ("if { path /y } or api either", true),
        ("unless { path /y } or { path /z }", true),
        ("if { path /api/v1 }", true),
        ("if { query a=1&b=2 }", true),
        ("if { url_beg /api/v1?a }", true),
        ("if { url_param(b) 2 }", true),
        ("if { url_param(c) -m found }", false),
        ("if { host www.example.org }", true),
        ("if { hdr(host) www.example.org:8080 }", false),
        ("if { hdr(host) -i www.example.org:8080 }", true),
        ("if { hdr_dom(host) -i example.org }", true),
        ("if { base_end /api/v1 }", true),
        ("if { hdr(x-multi) three }", true),
        ("if { hdr(x-multi) one,two }", false),
        ("if { fhdr(x-multi) \"one, two\" }", true),
        ("if { hdr(x-none) -m found }", false),
        ("if { cook(k) v }", true),
        ("if { src 10.0.0.0/8 }", true),
        ("if { src 10.0.0.0/16 }", false),
        ("if { dst_port 8000:8100 }", true),
        ("if { method POST GET }", true),
        ("if METH_GET", true),
        ("if METH_POST", false),
        ("if { ssl_fc }", false),
        ("if !{ ssl_fc } TRUE", true),
        ("if LOCALHOST", false),
        ("if { path_reg ^/api/v[0-9]$ }", true),
    ] {
        assert_eq!(holds(condition), want, "{condition}");
    }
}

fn after(lines: &[&str]) -> String {
    let mut head = HEAD.as_bytes().to_vec();
    assert!(matches!(request(&rules(lines), &mut head), Verdict::Pass));
    String::from_utf8(head).unwrap()
}

#[test]
fn fields_are_set_added_and_removed() {
    let set = after(&["set-header X-Multi \"%[src] %[path] 100%%\""]);
    assert!(!set.contains("one") && !set.contains("three"), "{set}");
    assert!(set.ends_with("X-Multi: 10.1.2.3 /api/v1 100%\r\n\r\n"), "{set}");
    let added = after(&["add-header X-Multi four if METH_GET"]);
    assert_eq!(added.matches("X-Multi").count(), 3, "{added}");
    let removed = after(&["del-header x-forwarded-for", "del-header x-none"]);
    assert_eq!(removed, HEAD.replace("X-Forwarded-For: 6.6.6.6\r\n", ""));
    let host = after(&["set-header Host other"]);
    assert!(host.ends_with("Host: other\r\n\r\n") && host.matches("Host").count() == 1, "{host}");
    // Each rule sees what those before it have done.
    let chain = after(&[
        "set-header X-A 1",
        "set-header X-B %[hdr(x-a)] if { hdr(x-a) 1 }",
        "del-header X-A if { hdr(x-b) 1 }",
    ]);
    assert!(chain.contains("X-B: 1\r\n") && !chain.contains("X-A"), "{chain}");
}

#[test]
fn the_first_answer_ends_it() {
    let all = rules(&["deny deny_status 429 if { path /x }", "redirect location /y", "deny"]);
    let mut head = HEAD.as_bytes().to_vec();
    let verdict = request(&all, &mut head);
    assert!(matches!(&verdict, Verdict::Redirect(302, to) if to == b"/y"), "{verdict:?}");
}

#[test]
fn redirects() {
    for (line, want) in [
        ("redirect location https://x/%[url_param(b)] code 301", "https://x/2"),
        ("redirect prefix https://x", "https://x/api/v1?a=1&b=2"),
        ("redirect prefix https://x drop-query append-slash", "https://x/api/v1/"),
        ("redirect prefix /", "/api/v1?a=1&b=2"),
        ("redirect scheme https code 308", "https://Www.Example.org:8080/api/v1?a=1&b=2"),
    ] {
        let mut head = HEAD.as_bytes().to_vec();
        match request(&rules(&[line]), &mut head) {
            Verdict::Redirect(_, to) => assert_eq!(String::from_utf8(to).unwrap(), want, "{line}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    let mut out = Vec::new();
    put_redirect(&mut out, 301, b"/x", true);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("HTTP/1.1 301 Moved Permanently\r\n"), "{text}");
    assert!(text.contains("Location: /x\r\n") && text.ends_with("Connection: close\r\n\r\n"));
}

#[test]
fn responses() {
    let all = rules(&[
        "http-response set-header X-Path %[path]",
        "http-response del-header Server if { path_beg /api }",
        "http-response set-header X-Bad 1 if { path_beg /other }",
        "http-response add-header X-Was %[res.hdr(x-a)] if { status 200 } { res.hdr(x-a) -m found } METH_GET",
        "http-response set-header X-Never 1 unless { status 200:299 }",
    ]);
    let prepared = all.prepare(&FACTS, HEAD.as_bytes()).unwrap();
    let mut out = b"before".to_vec();
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\nServer: x\r\nX-A: 7\r\nContent-Length: 0\r\n\r\n");
    prepared.run(200, &mut out, 6);
    let want = "beforeHTTP/1.1 200 OK\r\nX-A: 7\r\nContent-Length: 0\r\nX-Path: /api/v1\r\nX-Was: 7\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), want);
    assert!(rules(&["deny"]).prepare(&FACTS, HEAD.as_bytes()).is_none());
}
