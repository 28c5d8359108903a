use super::*;
use crate::demo::{reports, settings};
use model::Revision;
use model::status::{Health, VrrpState};

fn view(change: impl Fn(&mut Vec<NodeReport>)) -> ClusterView {
    let snapshot = Snapshot::new(Revision(12), settings(), &"lbmaster".parse().unwrap());
    let mut all = reports(&snapshot);
    change(&mut all);
    ClusterView::new(&snapshot, &all)
}

#[test]
fn a_healthy_cluster_is_all_good() {
    let v = view(|_| ());
    assert_eq!(
        v.verdict,
        Verdict { tone: Tone::Good, headline: "All good".into(), reasons: vec![] }
    );
    assert_eq!((v.servers_up(), v.nodes_reachable()), ((4, 4), (4, 4)));
    assert_eq!(v.routers[0].holder.as_deref(), Some("LbMaster"));
    assert_eq!(v.routers[0].next.as_deref(), Some("LbSlave"));
    assert_eq!(v.servers_by.as_deref(), Some("LbMaster"));
}

#[test]
fn a_lost_spare_is_a_warning() {
    let v = view(|r| {
        for r in r.iter_mut().filter(|r| r.status.id.as_str() == "lbslave") {
            (r.reachable, r.age_ms) = (false, 65_000);
        }
    });
    assert_eq!(v.verdict.tone, Tone::Warn);
    assert!(v.verdict.reasons.iter().any(|r| r.contains("LbSlave is not reachable")));
    assert!(v.verdict.reasons.iter().any(|r| r.contains("ready to take over")));
    let slave = v.nodes.iter().find(|n| n.id == "lbslave").unwrap();
    assert_eq!(slave.word, "not reachable for 1 min");
    assert!(slave.known && !slave.backup);
}

#[test]
fn two_masters_are_alarming() {
    let v = view(|r| {
        r.iter_mut().flat_map(|r| &mut r.status.vrrp).for_each(|v| v.state = VrrpState::Master)
    });
    assert_eq!(v.verdict.tone, Tone::Bad);
    assert!(v.verdict.reasons[0].contains("LbMaster and LbSlave"), "{:?}", v.verdict);
}

#[test]
fn no_server_left_is_alarming() {
    let v = view(|r| {
        let proxies = r.iter_mut().filter_map(|r| r.status.proxy.as_mut());
        for s in proxies.flat_map(|p| &mut p.backends).flat_map(|b| &mut b.servers) {
            (s.health, s.check.check_health) = (Health::Down, 0);
        }
    });
    assert_eq!(v.servers_up(), (0, 4));
    assert_eq!(v.verdict.reasons[0], "No server of webservers takes visitors.");
}

#[test]
fn a_failing_check_is_not_yet_a_server_that_is_down() {
    let v = view(|r| {
        let proxies = r.iter_mut().filter_map(|r| r.status.proxy.as_mut());
        for b in proxies.flat_map(|p| &mut p.backends) {
            b.servers[0].check.check_health = 3;
        }
    });
    assert_eq!(v.servers_up(), (4, 4));
    assert_eq!(v.verdict.reasons, ["Server webservers/web01-eth is failing checks."]);
}

#[test]
fn silence_of_the_others_is_not_alarming() {
    // Without a node-to-node channel a node knows only itself.
    let v = view(|r| r.retain(|r| r.status.id.as_str() == "lbslave"));
    assert_eq!(v.routers[0].holder.as_deref(), Some("LbMaster"), "heard by its adverts");
    assert_eq!(v.verdict.tone, Tone::Good, "{:?}", v.verdict);
    let v = view(|r| r.retain(|r| r.status.id.as_str() == "web01"));
    assert_eq!(v.verdict.tone, Tone::Quiet, "{:?}", v.verdict);
}

#[test]
fn an_empty_node_says_what_to_do() {
    let snapshot = Snapshot::new(Revision(0), Settings::default(), &"pi".parse().unwrap());
    let v = ClusterView::new(&snapshot, &[]);
    assert_eq!(v.verdict.headline, "Nothing is set up yet");
}
