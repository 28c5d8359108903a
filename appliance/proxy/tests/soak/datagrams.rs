//! Mode udp: questions and answers.

use crate::common::PATIENCE;
use crate::run::{Failure, Run, count};
use std::net::{Ipv4Addr, UdpSocket};

/// One question after the other, so many from each source, each asked when the one before has its
/// answer.
pub(crate) fn asker(port: u16, questions: usize, run: &Run) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut number = 0_usize;
    while run.goes_on() && failures.len() < 10 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        for _ in 0..questions {
            number += 1;
            let question = format!("question {number}");
            let mut part = [0; 64];
            let answer = socket.send(question.as_bytes()).and_then(|_| socket.recv(&mut part));
            match answer {
                Ok(n) if part[..n] == *question.as_bytes() => count(&run.datagrams),
                other => {
                    let text = format!("{question} of {questions} a source: {other:?}");
                    failures.push(run.failure(text));
                    break;
                }
            }
        }
    }
    failures
}
