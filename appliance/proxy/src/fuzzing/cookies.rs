//! Cookies: what keeps a visitor on a server, and the admin page's session.

use super::{ORIGIN, again, answered, asked, lines, sent_on};
use crate::head::Head;
use crate::message::{Parsed, is_value, put_field};
use crate::persist::cookie;
use crate::request;
use crate::response;
use model::{CookieMode, Millis, PersistCookie};

/// Some moment.
const NOW_S: u64 = 1_800_000_000;

fn settings(bits: u8) -> PersistCookie {
    let bit = |n: u8| bits & (1 << n) != 0;
    PersistCookie {
        name: "SRV".to_owned(),
        mode: match bits & 3 {
            0 => CookieMode::Insert,
            1 => CookieMode::Rewrite,
            2 => CookieMode::Prefix,
            _ => CookieMode::Passive,
        },
        indirect: bit(2),
        nocache: bit(3),
        preserve: bit(4),
        maxidle: bit(5).then_some(Millis(60_000)),
        maxlife: bit(6).then_some(Millis(600_000)),
        ..PersistCookie::default()
    }
}

/// A byte of settings, and lines: two of them a visitor's cookies, the others fields of a response.
pub fn cookies(bytes: &[u8]) {
    let Some((bits, rest)) = bytes.split_first() else { return };
    let settings = settings(*bits);
    let mut texts = rest.split(|b| *b == b'\n');
    let mut head = b"GET / HTTP/1.1\r\nHost: h\r\n".to_vec();
    for value in texts.by_ref().take(2) {
        put_field(&mut head, b"Cookie", value);
    }
    head.extend_from_slice(b"\r\n");
    let found = visitor(&settings, &head);
    let mut head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n".to_vec();
    for (value, name) in texts.zip([&b"Set-Cookie"[..], b"Cache-Control", b"set-cookie"]) {
        put_field(&mut head, name, value);
    }
    head.extend_from_slice(b"\r\n");
    server(&settings, &head, &found.unwrap_or_default(), *bits & 0x80 != 0);
}

fn visitor(settings: &PersistCookie, input: &[u8]) -> Option<cookie::Found> {
    let (mut head, mut line) = (Vec::new(), Vec::new());
    let parsed = request::parse(input, ORIGIN, &mut head, &mut line);
    let Ok(Parsed::Complete(request, _)) = parsed else { return None };
    sent_on(&head, &request);
    let found = cookie::read(settings, &head, NOW_S);
    let _ = found.wants_new_dates(settings, NOW_S);
    cookie::hide(settings, &mut head);
    sent_on(&head, &request);
    if settings.mode == CookieMode::Insert && settings.indirect {
        assert_eq!(Head::new(&head).cookie(&settings.name), None, "the cookie was sent on");
    }
    again(&head, lines(&head).1.len(), &request);
    Some(found)
}

fn server(settings: &PersistCookie, input: &[u8], found: &cookie::Found, direct: bool) {
    let asked = asked(4);
    let mut out = b"in front".to_vec();
    let from = out.len();
    let Ok(Parsed::Complete(response, _)) = response::parse(input, asked, &mut out) else { return };
    cookie::rewrite(settings, "s1", direct, &mut out, from);
    let _ = cookie::may_be_cached(200, true, &out[from..]);
    let set = cookie::set(settings, "s1", found, NOW_S);
    assert!(is_value(&set), "no value of a field");
    crate::rules::add_field(&mut out, "Set-Cookie", &set);
    assert!(out.starts_with(b"in front"));
    answered(&out[from..], &response, asked);
}
