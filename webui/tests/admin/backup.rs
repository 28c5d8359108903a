//! A backup made on one node and restored on another.

use crate::browser::{Answer, Browser, HOST, PASSWORD, signed_in};
use crate::support;
use http::Request;

const PASSPHRASE: &str = "seven wet boots";
const BOUNDARY: &str = "----between";

async fn upload(browser: &mut Browser, file: &[u8], passphrase: &str) -> Answer {
    let token = browser.get("/backup").await.field("csrf");
    let mut body = Vec::new();
    for (name, value) in
        [("csrf", token.as_bytes()), ("file", file), ("passphrase", passphrase.as_bytes())]
    {
        let kind = if name == "file" {
            "; filename=\"x.backup\"\r\ncontent-type: application/octet-stream"
        } else {
            ""
        };
        let head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{kind}\r\n\r\n"
        );
        body.extend(head.as_bytes());
        body.extend(value);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").as_bytes());
    let request = Request::post("/backup/open")
        .header("accept", "text/html")
        .header("origin", format!("http://{HOST}"))
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
    browser.send(request, body).await
}

async fn make(browser: &mut Browser) -> Vec<u8> {
    let pairs = [("passphrase", PASSPHRASE), ("again", PASSPHRASE)];
    let made = browser.post("/backup", "/backup/make", &pairs).await;
    assert_eq!(made.status, 200, "{:?}", made.headers);
    let name = made.header("content-disposition");
    assert!(name.starts_with("attachment; filename=\"bramble-Reference-"), "{name}");
    assert_eq!(made.header("cache-control"), "no-store");
    made.body.to_vec()
}

#[tokio::test]
async fn a_backup_brings_back_what_was() {
    let (node, mut browser) = signed_in().await;
    let file = make(&mut browser).await;
    assert_eq!(
        browser
            .post(
                "/nodes/web01/remove",
                "/nodes/web01/remove",
                &[("revision", "0"), ("confirm", "Web01")]
            )
            .await
            .status,
        303
    );
    let cluster = model::Cluster {
        gateway: "192.168.1.254".parse().ok(),
        key: model::Secret::new("k".repeat(40)),
        ..node.control.snapshot().settings.cluster.clone()
    };
    let change = control::Change {
        base: None,
        author: control::Author::Local,
        edits: vec![model::Edit::PutCluster(cluster)],
    };
    node.control.submit(change).await.unwrap();
    let before = node.control.snapshot().settings.clone();

    let shown = upload(&mut browser, &file, PASSPHRASE).await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    for part in [
        "Made on",
        "on LbMaster of Reference",
        "+ nodes[web01].name = Web01",
        "cluster.gateway = 192.168.1.1",
        "another cluster key",
    ] {
        assert!(shown.text().contains(part), "{part} in {}", shown.text());
    }
    assert!(!shown.text().contains("0123456789abcdef"), "no secret is shown");
    assert_eq!(node.control.snapshot().settings, before, "nothing is changed by looking");
    let (id, revision, csrf) = (shown.field("id"), shown.field("revision"), shown.field("csrf"));
    let pairs = [("csrf", csrf.as_str()), ("id", id.as_str()), ("revision", revision.as_str())];
    let done = browser.post_raw("/backup/restore", &pairs).await;
    assert_eq!((done.status.as_u16(), done.header("location")), (303, "/history?saved=3"));
    assert_eq!(node.control.snapshot().settings, support::demo::settings(), "secrets as well");
    let again = browser.post_raw("/backup/restore", &pairs).await;
    assert_eq!(again.status, 422, "it counts once");
    let written: Vec<String> =
        node.audit.entries.lock().unwrap().iter().map(|e| e.deed.clone()).collect();
    for deed in ["backup-made", "backup-restored"] {
        assert!(written.iter().any(|d| d == deed), "{deed} in {written:?}");
    }
    let history = browser.get("/history").await;
    assert!(history.text().contains("Revision 2"), "nothing else is lost");
}

#[tokio::test]
async fn what_was_changed_while_somebody_looked_is_not_overwritten() {
    let (node, mut browser) = signed_in().await;
    let file = make(&mut browser).await;
    let shown = upload(&mut browser, &file, PASSPHRASE).await;
    assert!(shown.text().contains("nothing would change"));
    let change = control::Change {
        base: None,
        author: control::Author::Local,
        edits: vec![model::Edit::RemoveNode("web02".parse().unwrap())],
    };
    node.control.submit(change).await.unwrap();
    let of = |page: &Answer| {
        [
            ("csrf", page.field("csrf")),
            ("id", page.field("id")),
            ("revision", page.field("revision")),
        ]
    };
    let pairs = of(&shown);
    let pairs: Vec<_> = pairs.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let stale = browser.post_raw("/backup/restore", &pairs).await;
    assert_eq!(stale.status, 409);
    assert!(
        stale.text().contains("Somebody changed the settings meanwhile")
            && stale.text().contains("+ nodes[web02]")
    );
    assert!(node.control.snapshot().settings.node(&"web02".parse().unwrap()).is_none());
    let pairs = of(&stale);
    let pairs: Vec<_> = pairs.iter().map(|(k, v)| (*k, v.as_str())).collect();
    assert_eq!(browser.post_raw("/backup/restore", &pairs).await.status, 303, "seen and meant");
}

#[tokio::test]
async fn the_password_comes_back_only_if_asked_for() {
    let (node, mut browser) = signed_in().await;
    let token = |name: &str| model::token::Token {
        name: name.parse().unwrap(),
        scope: model::token::Scope::Read,
        hash: name.repeat(8),
        by: String::new(),
        at_ms: 0,
    };
    webui::Tokens::add(&*node.tokens, &token("monitor")).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let file = make(&mut browser).await;
    let other = support::node("lbmaster", support::demo::settings());
    let mut there = Browser::new(&other);
    let first = [("password", "another password"), ("again", "another password")];
    assert_eq!(there.post("/claim", "/claim", &first).await.status, 303);
    let shown = upload(&mut there, &file, PASSPHRASE).await;
    let (id, revision, csrf) = (shown.field("id"), shown.field("revision"), shown.field("csrf"));
    let pairs = [
        ("csrf", csrf.as_str()),
        ("id", id.as_str()),
        ("revision", revision.as_str()),
        ("password", "on"),
    ];
    let done = there.post_raw("/backup/restore", &pairs).await;
    assert_eq!(done.header("location"), "/login?restored=1");
    assert_eq!(there.get("/nodes").await.status, 303, "the session is over");
    assert_eq!(there.login("another password").await.status, 401);
    assert_eq!(there.login(PASSWORD).await.status, 303);
    assert_eq!(webui::Tokens::list(&*other.tokens).unwrap(), [token("monitor")]);
}

#[tokio::test]
async fn a_backup_that_cannot_be_opened_says_why() {
    let (_node, mut browser) = signed_in().await;
    let file = make(&mut browser).await;
    let mut damaged = file.clone();
    damaged[200] ^= 1;
    let mut newer = file.clone();
    newer[15] = 9;
    for (file, passphrase, word) in [
        (&file[..], "seven wet boot", "passphrase is not the one"),
        (&damaged, PASSPHRASE, "is damaged"),
        (&newer, PASSPHRASE, "newer software"),
        (&b"[cluster]\n"[..], PASSPHRASE, "no backup of Bramble"),
        (&b""[..], PASSPHRASE, "There was no file"),
    ] {
        let answer = upload(&mut browser, file, passphrase).await;
        assert_eq!(answer.status, 422, "{word}");
        assert!(answer.text().contains(word), "{word} in {}", answer.text());
    }
    let large =
        upload(&mut browser, &vec![b'x'; webui::backup::LARGEST + 10_000], PASSPHRASE).await;
    assert_eq!(large.status, 413);
}

#[tokio::test]
async fn backups_are_for_who_types_the_password() {
    let (node, mut browser) = signed_in().await;
    let file = make(&mut browser).await;
    for (passphrase, again, word) in [
        ("short", "short", "at least 10"),
        (PASSPHRASE, "seven wet boot", "not the same"),
        ("password123", "password123", "guessed first"),
    ] {
        let pairs = [("passphrase", passphrase), ("again", again)];
        let refused = browser.post("/backup", "/backup/make", &pairs).await;
        assert_eq!(refused.status, 422);
        assert!(refused.text().contains(word), "{word}");
    }
    let token = browser.get("/more").await.field("csrf");
    support::age(&node, 301);
    assert_eq!(browser.get("/backup").await.header("location"), "/again?next=/backup");
    for path in ["/backup/make", "/backup/restore"] {
        let pairs = [("csrf", token.as_str()), ("passphrase", PASSPHRASE), ("again", PASSPHRASE)];
        let sent = browser.post_raw(path, &pairs).await;
        assert_eq!(sent.header("location"), "/again?next=/backup", "{path}");
    }
    drop(file);
}
