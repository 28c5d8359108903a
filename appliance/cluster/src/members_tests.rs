use super::*;
use model::Secret;
use std::os::unix::net::UnixStream;

fn id(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn device(letter: &str) -> DeviceId {
    letter.repeat(64).parse().unwrap()
}

fn key(letter: &str) -> Key {
    Key::derive(&Secret::new(letter.repeat(32))).unwrap()
}

fn members(pins: &[(&str, Option<&str>)], secret: Option<&str>) -> Members {
    let peers = pins.iter().map(|(node, pin)| {
        let peer = Peer { name: node.to_uppercase(), device: pin.map(device), addresses: vec![] };
        (id(node), peer)
    });
    Members {
        own: id("web01"),
        pinned: Some(Some(device("1"))),
        key: secret.map(key),
        peers: peers.collect(),
        ..Members::default()
    }
}

#[test]
fn who_is_what() {
    let all = members(&[("web02", Some("2")), ("web03", None)], Some("k"));
    assert_eq!(all.standing(&id("web02"), &device("2")), Standing::Pinned);
    assert_eq!(all.standing(&id("web02"), &device("9")), Standing::NewKey("WEB02".into()));
    assert_eq!(all.standing(&id("web03"), &device("3")), Standing::IfItKnows(key("k")));
    assert_eq!(all.standing(&id("web03"), &device("2")), Standing::Other(id("web02")));
    assert_eq!(all.standing(&id("web09"), &device("9")), Standing::Unknown);
    let keyless = members(&[("web03", None)], None);
    assert_eq!(keyless.standing(&id("web03"), &device("3")), Standing::Unmet);
}

struct Bench {
    membership: Membership,
    begun: Instant,
    wires: Vec<UnixStream>,
}

impl Bench {
    fn new(all: Members) -> Self {
        let membership = Membership::default();
        membership.set(all);
        let begun = membership.begun;
        Self { membership, begun, wires: Vec::new() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.begun + Duration::from_millis(ms)
    }

    fn enter(
        &mut self,
        node: &str,
        pin: &str,
        boot: &str,
        proved: Option<Key>,
        ms: u64,
    ) -> Result<Place, Why> {
        let (here, there) = UnixStream::pair().unwrap();
        there.set_nonblocking(true).unwrap();
        self.wires.push(there);
        let entrant = Entrant { node: id(node), device: device(pin), boot: boot.into(), proved };
        let at = self.at(ms);
        self.membership.enter_at(entrant, here.into(), at).map_err(|refusal| refusal.why)
    }

    /// Is the connection that was tried as the n-th one cut?
    fn cut(&self, n: usize) -> bool {
        use std::io::Read;
        matches!((&self.wires[n]).read(&mut [0]), Ok(0))
    }
}

fn heard(place: &Place, ms: u64) {
    place.heard.store(ms, Ordering::Relaxed);
}

#[test]
fn a_connection_lasts_as_long_as_its_ground() {
    let mut bench = Bench::new(members(&[("web02", None), ("web03", Some("3"))], Some("k")));
    assert_eq!(bench.enter("web02", "2", "a", None, 0).err(), Some(Why::Stranger));
    assert_eq!(bench.enter("web02", "2", "a", Some(key("x")), 0).err(), Some(Why::Stranger));
    let _two = bench.enter("web02", "2", "a", Some(key("k")), 0).unwrap();
    let _three = bench.enter("web03", "3", "a", None, 0).unwrap();
    // Once pinned, the cluster's key no longer matters.
    bench.membership.set(members(&[("web02", Some("2")), ("web03", Some("3"))], Some("k")));
    bench.membership.set(members(&[("web02", Some("2")), ("web03", Some("3"))], None));
    assert!(!bench.cut(2) && !bench.cut(3));
    bench.membership.set(members(&[("web02", Some("9")), ("web03", Some("3"))], None));
    assert!(bench.cut(2) && !bench.cut(3), "another board is web02 now");
    bench.membership.set(members(&[("web02", Some("9"))], None));
    assert!(bench.cut(3));
    assert!(bench.membership.was_removed(&device("3")));
    bench.membership.set(members(&[("web03", Some("3"))], None));
    assert!(!bench.membership.was_removed(&device("3")), "back again");
}

#[test]
fn another_key_cuts_who_is_not_pinned() {
    let mut bench = Bench::new(members(&[("web02", None)], Some("k")));
    let _two = bench.enter("web02", "2", "a", Some(key("k")), 0).unwrap();
    bench.membership.set(members(&[("web02", None)], Some("x")));
    assert!(bench.cut(0));
}

#[test]
fn a_copied_card_is_refused_and_a_restart_is_not() {
    let mut bench = Bench::new(members(&[("web02", Some("2"))], None));
    let first = bench.enter("web02", "2", "a", None, 0).unwrap();
    let _more = bench.enter("web02", "2", "a", None, 100).unwrap();
    // Another boot of the same key, while the first was heard a moment ago.
    heard(&first, 900);
    assert_eq!(bench.enter("web02", "2", "b", None, 1000).err(), Some(Why::Twice));
    // Nothing was heard of the first since: it may have been cut off.
    assert_eq!(bench.enter("web02", "2", "b", None, 1500).err(), Some(Why::Twice));
    // But now it was.
    heard(&first, 2000);
    assert_eq!(bench.enter("web02", "2", "b", None, 2500).err(), Some(Why::Copied));
    assert!(!bench.cut(0) && !bench.cut(1));
    // Silent for long enough: what is left of it is cut.
    let second = bench.enter("web02", "2", "b", None, 5100).unwrap();
    assert!(bench.cut(0) && bench.cut(1));
    // The first comes back beside the second: now that one is the double.
    heard(&second, 6000);
    assert_eq!(bench.enter("web02", "2", "a", None, 6000).err(), Some(Why::Twice));
    heard(&second, 6500);
    assert_eq!(bench.enter("web02", "2", "a", None, 7000).err(), Some(Why::Copied));
    // A restart: the kernel has ended every connection.
    drop(second);
    bench.enter("web02", "2", "c", None, 7001).unwrap();
}

#[test]
fn pins_are_asked_for_now_and_then() {
    let unmet = Members { pinned: Some(None), ..members(&[("web02", None)], Some("k")) };
    let bench = Bench::new(unmet);
    assert!(bench.membership.may_ask(&id("web02")));
    assert!(!bench.membership.may_ask(&id("web02")));
    assert!(bench.membership.may_ask(&id("web01")));
    // A handshake that began before the pin came must not ask for another.
    bench.membership.set(members(&[("web02", Some("2"))], Some("k")));
    for node in ["web01", "web02", "web09"] {
        assert!(!bench.membership.may_ask(&id(node)), "{node}");
    }
}
