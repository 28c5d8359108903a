use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 8];

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A client, a clock, and what it sent last.
struct Bench {
    client: Client,
    now: Duration,
    sent: Vec<Output>,
}

impl Bench {
    fn new(hint: Option<Ipv4Addr>) -> Self {
        let client = Client::new(MAC, None, hint, Chance::seeded(3));
        Self { client, now: secs(1000), sent: Vec::new() }
    }

    fn plugged(hint: Option<Ipv4Addr>) -> Self {
        let mut bench = Self::new(hint);
        bench.carrier(true);
        bench
    }

    fn carrier(&mut self, on: bool) {
        self.sent = self.client.carrier(on, self.now);
    }

    /// To the next moment at which something is due.
    fn next(&mut self) {
        self.now = self.client.due().expect("nothing is due").max(self.now);
        self.sent = self.client.tick(self.now);
    }

    fn ask(&self) -> &Message {
        match &self.sent[..] {
            [Output::Broadcast(message) | Output::Unicast(message, _), ..] => message,
            other => panic!("no question: {other:?}"),
        }
    }

    fn answer(&mut self, kind: Kind, edit: impl FnOnce(&mut Message)) {
        let mut message = Message {
            yiaddr: ip(77),
            prefix: Some(24),
            routers: vec![ip(1)],
            dns: vec![ip(1)],
            server: Some(ip(1)),
            lease: Some(3600),
            ..Message::new(kind, self.client.xid, MAC)
        };
        edit(&mut message);
        self.sent = self.client.message(&message, self.now);
    }

    fn probes(&mut self) {
        for _ in 0..PROBES {
            assert_eq!(self.sent, [Output::Arp(Arp::probe(MAC, ip(77)))]);
            assert_eq!(self.client.lease(), None, "not before it is known to be free");
            self.next();
        }
    }

    fn bound() -> Self {
        let mut bench = Self::plugged(None);
        bench.next();
        bench.answer(Kind::Offer, |_| {});
        bench.answer(Kind::Ack, |_| {});
        bench.probes();
        assert_eq!(bench.address(), Some(ip(77)));
        bench
    }

    fn address(&self) -> Option<Ipv4Addr> {
        self.client.lease().map(|l| l.address.addr())
    }
}

#[test]
fn four_messages_and_three_probes_to_an_address() {
    let mut bench = Bench::plugged(None);
    bench.client.set_host_name(Some("web01".to_owned()));
    bench.next();
    let discover = bench.ask().clone();
    assert_eq!((discover.kind, discover.requested), (Kind::Discover, None));
    assert_eq!(discover.host_name.as_deref(), Some("web01"));
    assert_eq!(discover.client_id, Some(vec![1, 2, 0, 0, 0, 0, 7]));
    bench.answer(Kind::Offer, |_| {});
    let request = bench.ask();
    assert_eq!((request.kind, request.xid), (Kind::Request, discover.xid));
    assert_eq!((request.requested, request.server), (Some(ip(77)), Some(ip(1))));
    assert_eq!(request.ciaddr, Ipv4Addr::UNSPECIFIED);
    bench.answer(Kind::Ack, |_| {});
    bench.probes();
    let lease = bench.client.lease().unwrap();
    assert_eq!((lease.router, &lease.dns), (Some(ip(1)), &vec![ip(1)]));
    assert_eq!(bench.client.due(), lease.renew);
    assert_eq!(bench.client.asking_since(), None);
}

#[test]
fn questions_become_rare_and_never_stop() {
    let mut bench = Bench::plugged(None);
    bench.next();
    let begun = bench.now;
    let mut last = bench.now;
    for n in 0..40 {
        bench.next();
        assert_eq!(bench.ask().kind, Kind::Discover);
        let pause = bench.now - last;
        let usual = secs(2 << n.min(5));
        assert!(pause >= usual - JITTER && pause <= usual + JITTER, "{n}: {pause:?}");
        last = bench.now;
    }
    assert_eq!(u64::from(bench.ask().secs), (bench.now - bench.client.begun).as_secs());
    assert!(bench.client.asking_since().unwrap() <= begun);
}

#[test]
fn messages_for_others_and_out_of_turn_change_nothing() {
    let mut bench = Bench::plugged(None);
    bench.next();
    bench.answer(Kind::Offer, |m| m.xid ^= 1);
    assert_eq!(bench.sent, []);
    bench.answer(Kind::Offer, |m| m.mac = OTHER);
    assert_eq!(bench.sent, []);
    bench.answer(Kind::Ack, |_| {});
    assert_eq!(bench.sent, []);
    bench.answer(Kind::Offer, |m| m.yiaddr = ip(255));
    assert_eq!(bench.sent, [], "an offer of nothing");
    bench.answer(Kind::Offer, |_| {});
    bench.answer(Kind::Ack, |m| m.server = Some(ip(2)));
    assert_eq!(bench.sent, [], "from a server that was not asked");
    bench.answer(Kind::Nak, |m| m.server = Some(ip(2)));
    assert_eq!(bench.sent, []);
    bench.answer(Kind::Ack, |_| {});
    assert_eq!(bench.sent.len(), 1);
}

#[test]
fn a_server_that_offers_and_falls_silent_is_given_up() {
    let mut bench = Bench::plugged(None);
    bench.next();
    bench.answer(Kind::Offer, |_| {});
    for _ in 1..REQUESTS {
        bench.next();
        assert_eq!(bench.ask().kind, Kind::Request);
    }
    bench.next();
    assert_eq!(bench.ask().kind, Kind::Discover);
}

#[test]
fn an_address_somebody_has_is_declined() {
    for owner in [Arp::announcement(OTHER, ip(77)), Arp::probe(OTHER, ip(77))] {
        let mut bench = Bench::plugged(None);
        bench.next();
        bench.answer(Kind::Offer, |_| {});
        bench.answer(Kind::Ack, |_| {});
        assert_eq!(bench.client.watched(), [ip(77)]);
        let own = Arp::probe(MAC, ip(77));
        assert_eq!(bench.client.arp(&own, bench.now), [], "its own probe, sent back");
        bench.sent = bench.client.arp(&owner, bench.now);
        let decline = bench.ask();
        assert_eq!((decline.kind, decline.requested), (Kind::Decline, Some(ip(77))));
        assert_eq!((decline.server, decline.ciaddr), (Some(ip(1)), Ipv4Addr::UNSPECIFIED));
        let before = bench.now;
        bench.next();
        assert!(bench.now - before >= AFTER_DECLINE);
        assert_eq!((bench.ask().kind, bench.ask().requested), (Kind::Discover, None));
    }
}

#[test]
fn a_lease_is_renewed_by_its_server_and_then_by_anybody() {
    let mut bench = Bench::bound();
    let lease = bench.client.lease().unwrap().clone();
    bench.next();
    assert_eq!(Some(bench.now), lease.renew);
    assert!(matches!(&bench.sent[..], [Output::Unicast(m, to)]
        if m.ciaddr == ip(77) && m.requested.is_none() && m.server.is_none() && *to == ip(1)));
    // Unanswered: again, ever sooner, until anybody is asked.
    let mut unicasts = 1;
    while bench.now < lease.rebind.unwrap() {
        bench.next();
        unicasts += u32::from(matches!(&bench.sent[..], [Output::Unicast(..)]));
    }
    assert!((3..=8).contains(&unicasts), "{unicasts}");
    assert!(matches!(&bench.sent[..], [Output::Broadcast(m)] if m.ciaddr == ip(77)));
    let asked = bench.now;
    bench.now += secs(1);
    bench.answer(Kind::Ack, |m| {
        m.server = Some(ip(2)); // the other server of a pair
        m.dns.clear();
    });
    let renewed = bench.client.lease().unwrap();
    assert_eq!((renewed.server, renewed.over), (ip(2), Some(asked + secs(3600))));
    assert_eq!(renewed.dns, [ip(1)], "what a renewal does not say has not changed");
    assert_eq!(bench.sent, [], "no probes: it has been in use all the time");
}

#[test]
fn a_lease_that_ran_out_is_no_longer_used() {
    let mut bench = Bench::bound();
    let over = bench.client.lease().unwrap().over.unwrap();
    let mut rounds = 0;
    while bench.now < over {
        assert_eq!(bench.address(), Some(ip(77)));
        bench.next();
        rounds += 1;
        assert!(rounds < 40);
    }
    assert_eq!((bench.now, bench.address()), (over, None));
    assert_eq!((bench.ask().kind, bench.ask().requested), (Kind::Discover, Some(ip(77))));
    assert_eq!(bench.client.asking_since(), Some(over));
}

#[test]
fn a_lease_runs_out_without_a_cable_too() {
    let mut bench = Bench::bound();
    let over = bench.client.lease().unwrap().over.unwrap();
    bench.carrier(false);
    bench.now = over;
    bench.sent = bench.client.tick(bench.now);
    assert_eq!((bench.address(), bench.sent.len()), (None, 0));
}

#[test]
fn a_refused_renewal_takes_the_address_away() {
    let mut bench = Bench::bound();
    bench.next();
    bench.answer(Kind::Nak, |m| m.server = Some(ip(2)));
    assert_eq!(bench.address(), Some(ip(77)), "from a server that was not asked");
    bench.answer(Kind::Nak, |_| {});
    assert_eq!(bench.address(), None);
    assert_eq!((bench.ask().kind, bench.ask().requested), (Kind::Discover, None));
}

#[test]
fn a_server_that_always_refuses_is_asked_ever_less() {
    let mut bench = Bench::plugged(None);
    bench.next();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        bench.answer(Kind::Offer, |_| {});
        let before = bench.now;
        bench.answer(Kind::Nak, |_| {});
        if bench.sent.is_empty() {
            bench.next();
        }
        pauses.push(bench.now - before);
    }
    assert_eq!(pauses[0], Duration::ZERO);
    assert!(pauses.windows(2).all(|p| p[0] <= p[1]) && pauses[9] == secs(32), "{pauses:?}");
}

#[test]
fn a_cable_that_is_back_asks_for_the_same_address() {
    let mut bench = Bench::bound();
    bench.carrier(false);
    assert_eq!(bench.address(), Some(ip(77)), "connections outlive a short cut");
    bench.now += secs(5);
    bench.carrier(true);
    bench.next();
    assert_eq!((bench.ask().kind, bench.ask().requested), (Kind::Request, Some(ip(77))));
    assert_eq!(bench.ask().server, None, "RFC 2131 4.3.2, INIT-REBOOT");
    assert!(bench.client.watched().contains(&ip(1)));
    bench.answer(Kind::Ack, |_| {});
    assert_eq!(bench.address(), Some(ip(77)));
    for _ in 0..PROBES {
        bench.next();
    }
    assert_eq!((bench.address(), bench.client.state == State::Bound), (Some(ip(77)), true));
}

#[test]
fn a_cable_in_another_network_loses_the_address() {
    let mut bench = Bench::bound();
    bench.carrier(false);
    bench.carrier(true);
    bench.next();
    bench.answer(Kind::Nak, |m| m.server = Some(Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!((bench.address(), bench.ask().kind), (None, Kind::Discover));
}

#[test]
fn without_a_server_the_lease_is_kept_where_its_router_is() {
    for there in [true, false] {
        let mut bench = Bench::bound();
        bench.carrier(false);
        bench.carrier(true);
        bench.next();
        assert!(bench.sent.contains(&Output::Arp(Arp {
            reply: false,
            mac: MAC,
            sender: ip(77),
            target: ip(1)
        })));
        if there {
            let reply = Arp { reply: true, mac: OTHER, sender: ip(1), target: ip(77) };
            assert_eq!(bench.client.arp(&reply, bench.now), []);
        }
        bench.next();
        bench.next();
        assert_eq!(bench.address(), there.then(|| ip(77)));
        if there {
            assert_eq!(bench.client.due(), bench.client.lease().unwrap().renew);
        } else {
            assert_eq!(bench.ask().kind, Kind::Discover);
        }
    }
}

#[test]
fn an_address_from_before_the_power_cut_is_asked_for_first() {
    let mut bench = Bench::plugged(Some(ip(77)));
    bench.next();
    assert_eq!((bench.ask().kind, bench.ask().requested), (Kind::Request, Some(ip(77))));
    assert_eq!(bench.address(), None);
    bench.answer(Kind::Ack, |m| m.yiaddr = ip(78));
    assert_eq!(bench.sent, [], "another address than the one asked for");
    bench.answer(Kind::Ack, |_| {});
    bench.probes();
    assert_eq!(bench.address(), Some(ip(77)));

    let mut bench = Bench::plugged(Some(ip(77)));
    let begun = bench.now;
    for _ in 0..=REBOOTS {
        bench.next();
    }
    assert_eq!((bench.ask().kind, bench.ask().requested), (Kind::Discover, Some(ip(77))));
    assert!(bench.now - begun < secs(8), "a network that does not know it is not slow");
}

#[test]
fn another_host_with_the_address_is_told_once() {
    let mut bench = Bench::bound();
    let rival = Arp::announcement(OTHER, ip(77));
    let defence = [Output::Arp(Arp::announcement(MAC, ip(77)))];
    assert_eq!(bench.client.arp(&rival, bench.now), defence);
    bench.now += DEFEND;
    assert_eq!(bench.client.arp(&rival, bench.now), defence);
    let probe = Arp::probe(OTHER, ip(77));
    assert_eq!(bench.client.arp(&probe, bench.now), [], "the kernel answers that");
    bench.now += secs(1);
    bench.sent = bench.client.arp(&rival, bench.now);
    assert_eq!((bench.ask().kind, bench.address()), (Kind::Decline, None));
}

#[test]
fn whatever_comes_in_whatever_order_it_goes_on() {
    const KINDS: [Kind; 4] = [Kind::Offer, Kind::Ack, Kind::Nak, Kind::Inform];
    let mut bound = 0;
    for seed in 1..200 {
        let mut chance = Chance::seeded(seed);
        let mut bench = Bench::plugged(None);
        for _ in 0..300 {
            match chance.below(9) {
                0 => bench.carrier(chance.below(3) != 0),
                1 => {
                    let arp =
                        Arp::announcement(OTHER, ip(if chance.below(9) == 0 { 77 } else { 1 }));
                    bench.sent = bench.client.arp(&arp, bench.now);
                }
                2..6 => {
                    let kind = KINDS[usize::try_from(chance.below(4)).unwrap()];
                    let lease = chance.below(400);
                    bench.answer(kind, |m| m.lease = Some(lease));
                }
                _ if bench.client.due().is_some() => bench.next(),
                _ => bench.carrier(true),
            }
            bound += u32::from(bench.client.lease().is_some());
            let lease = bench.client.lease();
            let over = lease.and_then(|l| l.over);
            let due = bench.client.due();
            assert!(
                over.is_none_or(|over| due.is_some_and(|due| due <= over)),
                "used for too long"
            );
            assert!(bench.client.due().is_some() || bench.client.state == State::Off, "stuck");
            assert!(bench.sent.len() <= 2, "{:?}", bench.sent);
        }
    }
    assert!(bound > 5000, "{bound}");
}
