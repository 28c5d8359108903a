//! Other boards that say here what they are: asking for them, and reading what they say. Pure.
//!
//! Hints and nothing more: anybody on the link can say anything.

use crate::dns::{A, IN, Message, PTR, Question, Record, TXT};
use crate::mdns::names::{BOARD, FLUSH, service};
use model::DeviceId;
use std::net::Ipv4Addr;
use std::time::Duration;

/// RFC 6762 5.2: the pause between two questions begins with a second and doubles.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// Nobody has asked for so long: it is no longer looked for.
const INTEREST: Duration = Duration::from_secs(15);
/// Pairs in one text, and characters of one value, that are looked at.
const MOST_PAIRS: usize = 16;
const MOST_LETTERS: usize = 64;

/// A board that was heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSeen {
    /// The fingerprint of its key.
    pub device: DeviceId,
    /// Its host name.
    pub name: String,
    /// What board it is; empty where it did not say.
    pub model: String,
    /// The release it runs; empty where it did not say.
    pub release: String,
    /// It is somebody's already.
    pub claimed: bool,
    /// Where it said this from, and the address it gave.
    pub addresses: Vec<Ipv4Addr>,
}

/// When to ask for boards.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Browser {
    asked: Option<Duration>,
    due: Option<Duration>,
    pause: Duration,
}

impl Browser {
    /// Somebody wants to know.
    pub(crate) fn ask(&mut self, now: Duration) {
        if self.due.is_none() {
            (self.due, self.pause) = (Some(now), FIRST);
        }
        self.asked = Some(now);
    }

    pub(crate) const fn due(&self) -> Option<Duration> {
        self.due
    }

    /// The question to send now, if it is time.
    pub(crate) fn tick(&mut self, now: Duration) -> Option<Message> {
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        if self.asked.is_none_or(|asked| now.saturating_sub(asked) >= INTEREST) {
            self.due = None;
            return None;
        }
        self.due = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST);
        let question = Question { name: service(BOARD), kind: PTR, class: IN };
        Some(Message { questions: vec![question], ..Message::default() })
    }
}

/// The boards that an answer from this address tells of.
pub(crate) fn seen(message: &Message, from: Ipv4Addr) -> Vec<ServiceSeen> {
    let records = || message.answers.iter().chain(&message.additionals);
    let current = |r: &&Record| r.ttl > 0 && r.class & !FLUSH == IN;
    let mut addresses = vec![from];
    for record in records().filter(current).filter(|r| r.kind == A) {
        if let Ok(octets) = <[u8; 4]>::try_from(record.data.as_slice()) {
            let address = Ipv4Addr::from(octets);
            if !addresses.contains(&address) && addresses.len() < 4 {
                addresses.push(address);
            }
        }
    }
    let parent = service(BOARD);
    let texts = records().filter(current);
    let texts = texts.filter(|r| r.kind == TXT && r.name.is_under(&parent));
    texts.filter_map(|record| board(&record.data, &addresses)).collect()
}

/// RFC 6763 6: pairs `key=value`, each with its length in front.
fn board(text: &[u8], addresses: &[Ipv4Addr]) -> Option<ServiceSeen> {
    let (mut device, mut claimed) = (None, None);
    let (mut name, mut model, mut release) = (String::new(), String::new(), String::new());
    let mut rest = text;
    for _ in 0..MOST_PAIRS {
        let Some((length, after)) = rest.split_first() else { break };
        let pair = after.get(..usize::from(*length))?;
        rest = after.get(usize::from(*length)..)?;
        let Some((key, value)) = std::str::from_utf8(pair).ok().and_then(|p| p.split_once('='))
        else {
            continue;
        };
        let shown = || value.chars().filter(|c| !c.is_control()).take(MOST_LETTERS).collect();
        match key.to_ascii_lowercase().as_str() {
            "id" => device = value.parse().ok(),
            "state" => claimed = Some(value != "unclaimed"),
            "name" => name = shown(),
            "model" => model = shown(),
            "v" => release = shown(),
            _ => {}
        }
    }
    let addresses = addresses.to_vec();
    Some(ServiceSeen { device: device?, name, model, release, claimed: claimed?, addresses })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use crate::mdns::names::{About, Names};

    fn about() -> About {
        About {
            device: "ab".repeat(32).parse().unwrap(),
            claimed: false,
            model: "Raspberry Pi 3 Model B Plus Rev 1.3".to_owned(),
            release: "0.4.0".to_owned(),
        }
    }

    fn answer() -> Message {
        let names = Names::new("web01", 1, Some(about()));
        let address = Ipv4Addr::new(192, 168, 1, 10);
        Message { answers: names.unique(address), ..Message::default() }
    }

    #[test]
    fn what_a_board_says_is_understood() {
        let from = Ipv4Addr::new(192, 168, 1, 20);
        let expected = ServiceSeen {
            device: about().device,
            name: "web01".to_owned(),
            model: about().model,
            release: "0.4.0".to_owned(),
            claimed: false,
            addresses: vec![from, Ipv4Addr::new(192, 168, 1, 10)],
        };
        let through_the_wire = Message::parse(&answer().bytes()).unwrap();
        assert_eq!(seen(&through_the_wire, from), [expected]);
        // A goodbye is no news, nor is another service or a node that says nothing of itself.
        let mut gone = answer();
        gone.answers.iter_mut().for_each(|r| r.ttl = 0);
        assert_eq!(seen(&gone, from), []);
        let silent = Names::new("web01", 1, None).unique(from);
        assert_eq!(seen(&Message { answers: silent, ..Message::default() }, from), []);
        let claimed = About { claimed: true, ..about() };
        let names = Names::new("web01", 1, Some(claimed));
        let message = Message { additionals: names.unique(from), ..Message::default() };
        assert!(seen(&message, from)[0].claimed);
    }

    #[test]
    fn any_bytes_are_no_panic() {
        let from = Ipv4Addr::new(192, 168, 1, 20);
        let mut chance = Chance::seeded(9);
        let whole = answer().bytes();
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                let at =
                    usize::try_from(chance.below(u32::try_from(whole.len()).unwrap())).unwrap();
                bytes[at] = chance.number().to_be_bytes()[0];
            }
            if let Some(message) = Message::parse(&bytes) {
                for board in seen(&message, from) {
                    assert!(board.name.chars().count() <= MOST_LETTERS);
                    assert!(board.addresses.len() <= 4);
                }
            }
            let length = usize::try_from(chance.below(200)).unwrap();
            let noise: Vec<u8> = (0..length).map(|_| chance.number().to_be_bytes()[0]).collect();
            let _ = board(&noise, &[from]);
        }
    }

    #[test]
    fn it_asks_less_and_less_and_stops_when_nobody_wants_to_know() {
        let mut browser = Browser::default();
        assert_eq!(browser.due(), None);
        let mut asked = Vec::new();
        for second in 0..100_u64 {
            let now = Duration::from_secs(second);
            if second < 40 {
                browser.ask(now);
            }
            if browser.tick(now).is_some() {
                asked.push(second);
            }
        }
        assert_eq!(asked, [0, 1, 3, 7, 15, 31]);
        browser.ask(Duration::from_secs(200));
        assert!(browser.tick(Duration::from_secs(200)).is_some());
    }
}
