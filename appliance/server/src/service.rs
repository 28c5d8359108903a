//! One request: whose it is, what it asks for, and the answer.

use crate::beneath::Access;
use crate::body::Body;
use crate::card::Card;
use crate::date;
use crate::encoding::Accepted;
use crate::error::Fault;
use crate::files::{Found, SiteRoot, find};
use crate::hosts::{HostTable, host_name};
use crate::path::{self, Target};
use crate::reply::{self, Asked};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, Version};
use std::sync::Arc;
use std::time::SystemTime;

/// What to do with a request, as far as its head alone can say.
enum Plan {
    /// Answer so, and perhaps close.
    Answer(Response<Body>, bool),
    /// Look for this.
    Look(Arc<SiteRoot>, Target),
}

/// Answers a request. True: the connection must not be used again.
pub(crate) async fn answer(
    parts: Parts,
    table: &HostTable<SiteRoot>,
    length_seen: bool,
    card: &Arc<Card>,
) -> (Response<Body>, bool) {
    let (site, target) = match plan(&parts, table, length_seen) {
        Plan::Answer(response, close) => return (response, close),
        Plan::Look(site, target) => (site, target),
    };
    // What is in memory is answered here and now; whatever has to wait for the card waits on a
    // thread where nobody else has to.
    let response = match look(&parts, &site, &target, Access::Cached, card) {
        Err(Fault::Again) => {
            let permit = card.waiters.clone().acquire_owned().await;
            let card = card.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                // A file that is being written changes between being measured and being read.
                let mut tries = 0..3;
                loop {
                    match look(&parts, &site, &target, Access::Blocking, &card) {
                        Err(Fault::Again) if tries.next().is_some() => {}
                        other => return other,
                    }
                }
            });
            looked.await.unwrap_or(Err(Fault::Busy))
        }
        other => other,
    };
    (response.unwrap_or_else(reply::fault), false)
}

fn look(
    parts: &Parts,
    site: &SiteRoot,
    target: &Target,
    access: Access,
    card: &Arc<Card>,
) -> Result<Response<Body>, Fault> {
    match find(site, target, Accepted::of(&parts.headers), access)? {
        Found::Directory => {
            let query = parts.uri.query();
            Ok(reply::redirect(&path::directory_reference(target, query)))
        }
        Found::Empty => Ok(reply::no_files_yet(site)),
        Found::File(opened) => {
            let now = date::seconds(SystemTime::now());
            let asked = Asked { method: &parts.method, headers: &parts.headers, now };
            reply::file(asked, opened, access, card)
        }
    }
}

fn plan(parts: &Parts, table: &HostTable<SiteRoot>, length_seen: bool) -> Plan {
    let page = |status| Plan::Answer(reply::page(status), false);
    let refuse = |status| Plan::Answer(reply::page(status), true);
    let uri = &parts.uri;
    if parts.headers.contains_key(TRANSFER_ENCODING)
        && (length_seen || parts.headers.contains_key(CONTENT_LENGTH))
    {
        // RFC 9112 6.3: two lengths are how requests are smuggled past a balancer.
        return refuse(StatusCode::BAD_REQUEST);
    }
    let Some(host) = host(parts) else {
        return refuse(StatusCode::BAD_REQUEST);
    };
    let known = match parts.method {
        Method::GET | Method::HEAD => true,
        Method::OPTIONS => return Plan::Answer(reply::options(), false),
        Method::POST
        | Method::PUT
        | Method::DELETE
        | Method::PATCH
        | Method::TRACE
        | Method::CONNECT => false,
        _ => return page(StatusCode::NOT_IMPLEMENTED),
    };
    if !known {
        return page(StatusCode::METHOD_NOT_ALLOWED);
    }
    let length = uri.path().len() + uri.query().map_or(0, |q| q.len() + 1);
    if length > path::MAX_TARGET {
        return page(StatusCode::URI_TOO_LONG);
    }
    let target = match path::parse(uri.path()) {
        Ok(target) => target,
        Err(path::Refused::Malformed) => return page(StatusCode::BAD_REQUEST),
        Err(path::Refused::Hidden) => return page(StatusCode::NOT_FOUND),
    };
    match table.find(host) {
        Some(site) => Plan::Look(site.clone(), target),
        None => page(StatusCode::NOT_FOUND),
    }
}

/// The host a request is for; None when it does not say so properly (RFC 9112 3.2).
fn host(parts: &Parts) -> Option<&str> {
    let mut fields = parts.headers.get_all(HOST).into_iter();
    let field = match (fields.next(), fields.next()) {
        (Some(field), None) => host_name(field.as_bytes())?,
        (None, _) if parts.version < Version::HTTP_11 => "",
        _ => return None,
    };
    // 3.2.2: the host of an absolute target wins. CONNECT's is no such thing.
    match parts.uri.authority() {
        Some(authority) if parts.method != Method::CONNECT => {
            host_name(authority.as_str().as_bytes())
        }
        _ => Some(field),
    }
}

/// Tells the visitor that the connection ends with this response.
pub(crate) fn last(response: &mut Response<Body>) {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}
