//! The admin page in a real Chromium of a phone's size, from the first visit to a failover: with
//! JavaScript, where everything is seen live, and without, where everything still works.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

mod cookies;
mod webdriver;

use lab::{Api, Lab, Options};
use std::path::{Path, PathBuf};
use std::time::Duration;
use webdriver::Browser;

const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "four words that rhyme";
const HOME: &str = "http://192.168.1.14:1936";

struct Visit<'a> {
    lab: &'a Lab,
    browser: Browser,
    scripts: bool,
    shots: u32,
}

impl<'a> Visit<'a> {
    fn start(lab: &'a Lab, scripts: bool) -> Self {
        Self { lab, browser: Browser::start(lab, scripts), scripts, shots: 0 }
    }

    /// What every page must be: no wider than the phone, and nothing the browser complains of.
    fn look(&mut self, name: &str) {
        self.shots += 1;
        let kind = if self.scripts { "live" } else { "plain" };
        let file = format!("{kind}-{:02}-{name}.png", self.shots);
        self.browser.screenshot(&screenshots().join(file));
        let width = self.browser.evaluate("document.documentElement.scrollWidth");
        assert!(width.as_u64().unwrap() <= 390, "{name} is {width} wide");
        // A browser's own request for something else is not the page's fault; a refused script
        // or style is.
        let complaints = self.browser.complaints();
        assert!(complaints.is_empty(), "{name}: {complaints:?}");
    }

    /// Puts a mark on the page that a reload would wipe out.
    fn mark(&self) {
        self.browser.evaluate("(window.marked = true)");
    }

    fn still_the_same_page(&self) {
        assert_eq!(self.browser.evaluate("window.marked === true"), true, "the page was reloaded");
    }

    fn go(&self, path: &str) {
        self.browser.open(&format!("{HOME}{path}"));
        if self.scripts {
            self.mark();
        }
    }

    /// Waits for words on a page: live with scripts, by reloading it without.
    fn see(&self, path: &str, css: &str, words: &str) {
        if self.scripts {
            self.browser.see(css, words);
            self.still_the_same_page();
            return;
        }
        lab::wait::until(PATIENCE, &format!("{words:?} in {css} of {path}"), || {
            self.browser.open(&format!("{HOME}{path}"));
            let text = self.browser.text(css)?;
            if text.contains(words) { Ok(()) } else { Err(text) }
        })
        .unwrap();
    }

    fn claim_and_sign_in(&mut self) {
        self.browser.open(HOME);
        self.browser.arrive("/claim");
        self.look("claim");
        self.browser.fill("#password", PASSWORD);
        self.browser.fill("#again", PASSWORD);
        self.browser.click("form[action='/claim'] button");
        self.browser.arrive("/");
        self.browser.see("h1", "Overview");
        // Out and in again.
        self.browser.open(&format!("{HOME}/more"));
        self.look("more");
        self.browser.click("form[action='/logout'] button");
        self.browser.see("h1", "");
        self.browser.open(&format!("{HOME}/balancing"));
        self.browser.see("form[action='/login']", "Password");
        self.look("login");
        self.browser.fill("#password", "not the password");
        self.browser.click("form[action='/login'] button");
        self.browser.see("[role=alert]", "");
        let said = self.browser.complaints();
        assert!(said.iter().all(|m| m.contains("401")), "{said:?}");
        self.browser.fill("#password", PASSWORD);
        self.browser.click("form[action='/login'] button");
        self.browser.arrive("/balancing");
    }
}

fn screenshots() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots")
}

/// From the first visit to a failover, with what the cluster itself says beside it.
fn a_day_with_the_page(scripts: bool) {
    let lab = Lab::start(&Options::new(env!("CARGO_BIN_EXE_bramble"))).unwrap();
    lab.wait_ready(PATIENCE).unwrap();
    lab.wait_holder("lbmaster", PATIENCE).unwrap();
    let mut visit = Visit::start(&lab, scripts);
    visit.claim_and_sign_in();
    let api = Api::new(&lab, "lbmaster", PASSWORD);
    api.wait_servers(4, PATIENCE).unwrap();

    visit.go("/");
    visit.see("/", "main", "held by LbMaster");
    visit.see("/", ".tile[href='/balancing']", "4/4");
    visit.look("overview");

    visit.go("/balancing");
    visit.browser.fill("#w-webservers-web01-eth", "5");
    visit.browser.click("#card-webservers-web01-eth form.weight button");
    visit.browser.see("#flash", "");
    lab::wait::until(PATIENCE, "the new weight", || {
        let now = api.stat("webservers", "web01-eth", "weight").map_err(|e| e.to_string())?;
        if now == "5" { Ok(()) } else { Err(now) }
    })
    .unwrap();
    let shown = visit.browser.property("#w-webservers-web01-eth", "value").unwrap();
    assert_eq!(shown, "5");
    visit.browser.click("#card-webservers-web02-eth button[value=drain]");
    visit.see("/balancing", "#s-webservers-web02-eth", "DRAIN");
    assert!(api.stat("webservers", "web02-eth", "status").unwrap().starts_with("DRAIN"));
    visit.look("balancing");
    visit.browser.click("#card-webservers-web02-eth button[value=ready]");
    visit.see("/balancing", "#s-webservers-web02-eth", "UP");

    // A board loses its power while somebody looks.
    visit.go("/");
    visit.see("/", ".tile[href='/balancing']", "4/4");
    visit.lab.node("web01").power(false).unwrap();
    visit.see("/", ".tile[href='/balancing']", "2/4");
    visit.look("web01-without-power");
    visit.lab.node("web01").power(true).unwrap();
    visit.see("/", ".tile[href='/balancing']", "4/4");

    visit.go("/failover");
    visit.see("/failover", "#f-VI_1", "held by LbMaster");
    visit.look("failover");
    visit.browser.click("form[action='/failover/VI_1'] button");
    lab.wait_holder("lbslave", PATIENCE).unwrap();
    visit.see("/failover", "#f-VI_1", "held by LbSlave");
    visit.look("after-failover");
    lab.wait_site(PATIENCE).unwrap();
    for (path, name) in
        [("/nodes", "nodes"), ("/sites", "sites"), ("/history", "history"), ("/stats", "stats")]
    {
        visit.go(path);
        visit.browser.see("body", "");
        visit.look(name);
    }
}

#[test]
fn with_javascript_everything_is_seen_live() {
    a_day_with_the_page(true);
}

#[test]
fn without_javascript_everything_works() {
    a_day_with_the_page(false);
}
