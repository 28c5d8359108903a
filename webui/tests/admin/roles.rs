//! Roles, names and addresses of all boards on one page, applied as one change.

use crate::browser::{Answer, Browser, signed_in};
use crate::support::{self, Node};
use model::status::{DhcpStatus, LinkStatus};
use model::{Edit, Role};

/// Four boards that were just adopted; the third has no cable.
async fn four() -> (Node, Browser) {
    let node = support::node("pi-0", support::fresh("pi-0", "bramble-0"));
    for n in 1..4_u8 {
        let new = model::Node {
            id: format!("pi-{n}").parse().unwrap(),
            name: format!("bramble-{n}").parse().unwrap(),
            ..model::Node::default()
        };
        let edits = vec![Edit::PutNode(new)];
        let author = control::Author::Local;
        node.control.submit(control::Change { base: None, author, edits }).await.unwrap();
    }
    let links = |n: u8| {
        let dhcp = DhcpStatus::Leased { server: [192, 168, 1, 1].into(), seconds: Some(3600) };
        vec![LinkStatus {
            name: if n == 2 { "wlan0" } else { "eth0" }.to_owned(),
            running: true,
            mac: format!("b8:27:eb:00:00:0{n}"),
            addresses: vec![format!("192.168.1.{}/24", 70 + n).parse().unwrap()],
            dhcp: Some(dhcp),
            ..LinkStatus::default()
        }]
    };
    node.board.provide(move |status| status.links = links(0));
    for n in 1..4_u8 {
        let id = format!("pi-{n}").parse().unwrap();
        let mut status = support::demo::status(&node.control.snapshot(), &id);
        status.links = links(n);
        node.board.heard(status);
    }
    let mut browser = Browser::new(&node);
    browser.claim().await;
    (node, browser)
}

/// Every field of a form as a browser would send it, the checked ones of radio buttons.
fn fields(page: &Answer) -> Vec<(String, String)> {
    let text = page.text().replace("&#38;", "&").replace("&#34;", "\"");
    let form = text.split("action=\"/roles\"").nth(1).unwrap().split("</form>").next().unwrap();
    let of = |tag: &str, name: &str| {
        let rest = tag.split(&format!(" {name}=\"")).nth(1)?;
        Some(rest.split('"').next().unwrap().to_owned())
    };
    let mut found = Vec::new();
    for tag in form.split("<input").skip(1).map(|t| t.split('>').next().unwrap()) {
        let radio = tag.contains("type=\"radio\"");
        if !radio || tag.contains(" checked") {
            found.push((of(tag, "name").unwrap(), of(tag, "value").unwrap_or_default()));
        }
    }
    for area in form.split("<textarea").skip(1) {
        let (tag, rest) = area.split_once('>').unwrap();
        let value = rest.split("</textarea>").next().unwrap().trim_start_matches('\n');
        found.push((of(tag, "name").unwrap(), value.to_owned()));
    }
    found
}

async fn send(
    browser: &mut Browser,
    fields: &[(String, String)],
    changed: &[(&str, &str)],
) -> Answer {
    let value = |(name, old): &(String, String)| {
        let new = changed.iter().find(|(n, _)| n == name).map(|(_, v)| (*v).to_owned());
        (name.clone(), new.unwrap_or_else(|| old.clone()))
    };
    let mut all: Vec<_> = fields.iter().map(value).collect();
    let fresh = changed.iter().filter(|(n, _)| !fields.iter().any(|(name, _)| name == n));
    all.extend(fresh.map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
    let pairs: Vec<_> = all.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    browser.post_raw("/roles", &pairs).await
}

#[tokio::test]
async fn the_suggestion_is_the_reference_cluster_and_one_change() {
    let (node, mut browser) = four().await;
    let page = browser.get("/roles").await;
    assert_eq!(page.status, 200);
    for (name, value) in [
        ("name.pi-0", "LbMaster"),
        ("name.pi-1", "LbSlave"),
        ("name.pi-2", "Web01"),
        ("name.pi-3", "Web02"),
        ("address.pi-2", "192.168.1.72/24"),
        ("floating_ip", "192.168.1.250/24"),
        ("gateway", "192.168.1.1"),
    ] {
        assert_eq!(page.field(name), value, "{name}");
    }
    let revision = node.control.snapshot().revision.0;
    let review = send(&mut browser, &fields(&page), &[("step", "review")]).await;
    assert_eq!(review.status, 200, "{}", review.text());
    for words in [
        "is called LbMaster and becomes a load balancer, fixed at 192.168.1.70 on eth0",
        "is called Web01 and becomes a web server, fixed at 192.168.1.72 on wlan0",
        "LbMaster holds it, and LbSlave takes over when LbMaster fails",
    ] {
        assert!(review.text().contains(words), "{words}: {}", review.text());
    }
    assert_eq!(node.control.snapshot().revision.0, revision, "nothing has happened yet");
    let done = send(&mut browser, &fields(&review), &[("step", "apply")]).await;
    assert_eq!(done.status, 303, "{}", done.text());
    assert!(done.header("location").starts_with("/roles/applied?saved="));
    let snapshot = node.control.snapshot();
    assert_eq!(snapshot.revision.0, revision + 1, "one change");
    let settings = &snapshot.settings;
    assert_eq!(settings.with_role(Role::Balancer).count(), 2);
    assert_eq!(settings.cluster.floating_ip, "192.168.1.250/24".parse().ok());
    assert_eq!(settings.nodes[2].wlan0.address, "192.168.1.72/24".parse().ok());
    assert_eq!(settings.nodes[2].eth0.address, None);
    assert_eq!(snapshot.effective.backends[0].servers.len(), 2);
    let progress = browser.get("/roles/applied").await;
    assert!(progress.text().contains("Web01"), "{}", progress.text());
}

#[tokio::test]
async fn a_name_left_alone_follows_the_role() {
    let (_node, mut browser) = four().await;
    let page = browser.get("/roles").await;
    let swapped = [
        ("role.pi-0", "web"),
        ("role.pi-2", "balancer"),
        ("name.pi-3", "Archive"),
        ("step", "review"),
    ];
    let review = send(&mut browser, &fields(&page), &swapped).await;
    assert_eq!(review.status, 200, "{}", review.text());
    let names: Vec<_> = (0..4).map(|n| review.field(&format!("name.pi-{n}"))).collect();
    assert_eq!(names, ["Web01", "LbMaster", "LbSlave", "Archive"]);
    // Back to the form with everything as it was chosen.
    let again = send(&mut browser, &fields(&review), &[("step", "edit")]).await;
    assert_eq!((again.status.as_u16(), again.field("name.pi-3").as_str()), (200, "Archive"));
}

#[tokio::test]
async fn what_is_wrong_stands_at_its_field() {
    let (node, mut browser) = four().await;
    let page = browser.get("/roles").await;
    let before = node.control.snapshot().revision;
    let wrong = [
        ("address.pi-1", "192.168.1.70/24"),
        ("address.pi-2", ""),
        ("name.pi-3", "LbMaster"),
        ("role.pi-3", "king"),
        ("step", "review"),
    ];
    let again = send(&mut browser, &fields(&page), &wrong).await;
    assert_eq!(again.status, 422);
    assert!(
        again.text().contains("id=\"address.pi-2-e\"") && again.text().contains("needs a fixed")
    );
    assert!(again.text().contains("Choose what this board does"));
    let wrong = [
        ("address.pi-1", "192.168.1.70/24"),
        ("name.pi-0", "Same"),
        ("name.pi-3", "Same"),
        ("step", "apply"),
    ];
    let again = send(&mut browser, &fields(&page), &wrong).await;
    assert_eq!(again.status, 422);
    assert!(again.text().contains("id=\"address.pi-1-e\""), "{}", again.text());
    assert!(again.text().contains("id=\"name.pi-3-e\""));
    let wrong = [("floating_ip", ""), ("step", "review")];
    let again = send(&mut browser, &fields(&page), &wrong).await;
    assert!(again.status == 422 && again.text().contains("id=\"floating_ip-e\""));
    assert_eq!(node.control.snapshot().revision, before, "nothing was changed");
}

#[tokio::test]
async fn addresses_of_strangers_are_not_taken() {
    let (node, mut browser) = four().await;
    let printer = "00:1b:a9:00:00:09".to_owned();
    let taken = |n: u8| ([192, 168, 1, n].into(), printer.clone());
    *node.neighbours.taken.lock().unwrap() = vec![taken(250), taken(33)];
    let page = browser.get("/roles").await;
    assert_eq!(page.field("floating_ip"), "192.168.1.249/24", "the next one nobody answers at");
    let wanted = [
        ("address.pi-3", "192.168.1.33/24"),
        ("floating_ip", "192.168.1.250/24"),
        ("step", "review"),
    ];
    let again = send(&mut browser, &fields(&page), &wanted).await;
    assert_eq!(again.status, 422);
    assert_eq!(again.text().matches("00:1b:a9:00:00:09 answers there").count(), 2);
    // A board that answers at its own address is no stranger.
    node.neighbours.taken.lock().unwrap().push(([192, 168, 1, 71].into(), printer));
    let review = send(&mut browser, &fields(&page), &[("step", "review")]).await;
    assert_eq!(review.status, 200, "{}", review.text());
}

#[tokio::test]
async fn somebody_elses_change_is_seen_first() {
    let (node, mut browser) = four().await;
    let page = browser.get("/roles").await;
    let mut cluster = node.control.snapshot().settings.cluster.clone();
    cluster.name = "Other".parse().ok();
    let edits = vec![Edit::PutCluster(cluster)];
    let author = control::Author::Local;
    node.control.submit(control::Change { base: None, author, edits }).await.unwrap();
    let again =
        send(&mut browser, &fields(&page), &[("step", "apply"), ("name.pi-3", "Mine")]).await;
    assert_eq!((again.status.as_u16(), again.field("name.pi-3").as_str()), (409, "Mine"));
    let done = send(&mut browser, &fields(&again), &[("step", "apply")]).await;
    assert_eq!(done.status, 303, "{}", done.text());
    assert_eq!(node.control.snapshot().settings.cluster.name, "Other".parse().ok());
}

#[tokio::test]
async fn a_cluster_that_is_set_up_keeps_what_it_has() {
    let (node, mut browser) = signed_in().await;
    let page = browser.get("/roles").await;
    assert_eq!(page.field("name.web01"), "Web01");
    let review = send(&mut browser, &fields(&page), &[("step", "review")]).await;
    assert_eq!(review.text().matches("stays as it is").count(), 4, "{}", review.text());
    let done = send(&mut browser, &fields(&review), &[("step", "apply")]).await;
    assert_eq!(done.header("location"), "/roles/applied?same=1");
    assert_eq!(node.control.snapshot().revision.0, 0);
    let moved = [("address.lbmaster", "192.168.1.44/24"), ("step", "review")];
    let review = send(&mut browser, &fields(&page), &moved).await;
    // Its other address is still there.
    assert!(!review.text().contains("This page moves"), "{}", review.text());
}
