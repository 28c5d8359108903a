use super::*;
use crate::dns::{NSEC, SRV, TXT};
use crate::mdns::names::service;

const ETH: u32 = 2;
const WLAN: u32 = 3;

fn link(index: u32, address: &str) -> LiveLink {
    LiveLink { name: format!("if{index}"), index, address: address.parse().unwrap() }
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

fn from(last: u8) -> SocketAddrV4 {
    SocketAddrV4::new(ip(last), PORT)
}

fn name(label: &str) -> Name {
    Name::of([label, "local"])
}

fn ask(name: Name, kind: u16) -> Message {
    let questions = vec![Question { name, kind, class: IN }];
    Message { questions, ..Message::default() }
}

/// Several nodes on one link that hear each other without delay.
struct Air {
    nodes: Vec<(SocketAddrV4, Responder)>,
    now: Duration,
    said: Vec<(usize, Output)>,
}

impl Air {
    fn new(names: &[&str]) -> Self {
        let mut air = Self { nodes: Vec::new(), now: Duration::from_secs(100), said: Vec::new() };
        for name in names {
            air.join(name);
        }
        air
    }

    fn join(&mut self, name: &str) {
        let number = u8::try_from(self.nodes.len()).unwrap() + 1;
        let mut responder = Responder::new(Chance::seeded(u64::from(number)));
        let link = link(ETH, &format!("192.168.1.{number}/24"));
        assert_eq!(responder.follow(name, &[link], self.now), []);
        self.nodes.push((from(number), responder));
    }

    fn deliver(&mut self, who: usize, outputs: Vec<Output>) {
        let mut queue: Vec<(usize, Output)> = outputs.into_iter().map(|o| (who, o)).collect();
        let mut rounds = 0;
        while let Some((who, output)) = queue.pop() {
            rounds += 1;
            assert!(rounds < 1000, "they never stop talking");
            // Through the wire, as everything goes.
            let message = Message::parse(&output.message.bytes()).unwrap();
            let source = self.nodes[who].0;
            for (other, (address, responder)) in self.nodes.iter_mut().enumerate() {
                let meant = output.to.is_none_or(|to| to == *address);
                if other != who && meant {
                    let answers = responder.message(ETH, source, &message, self.now);
                    queue.extend(answers.into_iter().map(|o| (other, o)));
                }
            }
            self.said.push((who, output));
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..2000 {
            let due = self.nodes.iter().enumerate().filter_map(|(n, (_, r))| Some((r.due()?, n)));
            match due.min() {
                Some((due, who)) if due <= until => {
                    self.now = self.now.max(due);
                    let outputs = self.nodes[who].1.tick(self.now);
                    self.deliver(who, outputs);
                }
                _ => break,
            }
        }
        self.now = until;
    }

    /// Who answers to a name.
    fn who(&mut self, name: &Name) -> Vec<Ipv4Addr> {
        self.now += Duration::from_secs(2);
        let now = self.now;
        let mut found = Vec::new();
        for (_, responder) in &mut self.nodes {
            for output in responder.message(ETH, from(200), &ask(name.clone(), A), now) {
                for record in output.message.answers {
                    assert_eq!((record.kind, record.class), (A, IN | FLUSH));
                    found.push(Ipv4Addr::from(<[u8; 4]>::try_from(record.data).unwrap()));
                }
            }
        }
        found
    }
}

#[test]
fn a_name_is_probed_for_three_times_and_announced_twice() {
    let mut air = Air::new(&["Web01"]);
    air.pass(Duration::from_millis(700));
    assert!(air.who(&name("web01")).is_empty(), "not yet");
    air.now -= Duration::from_secs(2);
    air.pass(Duration::from_secs(60));
    let said: Vec<&Message> = air.said.iter().map(|(_, o)| &o.message).collect();
    let probes: Vec<_> = said.iter().filter(|m| !m.is_response()).collect();
    assert_eq!((probes.len(), said.len()), (6, 10), "for both names");
    let own = &probes.iter().find(|m| m.questions[0].name == name("Web01")).unwrap();
    assert_eq!(own.questions.len(), 3, "the host and two services");
    assert!(own.questions.iter().all(|q| q.kind == ANY && q.class == IN | FLUSH));
    assert!(own.authorities.iter().all(|r| r.class == IN));
    assert_eq!(air.who(&name("WEB01")), [ip(1)]);
    assert_eq!(air.who(&alias()), [ip(1)]);
    assert!(air.who(&name("other")).is_empty());
}

#[test]
fn of_three_nodes_one_has_the_shared_name_and_another_inherits_it() {
    let mut air = Air::new(&["Web01", "Web02", "Lb01"]);
    air.pass(Duration::from_secs(20));
    let holder = air.who(&alias());
    assert_eq!(holder.len(), 1, "{holder:?}");
    for (n, label) in [(1, "web01"), (2, "web02"), (3, "lb01")] {
        assert_eq!(air.who(&name(label)), [ip(n)]);
    }
    // A fourth one comes: nothing changes.
    air.join("Web04");
    air.pass(Duration::from_secs(200));
    assert_eq!(air.who(&alias()), holder);
    // The holder says goodbye: another one has it at once.
    let gone = usize::from(holder[0].octets()[3]) - 1;
    let goodbye = air.nodes[gone].1.goodbye();
    assert!(goodbye[0].message.answers.iter().all(|r| r.ttl == 0));
    air.deliver(gone, goodbye);
    air.nodes.remove(gone);
    air.pass(Duration::from_secs(5));
    let next = air.who(&alias());
    assert!(next.len() == 1 && next != holder, "{next:?}");
    // And that one loses its power: somebody looks within a minute and a half.
    let gone = air.nodes.iter().position(|(a, _)| *a.ip() == next[0]).unwrap();
    air.nodes.remove(gone);
    air.pass(Duration::from_secs(80));
    let last = air.who(&alias());
    assert!(last.len() == 1 && last != next, "{last:?}");
}

#[test]
fn the_second_of_two_with_the_same_name_gets_a_number() {
    let mut air = Air::new(&["web01"]);
    air.pass(Duration::from_secs(5));
    air.join("web01");
    air.join("web01");
    air.pass(Duration::from_secs(20));
    assert_eq!(air.who(&name("web01")), [ip(1)]);
    let mut numbered = [air.who(&name("web01-2")), air.who(&name("web01-3"))].concat();
    numbered.sort();
    assert_eq!(numbered, [ip(2), ip(3)]);
    // All at the same moment: one of them wins.
    let mut air = Air::new(&["web01", "web01"]);
    air.pass(Duration::from_secs(20));
    let mut both = [air.who(&name("web01")), air.who(&name("web01-2"))].concat();
    both.sort();
    assert_eq!(both, [ip(1), ip(2)]);
    // A node that is called like the shared name.
    let mut air = Air::new(&["bramble", "web01"]);
    air.pass(Duration::from_secs(20));
    assert_eq!(air.who(&alias()).len(), 1);
    // Either it has its name, or a number and stands in line.
    assert!(![air.who(&name("bramble")), air.who(&name("bramble-2"))].concat().is_empty());
}

#[test]
fn two_networks_that_are_joined_settle_their_conflict() {
    let mut air = Air::new(&["web01"]);
    air.pass(Duration::from_secs(5));
    let mut other = Air::new(&["other", "web01"]);
    other.nodes.remove(0);
    other.pass(Duration::from_secs(5));
    let stranger = other.nodes.remove(0);
    // One of them announces, as after a cable was plugged in.
    let outputs = stranger.1.announce(Which::Own);
    air.nodes.push(stranger);
    air.deliver(1, outputs);
    air.pass(Duration::from_secs(20));
    let mut both = [air.who(&name("web01")), air.who(&name("web01-2"))].concat();
    both.sort();
    assert_eq!(both, [ip(1), ip(2)]);
    // The shared name is noticed when one of them says it.
    let outputs = air.nodes[1].1.announce(Which::Alias);
    air.deliver(1, outputs);
    air.pass(Duration::from_secs(20));
    assert_eq!(air.who(&alias()).len(), 1);
}

#[test]
fn services_lead_to_the_page() {
    let mut air = Air::new(&["Web01"]);
    air.pass(Duration::from_secs(5));
    let now = air.now;
    let node = &mut air.nodes[0].1;
    assert_eq!(node.message(ETH, from(9), &ask(service("_http"), PTR), now), [], "with a delay");
    let due = node.due().unwrap();
    assert!(due >= now + WAIT.0 && due <= now + WAIT.1);
    let out = node.tick(due);
    let message = &out[0].message;
    assert_eq!(message.answers.len(), 1);
    let instance = Name::of(["Web01", "_http", "_tcp", "local"]);
    assert_eq!(message.answers[0].data, instance.bytes());
    let place = message.additionals.iter().find(|r| r.kind == SRV).unwrap();
    assert_eq!((&place.name, &place.data[4..6]), (&instance, &1936_u16.to_be_bytes()[..]));
    assert_eq!(place.data[6..], name("Web01").bytes());
    assert!(message.additionals.iter().any(|r| r.kind == TXT && r.data == b"\x06path=/"));
    assert!(message.additionals.iter().any(|r| r.kind == A && r.name == name("web01")));

    let types = ask(Name::of(["_services", "_dns-sd", "_udp", "local"]), PTR);
    assert_eq!(node.message(ETH, from(9), &types, due), []);
    assert_eq!(node.tick(due + WAIT.1)[0].message.answers.len(), 2);
}

#[test]
fn what_is_known_or_was_just_said_is_not_repeated() {
    let mut air = Air::new(&["Web01"]);
    air.pass(Duration::from_secs(5));
    let now = air.now;
    let node = &mut air.nodes[0].1;
    let question = ask(name("web01"), A);
    let first = node.message(ETH, from(9), &question, now);
    assert_eq!(first.len(), 1);
    assert_eq!(node.message(ETH, from(8), &question, now), []);
    let known = Message { answers: first[0].message.answers.clone(), ..question.clone() };
    let later = now + QUIET;
    assert_eq!(node.message(ETH, from(9), &known, later), []);
    assert_eq!(node.message(ETH, from(9), &question, later).len(), 1);
    // Not for a host elsewhere, a message of its own, another kind of question, another link.
    let far = SocketAddrV4::new(Ipv4Addr::new(8, 8, 8, 8), PORT);
    let update = Message { flags: 5 << 11, ..question.clone() };
    let much_later = later + QUIET;
    assert_eq!(node.message(ETH, far, &question, much_later), []);
    assert_eq!(node.message(ETH, from(1), &question, much_later), []);
    assert_eq!(node.message(ETH, from(9), &update, much_later), []);
    assert_eq!(node.message(WLAN, from(9), &question, much_later), []);
}

#[test]
fn a_question_for_the_sixth_version_is_answered_with_nothing() {
    let mut air = Air::new(&["Web01"]);
    air.pass(Duration::from_secs(5));
    let now = air.now;
    let out = air.nodes[0].1.message(ETH, from(9), &ask(name("web01"), 28), now);
    let record = &out[0].message.answers[0];
    assert_eq!((record.kind, &record.data[record.data.len() - 3..]), (NSEC, &[0, 1, 0x40][..]));
}

#[test]
fn resolvers_of_the_old_kind_are_answered_alone_and_not_without_end() {
    let mut air = Air::new(&["Web01"]);
    air.pass(Duration::from_secs(5));
    let now = air.now;
    let node = &mut air.nodes[0].1;
    let old = SocketAddrV4::new(ip(9), 40_000);
    let question = Message { id: 77, ..ask(name("web01"), A) };
    let out = node.message(ETH, old, &question, now);
    assert_eq!((out[0].to, out[0].message.id), (Some(old), 77));
    assert_eq!(out[0].message.questions, question.questions);
    let record = &out[0].message.answers[0];
    assert!(record.class == IN && record.ttl <= LEGACY_TTL);
    let answered = (0..500).filter(|_| !node.message(ETH, old, &question, now).is_empty()).count();
    assert_eq!(answered, 49);
}

#[test]
fn of_two_interfaces_in_one_subnet_the_first_speaks() {
    let mut node = Responder::new(Chance::seeded(1));
    let links =
        [link(ETH, "192.168.1.10/24"), link(WLAN, "192.168.1.20/24"), link(9, "10.0.0.1/8")];
    let now = Duration::ZERO;
    node.follow("web01", &links, now);
    assert_eq!(node.links(), [links[0].clone(), links[2].clone()]);
    let out = (0..9).find_map(|_| Some(node.tick(node.due()?)).filter(|o| !o.is_empty())).unwrap();
    assert_eq!(out.iter().map(|o| o.link).collect::<Vec<_>>(), [ETH, 9]);
    assert_eq!(out[1].message.authorities[0].data, [10, 0, 0, 1]);
    // The cable is pulled: the other one takes over, with its own address.
    node.follow("web01", &links[1..], now);
    assert_eq!(node.links()[0].index, WLAN);
    node.follow("web01", &[], now);
    assert_eq!(node.due(), None);
}

#[test]
fn what_a_reflector_repeats_is_no_conflict() {
    let mut node = Responder::new(Chance::seeded(1));
    let links = [link(ETH, "192.168.1.10/24"), link(WLAN, "10.0.0.1/8")];
    let mut now = Duration::ZERO;
    node.follow("web01", &links, now);
    let mut said = 0;
    for _ in 0..40 {
        let Some(due) = node.due() else { break };
        now = due;
        for output in node.tick(now) {
            // Out on one link, back in on the other one, from the router's address there.
            let (other, router) = match output.link {
                ETH => (WLAN, Ipv4Addr::new(10, 0, 0, 254)),
                _ => (ETH, ip(254)),
            };
            said += 1;
            node.message(other, SocketAddrV4::new(router, PORT), &output.message, now);
        }
    }
    assert_eq!(node.due(), None, "settled");
    assert_eq!((said, &node.names), (20, &Names::new("web01", 1, None)));
    assert!(node.own.held() && node.shared.unwrap().held());
}

#[test]
fn a_new_name_says_goodbye_to_the_old_one() {
    let mut air = Air::new(&["Web01"]);
    air.pass(Duration::from_secs(5));
    let links = air.nodes[0].1.links().to_vec();
    let out = air.nodes[0].1.follow("Web07", &links, air.now);
    assert!(out[0].message.answers.iter().any(|r| r.name == name("web01") && r.ttl == 0));
    air.pass(Duration::from_secs(5));
    assert_eq!((air.who(&name("web07")), air.who(&name("web01"))), (vec![ip(1)], vec![]));
}

#[test]
fn noise_from_the_neighbours_changes_little_and_costs_little() {
    let mut air = Air::new(&["web01"]);
    air.pass(Duration::from_secs(5));
    let mut chance = Chance::seeded(77);
    let hosts = [name("web01"), alias(), name("web01-2"), service("_http")];
    for _ in 0..3000 {
        let pick = |c: &mut Chance, n: u32| usize::try_from(c.below(n)).unwrap();
        let record = |c: &mut Chance| Record {
            name: hosts[pick(c, 4)].clone(),
            kind: [A, PTR, SRV, ANY][pick(c, 4)],
            class: IN,
            ttl: c.below(2) * 120,
            data: ip(5).octets().to_vec(),
        };
        let message = Message {
            flags: if chance.below(2) == 0 { RESPONSE } else { 0 },
            questions: ask(hosts[pick(&mut chance, 4)].clone(), ANY).questions,
            answers: vec![record(&mut chance)],
            authorities: vec![record(&mut chance)],
            ..Message::default()
        };
        air.now += Duration::from_millis(u64::from(chance.below(50)));
        let now = air.now;
        air.nodes[0].1.message(ETH, from(5), &message, now);
        air.pass(Duration::ZERO);
        let node = &air.nodes[0].1;
        assert!(node.waiting.len() <= MOST_WAITING && node.sent.len() < 1000);
    }
    air.pass(Duration::from_secs(120));
    let numbers = (2..2000).map(|n| name(&format!("web01-{n}"))).chain([name("web01")]);
    let held: usize = numbers.map(|n| air.who(&n).len()).sum();
    assert_eq!(held, 1, "when they are quiet it has a name again");
}

#[test]
fn what_changed_about_a_board_is_announced_anew() {
    let mut air = Air::new(&["web01"]);
    let about = |claimed| About {
        device: "ab".repeat(32).parse().unwrap(),
        claimed,
        model: "Pi".to_owned(),
        release: "1".to_owned(),
    };
    let now = air.now;
    air.nodes[0].1.describe(Some(about(false)), now);
    air.pass(Duration::from_secs(5));
    let texts = |air: &Air| {
        let all = air.said.iter().flat_map(|(_, output)| &output.message.answers);
        let texts = all.filter(|r| r.kind == TXT && r.name.is_under(&service("_bramble")));
        texts.map(|r| String::from_utf8_lossy(&r.data).into_owned()).collect::<Vec<_>>()
    };
    assert!(texts(&air).iter().all(|t| t.contains("state=unclaimed")), "{:?}", texts(&air));
    air.said.clear();
    let now = air.now;
    air.nodes[0].1.describe(Some(about(false)), now);
    air.pass(Duration::from_secs(5));
    assert_eq!(texts(&air).len(), 0, "nothing new");
    let now = air.now;
    air.nodes[0].1.describe(Some(about(true)), now);
    air.pass(Duration::from_secs(5));
    assert!(texts(&air).iter().all(|t| t.contains("state=member")) && !texts(&air).is_empty());
}
