//! Addresses and routers that nobody gets through with are taken back, and good ones kept.

use crate::trial::{
    PASSWORD, PATIENCE, WITHIN, addresses, by_radio, change_eth0, settings_are_back, start, trial,
};
use lab::{Api, Lab, Options, wait};
use std::time::{Duration, Instant};

#[test]
fn a_good_address_holds_once_another_board_gets_through() {
    let lab = start();
    let api = by_radio(&lab, "web02");
    let begun = Instant::now();
    change_eth0(&api, "web02", "192.168.1.31/24", "192.168.1.1");
    let kept = trial(&api, "web02", "kept");
    println!("kept after {:?}: {kept}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(WITHIN), "{:?}", begun.elapsed());
    let by = kept["state"]["by"].as_str().unwrap();
    assert!(["Web01", "LbMaster", "LbSlave"].contains(&by), "{kept}");
    addresses(&lab, "web02", &["192.168.1.31/24"]);
    // The others follow: the balancers' checks and the node channel.
    for node in ["lbmaster", "lbslave"] {
        Api::new(&lab, node, PASSWORD).wait_servers(4, PATIENCE).unwrap();
    }
    std::thread::sleep(Duration::from_secs(WITHIN));
    assert_eq!(lab.node("web02").addresses("eth0"), ["192.168.1.31/24"], "it stays");
}

#[test]
fn a_power_cut_is_no_confirmation() {
    let lab = start();
    for cut in ["power", "kill"] {
        let api = Api::new(&lab, "web02", PASSWORD);
        change_eth0(&api, "web02", "192.168.9.9/24", "192.168.9.1");
        addresses(&lab, "web02", &["192.168.1.11/24", "192.168.9.9/24"]);
        if cut == "power" {
            lab.node("web02").power(false).unwrap();
            lab.node("web02").power(true).unwrap();
        } else {
            lab.node("web02").kill().unwrap();
            lab.node("web02").start().unwrap();
        }
        addresses(&lab, "web02", &["192.168.1.11/24"]);
        let over = trial(&api, "web02", "taken_back");
        let why = over["state"]["why"].as_str().unwrap().to_owned();
        assert!(why.contains("stopped before anybody had confirmed it"), "{cut}: {why}");
        settings_are_back(&lab, "web02");
        assert_eq!(lab.node("web02").addresses("eth0"), ["192.168.1.11/24"], "{cut}");
    }
}

#[test]
fn with_nobody_around_it_is_the_operators_word_that_counts() {
    let options = Options::new(env!("CARGO_BIN_EXE_bramble")).password(PASSWORD);
    let lab = Lab::start(&options.confirm_within(WITHIN).start(&["web02"])).unwrap();
    let old = Api::new(&lab, "web02", PASSWORD);
    old.wait_status(PATIENCE, "web02 to be there", |_| Some(())).unwrap();
    let new = Api::at(&lab, "192.168.1.31:1936".parse().unwrap(), PASSWORD);
    let keep = lab::http::Request::new("POST", "/api/v1/network/keep");

    assert_eq!(old.send(&keep).unwrap().status, 409, "nothing is tried");
    change_eth0(&old, "web02", "192.168.1.31/24", "192.168.1.1");
    addresses(&lab, "web02", &["192.168.1.11/24", "192.168.1.31/24"]);
    let refused = wait::until(PATIENCE, "a word on where to keep it", || {
        let answer = old.send(&keep).map_err(|e| e.to_string())?;
        let text = answer.text();
        if text.contains("http://192.168.1.31:1936/") { Ok(answer.status) } else { Err(text) }
    });
    assert_eq!(refused.unwrap(), 409);
    assert_eq!(new.send(&keep).unwrap().status, 204);
    assert_eq!(trial(&new, "web02", "kept")["state"]["by"], "the operator");
    addresses(&lab, "web02", &["192.168.1.31/24"]);

    change_eth0(&new, "web02", "192.168.1.32/24", "192.168.1.1");
    addresses(&lab, "web02", &["192.168.1.31/24", "192.168.1.32/24"]);
    addresses(&lab, "web02", &["192.168.1.31/24"]);
    let over = trial(&new, "web02", "taken_back");
    assert!(over["state"]["why"].as_str().unwrap().contains("nobody opened the page"), "{over}");
}
