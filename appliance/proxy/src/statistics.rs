//! The statistics page that a frontend shows at an address of its own (HAProxy `stats uri`).
//!
//! It is drawn elsewhere, by who knows the password ([`Statistics`]). Here it is recognised, after
//! the `http-request` rules and before `use_backend`, as HAProxy does; whoever brings no credential
//! at all is turned away here, so that only few who might have one are ever looked at.
//!
//! Browsers send what let them see this page with every other request to the same site, unasked
//! (RFC 7617 2.2). It is the password of the admin page, which is no server's business: it is
//! taken out on the way.

use crate::client::{Client, Ticket};
use crate::config::Frontend;
use crate::head::Head;
use crate::message::put_number;
use crate::rules;
use model::statistics::{Answer, Asked};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// So many may be looked at together: the pages are drawn on the admin page's only thread.
const TURNS: usize = 4;
/// `admin:`, as HTTP Basic writes it.
const ADMIN: &[u8] = b"YWRtaW46";

/// Draws the page. Called on the threads that carry traffic: must not block them.
pub trait Statistics: Send + Sync {
    /// What is answered, a refusal where the credential is not good.
    fn answer(&self, asked: Asked) -> Pin<Box<dyn Future<Output = Answer> + Send>>;
}

/// Where the page comes from.
pub(crate) struct Desk {
    page: OnceLock<Arc<dyn Statistics>>,
    turns: Semaphore,
}

impl Default for Desk {
    fn default() -> Self {
        Self { page: OnceLock::new(), turns: Semaphore::new(TURNS) }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("turns", &self.turns).finish_non_exhaustive()
    }
}

impl Desk {
    /// Has the page drawn there; the first one stays.
    pub(crate) fn join(&self, page: Arc<dyn Statistics>) {
        let _ = self.page.set(page);
    }

    /// The answer; None while nobody can give one.
    async fn answer(&self, asked: Asked) -> Option<Answer> {
        if asked.authorization.is_empty() {
            let challenge = ("www-authenticate".to_owned(), model::ADMIN_CHALLENGE.to_owned());
            return Some(Answer { status: 401, fields: vec![challenge], body: Vec::new() });
        }
        let page = self.page.get()?;
        let _turn = self.turns.try_acquire().ok()?;
        Some(page.answer(asked).await)
    }
}

/// What of the page is asked for; None where it is another page.
pub(crate) fn asked(client: &Client, frontend: &Frontend, ticket: &Ticket) -> Option<Asked> {
    let home = frontend.settings.stats_uri.as_ref()?.as_str();
    let head = Head::new(&ticket.head);
    let form = head.method == b"POST";
    if !form && !matches!(head.method, b"GET" | b"HEAD") {
        return None;
    }
    // HAProxy takes every address that begins so; a site may have pages of such names.
    let rest = head.target.strip_prefix(home.as_bytes())?;
    if !matches!(rest.first(), None | Some(b';' | b'?' | b'&')) {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(Asked {
        frontend: frontend.settings.name.clone(),
        home: home.to_owned(),
        rest: text(rest),
        form,
        authorization: head.values("authorization").next().map(text).unwrap_or_default(),
        from: (*client.peer.ip()).into(),
        refresh: frontend.settings.stats_refresh,
    })
}

/// Takes the admin page's password out of a request that goes to a server.
pub(crate) fn keep_password(head: &mut Vec<u8>) {
    let is_ours = |value: &[u8]| {
        let mut words = value.splitn(2, |b| *b == b' ');
        let scheme = words.next().unwrap_or_default();
        let given = words.next().unwrap_or_default().trim_ascii_start();
        scheme.eq_ignore_ascii_case(b"basic") && given.starts_with(ADMIN)
    };
    if Head::new(head).values("authorization").any(is_ours) {
        rules::remove(head, 0, "authorization");
    }
}

/// Appends the answer to `out` and gives its status; None where nobody has one.
pub(crate) async fn put(
    desk: &Desk,
    asked: Asked,
    (close, is_head): (bool, bool),
    out: &mut Vec<u8>,
) -> Option<u16> {
    let answer = desk.answer(asked).await?;
    let reason = http::StatusCode::from_u16(answer.status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or("Unknown");
    out.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", answer.status).as_bytes());
    for (name, value) in &answer.fields {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    out.extend_from_slice(b"Content-Length: ");
    put_number(out, answer.body.len());
    out.extend_from_slice(if close { b"\r\nConnection: close\r\n\r\n" } else { b"\r\n\r\n" });
    if !is_head {
        out.extend_from_slice(&answer.body);
    }
    Some(answer.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_admin_pages_password_stays_here() {
        let passed = |value: &str| {
            let mut head = format!("GET / HTTP/1.1\r\nHost: h\r\nAuthorization: {value}\r\n\r\n");
            let before = head.clone().into_bytes();
            let mut bytes = std::mem::take(&mut head).into_bytes();
            keep_password(&mut bytes);
            if bytes == before {
                return true;
            }
            assert_eq!(bytes, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            false
        };
        // admin:x, admin: and admin:secret password
        for ours in ["Basic YWRtaW46eA==", "basic  YWRtaW46", "BASIC YWRtaW46c2VjcmV0IHBhc3N3b3Jk"]
        {
            assert!(!passed(ours), "{ours}");
        }
        // admin2:x, Admin:x, and another scheme
        for theirs in ["Basic YWRtaW4yOng=", "Basic QWRtaW46eA==", "Bearer YWRtaW46eA==", "Basic"] {
            assert!(passed(theirs), "{theirs}");
        }
    }
}
