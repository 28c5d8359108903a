//! The persistence cookie in requests and responses.
//!
//! With `maxidle` or `maxlife` the value carries dates as HAProxy writes them:
//! `server|last|first`, each five characters of base64 for a number of four-second steps since 1970.

use crate::head::{Head, elements, fields, first_line, pair};
use crate::message::put_field;
use memchr::memchr;
use model::{CookieMode, PersistCookie};

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// A date further ahead than this is of a clock that was set wrongly.
const AHEAD_S: u64 = 86_400;

/// What a request's cookie was worth (HAProxy's log, `%tsc`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Worth {
    /// There was none.
    #[default]
    None,
    /// It names no server.
    Invalid,
    /// It names a server that is down.
    Down,
    /// It was followed.
    Valid,
    /// It was not used for longer than `maxidle`.
    Expired,
    /// It is older than `maxlife`.
    Old,
}

impl Worth {
    /// HAProxy's letter.
    pub(crate) const fn letter(self) -> u8 {
        match self {
            Self::None => b'N',
            Self::Invalid => b'I',
            Self::Down => b'D',
            Self::Valid => b'V',
            Self::Expired => b'E',
            Self::Old => b'O',
        }
    }
}

/// What became of a server's own cookie, in the letters of HAProxy's log.
pub(super) const NONE: u8 = b'N';
pub(super) const PROVIDED: u8 = b'P';
pub(super) const DELETED: u8 = b'D';
pub(super) const REWRITTEN: u8 = b'R';

/// What a request's cookie says.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What it was worth, as far as it alone tells.
    pub(crate) worth: Worth,
    /// The server, unless the cookie is too old.
    pub(crate) server: Option<Vec<u8>>,
    last_s: Option<u64>,
    first_s: Option<u64>,
}

impl Found {
    fn of(server: &[u8], last_s: Option<u64>, first_s: Option<u64>) -> Self {
        Self { worth: Worth::Invalid, server: Some(server.to_vec()), last_s, first_s }
    }

    /// Is the cookie right, but must its dates be written anew?
    pub(crate) fn wants_new_dates(&self, settings: &PersistCookie, now_s: u64) -> bool {
        let idle = (settings.maxidle.is_some() || self.last_s.is_some())
            && self.last_s.is_none_or(|last| last < now_s);
        idle || (settings.maxlife.is_some() != self.first_s.is_some())
    }
}

fn encode(seconds: u64, out: &mut Vec<u8>) {
    let steps = seconds >> 2;
    for shift in [24, 18, 12, 6, 0] {
        let digit = usize::try_from((steps >> shift) & 0x3f).unwrap_or(0);
        out.push(DIGITS[digit]);
    }
}

/// The seconds of five characters; None for anything else, and for zero.
fn decode(text: Option<&[u8]>) -> Option<u64> {
    let digit = |b: &u8| DIGITS.iter().position(|d| d == b).and_then(|d| u64::try_from(d).ok());
    let steps = text?.iter().try_fold(0, |steps: u64, b| Some((steps << 6) | digit(b)?))?;
    (steps > 0).then_some(steps << 2)
}

/// Reads the first cookie of this name.
pub(crate) fn read(settings: &PersistCookie, head: &[u8], now_s: u64) -> Found {
    let Some(value) = Head::new(head).cookie(&settings.name) else { return Found::default() };
    if settings.mode == CookieMode::Prefix {
        let server = memchr(b'~', value).map_or(value, |at| &value[..at]);
        return Found::of(server, None, None);
    }
    let Some(bar) = memchr(b'|', value) else { return Found::of(value, None, None) };
    let (server, dates) = value.split_at(bar);
    let last_s = decode(dates.get(1..6));
    let second = dates.get(6..).filter(|rest| rest.first() == Some(&b'|'));
    let first_s = second.and_then(|rest| decode(rest.get(1..6)));
    let too_old = |date: Option<u64>, limit: Option<model::Millis>| match (date, limit) {
        (Some(date), Some(limit)) => {
            let limit = limit.duration().as_secs();
            date.saturating_add(limit) < now_s || date > now_s.saturating_add(AHEAD_S)
        }
        _ => false,
    };
    if too_old(first_s, settings.maxlife) {
        return Found { worth: Worth::Old, ..Found::default() };
    }
    if too_old(last_s, settings.maxidle) {
        return Found { worth: Worth::Expired, ..Found::default() };
    }
    Found::of(server, last_s, first_s)
}

/// Takes out of a request what the servers must not see: the whole cookie with `indirect`, the
/// server's name in front of the value with `prefix`.
pub(crate) fn hide(settings: &PersistCookie, head: &mut Vec<u8>) {
    let all = settings.mode == CookieMode::Insert && settings.indirect;
    let prefix = settings.mode == CookieMode::Prefix;
    if !(all || prefix) || Head::new(head).cookie(&settings.name).is_none() {
        return;
    }
    let name = settings.name.as_bytes();
    let (line, lines) = first_line(head);
    let mut next = Vec::with_capacity(head.len());
    next.extend_from_slice(line);
    next.extend_from_slice(b"\r\n");
    for field in fields(lines) {
        if !field.is("cookie") {
            put_field(&mut next, field.name, field.value);
            continue;
        }
        let mut left: Vec<Vec<u8>> = Vec::new();
        for text in field.value.split(|b| *b == b';') {
            match pair(text).filter(|(n, _)| *n == name) {
                Some(_) if all => {}
                Some((_, value)) if prefix => {
                    let rest = memchr(b'~', value).map_or(value, |at| &value[at + 1..]);
                    left.push([name, b"=", rest].concat());
                }
                _ => left.push(text.trim_ascii().to_vec()),
            }
        }
        if !left.is_empty() {
            put_field(&mut next, field.name, &left.join(&b"; "[..]));
        }
    }
    next.extend_from_slice(b"\r\n");
    *head = next;
}

/// `name=value` of a `Set-Cookie` field.
pub(crate) fn first_pair(value: &[u8]) -> &[u8] {
    value.split(|b| *b == b';').next().unwrap_or_default()
}

/// Deals with cookies of this name that a server sets itself. Returns what became of them.
pub(crate) fn rewrite(
    settings: &PersistCookie,
    server: &str,
    direct: bool,
    head: &mut Vec<u8>,
    from: usize,
) -> u8 {
    let name = settings.name.as_bytes();
    let ours = |value: &[u8]| pair(first_pair(value)).is_some_and(|(n, _)| n == name);
    let (line, lines) = first_line(&head[from..]);
    if !fields(lines).any(|f| f.is("set-cookie") && ours(f.value)) {
        return NONE;
    }
    let removes = settings.mode == CookieMode::Insert || (direct && settings.indirect);
    if settings.preserve || (settings.mode == CookieMode::Passive && !removes) {
        return PROVIDED;
    }
    let mut next = Vec::with_capacity(head.len());
    next.extend_from_slice(line);
    next.extend_from_slice(b"\r\n");
    for field in fields(lines) {
        if !(field.is("set-cookie") && ours(field.value)) {
            put_field(&mut next, field.name, field.value);
            continue;
        }
        let first = first_pair(field.value);
        let attributes = &field.value[first.len()..];
        let value = pair(first).map(|(_, value)| value).unwrap_or_default();
        let value = match settings.mode {
            // The balancer sets its own below, where it sets one.
            _ if removes => continue,
            CookieMode::Rewrite => server.as_bytes().to_vec(),
            CookieMode::Prefix => [server.as_bytes(), b"~", value].concat(),
            CookieMode::Insert | CookieMode::Passive => continue,
        };
        put_field(&mut next, field.name, &[name, b"=", &value, attributes].concat());
    }
    next.extend_from_slice(b"\r\n");
    head.truncate(from);
    head.extend_from_slice(&next);
    if removes { DELETED } else { REWRITTEN }
}

/// Could a cache keep this response, and our cookie with it? As HAProxy judges: by status and
/// `Cache-Control`, and only with an age or something to validate it by (RFC 9111 3).
pub(crate) fn may_be_cached(status: u16, safe_method: bool, head: &[u8]) -> bool {
    const STATUSES: [u16; 11] = [200, 203, 204, 206, 300, 301, 404, 405, 410, 414, 501];
    let mut may = safe_method && STATUSES.contains(&status);
    let (_, lines) = first_line(head);
    let values = |name: &'static str| {
        fields(lines).filter(move |f| f.is(name)).flat_map(|f| elements(f.value))
    };
    let mut fresh = false;
    let mut no_age = false;
    for value in values("cache-control").map(<[u8]>::to_ascii_lowercase) {
        let says = |word: &[u8]| value == word || value.starts_with(&[word, b"="].concat());
        if value == b"public" {
            may = true;
        } else if value == b"max-age=0" {
            no_age = true;
        } else if value == b"no-cache=\"set-cookie\"" {
        } else if value == b"s-maxage=0"
            || says(b"private")
            || says(b"no-cache")
            || says(b"no-store")
        {
            may = false;
        } else if says(b"s-maxage") {
            (fresh, no_age) = (true, false);
        } else if says(b"max-age") {
            fresh = true;
        }
    }
    let pragma = values("pragma").any(|v| v.eq_ignore_ascii_case(b"no-cache"));
    let known =
        ["expires", "etag", "last-modified"].into_iter().any(|n| values(n).next().is_some());
    may && !no_age && !pragma && (fresh || known)
}

/// The value of our own `Set-Cookie`.
pub(crate) fn set(settings: &PersistCookie, server: &str, found: &Found, now_s: u64) -> Vec<u8> {
    let mut line = format!("{}={server}", settings.name).into_bytes();
    if settings.maxidle.is_some() || settings.maxlife.is_some() {
        // Rounded up, so that a date is never in the past when it comes back at once.
        let now_s = now_s + 3;
        line.push(b'|');
        encode(now_s, &mut line);
        if settings.maxlife.is_some() {
            line.push(b'|');
            encode(found.first_s.unwrap_or(now_s), &mut line);
        }
    }
    let mut attribute = |text: &str| {
        line.extend_from_slice(b"; ");
        line.extend_from_slice(text.as_bytes());
    };
    attribute("path=/");
    settings.domains.iter().for_each(|d| attribute(&format!("domain={d}")));
    for (on, word) in [(settings.httponly, "HttpOnly"), (settings.secure, "Secure")] {
        if on {
            attribute(word);
        }
    }
    settings.attributes.iter().for_each(|a| attribute(a));
    line
}
