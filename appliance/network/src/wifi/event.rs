//! What wpa_supplicant says of its own accord. Pure; what is of no interest is
//! [`Event::Other`], what makes no sense too.

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    ScanResults,
    ScanFailed,
    Connected,
    Disconnected {
        reason: u16,
        /// This side ended it.
        local: bool,
    },
    /// A network is left alone for a while.
    TempDisabled {
        id: u32,
        why: Disabled,
    },
    AuthReject {
        /// 3 for SAE.
        kind: u16,
        /// SAE's second step is where the passphrases are compared.
        step: u16,
        status: u16,
    },
    AssocReject {
        status: u16,
        timed_out: bool,
    },
    /// A scan found none of the networks that are enabled.
    NetworkNotFound,
    /// The four-way handshake failed.
    HandshakeFailed,
    ApEnabled,
    ApDisabled,
    /// The access point moved.
    ChannelSwitched {
        frequency: u32,
    },
    StationConnected,
    StationDisconnected,
    /// wpa_supplicant ends, or gives this interface back.
    Terminating,
    Other,
}

/// Why a network is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disabled {
    WrongKey,
    ConnectionFailed,
    AuthenticationFailed,
    Other,
}

/// The interface an event came from, if it names one, and the event. `bytes` is one datagram of
/// the global control socket: `IFNAME=wlan0 <3>CTRL-EVENT-CONNECTED - Connection to ...`.
pub(crate) fn parse(bytes: &[u8]) -> (Option<String>, Event) {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\n', '\0']);
    let (interface, rest) = match text.strip_prefix("IFNAME=") {
        Some(rest) => match rest.split_once(' ') {
            Some((name, rest)) => (Some(name.to_owned()), rest),
            None => return (None, Event::Other),
        },
        None => (None, text),
    };
    // The level in angle brackets.
    let rest = match rest.strip_prefix('<').and_then(|r| r.split_once('>')) {
        Some((level, rest)) if level.len() == 1 => rest,
        _ => return (interface, Event::Other),
    };
    (interface, event(rest))
}

fn event(text: &str) -> Event {
    if text.starts_with("WPA: 4-Way Handshake failed") {
        return Event::HandshakeFailed;
    }
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    match name {
        "CTRL-EVENT-SCAN-RESULTS" => Event::ScanResults,
        "CTRL-EVENT-SCAN-FAILED" => Event::ScanFailed,
        "CTRL-EVENT-CONNECTED" => Event::Connected,
        "CTRL-EVENT-DISCONNECTED" => Event::Disconnected {
            reason: number(rest, "reason").unwrap_or(0),
            local: word(rest, "locally_generated") == Some("1"),
        },
        "CTRL-EVENT-SSID-TEMP-DISABLED" => temp_disabled(rest),
        "CTRL-EVENT-AUTH-REJECT" => Event::AuthReject {
            kind: number(rest, "auth_type").unwrap_or(0),
            step: number(rest, "auth_transaction").unwrap_or(0),
            status: number(rest, "status_code").unwrap_or(0),
        },
        "CTRL-EVENT-ASSOC-REJECT" => Event::AssocReject {
            status: number(rest, "status_code").unwrap_or(0),
            timed_out: rest.split(' ').any(|w| w == "timeout" || w.starts_with("timeout=")),
        },
        "CTRL-EVENT-NETWORK-NOT-FOUND" => Event::NetworkNotFound,
        "AP-ENABLED" => Event::ApEnabled,
        "AP-DISABLED" => Event::ApDisabled,
        "AP-CSA-FINISHED" => {
            number(rest, "freq").map_or(Event::Other, |f| Event::ChannelSwitched { frequency: f })
        }
        "AP-STA-CONNECTED" => Event::StationConnected,
        "AP-STA-DISCONNECTED" => Event::StationDisconnected,
        "CTRL-EVENT-TERMINATING" => Event::Terminating,
        _ => Event::Other,
    }
}

/// `id=0 ssid="any text" auth_failures=1 duration=10 reason=WRONG_KEY`. The name is somebody
/// else's text and may look like the words after it: those are taken from the end.
fn temp_disabled(rest: &str) -> Event {
    let why = rest.rsplit_once(" reason=").map_or("", |(_, why)| why);
    let why = match why.trim_end() {
        "WRONG_KEY" => Disabled::WrongKey,
        "CONN_FAILED" => Disabled::ConnectionFailed,
        "AUTH_FAILED" => Disabled::AuthenticationFailed,
        _ => Disabled::Other,
    };
    number(rest, "id").map_or(Event::Other, |id| Event::TempDisabled { id, why })
}

/// The first `key=value`.
fn word<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split(' ').find_map(|w| w.strip_prefix(key)?.strip_prefix('='))
}

fn number<T: std::str::FromStr>(text: &str, key: &str) -> Option<T> {
    word(text, key)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Event {
        parse(format!("IFNAME=wlan0 <3>{text}").as_bytes()).1
    }

    #[test]
    fn what_wpa_supplicant_says() {
        assert_eq!(parse(b"IFNAME=ap0 <3>AP-ENABLED "), (Some("ap0".to_owned()), Event::ApEnabled));
        assert_eq!(parse(b"<3>CTRL-EVENT-TERMINATING "), (None, Event::Terminating));
        assert_eq!(of("CTRL-EVENT-SCAN-RESULTS "), Event::ScanResults);
        assert_eq!(of("CTRL-EVENT-SCAN-FAILED ret=-16 retry=1"), Event::ScanFailed);
        assert_eq!(
            of("CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:01:00 completed [id=0 id_str=]"),
            Event::Connected
        );
        assert_eq!(
            of("CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=15"),
            Event::Disconnected { reason: 15, local: false }
        );
        assert_eq!(
            of("CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=3 locally_generated=1"),
            Event::Disconnected { reason: 3, local: true }
        );
        assert_eq!(
            of("CTRL-EVENT-SSID-TEMP-DISABLED id=4 ssid=\"a b\" auth_failures=1 duration=10 \
                reason=WRONG_KEY"),
            Event::TempDisabled { id: 4, why: Disabled::WrongKey }
        );
        assert_eq!(
            of("CTRL-EVENT-AUTH-REJECT 02:00:00:00:01:00 auth_type=3 auth_transaction=2 \
                status_code=15"),
            Event::AuthReject { kind: 3, step: 2, status: 15 }
        );
        assert_eq!(
            of("CTRL-EVENT-ASSOC-REJECT bssid=00:00:00:00:00:00 status_code=16"),
            Event::AssocReject { status: 16, timed_out: false }
        );
        assert_eq!(
            of("CTRL-EVENT-ASSOC-REJECT bssid=02:00:00:00:01:00 status_code=1 timeout=auth"),
            Event::AssocReject { status: 1, timed_out: true }
        );
        assert_eq!(of("CTRL-EVENT-NETWORK-NOT-FOUND "), Event::NetworkNotFound);
        assert_eq!(
            of("WPA: 4-Way Handshake failed - pre-shared key may be incorrect"),
            Event::HandshakeFailed
        );
        assert_eq!(
            of("AP-CSA-FINISHED freq=2462 dfs=0"),
            Event::ChannelSwitched { frequency: 2462 }
        );
        assert_eq!(of("AP-STA-CONNECTED 02:00:00:00:02:00"), Event::StationConnected);
        assert_eq!(of("AP-STA-DISCONNECTED 02:00:00:00:02:00"), Event::StationDisconnected);
        assert_eq!(of("CTRL-EVENT-REGDOM-CHANGE init=USER type=COUNTRY alpha2=DE"), Event::Other);
    }

    #[test]
    fn a_neighbours_network_name_cannot_speak() {
        let text = "CTRL-EVENT-SSID-TEMP-DISABLED id=1 ssid=\"x reason=WRONG_KEY\" \
                    auth_failures=1 duration=10 reason=CONN_FAILED";
        assert_eq!(of(text), Event::TempDisabled { id: 1, why: Disabled::ConnectionFailed });
        let text = "CTRL-EVENT-SSID-TEMP-DISABLED id=1 ssid=\"x id=7 \" reason=WRONG_KEY";
        assert_eq!(of(text), Event::TempDisabled { id: 1, why: Disabled::WrongKey });
    }

    #[test]
    fn noise_is_no_event() {
        let starts: [&[u8]; 6] = [
            b"",
            b"IFNAME=",
            b"IFNAME=wlan0 <3>CTRL-EVENT-SSID-TEMP-DISABLED ",
            b"<3>CTRL-EVENT-DISCONNECTED reason=",
            b"<3>AP-CSA-FINISHED freq=",
            b"<",
        ];
        let mut noise = noise::Noise::new(0x1936);
        for start in starts {
            for length in 0..64 {
                let mut bytes = start.to_vec();
                bytes.extend(noise.bytes(length));
                let _ = parse(&bytes);
            }
        }
        assert_eq!(parse(b"IFNAME=wlan0"), (None, Event::Other));
        assert_eq!(parse(b"OK\n"), (None, Event::Other));
    }
}
