//! The rules of RFC 3768, RFC 9568 and of working beside keepalived, one test each. The numbers
//! are those of the project's table of rules; unicast and IPv6 rules (35, part of 36) have none.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use model::status::{VrrpCounters, VrrpState};
use model::{Centiseconds, Cidr, Priority, Vrid, VrrpVersion};
use std::net::Ipv4Addr;
use std::time::Duration;
use vrrp::packet::{Datagram, GROUP, Outgoing};
use vrrp::{Config, FailoverError, Input, Link, Moment, Note, Output, Router};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 11);
const LOWER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const HIGHER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 200);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 100);
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 101);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn us(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn config(version: VrrpVersion, priority: u8, interval: u16) -> Config {
    Config {
        name: "VI_1".parse().unwrap(),
        interface: "eth0".to_owned(),
        version,
        virtual_router: Vrid::constant(77),
        priority: Priority::constant(priority),
        advert_interval: Centiseconds::constant(interval),
        preempt: true,
        preempt_delay: Duration::ZERO,
        addresses: vec![cidr("10.99.0.100/24")],
        auth: None,
        track_proxy: true,
        sole_backup: false,
        lowest_peer: None,
    }
}

fn v2(priority: u8) -> Config {
    config(VrrpVersion::V2, priority, 100)
}

fn v3(priority: u8, interval: u16) -> Config {
    config(VrrpVersion::V3, priority, interval)
}

/// A router with a clock that the test moves.
struct Bench {
    router: Router,
    now: Moment,
    present: Vec<Cidr>,
}

impl Bench {
    fn init(config: Config) -> Self {
        let now = Moment(Duration::from_secs(1000));
        Self { router: Router::new(config, true, now), now, present: vec![cidr("10.99.0.11/24")] }
    }

    fn started(config: Config) -> Self {
        let mut bench = Self::init(config);
        bench.link_up();
        bench
    }

    /// Became master by itself.
    fn master(config: Config) -> Self {
        let mut bench = Self::started(config);
        bench.run_out();
        assert_eq!(bench.state(), VrrpState::Master);
        // Let the announcements come to their end.
        for _ in 0..20 {
            bench.run_out();
        }
        bench
    }

    /// Follows a master of this priority.
    fn backup(config: Config, priority: u8) -> Self {
        let mut bench = Self::started(config);
        bench.hear(HIGHER, priority);
        assert_eq!(bench.state(), VrrpState::Backup);
        bench
    }

    fn input(&mut self, input: Input<'_>) -> Vec<Output> {
        let mut out = Vec::new();
        self.router.handle(input, self.now, &mut out);
        out
    }

    fn link_up(&mut self) -> Vec<Output> {
        let present = self.present.clone();
        self.input(Input::Interface(Link::Up(OWN), &present))
    }

    fn link_down(&mut self) -> Vec<Output> {
        self.input(Input::Interface(Link::Down("unplugged".to_owned()), &[]))
    }

    fn pdu(&self, priority: u8) -> Vec<u8> {
        let config = self.router.config();
        self.pdu_of(priority, config)
    }

    fn pdu_of(&self, priority: u8, config: &Config) -> Vec<u8> {
        let mut pdu = Vec::new();
        Outgoing {
            version: config.version,
            virtual_router: config.virtual_router.get(),
            priority,
            interval: config.advert_interval,
            addresses: &config.addresses,
            auth: config.auth.as_ref(),
        }
        .encode(HIGHER, &mut pdu);
        pdu
    }

    fn receive(&mut self, source: Ipv4Addr, pdu: &[u8]) -> Vec<Output> {
        self.input(Input::Datagram(Datagram { source, destination: GROUP, ttl: 255, payload: pdu }))
    }

    /// An advert as this router would send it, from elsewhere.
    fn hear(&mut self, source: Ipv4Addr, priority: u8) -> Vec<Output> {
        let config = self.router.config().clone();
        self.hear_like(source, priority, &config)
    }

    fn hear_like(&mut self, source: Ipv4Addr, priority: u8, config: &Config) -> Vec<Output> {
        let mut pdu = Vec::new();
        Outgoing {
            version: config.version,
            virtual_router: config.virtual_router.get(),
            priority,
            interval: config.advert_interval,
            addresses: &config.addresses,
            auth: config.auth.as_ref(),
        }
        .encode(source, &mut pdu);
        self.receive(source, &pdu)
    }

    fn wait(&mut self, span: Duration) -> &mut Self {
        self.now = self.now + span;
        self
    }

    fn timer(&mut self) -> Vec<Output> {
        self.input(Input::Timer)
    }

    /// Moves the clock to the next timeout and fires it.
    fn run_out(&mut self) -> Vec<Output> {
        self.now = self.router.next_timeout().unwrap();
        self.timer()
    }

    /// Time until the next timeout.
    fn due(&self) -> Option<Duration> {
        self.router.next_timeout().map(|at| at.since(self.now))
    }

    fn state(&self) -> VrrpState {
        self.router.state()
    }

    fn counters(&self) -> VrrpCounters {
        self.router.status(self.now).counters
    }

    fn holds(&self) -> bool {
        !self.router.installed().is_empty()
    }
}

fn advert(priority: u8) -> Output {
    Output::Advert { priority }
}

fn adverts(out: &[Output]) -> Vec<u8> {
    out.iter()
        .filter_map(|o| match o {
            Output::Advert { priority } => Some(*priority),
            _ => None,
        })
        .collect()
}

fn announcements(out: &[Output]) -> usize {
    out.iter().filter(|o| matches!(o, Output::Announce(_))).count()
}

#[test]
fn rule_1_the_owner_is_master_at_once() {
    let mut bench = Bench::init(v2(255));
    let out = bench.link_up();
    let expected =
        [Output::Add(VIP), Output::Announce(VIP), advert(255), Output::Entered(VrrpState::Master)];
    assert_eq!(out, expected);
    bench.run_out(); // +5 ms
    bench.run_out(); // +20 ms
    bench.run_out(); // +100 ms
    assert_eq!(adverts(&bench.run_out()), [255], "one interval after the first");
}

#[test]
fn rule_2_everyone_else_waits_a_down_interval_first() {
    let mut bench = Bench::init(v2(100));
    assert_eq!(bench.link_up(), [Output::Entered(VrrpState::Backup)]);
    assert_eq!(bench.due(), Some(us(3_609_375)));
    assert!(!bench.holds());
    let bench = Bench::started(v3(100, 10));
    assert_eq!(bench.due(), Some(Duration::from_nanos(360_937_500)));
}

#[test]
fn rule_2_a_floating_ip_left_by_a_killed_process_goes_first() {
    let mut bench = Bench::init(v2(100));
    bench.present.push(cidr("10.99.0.100/32"));
    assert_eq!(bench.link_up(), [Output::Remove(VIP), Output::Entered(VrrpState::Backup)]);
    // One with a network's prefix is the node's own, and stays.
    let mut bench = Bench::init(v2(100));
    bench.present.push(cidr("10.99.0.100/24"));
    assert_eq!(bench.link_up(), [Output::Entered(VrrpState::Backup)]);
}

#[test]
fn rule_3_init_hears_nothing() {
    let mut bench = Bench::init(v2(100));
    assert_eq!(bench.hear(HIGHER, 200), []);
    assert_eq!((bench.state(), bench.counters().received), (VrrpState::Init, 0));
}

#[test]
fn rule_4_a_silent_master_is_replaced() {
    let mut bench = Bench::backup(v2(100), 150);
    let out = bench.run_out();
    let expected =
        [Output::Add(VIP), Output::Announce(VIP), advert(100), Output::Entered(VrrpState::Master)];
    assert_eq!(out, expected);
    assert_eq!(bench.counters().became_master, 1);
}

#[test]
fn rule_5_a_farewell_leaves_the_skew() {
    let mut bench = Bench::backup(v2(100), 150);
    assert_eq!(bench.hear(HIGHER, 0), []);
    assert_eq!(bench.due(), Some(us(609_375)));
    let mut bench = Bench::backup(v3(100, 10), 150);
    bench.hear(HIGHER, 0);
    assert_eq!(bench.due(), Some(us(60_937) + Duration::from_nanos(500)));
}

#[test]
fn rule_5_the_sole_backup_does_not_wait() {
    let mut bench = Bench::backup(Config { sole_backup: true, ..v2(100) }, 150);
    assert_eq!(adverts(&bench.hear(LOWER, 0)), [0; 0], "a stranger's farewell proves nothing");
    assert_eq!(adverts(&bench.hear(HIGHER, 0)), [100]);
    assert_eq!(bench.state(), VrrpState::Master);
}

#[test]
fn rule_6_a_higher_or_equal_advert_restarts_the_timer() {
    for priority in [100, 101, 255] {
        let mut bench = Bench::backup(v2(100), 150);
        bench.wait(ms(2500));
        assert_eq!(bench.hear(LOWER, priority), []);
        assert_eq!(bench.due(), Some(us(3_609_375)));
        let status = bench.router.status(bench.now);
        assert_eq!((status.master, status.master_priority), (Some(LOWER), Some(priority)));
    }
}

#[test]
fn rule_7_a_lower_advert_lets_the_timer_run_on() {
    let mut bench = Bench::started(v2(100));
    bench.wait(ms(2500));
    assert_eq!(bench.hear(LOWER, 99), []);
    assert_eq!(bench.due(), Some(us(1_109_375)));
    assert_eq!(adverts(&bench.run_out()), [100]);
}

#[test]
fn rule_8_without_preempt_a_lower_advert_counts() {
    let mut bench = Bench::started(Config { preempt: false, ..v2(100) });
    bench.wait(ms(2500));
    bench.hear(LOWER, 99);
    assert_eq!(bench.due(), Some(us(3_609_375)));
}

#[test]
fn rule_9_preempt_delay_runs_from_the_first_lower_advert() {
    let config = Config { preempt_delay: Duration::from_secs(10), ..v2(100) };
    let mut bench = Bench::started(config);
    bench.hear(LOWER, 99);
    for _ in 0..9 {
        bench.wait(ms(1000)).hear(LOWER, 99);
        assert_eq!(bench.due(), Some(us(3_609_375)));
    }
    // A higher one in between starts it anew.
    bench.hear(HIGHER, 150);
    bench.hear(LOWER, 99);
    for _ in 0..9 {
        bench.wait(ms(1000)).hear(LOWER, 99);
    }
    assert_eq!(bench.due(), Some(us(3_609_375)));
    bench.wait(ms(1000)).hear(LOWER, 99);
    assert_eq!(bench.due(), Some(us(2_609_375)));
}

#[test]
fn rule_10_version_3_goes_by_the_master_s_interval() {
    let mut bench = Bench::started(v3(100, 100));
    let out = bench.hear_like(HIGHER, 150, &v3(150, 10));
    assert_eq!(out, [Output::Note(Note::OtherInterval(HIGHER, ms(100)))]);
    assert_eq!(bench.due(), Some(Duration::from_nanos(360_937_500)));
    assert_eq!(bench.hear_like(HIGHER, 150, &v3(150, 10)), [], "said once");
    // As master it uses its own again.
    bench.run_out();
    for _ in 0..3 {
        bench.run_out(); // announcements
    }
    assert_eq!(bench.due(), Some(ms(900)));
}

#[test]
fn rule_11_version_2_drops_another_interval() {
    let mut bench = Bench::backup(v2(100), 150);
    bench.wait(ms(2000));
    let other = config(VrrpVersion::V2, 150, 200);
    let out = bench.hear_like(HIGHER, 150, &other);
    assert_eq!(out, [Output::Note(Note::OtherInterval(HIGHER, ms(2000)))]);
    assert_eq!(bench.due(), Some(us(1_609_375)));
    assert_eq!((bench.counters().bad_interval, bench.counters().received), (1, 1));
}

#[test]
fn rule_12_a_backup_leaves_silently() {
    let mut bench = Bench::backup(v2(100), 150);
    let out = bench.input(Input::Stop { handover: true });
    assert_eq!(out, [Output::Entered(VrrpState::Init)]);
    assert_eq!(bench.due(), None);
    assert!(bench.router.is_stopped());
    assert_eq!(bench.link_up(), [], "and does not come back");
}

#[test]
fn rule_14_equal_priority_keeps_a_backup_a_backup() {
    for address in [LOWER, HIGHER] {
        let mut bench = Bench::started(v2(100));
        bench.hear(address, 100);
        assert_eq!((bench.state(), bench.due()), (VrrpState::Backup, Some(us(3_609_375))));
    }
}

#[test]
fn rule_15_adverts_do_not_drift() {
    let mut bench = Bench::master(v3(100, 10));
    let due = bench.router.next_timeout().unwrap();
    for n in 0..50 {
        bench.now = due + ms(100) * n + ms(7);
        assert_eq!(adverts(&bench.timer()), [100]);
        assert_eq!(bench.router.next_timeout(), Some(due + ms(100) * (n + 1)));
    }
}

#[test]
fn rule_16_a_farewell_of_another_master_is_answered() {
    let mut bench = Bench::master(v2(100));
    bench.wait(ms(300));
    let out = bench.hear(HIGHER, 0);
    assert_eq!(out, [Output::Announce(VIP), advert(100)]);
    assert_eq!(bench.state(), VrrpState::Master);
}

#[test]
fn rule_17_a_higher_advert_ends_a_master() {
    let mut bench = Bench::master(v2(100));
    let out = bench.hear(LOWER, 101);
    // The last advert makes the winner announce itself again.
    assert_eq!(out, [advert(100), Output::Entered(VrrpState::Backup)]);
    // The other one may need a moment to set the addresses.
    assert!(bench.holds());
    assert_eq!(bench.due(), Some(ms(10)));
    assert_eq!(bench.run_out(), [Output::Remove(VIP)]);
    assert_eq!(bench.due(), Some(us(3_599_375)));
    let mut bench = Bench::master(v3(100, 100));
    bench.hear_like(LOWER, 101, &v3(101, 10));
    bench.run_out();
    assert_eq!(bench.due(), Some(Duration::from_nanos(350_937_500)), "its interval");
}

#[test]
fn rule_18_the_higher_address_wins_a_tie() {
    let mut bench = Bench::master(v2(100));
    bench.hear(HIGHER, 100);
    assert_eq!(bench.state(), VrrpState::Backup);
}

#[test]
fn rule_19_the_lower_address_loses_a_tie_and_is_told() {
    let mut bench = Bench::master(v2(100));
    let out = bench.hear(LOWER, 100);
    assert_eq!((bench.state(), adverts(&out)), (VrrpState::Master, vec![100]));
}

#[test]
fn rule_20_a_lower_master_is_told_and_so_is_the_network() {
    let mut bench = Bench::master(v2(100));
    bench.wait(ms(300));
    let out = bench.hear(HIGHER, 99);
    let expected = [Output::Note(Note::Rival(HIGHER, 99)), Output::Announce(VIP), advert(100)];
    assert_eq!(out, expected);
}

#[test]
fn rule_20_a_flood_is_not_answered_packet_by_packet() {
    let mut bench = Bench::master(v2(100));
    let mut answers = 0;
    for _ in 0..1000 {
        answers += adverts(&bench.wait(us(100)).hear(HIGHER, 99)).len();
        while bench.router.next_timeout().is_some_and(|at| at <= bench.now) {
            answers += adverts(&bench.timer()).len();
        }
    }
    assert!((5..=12).contains(&answers), "{answers} answers in 100 ms");
    assert_eq!(bench.state(), VrrpState::Master);
}

#[test]
fn rule_21_a_master_serves_until_its_successor_has_spoken() {
    let mut bench = Bench::master(Config { lowest_peer: Some(Priority::constant(100)), ..v2(101) });
    assert_eq!(bench.input(Input::Stop { handover: true }), [advert(0)]);
    assert!(bench.holds());
    assert_eq!(bench.due(), Some(us(709_375)), "skew of the other and 100 ms");
    assert_eq!(bench.wait(ms(609)).hear(HIGHER, 100), [Output::Entered(VrrpState::Init)]);
    assert!(bench.holds() && !bench.router.is_stopped());
    assert_eq!(bench.due(), Some(ms(10)));
    assert_eq!(bench.run_out(), [Output::Remove(VIP)]);
    assert!(bench.router.is_stopped());
}

#[test]
fn rule_21_without_a_successor_a_master_leaves_all_the_same() {
    let mut bench = Bench::master(v2(101));
    bench.input(Input::Stop { handover: true });
    assert_eq!(bench.due(), Some(us(1_096_093) + Duration::from_nanos(750)));
    assert_eq!(bench.run_out(), [Output::Remove(VIP), Output::Entered(VrrpState::Init)]);
    assert!(bench.router.is_stopped());
}

#[test]
fn rule_21_in_a_hurry() {
    let mut bench = Bench::master(v2(101));
    let out = bench.input(Input::Stop { handover: false });
    assert_eq!(out, [advert(0), Output::Remove(VIP), Output::Entered(VrrpState::Init)]);
}

#[test]
fn rules_22_and_37_our_own_address_in_an_advert_moves_nothing() {
    let mut bench = Bench::master(v2(100));
    for priority in [0, 99, 100, 255] {
        let out = bench.hear(OWN, priority);
        assert_eq!(adverts(&out), [0; 0]);
        assert_eq!(bench.state(), VrrpState::Master);
    }
    assert_eq!(bench.counters().received, 0);
}

#[test]
fn rule_23_two_owners_are_reported_and_the_higher_address_wins() {
    let mut bench = Bench::master(v2(255));
    let out = bench.hear(LOWER, 255);
    assert!(out.contains(&Output::Note(Note::TwoOwners(LOWER))));
    assert_eq!(bench.state(), VrrpState::Master);
    bench.hear(HIGHER, 255);
    assert_eq!(bench.state(), VrrpState::Backup);
}

#[test]
fn rules_24_to_34_what_is_wrong_is_counted_and_changes_nothing() {
    let good = Bench::started(v2(100)).pdu(150);
    let v3_pdu = Bench::started(v3(100, 100)).pdu(150);
    let secret = Config { auth: Some(*b"1234\0\0\0\0"), ..v2(100) };
    let with_auth = Bench::started(v2(100)).pdu_of(150, &secret);
    let mut bad_sum = good.clone();
    bad_sum[6] ^= 1;
    let mut bad_type = good.clone();
    bad_type[0] = 0x22;
    let mut nothing = VrrpCounters::default();
    let mut none = |set: fn(&mut VrrpCounters)| {
        nothing = VrrpCounters::default();
        set(&mut nothing);
        nothing
    };
    let cases: [(&str, u8, &[u8], VrrpCounters); 8] = [
        ("rule 24: TTL", 254, &good, none(|c| c.bad_ttl = 1)),
        ("rule 25: version", 255, &v3_pdu, none(|c| c.bad_version = 1)),
        ("rule 26: type", 255, &bad_type, none(|c| c.bad_packet = 1)),
        ("rule 27: short", 255, &good[..19], none(|c| c.bad_packet = 1)),
        ("rule 27: empty", 255, &[], none(|c| c.bad_packet = 1)),
        ("rule 28: checksum", 255, &bad_sum, none(|c| c.bad_checksum = 1)),
        ("rule 34: password", 255, &with_auth, none(|c| c.bad_auth = 1)),
        ("accepted", 255, &good, none(|c| c.received = 1)),
    ];
    for (what, ttl, payload, expected) in cases {
        let mut bench = Bench::started(v2(100));
        bench.wait(ms(1000));
        let before = bench.router.next_timeout();
        let datagram = Datagram { source: HIGHER, destination: GROUP, ttl, payload };
        bench.input(Input::Datagram(datagram));
        assert_eq!(bench.counters(), expected, "{what}");
        let moved = bench.router.next_timeout() != before;
        assert_eq!(moved, expected.received == 1, "{what}");
    }
}

#[test]
fn rule_29_other_virtual_routers_are_not_even_counted() {
    let mut bench = Bench::started(v2(100));
    let other = Config { virtual_router: Vrid::constant(78), ..v2(100) };
    assert_eq!(bench.hear_like(HIGHER, 150, &other), []);
    assert_eq!(bench.counters(), VrrpCounters::default());
}

#[test]
fn rule_33_other_floating_ips_are_reported_and_accepted() {
    let mut bench = Bench::started(v2(100));
    let other = Config { addresses: vec![cidr("10.99.0.101/24")], ..v2(100) };
    bench.wait(ms(1000));
    let out = bench.hear_like(HIGHER, 150, &other);
    assert_eq!(out, [Output::Note(Note::OtherAddresses(HIGHER))]);
    assert_eq!(bench.due(), Some(us(3_609_375)));
    assert_eq!((bench.counters().received, bench.counters().address_mismatch), (1, 1));
}

#[test]
fn rule_34_the_same_password_is_accepted() {
    let secret = Config { auth: Some(*b"1234\0\0\0\0"), ..v2(100) };
    let mut bench = Bench::started(secret);
    bench.hear(HIGHER, 150);
    assert_eq!((bench.counters().received, bench.counters().bad_auth), (1, 0));
    bench.hear_like(HIGHER, 150, &v2(100));
    assert_eq!((bench.counters().received, bench.counters().bad_auth), (1, 1));
}

#[test]
fn rule_36_unicast_is_dropped() {
    let mut bench = Bench::started(v2(100));
    let pdu = bench.pdu(150);
    let datagram = Datagram { source: HIGHER, destination: OWN, ttl: 255, payload: &pdu };
    bench.input(Input::Datagram(datagram));
    assert_eq!(bench.counters().received, 0);
}

#[test]
fn rule_38_a_master_without_link_tries_a_farewell_and_lets_go() {
    let mut bench = Bench::master(v2(100));
    let out = bench.link_down();
    assert_eq!(out, [advert(0), Output::Remove(VIP), Output::Entered(VrrpState::Fault)]);
    assert_eq!(bench.due(), None);
    assert_eq!(bench.router.fault(), Some("unplugged"));
    assert_eq!(bench.hear(HIGHER, 99), [], "deaf while in FAULT");
}

#[test]
fn rule_39_a_fault_that_is_over_means_backup() {
    let mut bench = Bench::master(v2(100));
    bench.link_down();
    bench.wait(ms(5000));
    assert_eq!(bench.link_up(), [Output::Entered(VrrpState::Backup)]);
    assert_eq!(bench.due(), Some(us(3_609_375)));
}

#[test]
fn rule_40_a_load_balancer_that_fails_gives_the_floating_ip_up() {
    let mut bench = Bench::master(v2(100));
    let out = bench.input(Input::Tracked(false));
    assert_eq!(out, [advert(0), Output::Remove(VIP), Output::Entered(VrrpState::Fault)]);
    assert_eq!(bench.input(Input::Tracked(true)), [Output::Entered(VrrpState::Backup)]);
    // Not when the settings say it does not matter.
    let mut bench = Bench::master(Config { track_proxy: false, ..v2(100) });
    assert_eq!(bench.input(Input::Tracked(false)), []);
    bench.input(Input::Configure(v2(100)));
    assert_eq!(bench.state(), VrrpState::Fault, "the settings changed their mind");
}

#[test]
fn rule_41_a_stalled_master_that_heard_nobody_announces_itself() {
    let mut bench = Bench::master(v2(100));
    bench.wait(ms(6000));
    let out = bench.timer();
    assert!(matches!(out[..], [Output::Note(Note::Stalled(_)), Output::Announce(VIP), _]));
    assert_eq!(adverts(&out), [100]);
    // A short delay is nothing to talk about.
    let mut bench = Bench::master(v2(100));
    bench.wait(ms(1500));
    assert_eq!(bench.timer(), [advert(100)]);
}

#[test]
fn rule_41_a_stalled_master_that_was_replaced_asks_its_settings() {
    // Preempting, it takes the floating IP back.
    let mut bench = Bench::master(v2(100));
    bench.wait(ms(6000)).hear(HIGHER, 99);
    assert_eq!(bench.state(), VrrpState::Master);
    // Not preempting, or not yet, it is a backup now.
    for config in [
        Config { preempt: false, ..v2(100) },
        Config { preempt_delay: Duration::from_secs(10), ..v2(100) },
    ] {
        let mut bench = Bench::master(config);
        let out = bench.wait(ms(6000)).hear(HIGHER, 99);
        assert_eq!((bench.state(), adverts(&out)), (VrrpState::Backup, vec![]));
    }
}

#[test]
fn rule_41_a_stalled_backup_gives_the_master_one_more_interval() {
    let mut bench = Bench::backup(v2(100), 150);
    bench.wait(ms(6000));
    assert_eq!(adverts(&bench.timer()), [0; 0]);
    assert_eq!(bench.due(), Some(ms(1000)));
    assert_eq!(adverts(&bench.wait(ms(3000)).timer()), [100], "but only once");
}

#[test]
fn rule_42_announcements_are_repeated_after_a_rival() {
    let mut bench = Bench::master(v2(100));
    bench.wait(ms(300));
    let start = bench.now;
    assert_eq!(announcements(&bench.hear(HIGHER, 99)), 1);
    let mut at = Vec::new();
    while bench.now.since(start) < ms(7000) {
        if announcements(&bench.run_out()) > 0 {
            at.push(bench.now.since(start));
        }
    }
    assert_eq!(at, [ms(5), ms(20), ms(100), ms(1000), ms(5000)]);
}

#[test]
fn rule_42_a_loser_announces_nothing_more() {
    let mut bench = Bench::started(v2(100));
    bench.run_out();
    bench.hear(HIGHER, 150);
    while bench.state() == VrrpState::Backup {
        let out = bench.run_out();
        let still_backup = bench.state() == VrrpState::Backup;
        assert!(!still_backup || announcements(&out) == 0);
    }
}

#[test]
fn rule_43_a_reload_that_changes_nothing_is_silent() {
    let mut bench = Bench::master(v2(100));
    let before = bench.router.next_timeout();
    assert_eq!(bench.input(Input::Configure(v2(100))), []);
    assert_eq!(bench.router.next_timeout(), before);
}

#[test]
fn rule_43_a_reload_keeps_a_master_and_tells_the_others_at_once() {
    let mut bench = Bench::master(v2(100));
    assert_eq!(bench.input(Input::Configure(v2(90))), [advert(90)]);
    let other_number = Config { virtual_router: Vrid::constant(7), ..v2(90) };
    assert_eq!(bench.input(Input::Configure(other_number)), [advert(90)]);
    let both = Config {
        addresses: vec![cidr("10.99.0.100/24"), cidr("10.99.0.101/24")],
        ..bench.router.config().clone()
    };
    let out = bench.input(Input::Configure(both));
    assert_eq!(out, [Output::Add(SECOND), Output::Announce(SECOND), advert(90)]);
    let second =
        Config { addresses: vec![cidr("10.99.0.101/16")], ..bench.router.config().clone() };
    let out = bench.input(Input::Configure(second));
    assert_eq!(out, [Output::Remove(VIP), advert(90)], "the prefix does not matter");
    assert_eq!(bench.state(), VrrpState::Master);
}

#[test]
fn rule_43_a_backup_counts_by_the_new_interval() {
    let mut bench = Bench::backup(v2(100), 150);
    bench.wait(ms(3000));
    bench.input(Input::Configure(config(VrrpVersion::V2, 100, 200)));
    assert_eq!(bench.due(), Some(us(6_609_375)));
}

#[test]
fn an_address_taken_away_is_set_again_at_once_but_not_in_a_fight() {
    let mut bench = Bench::master(v2(100));
    bench.present.push(cidr("10.99.0.100/32"));
    assert_eq!(bench.link_up(), []);
    bench.present.pop();
    let out = bench.link_up();
    let expected = [Output::Add(VIP), Output::Announce(VIP), Output::Note(Note::Restored)];
    assert_eq!(out, expected);
    bench.wait(ms(1));
    assert_eq!(bench.link_up(), []);
    assert_eq!(bench.due(), Some(ms(4)), "the announcement's repeat");
    bench.run_out();
    assert_eq!(bench.due(), Some(ms(5)));
    assert_eq!(bench.run_out(), [Output::Add(VIP), Output::Announce(VIP)]);
}

#[test]
fn a_new_source_address_is_told_at_once() {
    let mut bench = Bench::master(v2(100));
    let present = [cidr("10.99.0.13/24"), cidr("10.99.0.100/32")];
    let out = bench.input(Input::Interface(Link::Up(Ipv4Addr::new(10, 99, 0, 13)), &present));
    assert_eq!(out, [advert(100)]);
}

#[test]
fn failover_on_a_master_hands_over_and_holds_back() {
    let mut bench = Bench::master(v2(101));
    assert_eq!(bench.input(Input::Failover), [advert(0)]);
    assert_eq!(bench.input(Input::Failover), [Output::Failover(Err(FailoverError::Busy))]);
    let out = bench.wait(ms(610)).hear(HIGHER, 100);
    let [Output::Entered(VrrpState::Backup), Output::Failover(Ok(report))] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!((report.holder, report.gap_ms), (HIGHER, 0.0));
    assert_eq!(bench.run_out(), [Output::Remove(VIP)]);
    assert!(bench.router.status(bench.now).held_back);
    for _ in 0..60 {
        bench.wait(ms(1000)).hear(HIGHER, 100);
        assert_eq!(bench.due(), Some(us(3_605_468) + Duration::from_nanos(750)));
    }
    // Until the other one dies.
    bench.run_out();
    assert_eq!(bench.state(), VrrpState::Master);
    assert!(!bench.router.status(bench.now).held_back);
}

#[test]
fn failover_without_another_node_keeps_the_floating_ip() {
    let config = Config { lowest_peer: Some(Priority::constant(100)), ..v2(101) };
    let mut bench = Bench::master(config);
    bench.input(Input::Failover);
    assert_eq!(bench.due(), Some(us(1_609_375)));
    let out = bench.run_out();
    let no_answer = Output::Failover(Err(FailoverError::NoAnswer));
    assert_eq!(out, [Output::Announce(VIP), advert(101), no_answer]);
    assert_eq!(bench.state(), VrrpState::Master);
    assert!(bench.holds());
}

#[test]
fn failover_on_a_backup_outbids_the_master_until_it_leaves() {
    let mut bench = Bench::backup(v2(100), 101);
    let out = bench.input(Input::Failover);
    assert_eq!(adverts(&out), [102]);
    let Some(Output::Failover(Ok(report))) = out.last() else { panic!("{out:?}") };
    assert_eq!((report.holder, report.gap_ms), (OWN, 0.0));
    let status = bench.router.status(bench.now);
    assert_eq!((status.priority.get(), status.effective_priority.get()), (100, 102));
    bench.hear(HIGHER, 101);
    assert_eq!(bench.state(), VrrpState::Master);
    bench.hear(HIGHER, 103);
    let status = bench.router.status(bench.now);
    assert_eq!((status.state, status.effective_priority.get()), (VrrpState::Backup, 100));
}

#[test]
fn failover_on_a_held_back_node_takes_the_floating_ip_back_with_its_own_priority() {
    let mut bench = Bench::master(v2(101));
    bench.input(Input::Failover);
    bench.hear(HIGHER, 100);
    assert_eq!(adverts(&bench.input(Input::Failover)), [101]);
    let status = bench.router.status(bench.now);
    assert_eq!((status.held_back, status.effective_priority.get()), (false, 101));
}

#[test]
fn failover_is_refused_where_it_cannot_work() {
    let mut bench = Bench::backup(v2(100), 255);
    let refused = bench.input(Input::Failover);
    assert_eq!(refused, [Output::Failover(Err(FailoverError::Owner))]);
    bench.link_down();
    let refused = bench.input(Input::Failover);
    let fault = FailoverError::Fault("unplugged".to_owned());
    assert_eq!(refused, [Output::Failover(Err(fault.clone()))]);
    let mut bench = Bench::master(v2(100));
    bench.input(Input::Failover);
    let out = bench.link_down();
    assert_eq!(out.first(), Some(&Output::Failover(Err(fault))));
    assert!(!bench.holds());
}

#[test]
fn noise_moves_no_router() {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u8::try_from(state >> 56).unwrap()
    };
    let mut bench = Bench::master(Config { auth: Some(*b"secret\0\0"), ..v2(100) });
    let good = bench.pdu(200);
    for _ in 0..50_000 {
        let mut pdu = good.clone();
        let at = usize::from(random()) % pdu.len();
        pdu[at] ^= random().max(1);
        pdu.truncate(usize::from(random()) % (pdu.len() + 1) + usize::from(random() % 2));
        if pdu == good {
            continue;
        }
        // One changed byte is always caught: by the checksum if by nothing else.
        bench.receive(HIGHER, &pdu);
        assert_eq!(bench.state(), VrrpState::Master);
    }
}
