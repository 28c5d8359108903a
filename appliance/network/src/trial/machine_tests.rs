//! A change from all sides: what happens, in one line each.

use super::*;

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn way(address: &str) -> Way {
    Way { address: address.parse().ok(), gateway: None, cluster: Some(ip("192.168.1.1")) }
}

fn old() -> Way {
    way("192.168.1.11/24")
}

fn new() -> Way {
    way("192.168.1.99/24")
}

const DHCP: Way = Way { address: None, gateway: None, cluster: None };

fn s(seconds: u64) -> Duration {
    Duration::from_secs(1000 + seconds)
}

/// A wired interface with these addresses.
fn facts(present: &[&str]) -> Facts {
    let present = present.iter().map(|a| a.parse().unwrap()).collect();
    Facts { carrier: true, present, ..Facts::default() }
}

struct Scene {
    trial: Trial,
    out: Vec<Output>,
}

impl Scene {
    /// An interface on which `confirmed` has been in use, with a carrier, for a while.
    fn of(confirmed: Way) -> Self {
        let record = Some(Record { confirmed, trying: None });
        let (trial, out) = Trial::new("eth0", Duration::from_secs(90), record, &confirmed, s(0));
        let mut scene = Self { trial, out };
        let present = confirmed.address.map(|a| a.to_string());
        let present: Vec<&str> = present.iter().map(String::as_str).collect();
        scene.look(confirmed, &facts(&present), 0);
        assert_eq!(scene.out, []);
        scene
    }

    fn look(&mut self, settings: Way, facts: &Facts, at: u64) -> &mut Self {
        self.out = self.trial.handle(Input::Look(Some(&settings), facts), s(at));
        self
    }

    fn reached(&mut self, at: u64) -> &mut Self {
        self.out = self.trial.handle(Input::Reached("web01"), s(at));
        self
    }

    fn keep(&mut self, at: u64) -> &mut Self {
        self.out = self.trial.handle(Input::Keep, s(at));
        self
    }

    /// Why it was taken back just now.
    fn why(&self) -> &str {
        match self.out.as_slice() {
            [Output::TakeBack { why }] => why,
            other => panic!("{other:?}, {:?}", self.trial),
        }
    }

    /// It holds since just now.
    fn holds(&self, way: Way) {
        assert_eq!(self.out, [Output::Remember]);
        assert_eq!((self.trial.in_force(), self.trial.beside()), (&way, None));
        assert_eq!(self.trial.record(), Record { confirmed: way, trying: None });
    }
}

const BOTH: [&str; 2] = ["192.168.1.11/24", "192.168.1.99/24"];

#[test]
fn the_old_one_stays_until_another_node_gets_through() {
    let mut scene = Scene::of(old());
    scene.look(new(), &facts(&BOTH[..1]), 10);
    assert_eq!(scene.out, [Output::Remember], "before anything is applied");
    assert_eq!((scene.trial.in_force(), scene.trial.beside()), (&old(), Some(&new())));
    assert_eq!(scene.trial.address(), None, "it is not set yet");
    assert!(scene.trial.wants_witness());
    scene.look(new(), &facts(&BOTH), 12);
    assert_eq!(scene.trial.address(), Some(ip("192.168.1.99")));
    assert_eq!(scene.trial.due(), Some(s(100)));
    scene.reached(13).holds(new());
    let last = scene.trial.status(s(14)).unwrap();
    assert_eq!(last.state, TrialState::Kept { by: "web01".to_owned() });
    assert_eq!(last.from, "192.168.1.11/24, router 192.168.1.1");
    assert_eq!(scene.look(new(), &facts(&BOTH[1..]), 15).out, []);
}

#[test]
fn nobody_gets_through_and_it_goes_back() {
    let mut scene = Scene::of(old());
    scene.look(new(), &facts(&BOTH[..1]), 10).look(new(), &facts(&BOTH), 99);
    assert_eq!(scene.out, []);
    let Some(TrialState::Trying { seconds_left: 1, reached_by: None, .. }) =
        scene.trial.status(s(99)).map(|t| t.state)
    else {
        panic!("{:?}", scene.trial.status(s(99)))
    };
    scene.look(new(), &facts(&BOTH), 100);
    assert!(scene.why().starts_with("no other board reached it at 192.168.1.99 within 90 s"));
    assert_eq!((scene.trial.in_force(), scene.trial.beside()), (&old(), None));
    // As long as the settings say otherwise they are given it again and again.
    assert_eq!(scene.look(new(), &facts(&BOTH[..1]), 110).out, []);
    scene.look(new(), &facts(&BOTH[..1]), 120);
    scene.why();
    assert_eq!(scene.trial.record().trying, Some(new()));
    // Too late to be of use.
    assert_eq!(scene.reached(121).out, []);
    assert_eq!(scene.keep(121).out, []);
    scene.look(old(), &facts(&BOTH[..1]), 122).holds(old());
    let why = "no other board reached it at 192.168.1.99 within 90 s, and nobody opened the page \
               there to keep it";
    assert_eq!(
        scene.trial.status(s(123)).unwrap().state,
        TrialState::TakenBack { why: why.to_owned() }
    );
}

#[test]
fn the_operator_may_keep_it() {
    let mut scene = Scene::of(old());
    scene.look(new(), &facts(&BOTH), 10).keep(20).holds(new());
    assert_eq!(
        scene.trial.status(s(21)).unwrap().state,
        TrialState::Kept { by: "the operator".to_owned() }
    );
}

#[test]
fn a_router_has_to_answer_if_the_one_before_did() {
    use Presence::{Asking, Silent, There};
    let wanted = Way { gateway: Some(ip("192.168.1.254")), cluster: None, ..old() };
    let with = |old: Option<Presence>, new: Option<Presence>| Facts {
        old_router: old,
        new_router: new,
        ..facts(&BOTH[..1])
    };
    for (old_router, new_router, fine) in [
        (Some(There), Some(There), true),
        (Some(Asking), Some(There), true),
        (Some(Silent), Some(There), true),
        (Some(Silent), Some(Silent), true),
        (Some(There), Some(Silent), false),
        (Some(There), Some(Asking), false),
        (Some(Asking), Some(Silent), false),
        (None, Some(Silent), false),
        (None, None, false),
    ] {
        let mut scene = Scene::of(old());
        let facts = with(old_router, new_router);
        scene.look(wanted, &facts, 10);
        assert_eq!(scene.trial.address(), Some(ip("192.168.1.11")), "the same as before");
        scene.reached(11);
        if fine {
            scene.holds(wanted);
            continue;
        }
        assert_eq!(scene.out, [], "{old_router:?} {new_router:?}");
        scene.keep(12);
        assert_eq!(scene.out, [], "not even the operator can keep a router that is none");
        scene.look(wanted, &facts, 100);
        assert_eq!(scene.why(), "the router 192.168.1.254 did not answer within 90 s");
    }
    // The cluster's router named by the interface itself is the same router.
    let mut scene = Scene::of(old());
    let named = Way { gateway: Some(ip("192.168.1.1")), cluster: None, ..old() };
    scene.look(named, &facts(&BOTH[..1]), 10).holds(named);
}

#[test]
fn a_second_change_begins_anew_and_goes_back_to_the_first_of_all() {
    let mut scene = Scene::of(old());
    let third = way("192.168.1.77/24");
    scene.look(new(), &facts(&BOTH), 10).look(third, &facts(&BOTH), 60);
    assert_eq!(scene.out, [Output::Remember]);
    assert_eq!((scene.trial.in_force(), scene.trial.beside()), (&old(), Some(&third)));
    assert_eq!(scene.trial.due(), Some(s(150)));
    scene.look(third, &facts(&["192.168.1.11/24", "192.168.1.77/24"]), 150);
    assert!(scene.why().contains("192.168.1.77"));
    // And a new change after that is a new attempt.
    scene.look(new(), &facts(&BOTH), 151);
    assert_eq!(scene.trial.due(), Some(s(241)));
    scene.reached(152).holds(new());
}

#[test]
fn a_revert_during_a_trial_ends_it() {
    let mut scene = Scene::of(old());
    scene.look(new(), &facts(&BOTH), 10).look(old(), &facts(&BOTH), 40).holds(old());
    assert_eq!(scene.reached(41).out, []);
    assert_eq!(scene.look(old(), &facts(&BOTH[..1]), 200).out, []);
}

#[test]
fn a_link_that_goes_down_meanwhile_is_no_confirmation() {
    let mut scene = Scene::of(old());
    let dark = Facts { carrier: false, ..facts(&BOTH) };
    scene.look(new(), &facts(&BOTH), 10).look(new(), &dark, 20).look(new(), &dark, 100);
    assert_eq!(scene.why(), "eth0 lost its link meanwhile");
    // It came back in time.
    let mut scene = Scene::of(old());
    scene.look(new(), &facts(&BOTH), 10).look(new(), &dark, 20).look(new(), &facts(&BOTH), 90);
    scene.reached(95).holds(new());
}

#[test]
fn an_address_that_somebody_else_has_is_given_up_at_once() {
    let mut scene = Scene::of(old());
    scene.look(new(), &facts(&BOTH[..1]), 10);
    let taken = Facts { taken: Some([2, 0, 0, 0, 0, 9]), ..facts(&BOTH[..1]) };
    scene.look(new(), &taken, 11);
    let why = "192.168.1.99 is the address of another device (02:00:00:00:00:09)";
    assert_eq!(scene.why(), why);
}

#[test]
fn where_nobody_comes_from_nobody_is_locked_out() {
    let dark = Facts { carrier: false, ..facts(&BOTH[..1]) };
    // No cable for more than a minute.
    let mut scene = Scene::of(old());
    scene.look(old(), &dark, 30).look(new(), &dark, 70).holds(new());
    // A radio that roams this moment.
    let mut scene = Scene::of(old());
    assert_eq!(scene.look(new(), &dark, 50).out, [Output::Remember]);
    assert_eq!(scene.trial.beside(), Some(&new()));
    // On somebody else's Linux an interface that was left alone keeps what it has.
    let mut scene = Scene::of(DHCP);
    scene.look(new(), &facts(&["192.168.1.50/24"]), 10).holds(new());
    // The address that was lent is written down.
    let lent = Facts {
        dhcp: true,
        lease: "192.168.1.99/24".parse().ok(),
        lent_router: Some(ip("192.168.1.1")),
        ..facts(&BOTH[1..])
    };
    let mut scene = Scene::of(DHCP);
    scene.look(new(), &lent, 10).holds(new());
    // With another router it is a change.
    let mut scene = Scene::of(DHCP);
    let router = Way { gateway: Some(ip("192.168.1.254")), cluster: None, ..new() };
    assert_eq!(scene.look(router, &lent, 10).out, [Output::Remember]);
    assert_eq!(scene.trial.beside(), Some(&router));
    // The node was taken out of the settings.
    let mut scene = Scene::of(old());
    scene.out = scene.trial.handle(Input::Look(None, &facts(&BOTH[..1])), s(10));
    scene.holds(DHCP);
}

#[test]
fn from_and_to_dhcp() {
    let mut lent = Facts { dhcp: true, ..facts(&BOTH[..1]) };
    let mut scene = Scene::of(old());
    scene.look(DHCP, &lent, 10);
    assert_eq!((scene.out.len(), scene.trial.address()), (1, None));
    scene.look(DHCP, &lent, 100);
    assert_eq!(scene.why(), "no DHCP server gave eth0 an address within 90 s");

    let mut scene = Scene::of(old());
    lent.lease = "192.168.1.150/24".parse().ok();
    lent.present.extend(lent.lease);
    scene.look(DHCP, &lent, 10);
    assert_eq!(scene.trial.address(), Some(ip("192.168.1.150")));
    assert_eq!(scene.trial.status(s(11)).unwrap().to, "DHCP");
    scene.reached(11).holds(DHCP);

    let mut scene = Scene::of(DHCP);
    let both = Facts { new_router: Some(Presence::There), ..lent };
    scene.look(old(), &both, 10);
    assert_eq!((scene.trial.in_force(), scene.trial.beside()), (&DHCP, Some(&old())));
    scene.reached(11).holds(old());
}

#[test]
fn through_a_power_cut() {
    let within = Duration::from_secs(90);
    let start = |record, settings| Trial::new("eth0", within, record, &settings, s(0));
    // Nothing was ever confirmed: this is.
    let (trial, out) = start(None, new());
    assert_eq!(
        (out, trial.record()),
        (vec![Output::Remember], Record { confirmed: new(), trying: None })
    );
    // What was confirmed is what the settings say.
    let (trial, out) = start(Some(Record { confirmed: old(), trying: None }), old());
    assert_eq!((out, trial.in_force()), (vec![], &old()));
    // It was being tried: back to the old one, at once.
    let record = Record { confirmed: old(), trying: Some(new()) };
    let (mut trial, out) = start(Some(record), new());
    let why = "this board stopped before anybody had confirmed it".to_owned();
    assert_eq!(out, [Output::TakeBack { why }]);
    assert_eq!((trial.in_force(), trial.beside()), (&old(), None));
    assert_eq!(trial.handle(Input::Look(Some(&new()), &facts(&[])), s(1)), []);
    assert_eq!(trial.record(), record, "still to be taken back, should the power go again");
    assert_eq!(trial.handle(Input::Look(Some(&old()), &facts(&[])), s(2)), [Output::Remember]);
    // It was taken back already, and the process ended before that was noted.
    let (trial, out) = start(Some(record), old());
    assert_eq!(out, [Output::Remember]);
    assert_eq!((trial.in_force(), trial.beside()), (&old(), None));
    // The settings changed again before that was noted: it is tried.
    let (mut trial, _) = start(Some(record), way("192.168.1.77/24"));
    trial.handle(Input::Look(Some(&way("192.168.1.77/24")), &facts(&BOTH[..1])), s(1));
    assert_eq!(trial.beside(), Some(&way("192.168.1.77/24")));
}

#[test]
fn what_is_said_at_the_board_itself_holds() {
    let mut scene = Scene::of(old());
    scene.look(new(), &facts(&BOTH), 10);
    scene.out = scene.trial.handle(Input::Vouched(&new()), s(11));
    scene.holds(new());
}
