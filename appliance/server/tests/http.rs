//! What a visitor gets: cases S1 to S17 of the web server, over real sockets.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::as_conversions,
    reason = "a test"
)]

mod common;

use common::{Reply, Visitor, Web, put, set_time, site};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const TEXT: &str = "abcdefghijklmnopqrstuvwxyz\n";

fn web() -> Web {
    let web = Web::start();
    web.file("abc.txt", TEXT);
    web
}

#[test]
fn a_file_comes_with_everything_that_describes_it() {
    let web = web();
    let got = web.get("/abc.txt", &[]);
    assert_eq!((got.status, got.text()), (200, TEXT));
    assert_eq!(got.get("content-type"), "text/plain; charset=utf-8");
    assert_eq!(got.get("content-length"), "27");
    assert_eq!(got.get("accept-ranges"), "bytes");
    assert_eq!(got.get("x-content-type-options"), "nosniff");
    assert_eq!(got.get("vary"), "accept-encoding");
    assert!(got.get("etag").starts_with('"') && got.get("etag").ends_with('"'));
    let date = httpdate::parse_http_date(got.get("date")).unwrap();
    let modified = httpdate::parse_http_date(got.get("last-modified")).unwrap();
    let age = date.duration_since(modified).unwrap().as_secs();
    assert!((3599..=3660).contains(&age), "{age}");

    let head = web.ask("HEAD", "/abc.txt", &[]);
    let plain = |r: &Reply| {
        let mut h = r.headers.clone();
        h.retain(|(n, _)| n != "date");
        h.sort();
        h
    };
    assert_eq!(head.status, 200);
    assert_eq!(plain(&head), plain(&got));
    // No body: the next response on the connection is in its place.
    let mut visitor = web.connect();
    visitor.ask("HEAD", "/abc.txt", &[]);
    assert_eq!(visitor.ask("GET", "/abc.txt", &[]).text(), TEXT);
}

#[test]
fn a_file_from_the_future_was_last_modified_now() {
    let web = web();
    let path = web.file("future.txt", "x");
    set_time(&path, SystemTime::now() + Duration::from_secs(86_400));
    let got = web.get("/future.txt", &[]);
    let date = httpdate::parse_http_date(got.get("date")).unwrap();
    let modified = httpdate::parse_http_date(got.get("last-modified")).unwrap();
    assert!(modified <= date + Duration::from_secs(1), "{modified:?} {date:?}");
    // And one from before 1970 does not confuse anybody.
    set_time(&path, UNIX_EPOCH - Duration::from_secs(10));
    let got = web.get("/future.txt", &[]);
    assert_eq!((got.status, got.get("last-modified")), (200, "Thu, 01 Jan 1970 00:00:00 GMT"));
}

#[test]
fn conditions() {
    let web = web();
    let first = web.get("/abc.txt", &[]);
    let (tag, date) = (first.get("etag").to_owned(), first.get("last-modified").to_owned());
    let now = httpdate::fmt_http_date(SystemTime::now());
    let old = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    for (lines, want) in [
        (vec![format!("If-None-Match: {tag}")], 304),
        (vec![format!("If-None-Match: W/{tag}")], 304),
        (vec![format!("If-None-Match: \"x\", {tag}")], 304),
        (vec!["If-None-Match: *".into()], 304),
        (vec!["If-None-Match: \"x\"".into()], 200),
        (vec!["If-None-Match: \"x\"".into(), format!("If-Modified-Since: {now}")], 200),
        (vec![format!("If-Modified-Since: {date}")], 304),
        (vec![format!("If-Modified-Since: {now}")], 304),
        (vec![format!("If-Modified-Since: {old}")], 200),
        (vec!["If-Modified-Since: rubbish".into()], 200),
        (vec![format!("If-Match: {tag}")], 200),
        (vec!["If-Match: \"x\"".into()], 412),
        (vec![format!("If-Match: W/{tag}")], 412),
        (vec![format!("If-Unmodified-Since: {date}")], 200),
        (vec![format!("If-Unmodified-Since: {old}")], 412),
        (vec!["If-Match: \"x\"".into(), format!("If-None-Match: {tag}")], 412),
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(web.get("/abc.txt", &lines).status, want, "{lines:?}");
        assert_eq!(web.ask("HEAD", "/abc.txt", &lines).status, want, "HEAD {lines:?}");
    }
    // A condition on what is not there changes nothing.
    assert_eq!(web.get("/none", &["If-None-Match: *"]).status, 404);
    assert_eq!(web.get("/none", &["If-Match: *"]).status, 404);
}

#[test]
fn a_304_has_no_body_and_keeps_the_connection_in_step() {
    let web = web();
    let mut visitor = web.connect();
    let tag = visitor.ask("GET", "/abc.txt", &[]).get("etag").to_owned();
    for _ in 0..3 {
        let same = visitor.ask("GET", "/abc.txt", &[&format!("If-None-Match: {tag}")]);
        assert_eq!(same.status, 304);
        assert_eq!(same.get("etag"), tag);
        assert_eq!(same.get("vary"), "accept-encoding");
        assert!(same.header("date").is_some() && same.header("content-type").is_none());
        assert_eq!(visitor.ask("GET", "/abc.txt", &[]).text(), TEXT);
    }
}

#[test]
fn ranges() {
    let web = web();
    web.file("empty.txt", "");
    for (range, want, text) in [
        ("bytes=0-0", "bytes 0-0/27", "a"),
        ("bytes=3-5", "bytes 3-5/27", "def"),
        ("bytes=20-", "bytes 20-26/27", "uvwxyz\n"),
        ("bytes=-3", "bytes 24-26/27", "yz\n"),
        ("bytes=25-99", "bytes 25-26/27", "z\n"),
        ("bytes=2-3,99-", "bytes 2-3/27", "cd"),
    ] {
        let got = web.get("/abc.txt", &[&format!("Range: {range}")]);
        assert_eq!((got.status, got.get("content-range"), got.text()), (206, want, text));
        assert_eq!(got.get("content-length"), text.len().to_string());
        assert_eq!(got.get("content-type"), "text/plain; charset=utf-8");
        assert!(got.header("etag").is_some() && got.header("last-modified").is_some());
    }
    for range in ["bytes=5-2", "bytes=x", "items=0-1", "bytes=", "bytes=0-,1-"] {
        let got = web.get("/abc.txt", &[&format!("Range: {range}")]);
        assert_eq!((got.status, got.text()), (200, TEXT), "{range}");
    }
    let beyond = web.get("/abc.txt", &["Range: bytes=27-"]);
    assert_eq!((beyond.status, beyond.get("content-range")), (416, "bytes */27"));
    assert_eq!(web.get("/empty.txt", &["Range: bytes=0-"]).status, 200);
    assert_eq!(web.ask("HEAD", "/abc.txt", &["Range: bytes=0-1"]).status, 200);
    assert_eq!(web.get("/abc.txt", &["Range: bytes=0-1", "Range: bytes=2-3"]).status, 200);
    let many: Vec<String> = (0..2000).map(|i| format!("{i}-{i}")).collect();
    assert_eq!(web.get("/abc.txt", &[&format!("Range: bytes={}", many.join(","))]).status, 200);
}

#[test]
fn several_ranges_are_parts_with_exact_boundaries() {
    let web = web();
    let got = web.get("/abc.txt", &["Range: bytes=0-1, 10-12 ,-1"]);
    assert_eq!(got.status, 206);
    let kind = got.get("content-type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |range: &str, text: &str| {
        format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Range: bytes {range}/27\r\n\r\n{text}\r\n"
        )
    };
    let want = part("0-1", "ab") + &part("10-12", "klm") + &part("26-26", "\n");
    assert_eq!(got.text(), format!("{want}--{boundary}--\r\n"));
    assert!(got.header("content-range").is_none());
}

#[test]
fn if_range() {
    let web = web();
    let first = web.get("/abc.txt", &[]);
    for (validator, want) in [
        (first.get("etag").to_owned(), 206),
        (format!("W/{}", first.get("etag")), 200),
        ("\"x\"".to_owned(), 200),
        (first.get("last-modified").to_owned(), 206),
        ("Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), 200),
        ("rubbish".to_owned(), 200),
    ] {
        let lines = ["Range: bytes=1-2", &format!("If-Range: {validator}")];
        assert_eq!(web.get("/abc.txt", &lines).status, want, "{validator}");
    }
    // Without a range there is nothing to be conditional about.
    assert_eq!(web.get("/abc.txt", &["If-Range: \"x\""]).status, 200);
}

#[test]
fn precompressed_siblings() {
    let web = web();
    web.file("p.js", "plain");
    web.file("p.js.gz", "gzipped");
    web.file("p.js.br", "brotli");
    web.file("i.png", "image");
    web.file("i.png.gz", "never");
    let stale = web.file("s.js.gz", "stale");
    set_time(&stale, common::hour_ago() - Duration::from_secs(60));
    web.file("s.js", "fresh");
    fs::create_dir(web.root().join("d.js.gz")).unwrap();
    web.file("d.js", "plain");
    let coded = |target: &str, accept: &str| {
        let got = web.get(target, &[&format!("Accept-Encoding: {accept}")]);
        let coding = got.header("content-encoding").unwrap_or("-").to_owned();
        (got.status, coding, got.text().to_owned())
    };
    for (target, accept, coding, text) in [
        ("/p.js", "", "-", "plain"),
        ("/p.js", "gzip", "gzip", "gzipped"),
        ("/p.js", "gzip, br", "br", "brotli"),
        ("/p.js", "gzip;q=0", "-", "plain"),
        ("/p.js", "br;q=0, *", "gzip", "gzipped"),
        ("/p.js", "identity;q=0, gzip", "gzip", "gzipped"),
        ("/p.js", "identity;q=0", "-", "plain"),
        ("/s.js", "gzip", "-", "fresh"),
        ("/d.js", "gzip", "-", "plain"),
        ("/i.png", "gzip", "-", "image"),
        ("/p.js.gz", "gzip", "-", "gzipped"),
    ] {
        let want = (200, coding.to_owned(), text.to_owned());
        assert_eq!(coded(target, accept), want, "{target} {accept}");
    }
    let plain = web.get("/p.js", &[]);
    let gzip = web.get("/p.js", &["Accept-Encoding: gzip"]);
    let br = web.get("/p.js", &["Accept-Encoding: br"]);
    for got in [&plain, &gzip, &br] {
        assert_eq!(got.get("vary"), "accept-encoding");
        assert_eq!(got.get("content-type"), "text/javascript; charset=utf-8");
    }
    assert_ne!(plain.get("etag"), gzip.get("etag"));
    assert_ne!(br.get("etag"), gzip.get("etag"));
    let again = ["Accept-Encoding: gzip", &format!("If-None-Match: {}", gzip.get("etag"))];
    assert_eq!(web.get("/p.js", &again).status, 304);
    let other = ["Accept-Encoding: br", &format!("If-None-Match: {}", gzip.get("etag"))];
    assert_eq!(web.get("/p.js", &other).status, 200);
    let part = web.get("/p.js", &["Accept-Encoding: gzip", "Range: bytes=0-1"]);
    assert_eq!((part.status, part.text(), part.get("etag")), (206, "gz", gzip.get("etag")));
}

#[test]
fn a_file_replaced_during_a_download_is_sent_to_its_old_end() {
    let web = web();
    let old: Vec<u8> = (0..60_000_000_u32).map(|i| (i % 251) as u8).collect();
    let path = web.file("big.bin", &old);
    let mut visitor = web.connect();
    visitor.send(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = visitor.head().unwrap();
    let mut body = vec![0; 100_000];
    visitor.0.read_exact(&mut body).unwrap();
    put(&web.root().join("new.bin"), b"new");
    fs::rename(web.root().join("new.bin"), &path).unwrap();
    let now = web.get("/big.bin", &[]);
    assert_eq!(now.text(), "new");
    assert_ne!(now.get("etag"), head.get("etag"));
    let mut rest = vec![0; old.len() - body.len()];
    visitor.0.read_exact(&mut rest).unwrap();
    body.extend(rest);
    assert!(body == old);
}

#[test]
fn a_file_truncated_during_a_download_ends_the_connection() {
    let web = web();
    // More than the kernel buffers between two sockets.
    let path = web.file("big.bin", vec![b'x'; 80_000_000]);
    let mut visitor = web.connect();
    visitor.send(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = visitor.head().unwrap();
    assert_eq!(head.get("content-length"), "80000000");
    fs::File::options().write(true).open(&path).unwrap().set_len(1000).unwrap();
    let body = visitor.rest();
    assert!(body.len() < 80_000_000, "{}", body.len());
    assert!(body.iter().all(|b| *b == b'x'));
}

#[test]
fn paths_that_lead_nowhere() {
    let web = web();
    fs::write(web.dir.path().join("secret.txt"), "secret").unwrap();
    web.file("a/b.txt", "b");
    web.file(".git/config", "secret");
    web.file(".htpasswd", "secret");
    web.file("index.php~", "secret");
    web.file("db.bak", "secret");
    web.file(".well-known/security.txt", "mail us");
    for (target, want) in [
        ("/abc.txt", 200),
        ("/a/b.txt", 200),
        ("/a//b.txt", 200),
        ("//a/./b.txt", 200),
        ("/%61/b.txt?x=/../..", 200),
        ("/.well-known/security.txt", 200),
        ("/a/b.txt/", 404),
        ("/a/b.txt/c", 404),
        ("/a%2fb.txt", 404),
        ("/a%5cb.txt", 404),
        ("/../secret.txt", 404),
        ("/a/../../secret.txt", 404),
        ("/%2e%2e/secret.txt", 404),
        ("/..%2fsecret.txt", 404),
        ("/%c0%ae%c0%ae/secret.txt", 404),
        ("/..;/secret.txt", 404),
        ("/abc.txt;x", 404),
        ("/abc.txt%00.html", 400),
        ("/%zz", 400),
        ("/%", 400),
        ("/.git/config", 404),
        ("/.htpasswd", 404),
        ("/index.php~", 404),
        ("/db.bak", 404),
        ("/a/", 404),
        ("/none", 404),
    ] {
        let got = web.get(target, &[]);
        assert_eq!(got.status, want, "{target}");
        assert!(!got.text().contains("secret"), "{target}");
        assert!(got.status == 200 || !got.text().contains(&web.dir.path().display().to_string()));
    }
    assert_eq!(web.get(&format!("/{}", "a".repeat(300)), &[]).status, 404);
    assert_eq!(web.get(&format!("/{}", "a/".repeat(4000)), &[]).status, 404);
    assert_eq!(web.get(&format!("/{}", "a".repeat(9000)), &[]).status, 414);
    assert_eq!(web.get(&format!("/?{}", "a".repeat(9000)), &[]).status, 414);
}

#[test]
fn links_and_other_things_in_the_tree() {
    let web = web();
    let root = web.root();
    fs::write(web.dir.path().join("secret.txt"), "secret").unwrap();
    web.file("d/x.txt", "x");
    symlink("abc.txt", root.join("in.txt")).unwrap();
    symlink(root.join("abc.txt"), root.join("absolute.txt")).unwrap();
    symlink("d", root.join("dir")).unwrap();
    symlink("../secret.txt", root.join("out.txt")).unwrap();
    symlink("/etc/passwd", root.join("passwd.txt")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("loop.txt", root.join("loop.txt")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe.txt"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket.txt")).unwrap();
    let closed = web.file("closed.txt", "secret");
    fs::set_permissions(closed, fs::Permissions::from_mode(0o600)).unwrap();
    for (target, want) in [
        ("/in.txt", 200),
        ("/absolute.txt", 200),
        ("/dir/x.txt", 200),
        ("/out.txt", 404),
        ("/passwd.txt", 404),
        ("/up/secret.txt", 404),
        ("/up", 404),
        ("/loop.txt", 404),
        ("/pipe.txt", 404),
        ("/socket.txt", 404),
        ("/closed.txt", 403),
    ] {
        let got = web.get(target, &[]);
        assert_eq!(got.status, want, "{target}");
        assert!(!got.text().contains("secret") && !got.text().contains("root:"), "{target}");
    }
}

#[test]
fn directories() {
    let web = web();
    web.file("d/index.html", "front");
    web.file("d e/index.htm", "second name");
    web.file("bare/x.txt", "x");
    web.file("evil.com/index.html", "good");
    fs::create_dir_all(web.root().join("odd/index.html")).unwrap();
    for (target, location) in [
        ("/d", "d/"),
        ("/d?a=1&b=%2F", "d/?a=1&b=%2F"),
        ("/d%20e", "d%20e/"),
        ("/bare", "bare/"),
        ("//evil.com", "evil.com/"),
    ] {
        let got = web.get(target, &["X-Forwarded-Host: evil"]);
        assert_eq!((got.status, got.get("location")), (301, location), "{target}");
    }
    assert_eq!(web.get("//evil.com/%2e%2e", &[]).status, 404);
    assert_eq!(web.get("/d/", &[]).text(), "front");
    assert_eq!(web.get("/d/", &[]).get("content-type"), "text/html; charset=utf-8");
    assert_eq!(web.get("/d%20e/?x", &[]).text(), "second name");
    assert_eq!(web.get("/bare/", &[]).status, 404);
    assert_eq!(web.get("/odd/", &[]).status, 404);
    assert_eq!(web.get("/", &[]).status, 404);
    web.file("index.html", "home");
    assert_eq!(web.get("/", &[]).text(), "home");
}

#[test]
fn an_empty_site_says_so() {
    let web = Web::start();
    let got = web.get("/", &[]);
    assert_eq!(got.status, 404);
    assert!(got.text().contains("no files yet") && got.text().contains("<code>site/</code>"));
    assert!(!web.get("/x", &[]).text().contains("no files yet"));
    web.file(".rsync-under-way", "x");
    assert!(web.get("/", &[]).text().contains("no files yet"));
    web.file("x.txt", "x");
    assert!(!web.get("/", &[]).text().contains("no files yet"));
    fs::remove_dir_all(web.root()).unwrap();
    assert!(web.get("/", &[]).text().contains("no files yet"));
    assert_eq!(web.get("/x.txt", &[]).status, 404);
    // And comes back with the directory.
    web.file("x.txt", "x");
    assert_eq!(web.get("/x.txt", &[]).status, 200);
}

#[test]
fn methods() {
    let web = web();
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        let got = web.ask(method, "/abc.txt", &["Content-Length: 0"]);
        assert_eq!((got.status, got.get("allow")), (405, "GET, HEAD, OPTIONS"), "{method}");
    }
    for method in ["BREW", "PROPFIND", "get", "X"] {
        assert_eq!(web.ask(method, "/abc.txt", &[]).status, 501, "{method}");
    }
    for target in ["/abc.txt", "*"] {
        let got = web.ask("OPTIONS", target, &[]);
        assert_eq!((got.status, got.get("allow")), (204, "GET, HEAD, OPTIONS"));
        assert!(got.header("content-length").is_none());
    }
    assert_eq!(web.status("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"), 405);
}

#[test]
fn a_body_nobody_wants_is_drained_or_the_connection_ends() {
    let web = web();
    let mut visitor = web.connect();
    visitor.send(b"GET /abc.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(visitor.reply(false).text(), TEXT);
    visitor.send(b"GET /abc.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nGET");
    assert_eq!(visitor.reply(false).text(), TEXT);
    // Too much to drain: answered all the same, and nothing of it is taken for a request.
    let mut visitor = web.connect();
    visitor.send(b"POST /abc.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    assert_eq!(visitor.reply(false).status, 405);
    let junk = vec![b'x'; 1 << 20];
    for _ in 0..90 {
        if visitor.0.write_all(&junk).is_err() {
            break;
        }
    }
    assert!(visitor.rest().is_empty());
    // A visitor who listens only after having sent everything still hears the answer.
    let mut visitor = web.connect();
    visitor.send(b"POST /abc.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 3145728\r\n\r\n");
    for _ in 0..3 {
        visitor.0.write_all(&junk).unwrap();
    }
    assert_eq!(visitor.reply(false).status, 405);
    assert!(visitor.is_closed());
}

#[test]
fn expectations() {
    let web = web();
    let answer = web.raw(
        b"POST /abc.txt HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    );
    let text = String::from_utf8(answer).unwrap();
    assert!(text.starts_with("HTTP/1.1 405 "), "{text}");
}

#[test]
fn hosts() {
    let web = Web::with(|port| {
        vec![
            site("default", &[], port),
            site("a", &["a.org", "*.a.org"], port),
            site("b", &["b.org"], port),
        ]
    });
    for name in ["a", "b"] {
        put(&web.dir.path().join(format!("sites/{name}/index.html")), name.as_bytes());
    }
    web.file("index.html", "default");
    for (host, want) in [
        ("a.org", "a"),
        ("A.Org:8080", "a"),
        ("a.org.", "a"),
        ("x.a.org", "a"),
        ("b.org", "b"),
        ("c.org", "default"),
        ("127.0.0.1", "default"),
        ("[::1]:80", "default"),
        ("", "default"),
    ] {
        let mut visitor = web.connect();
        visitor.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(visitor.reply(false).text(), want, "{host}");
    }
    let mut visitor = web.connect();
    visitor.send(b"GET http://a.org/ HTTP/1.1\r\nHost: b.org\r\n\r\n");
    assert_eq!(visitor.reply(false).text(), "a");
    for bad in ["", "Host: a.org\r\nHost: a.org\r\n", "Host: a b\r\n", "Host: a/b\r\n"] {
        assert_eq!(web.status(&format!("GET / HTTP/1.1\r\n{bad}\r\n")), 400, "{bad}");
    }
}

#[test]
fn http_1_0() {
    let web = web();
    let answer = String::from_utf8(web.raw(b"GET /abc.txt HTTP/1.0\r\n\r\n")).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 ") && answer.ends_with(TEXT), "{answer}");
    let mut visitor = web.connect();
    visitor.send(b"GET /abc.txt HTTP/1.0\r\n\r\n");
    visitor.reply(false);
    assert!(visitor.is_closed());
    let mut visitor = web.connect();
    for _ in 0..3 {
        visitor.send(b"GET /abc.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let got = visitor.reply(false);
        assert_eq!((got.text(), got.get("connection")), (TEXT, "keep-alive"));
    }
    let mut visitor = web.connect();
    assert_eq!(visitor.ask("GET", "/abc.txt", &["Connection: close"]).get("connection"), "close");
    assert!(visitor.is_closed());
}

#[test]
fn a_hundred_requests_at_once_come_back_in_order() {
    let web = web();
    for i in 0..100 {
        web.file(&format!("f{i}.txt"), format!("file {i}"));
    }
    let mut visitor = web.connect();
    let all: String =
        (0..100).map(|i| format!("GET /f{i}.txt HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    visitor.send(all.as_bytes());
    for i in 0..100 {
        assert_eq!(visitor.reply(false).text(), format!("file {i}"));
    }
}

#[test]
fn two_lengths_are_refused_and_the_connection_ends() {
    let web = web();
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "GET /abc.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
        "GET /abc.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        "GET /abc.txt HTTP/1.1\r\nHost: a\r\nContent-Length: -4\r\n\r\n",
        "GET /abc.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET /abc.txt HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let follow = "GET /abc.txt HTTP/1.1\r\nHost: a\r\n\r\n";
        let answer = web.raw(format!("{request}{follow}").as_bytes());
        let text = String::from_utf8(answer).unwrap();
        assert!(text.starts_with("HTTP/1.1 400 "), "{request} got {text}");
        assert_eq!(text.matches("HTTP/1.").count(), 1, "{request} got {text}");
    }
    // In two pieces, cut within the name.
    let mut visitor = web.connect();
    visitor.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConte");
    std::thread::sleep(Duration::from_millis(50));
    visitor.send(b"nt-Length: 4\r\n\r\n0\r\n\r\n");
    assert_eq!(visitor.reply(false).status, 400);
    // One of them alone is fine.
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(web.status(chunked), 405);
}

#[test]
fn heads_that_are_too_large() {
    let web = web();
    assert_eq!(web.get("/abc.txt", &[&format!("X: {}", "a".repeat(70_000))]).status, 431);
    let many: Vec<String> = (0..200).map(|i| format!("X{i}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(web.get("/abc.txt", &many).status, 431);
}

#[test]
fn types() {
    let web = web();
    for (name, want) in [
        ("a.html", "text/html; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.wasm", "application/wasm"),
        ("a.JPG", "image/jpeg"),
        ("a.avif", "image/avif"),
        ("a.woff2", "font/woff2"),
        ("a", "application/octet-stream"),
    ] {
        web.file(name, "x");
        assert_eq!(web.get(&format!("/{name}"), &[]).get("content-type"), want);
    }
}

#[test]
fn two_nodes_with_the_same_copy_are_one_to_a_visitor() {
    let (one, two) = (Web::start(), Web::start());
    let at = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let content: Vec<u8> = (0..300_000_u32).map(|i| (i % 253) as u8).collect();
    for web in [&one, &two] {
        let path = web.file("big.bin", &content);
        set_time(&path, at);
    }
    let (a, b) = (one.get("/big.bin", &[]), two.get("/big.bin", &[]));
    for name in ["etag", "last-modified", "content-type", "content-length", "accept-ranges"] {
        assert_eq!(a.get(name), b.get(name));
    }
    // Half from one, the rest from the other.
    let lines = ["Range: bytes=150000-", &format!("If-Range: {}", a.get("etag"))];
    let rest = two.get("/big.bin", &lines);
    assert_eq!(rest.status, 206);
    assert!([&content[..150_000], &rest.body].concat() == content);
    let since = format!("If-None-Match: {}", a.get("etag"));
    assert_eq!(two.get("/big.bin", &[&since]).status, 304);
    // A nanosecond apart is another version.
    set_time(&two.root().join("big.bin"), at + Duration::from_nanos(1));
    assert_eq!(two.get("/big.bin", &lines).status, 200);
}

#[test]
fn sizes_around_the_borders_arrive_whole() {
    let web = web();
    for size in [0, 1, 4095, 65_535, 65_536, 65_537, 131_072, 131_073, 1_000_000] {
        let content: Vec<u8> = (0..size).map(|i: u32| (i % 241) as u8).collect();
        web.file("s.bin", &content);
        let got = web.get("/s.bin", &[]);
        assert!(got.body == content, "{size}");
        if size > 100_000 {
            let part = web.get("/s.bin", &["Range: bytes=10-99999"]);
            assert!(part.body == content[10..100_000], "{size}");
            let parts = web.get("/s.bin", &["Range: bytes=0-70000,80000-80009"]);
            assert_eq!(parts.get("content-length"), parts.body.len().to_string());
            assert!(parts.body.windows(10).any(|w| w == &content[80_000..80_010]));
        }
    }
}

#[test]
fn garbage_is_answered_or_dropped_and_harms_nobody() {
    let web = web();
    let mut seed = 42_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let valid =
        b"GET /abc.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\nIf-None-Match: \"x\"\r\n\r\n";
    for round in 0..400 {
        let mut bytes: Vec<u8> = if round % 2 == 0 {
            (0..random() % 600).map(|_| random() as u8).collect()
        } else {
            valid.to_vec()
        };
        for _ in 0..random() % 6 {
            if !bytes.is_empty() {
                let at = random() as usize % bytes.len();
                bytes[at] = random() as u8;
            }
        }
        web.raw(&bytes);
    }
    web.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    web.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert_eq!(web.get("/abc.txt", &[]).text(), TEXT);
    let counted = web.handle.counters();
    assert!(counted.malformed > 100, "{counted:?}");
    assert_eq!(counted.faults, 0);
}

#[test]
fn a_name_swapped_under_load_never_leads_outside() {
    let web = web();
    fs::write(web.dir.path().join("secret.txt"), "secret").unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (name, spare) = (web.root().join("x.txt"), web.root().join("spare"));
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                fs::write(&spare, "fine").unwrap();
                fs::rename(&spare, &name).unwrap();
                symlink("../secret.txt", &spare).unwrap();
                fs::rename(&spare, &name).unwrap();
            }
        });
        let mut visitor = web.connect();
        let (mut served, mut refused) = (0, 0);
        for _ in 0..100_000 {
            let got = visitor.ask("GET", "/x.txt", &[]);
            match got.status {
                200 => {
                    // Empty: between being made and being written.
                    assert!(got.text() == "fine" || got.text().is_empty());
                    served += 1;
                }
                404 | 503 => refused += 1,
                other => panic!("{other}"),
            }
            if served > 1000 && refused > 1000 {
                break;
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(served > 100 && refused > 100, "{served} {refused}");
    });
}

#[test]
fn error_pages_are_small_and_tell_nothing() {
    let web = web();
    for target in ["/none%3Cscript%3E", "/.git", "/%zz"] {
        let got = web.get(target, &[]);
        assert_eq!(got.get("content-type"), "text/html; charset=utf-8");
        assert_eq!(got.get("x-content-type-options"), "nosniff");
        assert!(got.body.len() < 400 && !got.text().contains("script"));
        let head = web.ask("HEAD", target, &[]);
        assert_eq!(head.get("content-length"), got.get("content-length"));
    }
}

#[test]
fn a_half_closed_visitor_still_gets_the_answer() {
    let web = web();
    web.file("big.bin", vec![b'x'; 3_000_000]);
    let answer = web.raw(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.len() > 3_000_000, "{}", answer.len());
    let mut gone = Visitor::to(web.address());
    gone.send(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(gone);
    assert_eq!(web.get("/abc.txt", &[]).status, 200);
}
