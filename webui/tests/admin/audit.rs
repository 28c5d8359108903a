//! The page of the audit log.

use crate::browser::signed_in;
use model::audit::{Actor, Deed, Record};
use webui::Audit;

#[tokio::test]
async fn everything_is_there_newest_first_and_can_be_filtered() {
    let (node, mut browser) = signed_in().await;
    let write = |deed, object: &str| {
        let actor = Actor::Operator { address: "192.168.1.50".into() };
        node.audit.record(&Record::done(actor, deed, object)).unwrap();
    };
    for n in 0..60 {
        write(Deed::Reboot, &format!("number {n} <b>"));
    }
    write(Deed::Failover, "VI_1");
    let first = browser.get("/audit").await;
    assert_eq!(first.status, 200);
    let text = first.text();
    let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what}"));
    assert!(place("Failover") < place("number 59") && place("number 59") < place("number 20"));
    assert!(text.contains("number 59 &#60;b&#62;") && !text.contains("number 0 "));
    assert!(text.contains("LbMaster · operator at 192.168.1.50 · 2026-11-22"));
    let older = text.split("href=\"/audit?").nth(1).unwrap().split('"').next().unwrap();
    let older = format!("/audit?{}", older.replace("&#38;", "&").replace("&amp;", "&"));
    let second = browser.get(&older).await;
    assert!(second.text().contains("number 0 ") && second.text().contains("Board claimed"));
    assert!(!second.text().contains("Older ones"));

    let failovers = browser.get("/audit?node=lbmaster&kind=failover").await;
    assert!(failovers.text().contains("VI_1") && !failovers.text().contains("number 59"));
    assert!(failovers.text().contains("<option value=\"failover\" selected>"));
    let words = browser.get("/audit?q=number+33").await;
    assert!(words.text().contains("number 33") && !words.text().contains("number 34"));
    let nothing = browser.get("/audit?node=web02").await;
    assert!(nothing.text().contains("Nothing fits the filter"));
    assert_eq!(browser.get("/audit?node=../x").await.status, 404);
}
