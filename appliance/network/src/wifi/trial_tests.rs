use super::*;
use model::Secret;

fn at(milliseconds: u64) -> Instant {
    static BEGUN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *BEGUN.get_or_init(Instant::now) + Duration::from_millis(milliseconds)
}

fn network(passphrase: &str) -> WifiNetwork {
    WifiNetwork {
        ssid: "home".parse().unwrap(),
        passphrase: Secret::new(passphrase),
        hidden: false,
    }
}

fn bss(frequency: u32, level: i32, flags: &str) -> Bss {
    Bss { id: 0, ssid: b"home".to_vec(), frequency, level, flags: flags.to_owned() }
}

const WPA2: &str = "[WPA2-PSK-CCMP][ESS]";
const ABLE: fn() -> Ability = || Ability {
    five_ghz: true,
    sae: true,
    handshake_offload: false,
    can_move: true,
    may_start: vec![2412, 2437, 2462],
};
const SHARED: Setup = Setup::Shared { frequency: 2437 };

fn begin(ability: Ability, setup: Setup) -> Trial {
    let (trial, steps) = Trial::new(network("password1"), ability, setup, at(0));
    assert_eq!(steps, [Step::Scan]);
    trial
}

fn judged(passphrase: &str, ability: Ability, list: &[Bss]) -> Vec<Step> {
    let (mut trial, _) = Trial::new(network(passphrase), ability, SHARED, at(0));
    trial.handle(&Input::Seen(list), at(10))
}

fn refused(steps: &[Step]) -> &str {
    match steps {
        [Step::Done(WifiVerdict::Refused { why })] => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn some_verdicts_need_no_attempt() {
    let only = |flags| [bss(2437, -50, flags)];
    let why = judged("password1", ABLE(), &only("[WPA2-EAP-CCMP][ESS]"));
    assert!(refused(&why).contains("user name"));
    let why = judged("password1", ABLE(), &only("[WEP][ESS]"));
    assert!(refused(&why).contains("WEP"));
    assert!(refused(&judged("password1", ABLE(), &only("[ESS]"))).contains("no passphrase"));
    assert!(refused(&judged("", ABLE(), &only(WPA2))).contains("none was given"));
    let wpa3 = only("[WPA2-SAE-CCMP][ESS]");
    let old = Ability { sae: false, ..ABLE() };
    assert!(refused(&judged("password1", old, &wpa3)).contains("WPA3 only"));
    assert!(refused(&judged(&"ab".repeat(32), ABLE(), &wpa3)).contains("passphrase itself"));
    assert_eq!(judged("password1", ABLE(), &wpa3), [Step::Join { frequency: Some(2437) }]);
    assert_eq!(judged("", ABLE(), &only("[ESS]")), [Step::Join { frequency: Some(2437) }]);
    let low = Ability { five_ghz: false, ..ABLE() };
    let five = [bss(5180, -50, WPA2)];
    assert_eq!(judged("password1", low, &five), [Step::Done(WifiVerdict::OnlyFiveGhz)]);
}

#[test]
fn not_found_is_said_after_a_second_look() {
    let mut trial = begin(ABLE(), Setup::Free);
    let other = Bss { ssid: b"homer".to_vec(), ..bss(2412, -40, WPA2) };
    assert_eq!(trial.handle(&Input::Seen(&[other]), at(3000)), [Step::Scan]);
    assert_eq!(trial.handle(&Input::Seen(&[]), at(6000)), [Step::Done(WifiVerdict::NotFound)]);
    assert_eq!(trial.handle(&Input::Tick, at(99_000)), [], "done is done");
    // Scans that never end.
    let mut trial = begin(ABLE(), Setup::Free);
    assert_eq!(trial.handle(&Input::Tick, at(14_999)), []);
    assert_eq!(trial.handle(&Input::Tick, at(15_000)), [Step::Scan]);
    assert_eq!(trial.handle(&Input::Tick, at(30_000)), [Step::Done(WifiVerdict::NotFound)]);
}

#[test]
fn the_access_point_moves_first_and_takes_the_phone_along() {
    let mut trial = begin(ABLE(), SHARED);
    assert_eq!(trial.handle(&Input::Seen(&[bss(2462, -50, WPA2)]), at(0)), []);
    assert_eq!(trial.handle(&Input::Tick, at(1999)), [], "the page gets there first");
    assert_eq!(trial.handle(&Input::Tick, at(2000)), [Step::MoveSetup { frequency: 2462 }]);
    assert_eq!(trial.handle(&Input::Event(&Event::Connected), at(2100)), []);
    assert_eq!(trial.handle(&Input::Moved, at(2600)), [Step::Join { frequency: Some(2462) }]);
    assert!(!trial.offline());
    assert_eq!(trial.handle(&Input::Event(&Event::Connected), at(4000)), []);
    assert!(trial.wants_address());
    assert_eq!(trial.handle(&Input::Address(None), at(4100)), []);
    let address = Ipv4Addr::new(192, 0, 2, 7);
    assert_eq!(
        trial.handle(&Input::Address(Some(address)), at(4200)),
        [Step::Done(WifiVerdict::Connected { address })]
    );
}

#[test]
fn a_driver_that_never_says_it_moved_does_not_hold_it_up() {
    let mut trial = begin(ABLE(), SHARED);
    trial.handle(&Input::Seen(&[bss(2412, -50, WPA2)]), at(0));
    trial.handle(&Input::Tick, at(2000));
    assert_eq!(trial.handle(&Input::Tick, at(4999)), []);
    assert_eq!(trial.handle(&Input::Tick, at(5000)), [Step::Join { frequency: Some(2412) }]);
}

#[test]
fn the_channel_it_is_on_is_preferred() {
    let list = [bss(5180, -40, WPA2), bss(2437, -55, WPA2), bss(2462, -45, WPA2)];
    assert_eq!(judged("password1", ABLE(), &list), [Step::Join { frequency: Some(2437) }]);
    // But not at the price of a bad signal.
    let list = [bss(2462, -45, WPA2), bss(2437, -85, WPA2)];
    let mut trial = begin(ABLE(), SHARED);
    assert_eq!(trial.handle(&Input::Seen(&list), at(0)), []);
    assert_eq!(trial.handle(&Input::Tick, at(2000)), [Step::MoveSetup { frequency: 2462 }]);
}

#[test]
fn where_it_may_not_go_it_is_switched_off_meanwhile() {
    for (list, ability) in [
        ([bss(5180, -40, WPA2)], ABLE()),
        ([bss(2462, -40, WPA2)], Ability { can_move: false, ..ABLE() }),
    ] {
        let mut trial = begin(ability, SHARED);
        assert_eq!(trial.handle(&Input::Seen(&list), at(0)), []);
        assert!(!trial.offline());
        assert_eq!(
            trial.handle(&Input::Tick, at(2000)),
            [Step::SetupDown, Step::Join { frequency: None }]
        );
        assert!(trial.offline());
    }
}

#[test]
fn an_adapter_that_is_either_or_goes_offline_before_it_looks() {
    let (mut trial, steps) = Trial::new(network("password1"), ABLE(), Setup::Same, at(0));
    assert_eq!(steps, []);
    assert_eq!(trial.handle(&Input::Tick, at(2000)), [Step::SetupDown, Step::Scan]);
    assert!(trial.offline());
    let list = [bss(5180, -40, WPA2)];
    assert_eq!(trial.handle(&Input::Seen(&list), at(4000)), [Step::Join { frequency: None }]);
}

fn joining(ability: Ability) -> Trial {
    let mut trial = begin(ability, Setup::Free);
    let steps = trial.handle(&Input::Seen(&[bss(2462, -50, WPA2)]), at(0));
    assert_eq!(steps, [Step::Join { frequency: None }]);
    trial
}

#[test]
fn a_wrong_passphrase_is_told_apart() {
    let wrong = [Step::Done(WifiVerdict::WrongPassphrase)];
    let mut trial = joining(ABLE());
    let event = Event::Disconnected { reason: 15, local: false };
    assert_eq!(trial.handle(&Input::Event(&event), at(9000)), []);
    let event = Event::TempDisabled { id: 0, why: Disabled::WrongKey };
    assert_eq!(trial.handle(&Input::Event(&event), at(9500)), wrong);
    // WPA3.
    for status in [1, 15] {
        let event = Event::AuthReject { kind: 3, step: 2, status };
        assert_eq!(joining(ABLE()).handle(&Input::Event(&event), at(900)), wrong);
        let event = Event::AuthReject { kind: 3, step: 1, status };
        assert_eq!(joining(ABLE()).handle(&Input::Event(&event), at(900)), []);
    }
    // brcmfmac's firmware does the handshake and only says that it failed.
    let event = Event::AssocReject { status: 16, timed_out: false };
    let mut trial = joining(Ability { handshake_offload: true, ..ABLE() });
    assert_eq!(trial.handle(&Input::Event(&event), at(4000)), []);
    assert_eq!(trial.handle(&Input::Event(&event), at(9000)), wrong);
    // The same words of a driver that leaves the handshake to wpa_supplicant.
    let mut trial = joining(ABLE());
    trial.handle(&Input::Event(&event), at(4000));
    trial.handle(&Input::Event(&event), at(9000));
    assert!(refused(&trial.handle(&Input::Tick, at(25_000))).contains("signal"));
    // Time is up in the middle of it.
    let mut trial = joining(ABLE());
    let event = Event::Disconnected { reason: 15, local: false };
    trial.handle(&Input::Event(&event), at(24_000));
    assert_eq!(trial.handle(&Input::Tick, at(25_000)), wrong);
}

#[test]
fn other_refusals_are_in_the_networks_words() {
    let full = Event::AssocReject { status: 17, timed_out: false };
    let gone = Event::TempDisabled { id: 0, why: Disabled::ConnectionFailed };
    let mut trial = joining(ABLE());
    trial.handle(&Input::Event(&full), at(1000));
    let steps = trial.handle(&Input::Event(&gone), at(8000));
    assert!(refused(&steps).contains("as many devices"), "{steps:?}");
    let steps = joining(ABLE()).handle(&Input::Tick, at(25_000));
    assert!(refused(&steps).contains("25 seconds"), "{steps:?}");
    let mut trial = joining(ABLE());
    trial.handle(&Input::Event(&Event::AuthReject { kind: 0, step: 2, status: 37 }), at(1));
    assert!(refused(&trial.handle(&Input::Event(&gone), at(2))).contains("MAC filter"));
    let mut trial = joining(ABLE());
    for second in 0..2 {
        assert_eq!(trial.handle(&Input::Event(&Event::NetworkNotFound), at(second * 1000)), []);
    }
    let steps = trial.handle(&Input::Event(&Event::NetworkNotFound), at(9000));
    assert_eq!(steps, [Step::Done(WifiVerdict::NotFound)]);
}

#[test]
fn no_address_is_a_verdict_of_its_own() {
    let mut trial = joining(ABLE());
    trial.handle(&Input::Event(&Event::Connected), at(1000));
    assert_eq!(trial.handle(&Input::Tick, at(20_999)), []);
    assert_eq!(trial.handle(&Input::Tick, at(21_000)), [Step::Done(WifiVerdict::NoAddress)]);
}

#[test]
fn a_network_that_lets_go_again_and_again_comes_to_an_end() {
    let mut trial = joining(ABLE());
    let kicked = Event::Disconnected { reason: 3, local: false };
    let mut ended = None;
    for second in 0..200_u64 {
        let event = if second % 2 == 0 { &Event::Connected } else { &kicked };
        let mut steps = trial.handle(&Input::Event(event), at(second * 1000));
        steps.extend(trial.handle(&Input::Tick, at(second * 1000)));
        if let Some(Step::Done(verdict)) = steps.first() {
            ended = Some((second, verdict.clone()));
            break;
        }
    }
    let (second, verdict) = ended.unwrap();
    assert!((55..=65).contains(&second), "{second}");
    assert!(matches!(verdict, WifiVerdict::Refused { why } if why.contains("let go")));
}

/// Whatever happens in whatever order: one verdict, and within bounded time.
#[test]
fn noise_ends_in_exactly_one_verdict() {
    let events = [
        Event::Connected,
        Event::ScanResults,
        Event::NetworkNotFound,
        Event::Disconnected { reason: 15, local: true },
        Event::Disconnected { reason: 3, local: false },
        Event::AssocReject { status: 16, timed_out: true },
        Event::AuthReject { kind: 3, step: 1, status: 1 },
        Event::ApEnabled,
    ];
    let list = [bss(2462, -50, WPA2), bss(5180, -40, WPA2)];
    let mut noise = noise::Noise::new(1936);
    for round in 0..2000 {
        let setup = match round % 3 {
            0 => Setup::Free,
            1 => Setup::Same,
            _ => SHARED,
        };
        let (mut trial, _) = Trial::new(network("password1"), ABLE(), setup, at(0));
        let mut verdicts = 0;
        for tick in 0..600_u64 {
            let now = at(tick * 250);
            let input = match noise.below(12) {
                0 => Input::Seen(&list),
                1 => Input::Seen(&[]),
                2 => Input::Moved,
                3 => Input::Address(None),
                4 | 5 => Input::Event(noise.pick(&events)),
                _ => Input::Tick,
            };
            let steps = trial.handle(&input, now);
            verdicts += steps.iter().filter(|s| matches!(s, Step::Done(_))).count();
        }
        assert_eq!(verdicts, 1, "round {round}");
    }
}
