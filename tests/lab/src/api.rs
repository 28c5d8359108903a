//! The admin port's JSON API, as a program uses it.

use crate::error::{Error, Result};
use crate::http::{Request, Response, request};
use crate::lab::{Lab, admin};
use crate::netns::Namespace;
use crate::wait;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The name a program signs in with.
const USER: &str = "admin";

/// One node's API, seen from the client or from the node itself.
#[derive(Clone, Debug)]
pub struct Api {
    space: Namespace,
    addr: SocketAddr,
    authorization: String,
}

impl Api {
    /// The API of a node with this password.
    pub fn new(lab: &Lab, node: &str, password: &str) -> Self {
        Self::at(lab, admin(node), password)
    }

    /// The API at an address and port.
    pub fn at(lab: &Lab, addr: SocketAddr, password: &str) -> Self {
        let authorization = format!("Basic {}", base64(format!("{USER}:{password}").as_bytes()));
        Self { space: lab.client(), addr, authorization }
    }

    /// The same from the node itself, for one that the client cannot reach.
    pub fn aboard(lab: &Lab, node: &str, password: &str) -> Self {
        Self { space: lab.node(node).space(), ..Self::new(lab, node, password) }
    }

    /// Sends any request, signed in.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn send(&self, what: &Request) -> Result<Response> {
        request(&self.space, self.addr, &what.clone().header("Authorization", &self.authorization))
    }

    /// `GET path` as JSON.
    ///
    /// # Errors
    /// When the answer is not 200 or no JSON.
    pub fn get(&self, path: &str) -> Result<Value> {
        expect(200, &self.send(&Request::get(path))?)?.json()
    }

    /// `/api/v1/status`.
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
        let response = expect(200, &self.send(&Request::get("/api/v1/settings"))?)?;
        let tag = response.header("etag").ok_or_else(|| Error::other("settings without ETag"))?;
        Ok((response.json()?, tag.to_owned()))
    }

    /// Replaces the settings document; returns whatever the node answers.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn put_settings(&self, document: &Value, tag: &str) -> Result<Response> {
        let put = Request::new("PUT", "/api/v1/settings").header("If-Match", tag);
        self.send(&put.body("application/json", document.to_string()))
    }

    /// Reads the settings, changes them and puts them back; returns the new `ETag`. Begins anew
    /// where somebody else, or another node, has changed them meanwhile.
    ///
    /// # Errors
    /// When the node refuses the change.
    pub fn change(&self, edit: impl Fn(&mut Value)) -> Result<String> {
        let mut attempts = 0;
        loop {
            let (mut document, tag) = self.settings()?;
            edit(&mut document);
            let response = self.put_settings(&document, &tag)?;
            attempts += 1;
            match response.status {
                200..300 => return self.settings().map(|(_, tag)| tag),
                412 if attempts < 10 => {}
                status => {
                    return Err(Error::other(format!("refused ({status}): {}", response.text())));
                }
            }
        }
    }

    /// Sets state or weight of one server.
    ///
    /// # Errors
    /// When the node refuses.
    pub fn server(&self, backend: &str, server: &str, change: &Value) -> Result<()> {
        let path = format!("/api/v1/backends/{backend}/servers/{server}");
        let patch = Request::new("PATCH", &path);
        let response = self.send(&patch.body("application/json", change.to_string()))?;
        if (200..300).contains(&response.status) {
            return Ok(());
        }
        Err(Error::other(format!("{path}: {} {}", response.status, response.text())))
    }

    /// `/stats;csv`, a line as its fields by HAProxy's names.
    ///
    /// # Errors
    /// When the answer is not 200 or has no head line.
    pub fn stats(&self) -> Result<Vec<BTreeMap<String, String>>> {
        let text = expect(200, &self.send(&Request::get("/stats;csv"))?)?.text();
        let mut lines = text.lines();
        let head = lines.next().and_then(|l| l.strip_prefix("# "));
        let head = head.ok_or_else(|| Error::other("/stats;csv does not begin with `# `"))?;
        let names: Vec<&str> = head.split(',').collect();
        Ok(lines
            .map(|line| {
                let fields = line.split(',').map(str::to_owned);
                names.iter().map(|n| (*n).to_owned()).zip(fields).collect()
            })
            .collect())
    }

    /// One field of one line of `/stats;csv`, such as `webservers`, `web01-eth`, `status`.
    ///
    /// # Errors
    /// When there is no such line or field.
    pub fn stat(&self, proxy: &str, server: &str, field: &str) -> Result<String> {
        let is = |line: &BTreeMap<String, String>, field: &str, value: &str| {
            line.get(field).is_some_and(|v| v == value)
        };
        self.stats()?
            .into_iter()
            .find(|line| is(line, "pxname", proxy) && is(line, "svname", server))
            .and_then(|mut line| line.remove(field))
            .ok_or_else(|| Error::other(format!("no {field} of {proxy}/{server} in /stats;csv")))
    }

    /// How many servers of a backend are up.
    ///
    /// # Errors
    /// As [`Self::stats`].
    pub fn servers_up(&self, backend: &str) -> Result<usize> {
        let lines = self.stats()?;
        let field = |line: &BTreeMap<String, String>, name| line.get(name).cloned();
        Ok(lines
            .iter()
            .filter(|line| field(line, "pxname").is_some_and(|v| v == backend))
            .filter(|line| field(line, "svname").is_some_and(|v| v != "BACKEND"))
            .filter(|line| field(line, "status").is_some_and(|v| v.starts_with("UP")))
            .count())
    }

    /// Waits until so many servers of `webservers` are up.
    ///
    /// # Errors
    /// After `limit`.
    pub fn wait_servers(&self, count: usize, limit: Duration) -> Result<()> {
        wait::until(limit, &format!("{count} servers up"), || {
            let up = self.servers_up("webservers").map_err(|e| e.to_string())?;
            if up == count { Ok(()) } else { Err(format!("{up} are up")) }
        })
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

fn expect(status: u16, response: &Response) -> Result<Response> {
    if response.status == status {
        return Ok(response.clone());
    }
    let text: String = response.text().chars().take(500).collect();
    Err(Error::other(format!("expected {status}, got {}: {text}", response.status)))
}

/// RFC 4648 4, for a header: not worth a dependency.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4_usize {
            let index = usize::try_from(bits >> (18 - 6 * i) & 63).unwrap_or(0);
            let digit = DIGITS.get(index).copied().unwrap_or(b'=');
            text.push(char::from(if i <= chunk.len() { digit } else { b'=' }));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_as_in_rfc_4648_10() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in cases {
            assert_eq!(super::base64(plain.as_bytes()), coded);
        }
    }
}
