//! Visitors who send too much of one kind.

use crate::common::{Scripted, until};
use crate::raw::{END_HEADERS, HEADERS, Raw, block, frame};
use crate::visit::{ask, get, one, open, run};
use h2::Reason;

#[test]
fn a_flood_of_resets_ends_the_connection() {
    let web = Scripted::echo();
    let proxy = one(&web);
    run(async {
        let (send, driver) = open(proxy.port).await;
        let mut sent = 0;
        while sent < 20_000 && !driver.is_finished() {
            let Ok(mut ready) = send.clone().ready().await else { break };
            let request = get("/").body(()).unwrap();
            let Ok((_, mut out)) = ready.send_request(request, false) else { break };
            out.send_reset(Reason::CANCEL);
            sent += 1;
        }
        // Whatever became of that one, others are served.
        let (other, _driver) = open(proxy.port).await;
        assert_eq!(ask(&other, get("/fine")).await.unwrap().0.status().as_u16(), 200);
    });
    until("nothing is left of it", || proxy.status().backends[0].servers[0].traffic.scur == 0);
}

#[test]
fn more_streams_than_were_offered_are_refused_one_by_one() {
    let web = Scripted::echo();
    let proxy = one(&web);
    let mut raw = Raw::secure(proxy.port);
    raw.greet();
    let post = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "a.example"),
        (":path", "/"),
        ("content-length", "1"),
    ];
    let heads: Vec<u8> = (1..)
        .step_by(2)
        .take(150)
        .flat_map(|stream| frame(HEADERS, END_HEADERS, stream, &block(&post)))
        .collect();
    raw.send(&heads);
    assert!(raw.read(|raw| raw.answers.len() == 50));
    let refused = |a: &crate::raw::Answer| a.reset == Some("REFUSED_STREAM");
    assert!(raw.answers.values().all(refused), "{:?}", raw.answers);
    assert_eq!(raw.answers.keys().next(), Some(&201));
    // The others go on.
    raw.send(&frame(crate::raw::DATA, crate::raw::END_STREAM, 1, b"a"));
    assert!(raw.read_stream(1));
    assert_eq!(raw.answers[&1].status, Some(200));
}
