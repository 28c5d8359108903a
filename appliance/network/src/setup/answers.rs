//! The name server that has one answer for everything. Pure.

use crate::dns::{A, ANY, AUTHORITATIVE, IN, Message, OPCODE, RESPONSE, Record};
use std::net::Ipv4Addr;

/// Short, so that a phone forgets it when it is on a real network again.
const TTL: u32 = 5;
/// The bit that asks for recursion, and the one that offers it (RFC 1035 4.1.1). A phone may take
/// a server that offers none for broken.
const DESIRED: u16 = 0x0100;
const AVAILABLE: u16 = 0x0080;

/// The answer to a question: the own address for every name; nothing, but no error, for other
/// types. An error for HTTPS or AAAA (RFC 2308 5: "no such name" holds for all types) would keep
/// the phone from asking for the address. None when there is nothing to answer.
pub(crate) fn answer(bytes: &[u8], own: Ipv4Addr) -> Option<Vec<u8>> {
    let question = Message::parse(bytes)?;
    let [asked] = question.questions.as_slice() else {
        return None;
    };
    if question.is_response() || question.flags & OPCODE != 0 {
        return None;
    }
    let address = matches!(asked.kind, A | ANY) && matches!(asked.class, IN | ANY);
    let answers = address.then(|| Record::a(asked.name.clone(), TTL, own));
    let answer = Message {
        id: question.id,
        flags: RESPONSE | AUTHORITATIVE | AVAILABLE | (question.flags & DESIRED),
        answers: answers.into_iter().collect(),
        questions: question.questions,
        ..Message::default()
    };
    Some(answer.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use crate::dns::{Name, Question};

    const OWN: Ipv4Addr = Ipv4Addr::new(192, 168, 19, 36);

    fn question(kind: u16) -> Message {
        let name = Name::of(["connectivitycheck", "gstatic", "com"]);
        Message {
            id: 4711,
            flags: DESIRED,
            questions: vec![Question { name, kind, class: IN }],
            ..Message::default()
        }
    }

    #[test]
    fn every_name_has_the_own_address_and_nothing_else() {
        for (kind, expected) in [(A, 1), (ANY, 1), (28, 0), (64, 0), (65, 0), (12, 0)] {
            let asked = question(kind);
            let said = Message::parse(&answer(&asked.bytes(), OWN).unwrap()).unwrap();
            assert_eq!((said.id, &said.questions), (4711, &asked.questions));
            assert_eq!(said.flags, 0x8580, "an answer without an error");
            assert_eq!(said.answers.len(), expected, "type {kind}");
            assert!(said.answers.iter().all(|r| r.data == OWN.octets() && r.ttl <= 10));
        }
    }

    #[test]
    fn what_is_no_question_is_not_answered() {
        let asked = question(A);
        let twice = vec![asked.questions[0].clone(), asked.questions[0].clone()];
        for message in [
            Message { flags: RESPONSE, ..asked.clone() },
            Message { flags: 5 << 11, ..asked.clone() },
            Message { questions: Vec::new(), ..asked.clone() },
            Message { questions: twice, ..asked.clone() },
        ] {
            assert_eq!(answer(&message.bytes(), OWN), None);
        }
        let whole = asked.bytes();
        let mut chance = Chance::seeded(4);
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            bytes.truncate(usize::try_from(chance.below(60)).unwrap());
            for _ in 0..3 {
                let at = usize::try_from(chance.below(50)).unwrap();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = chance.number().to_be_bytes()[0];
                }
            }
            // Never much longer than the question: of no use for an attack on somebody else.
            let said = answer(&bytes, OWN).map_or(0, |said| said.len());
            assert!(said <= 2 * bytes.len() + 300, "{said} for {}", bytes.len());
        }
    }
}
