//! A browser without scripts: keeps cookies, sends what browsers send.

use crate::support::{self, Node};
use axum::Router;
use axum::body::{Body, Bytes};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tower::ServiceExt;

pub(crate) const HOST: &str = "192.168.1.14:1936";
pub(crate) const PASSWORD: &str = "correct horse";

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }
    /// The value of the first field of this name.
    pub(crate) fn field(&self, name: &str) -> String {
        let text = self.text();
        let at = text
            .find(&format!("name=\"{name}\" value=\""))
            .unwrap_or_else(|| panic!("no {name} in {text}"));
        let rest = &text[at + format!("name=\"{name}\" value=\"").len()..];
        rest.split('"').next().unwrap().to_owned()
    }
}

pub(crate) struct Browser {
    pub(crate) router: Router,
    pub(crate) cookies: BTreeMap<String, String>,
}

pub(crate) fn encode(pairs: &[(&str, &str)]) -> String {
    let escape = |t: &str| -> String {
        t.bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() {
                    char::from(b).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect()
    };
    pairs.iter().map(|(k, v)| format!("{}={}", escape(k), escape(v))).collect::<Vec<_>>().join("&")
}

impl Browser {
    pub(crate) fn new(node: &Node) -> Self {
        Self::at(node, "192.168.1.50")
    }

    /// A browser somewhere else.
    pub(crate) fn at(node: &Node, address: &str) -> Self {
        let from = SocketAddr::new(address.parse().unwrap(), 50_000);
        Self { router: webui::router(node.ports.clone(), from), cookies: BTreeMap::new() }
    }

    pub(crate) async fn send(
        &mut self,
        mut request: http::request::Builder,
        body: impl Into<Body>,
    ) -> Answer {
        if request.headers_ref().is_some_and(|h| !h.contains_key("host")) {
            request = request.header("host", HOST);
        }
        let cookies: Vec<_> = self.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        let response =
            self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        for cookie in parts.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if cookie.contains("Max-Age=0") || value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path).header("accept", "text/html"), Body::empty()).await
    }

    /// A form as a browser sends it, with what is given and nothing else.
    pub(crate) async fn post_raw(&mut self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        let request = Request::post(path)
            .header("accept", "text/html")
            .header("origin", format!("http://{HOST}"))
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(request, encode(pairs)).await
    }

    /// A form with its token, taken from the page it is on.
    pub(crate) async fn post(&mut self, from: &str, path: &str, pairs: &[(&str, &str)]) -> Answer {
        let token = self.get(from).await.field("csrf");
        let mut all = vec![("csrf", token.as_str())];
        all.extend(pairs);
        self.post_raw(path, &all).await
    }

    pub(crate) async fn claim(&mut self) {
        let done =
            self.post("/claim", "/claim", &[("password", PASSWORD), ("again", PASSWORD)]).await;
        assert_eq!(done.status, 303, "{}", done.text());
    }

    pub(crate) async fn login(&mut self, password: &str) -> Answer {
        self.post("/login", "/login", &[("username", "admin"), ("password", password)]).await
    }
}

/// A claimed node of the reference cluster, and a browser signed in to it.
pub(crate) async fn signed_in() -> (Node, Browser) {
    let node = support::node("lbmaster", support::demo::settings());
    let mut browser = Browser::new(&node);
    browser.claim().await;
    (node, browser)
}

pub(crate) fn basic(password: &str) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("admin:{password}"));
    format!("Basic {text}")
}
