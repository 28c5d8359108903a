//! Nothing is lost while settings change.

use crate::common::{Proxy, free_udp_port, server};
use crate::peers::{Echo, Visitor, led_to, udp};
use model::ServerState;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[test]
fn nothing_is_lost_while_the_settings_change() {
    const QUESTIONS: usize = 10_000;
    let (a, b) = (Echo::new("a"), Echo::new("b"));
    let mut proxy = Proxy::start(udp(vec![server("a", a.address), server("b", b.address)]));
    let port = proxy.port;
    let done = Arc::new(AtomicUsize::new(0));
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let done = done.clone();
            std::thread::spawn(move || {
                let mut lost = 0;
                for n in 0..QUESTIONS / 4 {
                    let text = n.to_string();
                    let visitor = Visitor::new(port);
                    visitor.say(&text);
                    let answer = visitor.hear(Duration::from_secs(2));
                    lost += usize::from(!answer.is_some_and(|a| a.ends_with(&text)));
                    done.fetch_add(1, Ordering::SeqCst);
                }
                lost
            })
        })
        .collect();
    let other = free_udp_port();
    let mut changes = 0;
    let end = Instant::now() + Duration::from_secs(120);
    while done.load(Ordering::SeqCst) < QUESTIONS && Instant::now() < end {
        changes += 1;
        proxy.change(|s| match changes % 5 {
            0 => s.backends[0].balance = "leastconn".parse().unwrap(),
            1 => s.frontends[0].name = format!("f{changes}").parse().unwrap(),
            // Another address comes and goes beside the one that is asked.
            2 => s.frontends[0].bind.push(format!("127.0.0.1:{other}").parse().unwrap()),
            3 => s.backends[0].servers[0].state = ServerState::Maint,
            _ => {
                s.backends[0].servers[0].state = ServerState::Ready;
                s.frontends[0].bind.truncate(1);
            }
        });
        std::thread::sleep(Duration::from_millis(20));
    }
    let lost: usize = askers.into_iter().map(|t| t.join().unwrap()).sum();
    println!("{QUESTIONS} questions, {changes} changes, {lost} lost");
    assert_eq!(lost, 0);
    assert!(changes > 10, "{changes}");
}

#[test]
fn a_place_can_go_and_come_back() {
    let echo = Echo::new("s");
    let mut all = udp(vec![server("s", echo.address)]);
    all.backends[0].udp_responses = None;
    let mut proxy = Proxy::start(all);
    let old = Visitor::new(proxy.port);
    old.ask("1");
    proxy.change(|s| s.frontends[0].enabled = false);
    // Who is there is served on, new ones are not.
    assert_eq!(old.ask("2"), "s 2");
    std::thread::sleep(Duration::from_millis(400));
    let new = Visitor::new(proxy.port);
    new.say("q");
    assert_eq!(new.hear(Duration::from_millis(200)), None);
    proxy.change(|s| s.frontends[0].enabled = true);
    assert!((0..20).all(|_| led_to(&proxy) == "s"));
    assert_eq!(old.ask("3"), "s 3");
}
