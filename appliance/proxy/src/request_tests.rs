use super::*;

const ORIGIN: Origin<'static> = Origin {
    forwarded_for: None,
    local: &|| SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 15), 80),
};

fn read(input: &[u8]) -> Result<(Request, String), Refused> {
    let (mut out, mut line) = (Vec::new(), Vec::new());
    match parse(input, ORIGIN, &mut out, &mut line)? {
        Parsed::Complete(request, len) => {
            // The verdict never depends on how the bytes arrive.
            for cut in 0..len {
                match parse(&input[..cut], ORIGIN, &mut Vec::new(), &mut line) {
                    Ok(Parsed::Partial) => {}
                    other => panic!("{:?} at {cut}: {other:?}", String::from_utf8_lossy(input)),
                }
            }
            Ok((request, String::from_utf8(out).unwrap()))
        }
        Parsed::Partial => panic!("{:?} is not whole", String::from_utf8_lossy(input)),
    }
}

fn get(extra: &str) -> Result<(Request, String), Refused> {
    read(format!("GET / HTTP/1.1\r\nHost: h\r\n{extra}\r\n").as_bytes())
}

fn post(extra: &str) -> Result<(Request, String), Refused> {
    read(format!("POST / HTTP/1.1\r\nHost: h\r\n{extra}\r\n").as_bytes())
}

#[test]
fn lengths_and_codings() {
    assert!(get("").unwrap().0.body.is_done());
    assert!(matches!(post("Content-Length: 5\r\n").unwrap().0.body, Body::Length(5)));
    assert!(matches!(post("Transfer-Encoding: chunked\r\n").unwrap().0.body, Body::Chunked(_)));
    for bad in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 1_0\r\n",
        "Content-Length: \r\n",
        "Content-Length: 0,\r\n",
        "Content-Length: 12345678901234567890\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: ,chunked\r\nContent-Length: 3\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: identity\r\n",
    ] {
        assert_eq!(post(bad).unwrap_err(), Refused::Bad, "{bad:?}");
    }
    assert_eq!(post("Transfer-Encoding: gzip, chunked\r\n").unwrap_err(), Refused::Coding);
    let old = b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(read(old).unwrap_err(), Refused::Bad);
}

#[test]
fn syntax() {
    for bad in [
        &b"GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\n Host: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n: v\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n[x]: v\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /#f HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/3.7\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1\r\nHost: h\r\n\r\n",
        b"GET / http/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.01\r\nHost: h\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
        b"GET /\r\n\r\n",
        b"G@T / HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        let text = String::from_utf8_lossy(bad);
        let refused = parse(bad, ORIGIN, &mut Vec::new(), &mut Vec::new());
        assert_eq!(refused.unwrap_err(), Refused::Bad, "{text:?}");
    }
    assert!(read(b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").is_ok());
    let (_, out) = read(b"GET / HTTP/1.1\nHost: h\nA: b\n\n").unwrap();
    assert_eq!(out, "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n");
}

#[test]
fn sizes() {
    let refused = |text: String| {
        parse(text.as_bytes(), ORIGIN, &mut Vec::new(), &mut Vec::new()).unwrap_err().status()
    };
    let field = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "a".repeat(20_000));
    assert_eq!(refused(field), 431);
    assert_eq!(refused(format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(30_000))), 414);
    assert_eq!(refused(format!("GET /{}", "a".repeat(9_000))), 414);
    assert_eq!(
        refused(format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(150))),
        431
    );
}

#[test]
fn hosts() {
    for bad in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@h/x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\n\r\n",
        "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET a/b HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(read(bad.as_bytes()).unwrap_err(), Refused::Bad, "{bad:?}");
    }
    assert_eq!(read(b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n").unwrap_err(), Refused::Method);
    for (input, line, host) in [
        ("GET http://H:80/p?q HTTP/1.1\r\nHost: h\r\n\r\n", "GET /p?q HTTP/1.1", "H"),
        ("GET http://h HTTP/1.1\r\nHost: h:80\r\n\r\n", "GET / HTTP/1.1", "h"),
        ("GET http://h?q HTTP/1.1\r\nHost: h\r\n\r\n", "GET /?q HTTP/1.1", "h"),
        ("OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * HTTP/1.1", "h"),
        ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * HTTP/1.1", "h"),
        ("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "GET / HTTP/1.1", "[::1]:8080"),
        ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1", "192.168.1.15:80"),
    ] {
        let (_, out) = read(input.as_bytes()).unwrap();
        assert!(out.starts_with(&format!("{line}\r\nHost: {host}\r\n")), "{input:?}: {out}");
    }
}

#[test]
fn fields_of_the_clients_connection_stay_there() {
    let (request, out) = get(
        "Connection: X-Priv, keep-alive\r\nX-Priv: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n\
         TE: trailers, gzip\r\nX-Pub: 2\r\nTransfer_Encoding: chunked\r\nX_A: 3\r\n",
    )
    .unwrap();
    let want =
        "GET / HTTP/1.1\r\nHost: h\r\nX-Pub: 2\r\nX_A: 3\r\nTE: trailers\r\nConnection: TE\r\n\r\n";
    assert_eq!(out, want);
    assert!(request.wants_trailers && request.keep_alive);
    // Naming what the message depends on removes nothing.
    let (_, out) = post("Connection: Host, Content-Length\r\nContent-Length: 5\r\n").unwrap();
    assert_eq!(out, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
}

#[test]
fn the_content_of_old_requests() {
    let old = |method: &str, length: u8| {
        let text = format!("{method} / HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
        read(text.as_bytes()).map(|_| ()).map_err(Refused::status)
    };
    for method in ["GET", "HEAD", "DELETE"] {
        assert_eq!((old(method, 0), old(method, 5)), (Ok(()), Err(413)), "{method}");
    }
    assert_eq!(old("POST", 5), Ok(()));
}

#[test]
fn keep_alive() {
    assert!(get("").unwrap().0.keep_alive);
    assert!(!get("Connection: close\r\n").unwrap().0.keep_alive);
    assert!(!read(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n").unwrap().0.keep_alive);
    let old = b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n";
    assert!(read(old).unwrap().0.keep_alive);
}

#[test]
fn upgrades() {
    let ws = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let (request, out) = get(ws).unwrap();
    assert!(request.upgrade && request.websocket);
    assert!(out.contains("Upgrade: websocket\r\nConnection: upgrade\r\n"));
    for key in ["", "Sec-WebSocket-Key: x\r\n"] {
        let keyless = format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{key}");
        assert_eq!(get(&keyless).unwrap_err(), Refused::Bad, "{key:?}");
    }
    let (request, out) =
        get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n")
            .unwrap();
    assert!(!request.upgrade);
    assert_eq!(out, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    // Without Connection: upgrade it is nothing the server may act on.
    let (request, out) = get("Upgrade: foo\r\n").unwrap();
    assert!(!request.upgrade && !out.contains("foo"));
}

#[test]
fn the_clients_address_comes_last() {
    let origin = Origin { forwarded_for: Some(Ipv4Addr::new(10, 0, 0, 7)), ..ORIGIN };
    let mut out = Vec::new();
    let input = b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nA: b\r\n\r\n";
    parse(input, origin, &mut out, &mut Vec::new()).unwrap();
    let want = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nA: b\r\n\
                X-Forwarded-For: 10.0.0.7\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), want);
}

#[test]
fn the_line_is_kept_for_the_log() {
    let mut line = Vec::new();
    parse(b"\r\nGET /x HTTP/9\r\n", ORIGIN, &mut Vec::new(), &mut line).unwrap_err();
    assert_eq!(line, b"GET /x HTTP/9");
}

#[test]
fn servers_never_see_the_admin_pages_session() {
    let (_, out) = get("Cookie: a=1; bramble_sid=secret; b=2\r\nCOOKIE: c=3\r\n").unwrap();
    assert_eq!(out, "GET / HTTP/1.1\r\nHost: h\r\nCookie: a=1; b=2\r\nCOOKIE: c=3\r\n\r\n");
    let (_, out) = get("Cookie: bramble_sid=secret\r\n").unwrap();
    assert_eq!(out, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
}
