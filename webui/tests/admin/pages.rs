//! What pages show, and what they must not let through.

use crate::browser::{Browser, signed_in};
use crate::support;
use model::status::{Subsystem, SubsystemState, SubsystemStatus};

const HOSTILE: &str = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&'";

#[tokio::test]
async fn the_overview_says_what_matters() {
    let (_node, mut browser) = signed_in().await;
    let page = browser.get("/").await;
    for part in [
        "All good",
        "192.168.1.15",
        "held by <b>LbMaster</b>",
        "3 h 12 min",
        "LbSlave takes over",
        "in step",
        "Web02",
    ] {
        assert!(page.text().contains(part), "{part}");
    }
}

#[tokio::test]
async fn hostile_reports_are_shown_as_text() {
    let (node, mut browser) = signed_in().await;
    let mut report = support::demo::status(&node.control.snapshot(), &"web02".parse().unwrap());
    report.name = HOSTILE.into();
    report.version = HOSTILE.into();
    report.notices.push(model::status::Notice { key: "x".into(), text: HOSTILE.into() });
    report.mirror[0].skipped = vec![HOSTILE.into()];
    report.mirror[0].phase =
        model::status::MirrorPhase::Held { reason: HOSTILE.into(), approvable: true };
    let state = SubsystemState::Degraded { reason: HOSTILE.into() };
    report
        .subsystems
        .insert(Subsystem::Server, SubsystemStatus { revision: model::Revision(0), state });
    node.board.heard(report);
    node.board.notice("y", HOSTILE);
    node.board.provide(|status| {
        for b in status.proxy.iter_mut().flat_map(|p| &mut p.backends) {
            b.servers[0].check.last_chk = HOSTILE.into();
            b.servers[0].check.check_status = HOSTILE.into();
        }
        for v in &mut status.vrrp {
            v.fault = Some(HOSTILE.into());
        }
    });
    let mut shown = 0;
    for path in [
        "/",
        "/nodes",
        "/sites",
        "/balancing",
        "/failover",
        "/stats",
        "/nowhere",
        "/?saved=%3Cscript%3Ealert",
    ] {
        let page = browser.get(path).await;
        assert!(
            !page.text().contains("<script>alert") && !page.text().contains("<img src=x"),
            "{path}"
        );
        shown += usize::from(
            page.text().contains("&#60;script&#62;alert")
                || page.text().contains("&lt;script&gt;alert"),
        );
    }
    assert!(shown >= 5, "{shown}: the text itself is shown");
}

#[tokio::test]
async fn a_lost_node_is_greyed_with_its_last_values() {
    let node = support::node("lbmaster", support::demo::settings());
    let mut browser = Browser::new(&node);
    browser.claim().await;
    // Silence counts from the last report: wait until the board takes the others for lost.
    let lost = async {
        while node.board.nodes().iter().any(|n| n.reachable && n.status.id.as_str() != "lbmaster") {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), lost).await.unwrap();
    let page = browser.get("/").await;
    assert!(page.text().contains("not reachable for") && page.text().contains("last known values"));
    assert!(page.text().contains("faded"));
    assert!(page.text().contains("Working, with something to look at"));
}

#[tokio::test]
async fn an_empty_node_works_too() {
    let node = support::node("pi-1", model::Settings::default());
    let mut browser = Browser::new(&node);
    browser.claim().await;
    for path in [
        "/",
        "/nodes",
        "/nodes/new",
        "/cluster",
        "/balancing",
        "/failover",
        "/sites",
        "/history",
        "/stats",
        "/more",
    ] {
        assert_eq!(browser.get(path).await.status, 200, "{path}");
    }
    assert!(browser.get("/").await.text().contains("Nothing is set up yet"));
    assert!(browser.get("/nodes").await.text().contains("not in the settings yet"));
    assert!(browser.get("/stats").await.text().contains("no load balancer"));
    assert_eq!(browser.get("/healthz").await.status, 200, "a spare does all it should");
}
