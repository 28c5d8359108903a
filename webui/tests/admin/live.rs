//! Server-sent events.

use crate::browser::{Browser, HOST, PASSWORD, signed_in};
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use std::time::Duration;
use tower::ServiceExt;

const LONG: Duration = Duration::from_secs(10);

struct Stream {
    body: Body,
    text: String,
}

async fn open(browser: &Browser, page: &str) -> Result<Stream, StatusCode> {
    let cookie =
        browser.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("; ");
    let request =
        Request::get(format!("/events?page={page}")).header("host", HOST).header("cookie", cookie);
    let response =
        browser.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    if response.status() != 200 {
        return Err(response.status());
    }
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Ok(Stream { body: response.into_body(), text: String::new() })
}

impl Stream {
    /// Reads until the text is there; false when the stream ended before.
    async fn until(&mut self, text: &str) -> bool {
        tokio::time::timeout(LONG, async {
            loop {
                if let Some(at) = self.text.find(text) {
                    self.text = self.text.split_off(at + text.len());
                    return true;
                }
                match self.body.frame().await {
                    Some(Ok(frame)) => {
                        let data = frame.into_data().unwrap_or_default();
                        self.text.push_str(std::str::from_utf8(&data).unwrap());
                    }
                    _ => return false,
                }
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{text} did not come; there was {}", self.text))
    }
}

#[tokio::test]
async fn a_change_reaches_an_open_page_and_nothing_else_is_sent() {
    let (node, browser) = signed_in().await;
    let mut stream = open(&browser, "balancing").await.unwrap();
    assert!(stream.until("event: s-webservers-web02-wlan").await);
    // Everything has been sent once; what is unchanged is not sent again.
    node.board.touch();
    let change = control::Change {
        base: None,
        author: control::Author::Local,
        edits: vec![model::Edit::SetServer {
            backend: "webservers".parse().unwrap(),
            server: "web01-eth".parse().unwrap(),
            weight: None,
            state: Some(model::ServerState::Drain),
            health: None,
            agent: None,
        }],
    };
    node.control.submit(change).await.unwrap();
    assert!(stream.until("event: s-webservers-web01-eth").await);
    assert!(stream.until("DRAIN").await);
    assert!(!stream.text.contains("event: s-webservers-web02"), "{}", stream.text);
}

#[tokio::test]
async fn a_notice_appears_by_itself() {
    let (node, browser) = signed_in().await;
    let mut stream = open(&browser, "overview").await.unwrap();
    assert!(stream.until("event: nodes").await);
    node.board.notice("n", "The database was set aside.");
    assert!(stream.until("The database was set aside.").await);
}

#[tokio::test]
async fn streams_end_with_their_session() {
    let (node, mut browser) = signed_in().await;
    let mut other = Browser::new(&node);
    other.router = browser.router.clone();
    other.login(PASSWORD).await;
    let mut mine = open(&browser, "overview").await.unwrap();
    let mut theirs = open(&other, "overview").await.unwrap();
    assert!(mine.until("event: nodes").await && theirs.until("event: nodes").await);
    browser.post("/more", "/logout", &[]).await;
    assert!(!mine.until("this never comes").await, "ended");
    node.board.notice("n", "still here");
    assert!(theirs.until("still here").await);
}

#[tokio::test]
async fn streams_are_few() {
    let (node, browser) = signed_in().await;
    let mut open_streams = Vec::new();
    for _ in 0..4 {
        open_streams.push(open(&browser, "overview").await.unwrap());
    }
    open_streams.push(open(&browser, "overview").await.unwrap());
    let mut oldest = open_streams.remove(0);
    assert!(!oldest.until("this never comes").await, "the oldest makes place for the newest");
    for _ in 0..4 {
        let mut other = Browser::new(&node);
        other.router = browser.router.clone();
        other.login(PASSWORD).await;
        for _ in 0..3 {
            open_streams.push(
                open(&other, "failover")
                    .await
                    .unwrap_or_else(|s| panic!("{s} at {}", open_streams.len())),
            );
        }
    }
    assert_eq!(open_streams.len(), 16);
    let mut late = Browser::new(&node);
    late.router = browser.router.clone();
    late.login(PASSWORD).await;
    assert_eq!(open(&late, "sites").await.err(), Some(StatusCode::TOO_MANY_REQUESTS));
    open_streams.pop();
    assert!(open(&late, "sites").await.is_ok(), "a place that was given back is free");
    assert_eq!(open(&late, "nothing").await.err(), Some(StatusCode::NOT_FOUND));
}
