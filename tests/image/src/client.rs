//! The admin page of an emulated node, as a person's browser and a program use it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lab::http::{self, Request, Response};
use lab::netns::Namespace;
use lab::{Error, Result, wait};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// The name a person and a program sign in with.
const USER: &str = "admin";
/// An emulated board hashes a password as slowly as a real one.
const PATIENCE: Duration = Duration::from_secs(60);
/// So long at most the last order is on its way.
const PARTING: Duration = Duration::from_secs(5);
/// While nobody is there yet, a connection may open and stay silent.
const KNOCK: Duration = Duration::from_secs(2);

/// One node's page and API.
#[derive(Clone, Debug)]
pub struct Client {
    addr: SocketAddr,
    space: Option<Namespace>,
    authorization: Option<String>,
}

impl Client {
    /// The page at an address of this machine.
    pub fn new(addr: SocketAddr) -> Self {
        Self { addr, space: None, authorization: None }
    }

    /// The page at an address inside a namespace.
    pub fn inside(space: Namespace, addr: SocketAddr) -> Self {
        Self { space: Some(space), ..Self::new(addr) }
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same node at another address.
    #[must_use]
    pub fn at(mut self, addr: SocketAddr) -> Self {
        self.addr = addr;
        self
    }

    /// Signs in with each request.
    #[must_use]
    pub fn signed_in(mut self, password: &str) -> Self {
        let text = STANDARD.encode(format!("{USER}:{password}"));
        self.authorization = Some(format!("Basic {text}"));
        self
    }

    /// Sends any request.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn send(&self, request: &Request) -> Result<Response> {
        let mut request = request.clone();
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        match &self.space {
            Some(space) => http::request(space, self.addr, &request),
            None => http::send(self.addr, &request),
        }
    }

    /// Waits until the page answers anything at all.
    ///
    /// # Errors
    /// After `limit`.
    pub fn wait_for_admin(&self, limit: Duration) -> Result<()> {
        let knock = Request::get("/healthz").timeout(KNOCK);
        wait::until(limit, &format!("the page at {}", self.addr), || {
            self.send(&knock).map(drop).map_err(|e| e.to_string())
        })
    }

    /// Waits until the page has gone: nobody answers any more.
    ///
    /// # Errors
    /// After `limit`.
    pub fn wait_gone(&self, limit: Duration) -> Result<()> {
        let knock = Request::get("/healthz").timeout(KNOCK);
        let gone = || self.send(&knock).is_err();
        wait::until_true(limit, &format!("the page at {} to go", self.addr), gone)
    }

    /// Claims the node as the first visitor does: sets its password on the page. Signed in
    /// afterwards.
    ///
    /// # Errors
    /// When the page does not let us.
    pub fn claim(self, password: &str) -> Result<Self> {
        let page = expect(200, self.send(&Request::get("/claim").timeout(PATIENCE))?)?;
        let text = page.text();
        let csrf = text.split_once("name=\"csrf\" value=\"");
        let csrf = csrf.and_then(|(_, rest)| rest.split('"').next());
        let csrf = csrf.ok_or_else(|| Error::other("the claim page has no token"))?;
        let plus = password.replace(' ', "+");
        let form = format!("csrf={csrf}&username={USER}&password={plus}&again={plus}");
        let mut post = Request::new("POST", "/claim")
            .header("Origin", &format!("http://{}", self.addr))
            .timeout(PATIENCE);
        if let Some(cookie) = page.header("set-cookie").and_then(|c| c.split(';').next()) {
            post = post.header("Cookie", cookie);
        }
        let answer = self.send(&post.body("application/x-www-form-urlencoded", form))?;
        if answer.status / 100 != 3 || answer.header("set-cookie").is_none() {
            let text = answer.text();
            return Err(Error::other(format!("not claimed: {} {text}", answer.status)));
        }
        Ok(self.signed_in(password))
    }

    /// `GET path` as JSON.
    ///
    /// # Errors
    /// When the answer is not 200 or no JSON.
    pub fn get(&self, path: &str) -> Result<Value> {
        expect(200, self.send(&Request::get(path).timeout(PATIENCE))?)?.json()
    }

    /// `POST path` with JSON; what came back, if it was a success.
    ///
    /// # Errors
    /// When it was none.
    pub fn post(&self, path: &str, body: &Value) -> Result<Response> {
        let post = Request::new("POST", path).timeout(PATIENCE);
        let answer = self.send(&post.body("application/json", body.to_string()))?;
        if answer.status / 100 == 2 {
            return Ok(answer);
        }
        Err(Error::other(format!("POST {path}: {} {}", answer.status, answer.text())))
    }

    /// `POST path` to a board that may be gone before it has answered, so that nobody waits long
    /// for the answer.
    pub fn order(&self, path: &str) {
        let post = Request::new("POST", path).timeout(PARTING);
        let _ = self.send(&post.body("application/json", "{}"));
    }

    /// Everything the pages show.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn status(&self) -> Result<Value> {
        self.get("/api/v1/status")
    }

    /// The settings document and its revision (the `ETag` as it came).
    ///
    /// # Errors
    /// When the answer is not 200 or has no `ETag`.
    pub fn settings(&self) -> Result<(Value, String)> {
        let request = Request::get("/api/v1/settings").timeout(PATIENCE);
        let answer = expect(200, self.send(&request)?)?;
        let tag = answer.header("etag").ok_or_else(|| Error::other("settings without ETag"))?;
        Ok((answer.json()?, tag.to_owned()))
    }

    /// Replaces the settings document; returns whatever the node answers.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn put_settings(&self, document: &Value, tag: &str) -> Result<Response> {
        let put = Request::new("PUT", "/api/v1/settings").header("If-Match", tag).timeout(PATIENCE);
        self.send(&put.body("application/json", document.to_string()))
    }

    /// Reads the settings, changes them and puts them back.
    ///
    /// # Errors
    /// When the node refuses.
    pub fn change(&self, edit: impl FnOnce(&mut Value)) -> Result<()> {
        let (mut document, tag) = self.settings()?;
        edit(&mut document);
        let answer = self.put_settings(&document, &tag)?;
        if answer.status / 100 == 2 {
            return Ok(());
        }
        Err(Error::other(format!("settings refused: {} {}", answer.status, answer.text())))
    }

    /// One value of `/metrics`, such as `process_resident_memory_bytes`; the first line that
    /// begins so.
    ///
    /// # Errors
    /// When there is none.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let text = expect(200, self.send(&Request::get("/metrics").timeout(PATIENCE))?)?.text();
        let line = text
            .lines()
            .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        let value = line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok());
        value.ok_or_else(|| Error::other(format!("/metrics has no {name}")))
    }

    /// Waits until `probe` finds what it looks for in the status.
    ///
    /// # Errors
    /// After `limit`, with the status seen last.
    pub fn wait_status<T>(
        &self,
        limit: Duration,
        what: &str,
        probe: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        wait::until(limit, what, || match self.status() {
            Ok(status) => probe(&status).ok_or_else(|| status.to_string()),
            Err(e) => Err(e.to_string()),
        })
    }
}

fn expect(status: u16, response: Response) -> Result<Response> {
    if response.status == status {
        return Ok(response);
    }
    let text: String = response.text().chars().take(500).collect();
    Err(Error::other(format!("expected {status}, got {}: {text}", response.status)))
}
