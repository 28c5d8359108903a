use super::cookie::{self, Found};
use super::*;

fn settings(line: &str) -> PersistCookie {
    line.parse().unwrap()
}

fn request(cookies: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: h\r\n{cookies}\r\n").into_bytes()
}

#[test]
fn the_server_in_a_cookie() {
    for (line, cookies, want) in [
        ("S insert", "Cookie: a=1; S=s2; b=2\r\n", Some("s2")),
        ("S insert", "Cookie: a=1\r\nCookie: S = s2 \r\n", Some("s2")),
        ("S insert", "Cookie: s=s2\r\n", None),
        ("S insert", "Cookie: XS=s2; S=\r\n", Some("")),
        ("S insert", "", None),
        ("S prefix", "Cookie: S=s2~abc\r\n", Some("s2")),
        ("S prefix", "Cookie: S=abc\r\n", Some("abc")),
        ("S rewrite", "Cookie: S=s2\r\n", Some("s2")),
    ] {
        let found = cookie::read(&settings(line), &request(cookies), 1000);
        assert_eq!(found.server.as_deref(), want.map(str::as_bytes), "{line} {cookies}");
    }
}

#[test]
fn dates_in_a_cookie() {
    let s = settings("S insert maxidle 60 maxlife 1h");
    let now = 1_800_000_000;
    let set = |found: &Found, now| String::from_utf8(cookie::set(&s, "s1", found, now)).unwrap();
    let line = set(&Found::default(), now);
    let value = line.split(';').next().unwrap().to_owned();
    assert_eq!(line, format!("{value}; path=/"));
    // Two dates of five characters.
    assert_eq!(value.len(), "S=s1|aaaaa|aaaaa".len());
    let read = |now| cookie::read(&s, &request(&format!("Cookie: {value}\r\n")), now);
    for (later, good) in [(0, true), (59, true), (70, false), (4000, false)] {
        assert_eq!(read(now + later).server.is_some(), good, "{later}");
    }
    // A clock that was set back by more than a day.
    assert!(read(now - 90_000).server.is_none());
    assert!(read(now + 30).wants_new_dates(&s, now + 30));
    // The first date stays.
    let next = set(&read(now + 30), now + 30);
    assert_eq!(next.split(['|', ';']).nth(2), value.split('|').nth(2));
    // Dates nobody asked for any more are taken out.
    let plain = settings("S insert");
    assert!(read(now).wants_new_dates(&plain, now));
    for bad in ["S=s1|", "S=s1|abc", "S=s1|?????", "S=s1|AAAAA|"] {
        let found = cookie::read(&s, &request(&format!("Cookie: {bad}\r\n")), now);
        assert_eq!(found.server.as_deref(), Some(&b"s1"[..]), "{bad}");
    }
}

#[test]
fn what_servers_must_not_see() {
    for (line, cookies, want) in [
        ("S insert indirect", "Cookie: a=1; S=s2; b=2\r\n", "Cookie: a=1; b=2\r\n"),
        ("S insert indirect", "Cookie: S=s2\r\nCookie: S=x; c=3\r\n", "Cookie: c=3\r\n"),
        ("S insert", "Cookie: S=s2\r\n", "Cookie: S=s2\r\n"),
        ("S prefix", "Cookie: a=1; S=s2~abc\r\n", "Cookie: a=1; S=abc\r\n"),
        ("S prefix", "Cookie: S=abc\r\n", "Cookie: S=abc\r\n"),
    ] {
        let mut head = request(cookies);
        cookie::hide(&settings(line), &mut head);
        assert_eq!(head, request(want), "{line} {cookies}");
    }
}

#[test]
fn cookies_that_servers_set() {
    for (line, direct, becomes, want) in [
        ("S insert", false, b'D', "Set-Cookie: T=1\r\n"),
        ("S insert preserve", false, b'P', "Set-Cookie: S=x; Path=/a\r\nSet-Cookie: T=1\r\n"),
        ("S rewrite", false, b'R', "Set-Cookie: S=s1; Path=/a\r\nSet-Cookie: T=1\r\n"),
        ("S prefix", true, b'R', "Set-Cookie: S=s1~x; Path=/a\r\nSet-Cookie: T=1\r\n"),
        ("S", false, b'P', "Set-Cookie: S=x; Path=/a\r\nSet-Cookie: T=1\r\n"),
        (
            "S insert indirect preserve",
            true,
            b'P',
            "Set-Cookie: S=x; Path=/a\r\nSet-Cookie: T=1\r\n",
        ),
        ("S indirect", true, b'D', "Set-Cookie: T=1\r\n"),
    ] {
        let start = "HTTP/1.1 200 OK\r\n";
        let mut head =
            format!("{start}Set-Cookie: S=x; Path=/a\r\nSet-Cookie: T=1\r\n\r\n").into_bytes();
        let became = cookie::rewrite(&settings(line), "s1", direct, &mut head, 0);
        assert_eq!(char::from(became), char::from(becomes), "{line}");
        assert_eq!(String::from_utf8(head).unwrap(), format!("{start}{want}\r\n"), "{line}");
    }
    let mut none = b"HTTP/1.1 200 OK\r\nSet-Cookie: T=1\r\n\r\n".to_vec();
    let became = cookie::rewrite(&settings("S insert"), "s1", false, &mut none, 0);
    assert_eq!(became, cookie::NONE);
}

#[test]
fn attributes() {
    let s = settings("S insert httponly secure domain .a.org attr SameSite=Lax");
    let line = String::from_utf8(cookie::set(&s, "s1", &Found::default(), 0)).unwrap();
    assert_eq!(line, "S=s1; path=/; domain=.a.org; HttpOnly; Secure; SameSite=Lax");
}
