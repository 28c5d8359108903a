//! What is served, and how the server sees it.

use crate::common::tls::{Tls, client};
use crate::common::{Proxy, Scripted, until};
use crate::raw::{END_HEADERS, END_STREAM, HEADERS, Raw, SETTINGS, WINDOW_UPDATE, block, frame};
use crate::visit::{ask, body, get, one, open, over, run};
use bytes::Bytes;
use http::{HeaderMap, Request};
use model::Rule;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn curl_speaks_it_and_the_server_sees_http_1() {
    let web = Scripted::echo();
    let mut settings = over(&[&web]);
    settings.frontends[0].forwardfor = true;
    let proxy = Proxy::start(settings);
    let url = format!("https://127.0.0.1:{}/p?q=1", proxy.port);
    let curl = |more: &[&str]| {
        let output = Command::new("curl")
            .args(["-sk", "--http2", "--max-time", "10", "-w", " %{http_version} %{http_code}"])
            .args(more)
            .arg(&url)
            .output()
            .unwrap_or_else(|e| panic!("the package curl must be installed: {e}"));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(curl(&["-H", "Cookie: a=1"]), "GET /p?q=1 HTTP/1.1 2 200");
    assert_eq!(curl(&["-d", "content"]), "POST /p?q=1 HTTP/1.1 2 200");
    assert!(curl(&["-I"]).ends_with(" 2 200"));
    assert_eq!(curl(&["--http1.1"]), "GET /p?q=1 HTTP/1.1 1.1 200");
    let seen = web.requests();
    let host = format!("\r\nhost: 127.0.0.1:{}\r\n", proxy.port);
    assert!(seen[0].to_lowercase().contains(&host), "{}", seen[0]);
    assert!(seen[0].contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"), "{}", seen[0]);
    assert!(seen[1].ends_with("\r\n\r\ncontent"), "{}", seen[1]);
    // As HAProxy logs it.
    until("it is logged", || proxy.handle.recent_log().len() == 4);
    let log = proxy.handle.recent_log();
    assert!(log[0].contains("] front~ back/s1 "), "{}", log[0]);
    assert!(log[0].trim_end().ends_with(&format!("\"GET {url} HTTP/2.0\"")), "{}", log[0]);
    let status = proxy.status();
    assert_eq!((status.frontends[0].traffic.stot, status.frontends[0].req_tot), (4, 4));
}

#[test]
fn without_http2_in_the_settings_it_is_not_offered() {
    let web = Scripted::echo();
    let mut settings = over(&[&web]);
    settings.frontends[0].http2 = false;
    let proxy = Proxy::start(settings);
    let config = client(rustls::ALL_VERSIONS, &["h2", "http/1.1"]);
    let tls = Tls::to(proxy.port, "a.example", &config).unwrap();
    assert_eq!(tls.io.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn a_hundred_streams_at_once_and_no_more() {
    let (now, most): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
    let web = Scripted::new({
        let (now, most) = (now.clone(), most.clone());
        move |peer| {
            while let Some(request) = peer.request() {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                if !request.starts_with("GET /first ") {
                    until("there are so many", || most.load(Ordering::SeqCst) >= 100);
                }
                now.fetch_sub(1, Ordering::SeqCst);
                let line = request.lines().next().unwrap().to_owned();
                peer.send(&format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{line}",
                    line.len()
                ));
            }
        }
    });
    let proxy = one(&web);
    run(async {
        let (send, _driver) = open(proxy.port).await;
        // By now it knows how many it may open; before, it would have some of them refused.
        ask(&send, get("/first")).await.unwrap();
        let asked = (0..150).map(|i| {
            let send = send.clone();
            tokio::spawn(async move { ask(&send, get(&format!("/{i}"))).await.unwrap().1 })
        });
        let asked: Vec<_> = asked.collect();
        for (i, answer) in asked.into_iter().enumerate() {
            assert_eq!(answer.await.unwrap(), format!("GET /{i} HTTP/1.1").into_bytes());
        }
    });
    let most = most.load(Ordering::SeqCst);
    assert_eq!(most, 100);
    let front = &proxy.status().frontends[0];
    assert_eq!((front.traffic.stot, front.req_tot), (1, 151));
}

#[test]
fn answers_without_content_and_interim_ones() {
    let web = Scripted::new(|peer| {
        while let Some(request) = peer.request() {
            let path = request.split(' ').nth(1).unwrap().to_owned();
            match path.as_str() {
                "/204" => peer.send("HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"),
                "/304" => peer.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
                "/hints" => {
                    peer.send("HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n");
                    std::thread::sleep(Duration::from_millis(100));
                    peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nKeep-Alive: timeout=5\r\n\r\nuntil the end");
                    return;
                }
                "/chunked" => peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"),
                "/empty" => peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                _ => peer.send("HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"),
            }
        }
    });
    let proxy = one(&web);
    run(async {
        let (send, _driver) = open(proxy.port).await;
        for (method, path, status, content, length) in [
            ("GET", "/204", 204, "", None),
            ("GET", "/304", 304, "", Some("9")),
            ("HEAD", "/head", 200, "", Some("77")),
            ("GET", "/chunked", 200, "abcdefg", None),
            ("GET", "/empty", 200, "", None),
            ("GET", "/hints", 200, "until the end", None),
        ] {
            let (response, all) = ask(&send, get(path).method(method)).await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{path}");
            assert_eq!(all, content.as_bytes(), "{path}");
            let said = response.headers().get("content-length").map(|v| v.to_str().unwrap());
            assert_eq!(said, length, "{path}");
            for name in ["connection", "keep-alive", "transfer-encoding"] {
                assert!(!response.headers().contains_key(name), "{name} for {path}");
            }
        }
    });
}

#[test]
fn bodies_and_trailers_pass_both_ways() {
    let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251).to_le_bytes()[0]).collect();
    let web = Scripted::new({
        let content = content.clone();
        move |peer| {
            while let Some(request) = peer.request() {
                let size = request.split_once("\r\n\r\n").unwrap().1.len();
                peer.send(&format!(
                    "HTTP/1.1 200 OK\r\nX-Size: {size}\r\nTransfer-Encoding: chunked\r\n\r\n"
                ));
                for piece in content.chunks(100_000) {
                    peer.send(&format!("{:x}\r\n", piece.len()));
                    let _ = peer.io.write_all(piece);
                    peer.send("\r\n");
                }
                peer.send("0\r\nX-Check: right\r\nContent-Length: 3\r\n\r\n");
            }
        }
    });
    let proxy = one(&web);
    run(async {
        let (send, _driver) = open(proxy.port).await;
        for known in [false, true] {
            let upload = vec![b'u'; 1_000_000];
            let mut request = get("/").method("POST").header("te", "trailers");
            if known {
                request = request.header("content-length", upload.len());
            }
            let mut ready = send.clone().ready().await.unwrap();
            let (response, mut out) = ready.send_request(request.body(()).unwrap(), false).unwrap();
            let sending = async {
                let mut left = Bytes::from(upload);
                while !left.is_empty() {
                    out.reserve_capacity(left.len());
                    let room = std::future::poll_fn(|cx| out.poll_capacity(cx)).await;
                    let room = room.unwrap().unwrap().min(left.len());
                    out.send_data(left.split_to(room), false).unwrap();
                }
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", "42".parse().unwrap());
                out.send_trailers(trailers).unwrap();
            };
            let receiving = async {
                let response = response.await.unwrap();
                let size: usize = response.headers()["x-size"].to_str().unwrap().parse().unwrap();
                (size, body(response.into_body()).await.unwrap())
            };
            let ((), (size, (got, trailers))) = tokio::join!(sending, receiving);
            assert!(got == content);
            let trailers = trailers.unwrap();
            assert_eq!(trailers["x-check"], "right");
            assert_eq!(trailers.len(), 1);
            // Chunks have sizes and line ends around them.
            assert!(if known { size == 1_000_000 } else { size > 1_000_000 }, "{size}");
        }
    });
    let seen = web.requests();
    assert!(seen[0].to_lowercase().contains("\r\ntransfer-encoding: chunked\r\n"));
    assert!(seen[0].ends_with("0\r\nx-sum: 42\r\n\r\n"), "{}", &seen[0][seen[0].len() - 60..]);
}

#[test]
fn rules_and_cookies_work_alike() {
    let web = Scripted::named("web");
    let mut settings = over(&[&web]);
    settings.backends[0].cookie = Some("SRV insert indirect nocache".parse().unwrap());
    settings.frontends[0].rules = [
        "http-request deny if { path_beg /secret }",
        "http-request redirect location https://new.example/ code 301 if { host old.example }",
        "http-request set-header X-Proto %[ssl_fc]",
        "http-response set-header X-Seen yes",
    ]
    .iter()
    .filter_map(|r| r.parse::<Rule>().ok())
    .collect();
    let proxy = Proxy::start(settings);
    run(async {
        let (send, _driver) = open(proxy.port).await;
        let (response, _) = ask(&send, get("/secret/x")).await.unwrap();
        assert_eq!(response.status().as_u16(), 403);
        let old = Request::builder().uri("https://old.example/");
        let (response, _) = ask(&send, old).await.unwrap();
        assert_eq!(response.status().as_u16(), 301);
        assert_eq!(response.headers()["location"], "https://new.example/");
        let (response, all) = ask(&send, get("/")).await.unwrap();
        assert_eq!((response.status().as_u16(), all), (200, b"web".to_vec()));
        assert_eq!(response.headers()["x-seen"], "yes");
        assert!(response.headers()["set-cookie"].to_str().unwrap().starts_with("SRV=s1"));
        let crumbs = get("/").header("cookie", "a=1").header("cookie", "SRV=s1");
        let (response, _) = ask(&send, crumbs.header("cookie", "b=2")).await.unwrap();
        assert!(!response.headers().contains_key("set-cookie"));
    });
    let last = web.requests().pop().unwrap().to_lowercase();
    assert!(last.contains("\r\ncookie: a=1; b=2\r\n"), "{last}");
}

#[test]
fn bad_requests_are_answered_and_counted() {
    let web = Scripted::echo();
    let proxy = one(&web);
    run(async {
        let (send, _driver) = open(proxy.port).await;
        let long = "a".repeat(9000);
        for (request, status) in [
            (get("/").header("host", "b.example"), 400),
            (get("/").header("x", "y".repeat(17_000)), 431),
            (get(&format!("/{long}")), 414),
            (get("/").header("content-length", "0, 0"), 400),
            (get("/").method("CONNECT"), 405),
        ] {
            let shown = format!("{request:?}");
            match ask(&send, request).await {
                Ok((response, _)) => assert_eq!(response.status().as_u16(), status, "{shown}"),
                // The protocol itself has refused it already.
                Err(e) => assert!(e.is_reset(), "{shown}: {e}"),
            }
            assert_eq!(ask(&send, get("/fine")).await.unwrap().0.status().as_u16(), 200);
        }
        // More than any head may be is refused by the protocol's own limit.
        let mut request = get("/");
        for i in 0..90 {
            request = request.header(format!("x-{i}"), "y".repeat(500));
        }
        assert_eq!(ask(&send, request).await.unwrap().0.status().as_u16(), 431);
        let mut request = get("/");
        for i in 0..120 {
            request = request.header(format!("x-{i}"), "y");
        }
        assert_eq!(ask(&send, request).await.unwrap().0.status().as_u16(), 431);
    });
    assert!(web.requests().iter().all(|r| r.starts_with("GET /fine ")));
    assert!(proxy.status().frontends[0].ereq >= 4);
    let log = proxy.handle.recent_log();
    let refused: Vec<_> = log.iter().filter(|l| l.contains(" PR-- ")).collect();
    assert!(refused[0].contains("<NOSRV>") && refused[0].contains(" 400 "), "{refused:?}");
}

#[test]
fn h2load_finds_no_failure() {
    let web = Scripted::named("hello");
    let proxy = one(&web);
    let output = Command::new("h2load")
        .args(["-n", "5000", "-c", "8", "-m", "20"])
        .arg(format!("https://127.0.0.1:{}/", proxy.port))
        .output()
        .unwrap_or_else(|e| panic!("the package nghttp2-client must be installed: {e}"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"), "{text}");
    assert!(text.contains("5000 2xx"), "{text}");
}

#[test]
fn who_reads_late_gets_everything() {
    // Sizes that fall on all sides of a record's and a frame's.
    let size = |stream: usize| 70_000 + stream * 331;
    let content = |stream: usize, at: usize| (stream + at % 251).to_le_bytes()[0];
    let web = Scripted::new(move |peer| {
        while let Some(request) = peer.request() {
            let stream = request.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            let all: Vec<u8> = (0..size(stream)).map(|at| content(stream, at)).collect();
            peer.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", all.len()));
            let _ = peer.io.write_all(&all);
        }
    });
    let proxy = one(&web);
    let mut raw = Raw::secure(proxy.port);
    raw.greet();
    let most = 0x7fff_ffff_u32.to_be_bytes();
    let mut out = frame(SETTINGS, 0, 0, &[&[0, 4][..], &most].concat());
    out.extend(frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
    let streams: Vec<u32> = (1..200).step_by(2).collect();
    for stream in &streams {
        let path = format!("/{stream}");
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a.example"),
            (":path", &path),
        ];
        out.extend(frame(HEADERS, END_HEADERS | END_STREAM, *stream, &block(&fields)));
    }
    raw.send(&out);
    // Ten megabytes: more than the sockets hold.
    until("all have been asked for", || web.requests().len() == streams.len());
    assert!(raw.read(|raw| streams.iter().all(|s| raw.answers.get(s).is_some_and(|a| a.ended))));
    for stream in streams {
        let (answer, stream) = (&raw.answers[&stream], usize::try_from(stream).unwrap());
        assert_eq!((answer.status, answer.reset), (Some(200), None), "stream {stream}");
        let right = answer.body.iter().enumerate().all(|(at, b)| *b == content(stream, at));
        assert!(right && answer.body.len() == size(stream), "stream {stream}");
    }
}
