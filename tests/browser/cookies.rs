//! Sites on the same address as the admin page, in a real browser: browsers know no ports for
//! cookies, so what keeps them apart is ours. On a private address, because browsers trust
//! 127.0.0.1 more than they trust any board.

use crate::webdriver::Browser;
use crate::{PASSWORD, PATIENCE};
use lab::netns::Namespace;
use lab::{Api, Lab, Options};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;

/// The floating IP, on which both the page and the sites are.
const PAGE: &str = "http://192.168.1.15:1936";
const SITE: &str = "http://192.168.1.15";
/// A server of somebody else's, which shows what it was sent, plants cookies and tempts.
const ECHO: u16 = 8099;

fn echo(space: &Namespace) {
    let listener = space.within(|| TcpListener::bind(("0.0.0.0", ECHO)).unwrap()).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            let seen = String::from_utf8_lossy(&head).replace('<', "&lt;");
            let body = format!(
                "<!doctype html><title>echo</title><pre>{seen}</pre>\
                 <form method=post action=\"{PAGE}/failover/VI_1\"><button>tempting</button></form>"
            );
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
                 Set-Cookie: site=one; Path=/\r\nSet-Cookie: bramble_sid=planted; Path=/\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
}

#[test]
fn sites_on_the_same_address_never_see_the_session() {
    let options = Options::new(env!("CARGO_BIN_EXE_bramble")).password(PASSWORD);
    let lab = Lab::start(&options).unwrap();
    lab.wait_ready(PATIENCE).unwrap();
    lab.wait_holder("lbmaster", PATIENCE).unwrap();
    echo(&lab.client());
    echo(&lab.node("lbmaster").space());
    let api = Api::new(&lab, "lbmaster", PASSWORD);
    api.change(|document| {
        let server = json!({ "name": "echo", "address": format!("192.168.1.50:{ECHO}") });
        document["backends"] =
            json!([{ "name": "webservers", "web_nodes": false, "servers": [server] }]);
    })
    .unwrap();
    api.wait_servers(1, PATIENCE).unwrap();

    let browser = Browser::start(&lab, true);
    browser.open(&format!("{PAGE}/login"));
    browser.fill("#password", PASSWORD);
    browser.click("form[action='/login'] button");
    browser.arrive("/");

    // What a browser does if nothing keeps it: the session goes to every port of the address.
    browser.open(&format!("{SITE}:{ECHO}/"));
    let bare = browser.text("pre").unwrap();
    assert!(bare.contains("bramble_sid="), "this browser tells ports apart: {bare}");
    // That server has planted a session by now; the owner signs in again.
    browser.open(&format!("{PAGE}/login"));
    browser.fill("#password", PASSWORD);
    browser.click("form[action='/login'] button");
    browser.arrive("/");

    // Through the balancer.
    for _ in 0..2 {
        browser.open(&format!("{SITE}/page"));
        browser.see("pre", "GET /page");
    }
    let seen = browser.text("pre").unwrap();
    assert!(!seen.contains("bramble_sid"), "the site was sent the session: {seen}");
    assert!(seen.contains("site=one"), "its own cookie passes: {seen}");
    browser.open(&format!("{PAGE}/nodes"));
    browser.see("h1", "Nodes");

    // A form of the site, sent to the page with the session that the browser adds by itself.
    browser.complaints();
    browser.open(&format!("{SITE}/page"));
    browser.click("form button");
    browser.see("h1", "Refused");
    assert_eq!(browser.path(), "/failover/VI_1");
    assert_eq!(lab.holders("192.168.1.15"), ["lbmaster"], "nothing was done");
    assert_eq!(api.status().unwrap()["vrrp"][0]["holder"]["name"], "LbMaster");
}
