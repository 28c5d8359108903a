use super::*;
use crate::chance::Chance;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const RADIO: [u8; 6] = [2, 0, 0, 0, 0, 8];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];

fn a(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn watch(used: bool) -> Watch {
    let mut watch = Watch::new(MAC);
    watch.set_own([MAC, RADIO].into());
    let addresses = [(a(1), used)].into();
    watch.follow(Targets { addresses, ..Targets::default() }, Duration::ZERO);
    watch.carrier(true, Duration::ZERO);
    watch
}

/// Lets time pass; what was sent.
fn pass(watch: &mut Watch, now: &mut Duration, until: Duration) -> Vec<Arp> {
    let mut sent = Vec::new();
    for _ in 0..1000 {
        match watch.due() {
            Some(due) if due <= until => {
                *now = due.max(*now);
                sent.extend(watch.tick(*now));
            }
            _ => break,
        }
    }
    *now = until;
    sent
}

fn claim(mac: [u8; 6], address: Ipv4Addr) -> Arp {
    Arp { reply: true, mac, sender: address, target: a(200) }
}

#[test]
fn free_after_three_probes_and_not_before() {
    let (mut watch, mut now) = (watch(false), Duration::ZERO);
    let sent = pass(&mut watch, &mut now, Duration::from_millis(900));
    assert_eq!(sent, vec![Arp::probe(MAC, a(1)); 3]);
    assert_eq!(watch.findings()[&a(1)], Finding::Asking);
    pass(&mut watch, &mut now, Duration::from_millis(1000));
    assert_eq!(watch.findings()[&a(1)], Finding::Free);
    assert_eq!(watch.due(), None, "nothing more to do until the carrier comes back");
    watch.carrier(false, now);
    watch.carrier(true, now);
    let until = now + Duration::from_secs(2);
    assert_eq!(pass(&mut watch, &mut now, until).len(), 3);
    assert_eq!(watch.findings()[&a(1)], Finding::Free);
}

#[test]
fn taken_by_who_answers_and_free_when_he_is_gone() {
    for rival in [claim(OTHER, a(1)), Arp::announcement(OTHER, a(1)), Arp::probe(OTHER, a(1))] {
        let (mut watch, mut now) = (watch(false), Duration::ZERO);
        pass(&mut watch, &mut now, Duration::from_millis(100));
        assert_eq!(watch.arp(&rival, now), None);
        assert_eq!(watch.findings()[&a(1)], Finding::Taken(OTHER), "{rival:?}");
        // He answers again and again.
        for _ in 0..5 {
            let until = now + Duration::from_secs(20);
            assert!(!pass(&mut watch, &mut now, until).is_empty());
            watch.arp(&claim(OTHER, a(1)), now);
            assert_eq!(watch.findings()[&a(1)], Finding::Taken(OTHER));
        }
        let until = now + Duration::from_secs(60);
        pass(&mut watch, &mut now, until);
        assert_eq!(watch.findings()[&a(1)], Finding::Free);
    }
}

#[test]
fn what_this_board_says_itself_is_no_conflict() {
    let (mut watch, mut now) = (watch(true), Duration::ZERO);
    for own in [claim(MAC, a(1)), claim(RADIO, a(1)), Arp::probe(RADIO, a(1))] {
        watch.arp(&own, now);
        assert_eq!(watch.findings()[&a(1)], Finding::Asking);
    }
    pass(&mut watch, &mut now, Duration::from_secs(2));
    // Somebody who merely looks whether it is free is answered by the kernel.
    watch.arp(&Arp::probe(OTHER, a(1)), now);
    assert_eq!(watch.findings()[&a(1)], Finding::Free);
}

#[test]
fn an_address_in_use_is_defended_once_in_a_while() {
    let (mut watch, mut now) = (watch(true), Duration::ZERO);
    pass(&mut watch, &mut now, Duration::from_secs(2));
    let said = Some(Arp::announcement(MAC, a(1)));
    assert_eq!(watch.arp(&claim(OTHER, a(1)), now), said);
    assert_eq!(watch.findings()[&a(1)], Finding::Taken(OTHER));
    assert_eq!(watch.arp(&claim(OTHER, a(1)), now + Duration::from_secs(1)), None);
    assert_eq!(watch.arp(&claim(OTHER, a(1)), now + DEFEND), said);
}

#[test]
fn a_router_is_there_or_silent() {
    let (mut watch, mut now) = (Watch::new(MAC), Duration::ZERO);
    let routers = [(a(250), a(1)), (a(251), Ipv4Addr::UNSPECIFIED)].into();
    watch.follow(Targets { routers, ..Targets::default() }, now);
    assert_eq!(watch.due(), None, "not without a carrier");
    watch.carrier(true, now);
    let sent = watch.tick(now);
    assert!(sent.contains(&Arp { reply: false, mac: MAC, sender: a(1), target: a(250) }));
    watch.arp(&claim(OTHER, a(250)), now);
    assert_eq!(watch.presences()[&a(250)], Presence::There);
    pass(&mut watch, &mut now, Duration::from_millis(2900));
    assert_eq!(watch.presences()[&a(251)], Presence::Asking);
    pass(&mut watch, &mut now, Duration::from_secs(3));
    assert_eq!(watch.presences()[&a(251)], Presence::Silent);
    assert_eq!(watch.presences()[&a(250)], Presence::There);
    // It may be late.
    watch.arp(&claim(OTHER, a(251)), now);
    assert_eq!(watch.presences()[&a(251)], Presence::There);
    watch.follow(Targets::default(), now);
    assert_eq!((watch.presences().len(), watch.due()), (0, None));
}

#[test]
fn any_packets_in_any_order() {
    let mut chance = Chance::seeded(11);
    let (mut watch, mut now) = (watch(true), Duration::ZERO);
    for _ in 0..20_000 {
        let octet = |chance: &mut Chance| u8::try_from(chance.below(4)).unwrap();
        let mac = [2, 0, 0, 0, 0, 6 + octet(&mut chance)];
        let (sender, target) = (a(octet(&mut chance)), a(octet(&mut chance)));
        watch.arp(&Arp { reply: chance.below(2) == 0, mac, sender, target }, now);
        now += Duration::from_millis(u64::from(chance.below(700)));
        assert!(watch.tick(now).len() <= 3);
        if chance.below(50) == 0 {
            watch.carrier(chance.below(2) == 0, now);
        }
    }
}
