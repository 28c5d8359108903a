//! Every decoder that reads what came from the network, for those who feed it anything.
//!
//! Not an interface: for the targets in `fuzz/` and the tests below. Each takes any bytes and
//! must neither panic nor take more memory than its limit.

use crate::hello::{Answer, Hello};
use crate::{adopt, audit, discover, exchange, hello, report};
use futures_util::FutureExt;
use model::NodeId;
use model::action::{self, Answered};
use model::audit::Entry;
use model::session::{News, Session};

/// The first message of a call, and the answer to it.
pub fn hello(bytes: &[u8]) {
    let _ = hello::receive::<_, Hello>(&mut &*bytes).now_or_never();
    if let Some(Ok(Answer { refused: Some(refusal), .. })) =
        hello::receive(&mut &*bytes).now_or_never()
    {
        let shown = refusal.shown();
        assert!(shown.text.chars().count() <= 200);
    }
}

/// A datagram on port 1937.
pub fn datagram(bytes: &[u8]) {
    if let Some(hint) = discover::wire::read(bytes) {
        // What was understood can be said again, if it still fits.
        if let Some(again) = discover::wire::write(&hint) {
            assert_eq!(discover::wire::read(&again), Some(hint));
        }
    }
}

/// What a node and a board say to each other during an adoption.
pub fn adoption(bytes: &[u8]) {
    let _ = adopt::wire::receive::<_, adopt::wire::Ask>(&mut &*bytes).now_or_never();
    let _ = adopt::wire::receive::<_, adopt::wire::Tell>(&mut &*bytes).now_or_never();
    let _ = adopt::wire::receive_gift(&mut &*bytes, bytes.len() / 2).now_or_never();
}

/// A message of a status stream.
pub fn report(bytes: &[u8]) {
    if let Some((head, rest)) = bytes.split_first_chunk::<4>() {
        let _ = report::length(*head);
        let _ = report::read(&NodeId::default(), rest);
    }
}

/// Messages about sessions and audit logs, requests of other nodes and answers to them.
pub fn services(bytes: &[u8]) {
    const MOST: usize = 64 * 1024;
    if let Some(Ok(news)) = exchange::receive::<_, News>(&mut &*bytes, MOST).now_or_never() {
        let _ = news.sessions.iter().filter(|s| s.is_plausible()).map(Session::name).count();
    }
    let _ = exchange::receive::<_, audit::Message>(&mut &*bytes, MOST).now_or_never();
    if let Some(Ok(entry)) = exchange::receive::<_, Entry>(&mut &*bytes, MOST).now_or_never() {
        let _ = (entry.is_clean(), entry.material("").len(), entry.who());
    }
    if let Some(Ok(request)) = exchange::receive(&mut &*bytes, MOST).now_or_never() {
        let _ = action::read(&request, &NodeId::default());
    }
    let _ = exchange::receive::<_, Answered>(&mut &*bytes, MOST).now_or_never();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hello::{Refusal, Versions, Why};
    use noise::Noise;

    fn framed(head: usize, json: &str) -> Vec<u8> {
        let length = u64::try_from(json.len()).unwrap().to_be_bytes();
        [&length[8 - head..], json.as_bytes()].concat()
    }

    #[test]
    fn noise_and_what_is_almost_right_is_never_a_panic() {
        let device = "a".repeat(64);
        let answer = Answer {
            versions: Versions::OURS,
            boot: "b".into(),
            from: "web01".parse().unwrap(),
            proof: Some("00".into()),
            refused: Some(Refusal::new(Why::Twice, "x".repeat(300))),
        };
        let good = [
            framed(2, &serde_json::to_string(&answer).unwrap()),
            framed(2, r#"{"min":1,"max":1,"boot":"b","from":"web01","to":"web02","service":"x"}"#),
            format!(
                "bramble {{\"device\":\"{device}\",\"name\":\"pi\",\"claimed\":true,\"min\":1,\
                 \"max\":2,\"wired\":false,\"ask\":true,\"batch\":\"00\"}}"
            )
            .into_bytes(),
            framed(4, r#"{"say":"gift","node":"web01","length":3}"#),
            framed(4, r#"{"say":"commit","commitment":"00","node":"web01","entry":[1]}"#),
            framed(4, r#"{"say":"no","why":"busy","text":"not now"}"#),
            framed(4, r#"{"version":1,"author":"10.0.0.1","action":{"do":"blink","seconds":7}}"#),
            framed(4, r#"{"result":{"Ok":{"is":"lines","with":["a"]}}}"#),
            framed(4, r#"{"have":[{"node":"web01","log":"a","seq":1,"chain":"00"}]}"#),
            framed(4, r#"{"node":"web01","log":"a","seq":1,"deed":"reboot","chain":"00"}"#),
            framed(4, r#"{"generation":1,"sessions":[],"ended":["x"]}"#),
        ];
        let mut noise = Noise::new(0x0123_4567_89ab_cdef);
        for round in 0..30_000 {
            let mut bytes = match round % 3 {
                0 => {
                    let length = noise.below(700);
                    noise.bytes(length)
                }
                _ => noise.pick(&good).clone(),
            };
            if round % 3 == 2 {
                for _ in 0..=noise.below(4) {
                    let at = noise.below(bytes.len());
                    bytes[at] = noise.byte();
                }
                let length = bytes.len() - noise.below(3).min(bytes.len());
                bytes.truncate(length);
            }
            hello(&bytes);
            datagram(&bytes);
            adoption(&bytes);
            report(&bytes);
            services(&bytes);
        }
    }
}
