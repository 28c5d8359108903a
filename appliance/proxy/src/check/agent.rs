//! HAProxy's agent check: a line of words from the server about itself (configuration.txt,
//! `agent-check`).

use super::{Found, probe};
use crate::standing::Wish;
use model::ServerState;
use std::net::SocketAddrV4;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

/// The line must end within so many bytes.
const LINE: usize = 512;

/// What an agent said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) found: Found,
    /// Its word on the server's health, if it said one.
    pub(super) up: Option<bool>,
    pub(super) state: Option<ServerState>,
    pub(super) weight: Option<u32>,
    pub(super) maxconn: Option<u32>,
}

impl Said {
    fn nothing(found: Found) -> Self {
        Self { found, up: None, state: None, weight: None, maxconn: None }
    }

    /// The wish that follows from the one before: what is not mentioned stays as it is.
    pub(super) fn wish(&self, before: Wish) -> Wish {
        Wish {
            state: self.state.unwrap_or(before.state),
            weight: self.weight.or(before.weight),
            maxconn: self.maxconn.or(before.maxconn),
        }
    }
}

/// Reads the agent's line. A word nobody knows spoils all of it, as in HAProxy.
pub(super) fn read(line: &[u8]) -> Said {
    let text = String::from_utf8_lossy(line);
    let (words, described) = match text.split_once('#') {
        Some((words, described)) => (words, Some(described)),
        None => (text.as_ref(), None),
    };
    let clean =
        |t: &str| -> String { t.trim().chars().filter(|c| !c.is_control()).take(80).collect() };
    let mut said = Said::nothing(Found::new("CHECKED", "No status change"));
    let (mut any, mut health) = (false, "");
    for word in words.split([' ', '\t', ',']).map(str::trim).filter(|w| !w.is_empty()) {
        any = true;
        let lower = word.to_ascii_lowercase();
        let number = |t: &str| t.parse::<u32>().ok().filter(|n| *n < 1_000_000);
        match lower.as_str() {
            "ready" => said.state = Some(ServerState::Ready),
            "drain" => said.state = Some(ServerState::Drain),
            "maint" => said.state = Some(ServerState::Maint),
            "up" => (said.up, health) = (Some(true), word),
            "down" | "stopped" => (said.up, health) = (Some(false), word),
            fail if fail.starts_with("fail") => (said.up, health) = (Some(false), word),
            other => {
                let percent = other.strip_suffix('%').and_then(number);
                let limit = other.strip_prefix("maxconn:").and_then(number);
                match (percent, limit) {
                    (Some(n), _) => said.weight = Some(n),
                    (_, Some(n)) => said.maxconn = Some(n),
                    _ => {
                        let text =
                            format!("No status change: agent reports an error : {}", clean(word));
                        return Said::nothing(Found::new("CHECKED", text));
                    }
                }
            }
        }
    }
    if !any {
        return Said::nothing(Found::new("L7RSP", "Layer7 invalid response: nothing was said"));
    }
    let (word, means) = match said.up {
        Some(true) => ("L7OK", "Layer7 check passed"),
        Some(false) => ("L7STS", "Layer7 wrong status"),
        None => return said,
    };
    let health = health.to_ascii_lowercase();
    let text = match described.map(clean).filter(|d| !d.is_empty()) {
        Some(described) => format!("{means}: via agent : {health} ({described})"),
        None => format!("{means}: via agent : {health}"),
    };
    said.found = Found::new(word, text);
    said
}

/// Asks the agent.
pub(super) async fn ask(address: SocketAddrV4, limit: Duration) -> Said {
    let end = Instant::now() + limit.max(Duration::from_millis(10));
    let mut stream = match probe::connect(address, end).await {
        Ok(stream) => stream,
        Err(found) => return Said::nothing(found),
    };
    let answer = tokio::time::timeout_at(end, async {
        let mut line = Vec::new();
        let mut part = [0_u8; LINE];
        loop {
            if let Some(at) = line.iter().position(|b| b"\r\n".contains(b)) {
                line.truncate(at);
                return Some(line);
            }
            if line.len() >= LINE {
                return None;
            }
            match stream.read(&mut part).await {
                Ok(n) if n > 0 => line.extend_from_slice(&part[..n]),
                // Without an end the line may have been cut.
                _ => return None,
            }
        }
    })
    .await;
    match answer {
        Ok(Some(line)) => read(&line),
        Ok(None) => Said::nothing(Found::new("L7RSP", "Layer7 invalid response")),
        Err(_) => Said::nothing(Found::new("L7TOUT", "Layer7 timeout")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_may_say() {
        let words = |t: &str| {
            let s = read(t.as_bytes());
            (s.found.word, s.up, s.state, s.weight, s.maxconn)
        };
        assert_eq!(words("up"), ("L7OK", Some(true), None, None, None));
        assert_eq!(words("DOWN"), ("L7STS", Some(false), None, None, None));
        assert_eq!(words("stopped"), ("L7STS", Some(false), None, None, None));
        assert_eq!(words("failed #disk"), ("L7STS", Some(false), None, None, None));
        assert_eq!(words("75%"), ("CHECKED", None, None, Some(75), None));
        assert_eq!(words("maxconn:30"), ("CHECKED", None, None, None, Some(30)));
        assert_eq!(
            words("up ready\t50%,maxconn:8"),
            ("L7OK", Some(true), Some(ServerState::Ready), Some(50), Some(8))
        );
        assert_eq!(words("drain"), ("CHECKED", None, Some(ServerState::Drain), None, None));
        assert_eq!(words("maint"), ("CHECKED", None, Some(ServerState::Maint), None, None));
        for bad in ["", "#", "hello", "up and away", "x%", "-5%", "maxconn:", "99999999999%"] {
            let word = if bad.trim_matches('#').is_empty() { "L7RSP" } else { "CHECKED" };
            assert_eq!(words(bad), (word, None, None, None, None), "{bad:?}");
        }
        assert_eq!(
            read(b"down #no disk\x07 left").found.text,
            "Layer7 wrong status: via agent : down (no disk left)"
        );
    }

    #[test]
    fn what_is_not_said_stays() {
        let before = Wish { state: ServerState::Drain, weight: Some(10), maxconn: None };
        let after = read(b"50%").wish(before);
        assert_eq!(after, Wish { weight: Some(50), ..before });
        assert_eq!(read(b"ready").wish(after).state, ServerState::Ready);
        assert_eq!(read(b"junk").wish(after), after);
    }
}
