use crate::{Export, Journal, Severity};
use std::io::Write;
use std::net::UdpSocket;
use std::sync::mpsc::channel;
use std::time::Duration;
use tracing_subscriber::layer::SubscriberExt;

const PATIENCE: Duration = Duration::from_secs(10);

fn say(journal: &Journal, what: impl FnOnce()) {
    let subscriber = tracing_subscriber::registry().with(journal.layer());
    tracing::subscriber::with_default(subscriber, what);
}

fn last(journal: &Journal) -> String {
    journal.recent(1).pop().unwrap()
}

#[test]
fn events_become_lines() {
    let journal = Journal::new();
    say(&journal, || tracing::info!("node {} runs", 7));
    let line = last(&journal);
    assert!(line.ends_with(" INFO  journal::tests: node 7 runs"), "{line}");
    say(&journal, || tracing::warn!(target: "vrrp", peer = "a b", lost = 3, "no {}", "master"));
    let line = last(&journal);
    assert!(line.ends_with(" WARN  vrrp: no master peer=\"a b\" lost=3"), "{line}");
    say(&journal, || tracing::error!(code = 5));
    assert!(last(&journal).ends_with(" ERROR journal::tests:  code=5"), "{}", last(&journal));
    say(&journal, || tracing::debug!("two\nlines \u{1b}[31m"));
    assert!(last(&journal).ends_with("two\\nlines \\u{1b}[31m"), "{}", last(&journal));
    assert_eq!(journal.counters().lines, 4);
}

#[test]
fn a_secret_is_printed_masked() {
    let journal = Journal::new();
    let secret = model::Secret::new("correct horse battery");
    let network =
        model::WifiNetwork { passphrase: secret.clone(), ..model::WifiNetwork::default() };
    let (provision, _) = model::provision::read("password = \"correct horse battery\"\n");
    assert!(provision.password().is_some());
    say(&journal, || tracing::info!(?secret, ?network, ?provision, "joining with {secret:?}"));
    let line = last(&journal);
    assert!(line.contains("secret=Secret(***)"), "{line}");
    assert_eq!(line.matches("Secret(***)").count(), 4, "{line}");
    assert!(!line.contains("horse"), "{line}");
}

#[test]
fn a_value_that_speaks_while_it_is_printed() {
    struct Chatty;
    impl std::fmt::Debug for Chatty {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            tracing::info!("from within");
            f.write_str("chatty")
        }
    }
    let journal = Journal::new();
    say(&journal, || tracing::info!(value = ?Chatty, "outside"));
    let lines = journal.recent(9);
    assert!(lines.iter().any(|l| l.ends_with("outside value=chatty")), "{lines:?}");
}

#[test]
fn the_time_of_day_is_shown_once_it_is_known() {
    let journal = Journal::new();
    journal.line(Severity::Info, "t", "x");
    let boot: f64 = last(&journal).split_whitespace().next().unwrap().parse().unwrap();
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
    assert!((boot - uptime).abs() < 60.0, "{boot} {uptime}");
    assert!(!last(&journal).contains('Z'));
    journal.clock_is_set(true);
    journal.line(Severity::Info, "t", "x");
    assert!(last(&journal).contains("Z INFO  t: x") && last(&journal).contains(" 20"));
}

#[test]
fn memory_is_bounded_whatever_is_said() {
    let journal = Journal::with_room(64 * 1024);
    for number in 0..20_000 {
        journal.line(Severity::Info, "t", &format!("{number} {}", "x".repeat(number % 3000)));
    }
    let kept: usize = journal.recent(usize::MAX).iter().map(|l| l.len() + 1).sum();
    assert!((32 * 1024 - 2100..=64 * 1024).contains(&kept), "{kept}");
    assert!(last(&journal).contains(": 19999 x"));
}

#[tokio::test]
async fn a_live_tail_misses_nothing() {
    let journal = Journal::new();
    journal.line(Severity::Info, "t", "before");
    let mut watch = journal.watch();
    let mut next = *watch.borrow_and_update();
    let writer = journal.clone();
    let thread = std::thread::spawn(move || {
        for number in 0..1000 {
            writer.line(Severity::Info, "t", &format!("n{number}"));
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 1000 {
        tokio::time::timeout(PATIENCE, watch.wait_for(|n| *n > next)).await.unwrap().unwrap();
        let lines = journal.since(next, 100);
        assert_eq!(lines.missed, 0);
        next = lines.next;
        seen.extend(lines.lines);
    }
    thread.join().unwrap();
    for (number, line) in seen.iter().enumerate() {
        assert!(line.ends_with(&format!(": n{number}")), "{line}");
    }
}

#[test]
fn warnings_are_kept_and_the_rest_at_a_bounded_rate() {
    let device = tempfile::NamedTempFile::new().unwrap();
    let journal = Journal::new();
    journal.line(Severity::Error, "t", "too early");
    journal.keep(device.path()).unwrap();
    for number in 0..5000 {
        journal.line(Severity::Info, "t", &format!("chatter {number}"));
    }
    for number in 0..300 {
        journal.line(Severity::Warning, "t", &format!("grave {number}"));
    }
    let kept = std::fs::read_to_string(device.path()).unwrap();
    assert_eq!(kept.matches("WARN  t: grave").count(), 300);
    let chatter = kept.matches("chatter").count();
    assert!((200..2000).contains(&chatter), "{chatter}");
    let not_kept = usize::try_from(journal.counters().not_kept).unwrap();
    assert_eq!(not_kept + chatter, 5000);
    assert!(kept.ends_with(": grave 299\n") && !kept.contains("too early"));
}

#[test]
fn a_device_that_is_not_there_is_told() {
    let journal = Journal::new();
    let error = journal.keep("/nonexistent/pmsg0".as_ref()).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/pmsg0 cannot be opened: "), "{error}");
    assert!(journal.follow_kernel("/nonexistent/kmsg".as_ref(), |_| {}).is_err());
    // One that is full or gone is given up; the lines go on.
    journal.keep("/dev/full".as_ref()).unwrap();
    journal.line(Severity::Error, "t", "a");
    journal.line(Severity::Error, "t", "b");
    assert!(last(&journal).ends_with(": b"));
}

#[test]
fn the_kernels_lines_come_along() {
    // A pipe in packet mode hands out one record a read, as the device does.
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::DIRECT | rustix::pipe::PipeFlags::CLOEXEC)
            .unwrap();
    let mut writer = std::fs::File::from(writer);
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
    let journal = Journal::new();
    let mut watch = journal.watch();
    let (sender, seen) = channel();
    journal.follow_kernel(path.as_ref(), move |line| sender.send(line.clone()).unwrap()).unwrap();
    writer.write_all(b"4,1,5140900,-;mmcblk0: recovery failed!\n SUBSYSTEM=mmc\n").unwrap();
    writer.write_all(b"nonsense").unwrap();
    writer.write_all(b"14,2,6000000,-;from a program\n").unwrap();
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap().text, "mmcblk0: recovery failed!");
    assert!(!seen.recv_timeout(PATIENCE).unwrap().from_kernel);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, watch.wait_for(|n| *n >= 2)).await.unwrap().unwrap();
    });
    assert_eq!(
        journal.recent(9),
        [
            "     5.140 WARN  kernel: mmcblk0: recovery failed!",
            "     6.000 INFO  kmsg: from a program"
        ]
    );
}

#[test]
fn lines_are_sent_to_a_syslog_server_and_never_waited_for() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let journal = Journal::new();
    let export = Export { to: server.local_addr().unwrap(), host_name: "web01".into() };
    journal.export(Some(export)).unwrap();
    journal.line(Severity::Warning, "vrrp", "no master");
    let mut bytes = [0; 4096];
    let length = server.recv(&mut bytes).unwrap();
    let wanted = format!("<28>1 - web01 bramble {} vrrp - \u{feff}no master", std::process::id());
    assert_eq!(std::str::from_utf8(&bytes[..length]).unwrap(), wanted);
    journal.export(None).unwrap();
    journal.line(Severity::Warning, "vrrp", "unheard");
    server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(server.recv(&mut bytes).is_err());
    assert_eq!(journal.counters().not_sent, 0);
    // Nobody there: lines are lost and counted, or thrown away by the kernel; nothing waits.
    let nowhere = "127.0.0.1:9".parse().unwrap();
    journal.export(Some(Export { to: nowhere, host_name: String::new() })).unwrap();
    for _ in 0..50_000 {
        journal.line(Severity::Info, "t", "flood");
    }
    assert_eq!(journal.counters().lines, 50_002);
}

#[test]
fn a_panic_leaves_a_line() {
    let journal = Journal::new();
    journal.catch_panics();
    let _ = std::thread::spawn(|| panic!("on purpose")).join();
    let lines = journal.recent(9);
    assert!(
        lines.iter().any(|l| l.contains("ERROR panic: ") && l.contains("on purpose")),
        "{lines:?}"
    );
}
