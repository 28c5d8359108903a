//! Whether a request that changes something was meant by the operator.
//!
//! Cookies know no ports: a site served on port 80 of this very address shares ours, and SameSite
//! holds nothing off there. So three things must be right: where the browser says the request
//! comes from, what it says about that page's relation to us, and a token only our own pages know.

use crate::host::name_of;
use http::HeaderMap;
use std::net::IpAddr;

/// The field of a form, and the header, that carry the token.
pub(crate) const FIELD: &str = "csrf";
pub(crate) const HEADER: &str = "x-csrf-token";

/// Does the browser say that the request comes from a page of ours? `host` is the authority the
/// request was sent to. Programs say nothing, which is fine; the token is still asked for.
pub(crate) fn same_origin(headers: &HeaderMap, host: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or("(unreadable)"));
    if let Some(site) = text("sec-fetch-site") {
        if site != "same-origin" && site != "none" {
            return false;
        }
    }
    match text("origin").or_else(|| text("referer")) {
        None => true,
        Some(url) => authority_of(url).is_some_and(|from| same_authority(from, host)),
    }
}

fn authority_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    Some(rest.split(['/', '?', '#']).next().unwrap_or(rest))
}

fn same_authority(a: &str, b: &str) -> bool {
    // A browser leaves the default port out in both places, a program perhaps in one.
    let port = |s: &str| {
        let after = s.rsplit_once(']').map_or(s, |(_, after)| after);
        after.rsplit_once(':').map_or("80", |(_, port)| port).to_owned()
    };
    name_of(a).eq_ignore_ascii_case(name_of(b)) && port(a) == port(b)
}

/// Equal, in a time that says nothing about where they differ.
pub(crate) fn equal(a: &str, b: &str) -> bool {
    blake3::hash(a.as_bytes()) == blake3::hash(b.as_bytes())
}

/// A token for pages shown before there is a session: bound to the visitor's address and to the
/// minute, so that nothing needs to be stored for visitors who may never sign in.
pub(crate) fn visitor_token(key: &[u8; 32], peer: IpAddr, now_unix: i64) -> String {
    let minute = now_unix.div_euclid(60);
    format!("{minute}.{}", sign(key, peer, minute))
}

/// How long such a page may have been open.
const PAGE_MINUTES: i64 = 12 * 60;

pub(crate) fn visitor_token_holds(
    key: &[u8; 32],
    peer: IpAddr,
    now_unix: i64,
    token: &str,
) -> bool {
    let Some((minute, signature)) = token.split_once('.') else { return false };
    let Ok(minute) = minute.parse::<i64>() else { return false };
    let age = now_unix.div_euclid(60).saturating_sub(minute);
    (-1..=PAGE_MINUTES).contains(&age) && equal(signature, &sign(key, peer, minute))
}

fn sign(key: &[u8; 32], peer: IpAddr, minute: i64) -> String {
    let text = format!("visitor {peer} {minute}");
    blake3::keyed_hash(key, text.as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| (n.parse::<http::HeaderName>().unwrap(), v.parse().unwrap()))
            .collect()
    }

    #[test]
    fn origins() {
        let host = "192.168.1.14:1936";
        for good in [
            &[][..],
            &[("origin", "http://192.168.1.14:1936")],
            &[("referer", "http://192.168.1.14:1936/nodes?x")],
            &[("origin", "http://192.168.1.14:1936"), ("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
        ] {
            assert!(same_origin(&headers(good), host), "{good:?}");
        }
        for bad in [
            &[("origin", "null")][..],
            &[("origin", "http://192.168.1.14")],
            &[("origin", "http://192.168.1.14:8080")],
            &[("origin", "http://evil.example")],
            &[("referer", "http://evil.example/192.168.1.14:1936")],
            &[("origin", "http://192.168.1.14:1936.evil.example")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site"), ("origin", "http://192.168.1.14:1936")],
            // Origin decides where both are there.
            &[("origin", "http://evil"), ("referer", "http://192.168.1.14:1936/")],
        ] {
            assert!(!same_origin(&headers(bad), host), "{bad:?}");
        }
        assert!(same_origin(&headers(&[("origin", "http://lb.local")]), "LB.local:80"));
        assert!(same_origin(&headers(&[("origin", "http://[::1]:1936")]), "[::1]:1936"));
        assert!(!same_origin(&headers(&[("origin", "http://[::1]")]), "[::1]:1936"));
    }

    #[test]
    fn visitor_tokens_are_bound() {
        let (key, ip) = ([7; 32], IpAddr::from([192, 0, 2, 1]));
        let token = visitor_token(&key, ip, 1_000_000);
        assert!(visitor_token_holds(&key, ip, 1_000_030, &token));
        assert!(!visitor_token_holds(&key, ip, 1_000_000 + 13 * 3600, &token));
        assert!(!visitor_token_holds(&key, ip, 990_000, &token));
        assert!(!visitor_token_holds(&key, IpAddr::from([192, 0, 2, 2]), 1_000_000, &token));
        assert!(!visitor_token_holds(&[8; 32], ip, 1_000_000, &token));
        for junk in ["", ".", "x.y", "16666.", "9223372036854775807.0", "-9223372036854775808.0"] {
            assert!(!visitor_token_holds(&key, ip, 1_000_000, junk));
        }
    }
}
