//! `/metrics` against HAProxy's own exporter, and `/stats;csv` as a well-known client reads it.

use crate::browser::PASSWORD;
use crate::connections::served;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A program, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A page, as soon as somebody answers there.
fn fetch(port: u16, path: &str, more: &str) -> String {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Ok(mut io) = TcpStream::connect(("127.0.0.1", port)) {
            io.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let head = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n{more}\r\n");
            io.write_all(head.as_bytes()).unwrap();
            let mut text = String::new();
            io.read_to_string(&mut text).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(" 200 "), "{head}");
            let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
            return if chunked { whole(body) } else { body.to_owned() };
        }
        assert!(Instant::now() < end, "nobody listens at {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A body out of its chunks, which HAProxy's service sends to HTTP/1.0 as well.
fn whole(mut rest: &str) -> String {
    let mut all = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        all.push_str(&after[..size]);
        rest = &after[size + 2..];
        if size == 0 {
            break;
        }
    }
    all
}

/// A metric: its type, and the names of the labels its samples have.
#[derive(Debug, Default, PartialEq, Eq)]
struct Family {
    kind: String,
    labels: BTreeSet<Vec<String>>,
    values: BTreeMap<String, String>,
}

/// A strict reader of the text format: each metric is described once, before its samples, which
/// stand together; names, labels and values have their form.
fn read(text: &str) -> BTreeMap<String, Family> {
    let name = |n: &str| {
        !n.is_empty()
            && n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
            && !n.starts_with(|c: char| c.is_ascii_digit())
    };
    let mut all: BTreeMap<String, Family> = BTreeMap::new();
    let (mut helped, mut current) = (String::new(), String::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (of, words) = rest.split_once(' ').unwrap();
            assert!(name(of) && !words.trim().is_empty(), "{line}");
            assert!(!all.contains_key(of), "{of} is described twice");
            helped = of.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (of, kind) = rest.split_once(' ').unwrap();
            assert_eq!(of, helped, "the type follows the words");
            assert!(["gauge", "counter"].contains(&kind), "{line}");
            assert!(kind != "counter" || of.ends_with("_total"), "{line}");
            all.insert(of.to_owned(), Family { kind: kind.to_owned(), ..Family::default() });
            current = of.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (of, labels) = match series.split_once('{') {
                Some((of, rest)) => (of, rest.strip_suffix('}').unwrap()),
                None => (series, ""),
            };
            assert_eq!(of, current, "samples stand together: {line}");
            assert!(value == "NaN" || value.parse::<f64>().is_ok(), "{line}");
            let mut names = Vec::new();
            let mut rest = labels;
            while !rest.is_empty() {
                let (label, after) = rest.split_once("=\"").unwrap();
                assert!(name(label), "{line}");
                let end = after
                    .char_indices()
                    .scan(false, |escaped, (at, c)| {
                        let ends = c == '"' && !*escaped;
                        *escaped = c == '\\' && !*escaped;
                        Some((at, ends))
                    })
                    .find_map(|(at, ends)| ends.then_some(at))
                    .unwrap();
                names.push(label.to_owned());
                rest = after[end + 1..].trim_start_matches(',');
            }
            let family = all.get_mut(of).unwrap();
            family.labels.insert(names);
            let old = family.values.insert(series.to_owned(), value.to_owned());
            assert!(old.is_none(), "{series} twice");
        }
    }
    all
}

/// What HAProxy's exporter has and we have not, and why.
const NOT_OURS: &[(&str, &str)] = &[
    ("haproxy_process_pool_failures_total", "there are no pools of memory"),
    ("haproxy_process_pool_allocated_bytes", "there are no pools of memory"),
    ("haproxy_process_pool_used_bytes", "there are no pools of memory"),
    ("haproxy_process_max_memory_bytes", "memory is not limited by an option"),
    ("haproxy_process_max_fds", "bounded through the connections"),
    ("haproxy_process_max_sockets", "bounded through the connections"),
    ("haproxy_process_max_pipes", "pipes for splicing are kept by each thread, uncounted"),
    ("haproxy_process_pipes_used_total", "pipes for splicing are kept by each thread, uncounted"),
    ("haproxy_process_pipes_free_total", "pipes for splicing are kept by each thread, uncounted"),
    ("haproxy_process_spliced_bytes_out_total", "not told apart from other bytes"),
    ("haproxy_process_bytes_out_rate", "rate() of haproxy_process_bytes_out_total gives it"),
    ("haproxy_process_limit_connection_rate", "there is no such limit"),
    ("haproxy_process_limit_session_rate", "there is no such limit"),
    ("haproxy_process_http_comp_bytes_in_total", "there is no compression"),
    ("haproxy_process_http_comp_bytes_out_total", "there is no compression"),
    ("haproxy_process_limit_http_comp", "there is no compression"),
    ("haproxy_process_current_zlib_memory", "there is no compression"),
    ("haproxy_process_max_zlib_memory", "there is no compression"),
    ("haproxy_process_current_tasks", "tasks are tokio's"),
    ("haproxy_process_current_run_queue", "tasks are tokio's"),
    ("haproxy_process_idle_time_percent", "processor time is the board's metric"),
    ("haproxy_process_stopping", "a process that stops answers no more here"),
    ("haproxy_process_unstoppable_jobs", "there is no master process"),
    ("haproxy_process_active_peers", "stick tables travel with the cluster's own channel"),
    ("haproxy_process_connected_peers", "stick tables travel with the cluster's own channel"),
    ("haproxy_process_busy_polling_enabled", "there is none"),
    ("haproxy_process_failed_resolutions", "a server's name without address is in its status"),
    ("haproxy_process_recv_logs_total", "no logs are received"),
    ("haproxy_server_idle_connections_limit", "NaN in HAProxy as well where none is set"),
];

#[tokio::test]
async fn every_metric_of_haproxy_is_here_or_has_a_reason() {
    let port = free_port();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("haproxy.cfg");
    let config = format!(
        "defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n\
         frontend front\n bind 127.0.0.1:{port}\n\
         http-request use-service prometheus-exporter if {{ path /metrics }}\n default_backend back\n\
         backend back\n server s1 127.0.0.1:{port} check\n"
    );
    std::fs::write(&file, config).unwrap();
    let haproxy = Command::new("haproxy")
        .args(["-db", "-f"])
        .arg(&file)
        .stderr(Stdio::null())
        .spawn()
        .expect("the package haproxy must be installed");
    let _haproxy = Running(haproxy);
    let served = served().await;
    // What HAProxy writes as NaN where there is none.
    served.node.board.provide(|status| {
        for b in status.proxy.iter_mut().flat_map(|p| &mut p.backends) {
            let s = &mut b.servers[0];
            (s.maxconn, s.maxqueue, s.throttle) = (20, 10, Some(50));
            s.check.check_code = Some(200);
        }
    });
    let (theirs, ours) = tokio::task::spawn_blocking(move || {
        let basic = format!("Authorization: {}\r\n", crate::browser::basic(PASSWORD));
        (fetch(port, "/metrics", ""), fetch(served.at.port(), "/metrics", &basic))
    })
    .await
    .unwrap();
    let (theirs, ours) = (read_loosely(&theirs), read(&ours));
    let mut wrong = Vec::new();
    for (name, family) in &theirs {
        // TLS is counted where it is ended.
        let why = NOT_OURS.iter().find(|(n, _)| n == name);
        let tls = name.starts_with("haproxy_process_") && name.contains("ssl");
        match (ours.get(name), why) {
            (Some(own), None) => {
                if (&own.kind, &own.labels) != (&family.kind, &family.labels) {
                    wrong.push(format!(
                        "{name}: {} {:?}, HAProxy {} {:?}",
                        own.kind, own.labels, family.kind, family.labels
                    ));
                }
            }
            (None, Some(_)) => {}
            (None, None) if tls => {}
            (None, None) => wrong.push(format!("{name} is missing")),
            (Some(_), Some(_)) => wrong.push(format!("{name} is there after all")),
        }
    }
    for name in ours.keys().filter(|n| n.starts_with("haproxy_")) {
        if !theirs.contains_key(name) {
            wrong.push(format!("{name} is none of HAProxy's"));
        }
    }
    assert!(theirs.len() > 150, "{} metrics only", theirs.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// HAProxy's own text, which is not as strict: some counters do not end in `_total`.
fn read_loosely(text: &str) -> BTreeMap<String, Family> {
    let kept = text.replace("failed_resolutions counter", "failed_resolutions gauge");
    read(&kept)
}

#[tokio::test]
async fn only_what_is_asked_for() {
    let served = served().await;
    served.node.board.provide(|status| {
        for b in status.proxy.iter_mut().flat_map(|p| &mut p.backends) {
            b.servers[0].state = model::ServerState::Maint;
        }
    });
    let port = served.at.port();
    let get = |query: &'static str| async move {
        tokio::task::spawn_blocking(move || {
            let basic = format!("Authorization: {}\r\n", crate::browser::basic(PASSWORD));
            read(&fetch(port, &format!("/metrics{query}"), &basic))
        })
        .await
        .unwrap()
    };
    let all = get("").await;
    assert!(all.contains_key("bramble_build_info"));
    let servers = get("?scope=server").await;
    assert!(servers.keys().all(|n| n.starts_with("haproxy_server_")) && servers.len() > 30);
    let two = get("?scope=frontend&scope=global").await;
    let of = |n: &String| n.starts_with("haproxy_frontend_") || n.starts_with("haproxy_process_");
    assert!(two.keys().all(of) && two.len() > 30);
    let maint = |m: &BTreeMap<String, Family>| {
        m["haproxy_server_status"].values.keys().any(|k| k.contains("web01-eth"))
    };
    assert!(maint(&all) && !maint(&get("?no-maint").await));
}

/// Debian's prometheus-haproxy-exporter, the client most people have read HAProxy with.
#[tokio::test]
async fn a_well_known_client_reads_our_csv() {
    let served = served().await;
    served.node.board.provide(|status| {
        for b in status.proxy.iter_mut().flat_map(|p| &mut p.backends) {
            b.servers[0].health = model::status::Health::Down;
            b.servers[0].check.check_health = 1;
            b.servers[0].check.last_chk = "say \"no\", or\nnot".to_owned();
            b.servers[1].state = model::ServerState::Drain;
            b.servers[2].throttle = Some(12);
            b.queue.qcur = 3;
        }
    });
    let at = served.at;
    let password = PASSWORD.replace(' ', "%20");
    let port = free_port();
    let uri = format!("http://admin:{password}@{at}/stats;csv");
    let exporter = Command::new("prometheus-haproxy-exporter")
        .arg(format!("--haproxy.scrape-uri={uri}"))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stderr(Stdio::null())
        .spawn()
        .expect("the package prometheus-haproxy-exporter must be installed");
    let _exporter = Running(exporter);
    let (seen, csv) = tokio::task::spawn_blocking(move || {
        let basic = format!("Authorization: {}\r\n", crate::browser::basic(PASSWORD));
        (fetch(port, "/metrics", ""), fetch(at.port(), "/stats;csv", &basic))
    })
    .await
    .unwrap();
    let value = |series: &str| -> f64 {
        let line =
            seen.lines().find(|l| l.strip_prefix(series).is_some_and(|r| r.starts_with(' ')));
        let line = line.unwrap_or_else(|| panic!("no {series} in {seen}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert_eq!(value("haproxy_up"), 1.0);
    assert_eq!(value("haproxy_exporter_csv_parse_failures_total"), 0.0);
    let mut lines = csv.lines();
    let names: Vec<&str> = lines.next().unwrap()[2..].split(',').collect();
    let mut compared = 0;
    for line in lines {
        // What is looked at stands before the first text that may hold a comma.
        let row: Vec<&str> = line.split(',').collect();
        let at = |field: &str| row[names.iter().position(|n| *n == field).unwrap()];
        let proxy = at("pxname");
        for (field, metric, of) in [
            ("scur", "current_sessions", "FBS"),
            ("smax", "max_sessions", "FBS"),
            ("stot", "sessions_total", "FBS"),
            ("bin", "bytes_in_total", "FBS"),
            ("bout", "bytes_out_total", "FBS"),
            ("slim", "limit_sessions", "F"),
            ("dreq", "requests_denied_total", "F"),
            ("ereq", "request_errors_total", "F"),
            ("qcur", "current_queue", "BS"),
            ("qmax", "max_queue", "BS"),
            ("econ", "connection_errors_total", "BS"),
            ("eresp", "response_errors_total", "BS"),
            ("wretr", "retry_warnings_total", "BS"),
            ("wredis", "redispatch_warnings_total", "BS"),
            ("weight", "weight", "BS"),
            ("act", "current_server", "B"),
            ("rate", "current_session_rate", "FBS"),
            ("rate_max", "max_session_rate", "FBS"),
            ("chkfail", "check_failures_total", "S"),
        ] {
            let (letter, word, labels) = match at("svname") {
                "FRONTEND" => ('F', "frontend", format!("frontend=\"{proxy}\"")),
                "BACKEND" => ('B', "backend", format!("backend=\"{proxy}\"")),
                server => ('S', "server", format!("backend=\"{proxy}\",server=\"{server}\"")),
            };
            if of.contains(letter) {
                let told = value(&format!("haproxy_{word}_{metric}{{{labels}}}"));
                assert_eq!(told, at(field).parse::<f64>().unwrap(), "{proxy} {field}");
                compared += 1;
            }
        }
        let up = !["DOWN", "MAINT", "NOLB"].iter().any(|w| at("status").starts_with(w));
        let series = match at("svname") {
            "FRONTEND" => continue,
            "BACKEND" => format!("haproxy_backend_up{{backend=\"{proxy}\"}}"),
            server => format!("haproxy_server_up{{backend=\"{proxy}\",server=\"{server}\"}}"),
        };
        assert_eq!(value(&series), f64::from(u8::from(up)), "{series}");
        compared += 1;
    }
    assert!(compared > 80, "{compared}");
}
