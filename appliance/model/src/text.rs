//! Names: strings that have been looked at once and need no second look.

use crate::error::BadValue;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
            /// True for the default value, which no check accepts from a document.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl FromStr for $name {
            type Err = BadValue;
            fn from_str(text: &str) -> Result<Self, BadValue> {
                let check: fn(&str) -> Result<(), String> = $check;
                check(text).map_err(BadValue::new)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadValue;
            fn try_from(text: String) -> Result<Self, BadValue> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text! {
    /// The identity of a board, which a change of host name leaves alone: `a-z`, `0-9`, `-`.
    NodeId, |t| {
        let plain = t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if plain && (1..=32).contains(&t.len()) { Ok(()) } else {
            Err(format!("a node id is 1 to 32 of a-z, 0-9 and -, not {t:?}"))
        }
    }
}
text! {
    /// The fingerprint of a board's key: SHA-256 of its public key (SubjectPublicKeyInfo, DER), 64
    /// hexadecimal digits in lower case.
    DeviceId, |t| {
        let plain = t.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if plain && t.len() == 64 { Ok(()) } else {
            Err(format!("a board's fingerprint is 64 of 0-9 and a-f, not {t:?}"))
        }
    }
}
text! {
    /// A host name of one label (RFC 1123 2.1).
    Hostname, |t| {
        let plain = t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if plain && (1..=63).contains(&t.len()) && !t.starts_with('-') && !t.ends_with('-') { Ok(()) } else {
            Err(format!("a host name is 1 to 63 letters, digits and hyphens, with no hyphen at either end, not {t:?}"))
        }
    }
}
text! {
    /// The name of a frontend, backend, server, site or VRRP instance, by HAProxy's rule:
    /// letters, digits, `-`, `_`, `.` and `:`.
    Name, |t| {
        let plain = t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
        if plain && (1..=64).contains(&t.len()) { Ok(()) } else {
            Err(format!("a name is 1 to 64 letters, digits, hyphens, underscores, dots and colons, not {t:?}"))
        }
    }
}
text! {
    /// A network interface of this kernel (at most 15 bytes).
    InterfaceName, |t| {
        let plain = t.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        if plain && (1..=15).contains(&t.len()) && t != "." && t != ".." { Ok(()) } else {
            Err(format!("an interface name is 1 to 15 visible characters such as eth0, not {t:?}"))
        }
    }
}
text! {
    /// A Wi-Fi network's name: 1 to 32 bytes (IEEE 802.11 9.4.2.2).
    Ssid, |t| if (1..=32).contains(&t.len()) { Ok(()) } else {
        Err(format!("a Wi-Fi name is 1 to 32 bytes long, not {}", t.len()))
    }
}
text! {
    /// The country whose radio rules apply (ISO 3166-1, two capital letters).
    Country, |t| if t.len() == 2 && t.bytes().all(|b| b.is_ascii_uppercase()) { Ok(()) } else {
        Err(format!("a country is two capital letters such as GB, not {t:?}"))
    }
}
text! {
    /// A virtual host name (lower case, `*.` allowed in front).
    SiteHost, |t| {
        let rest = t.strip_prefix("*.").unwrap_or(t);
        let good = t.len() <= 253 && !rest.is_empty() && rest.split('.').all(|l| {
            !l.is_empty() && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        });
        if good { Ok(()) } else {
            Err(format!("a site's host is a lower-case domain name such as www.example.org, not {t:?}"))
        }
    }
}
text! {
    /// A time server: an IPv4 address, or a domain name (RFC 1123 2.1).
    TimeServer, |t| {
        let label = |l: &str| {
            let plain = l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            plain && (1..=63).contains(&l.len()) && !l.starts_with('-') && !l.ends_with('-')
        };
        // What consists of digits and dots is an address or a slip of the finger.
        let number = t.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let good = if number {
            t.parse::<std::net::Ipv4Addr>().is_ok()
        } else {
            t.len() <= 253 && t.split('.').all(label)
        };
        if good { Ok(()) } else {
            Err(format!("a time server is an address such as 192.168.1.1 or a name such as pool.ntp.org, not {t:?}"))
        }
    }
}
text! {
    /// An rsync exclude pattern (rsync(1), FILTER RULES); at most 1,024 bytes.
    Pattern, |t| {
        if (1..=1024).contains(&t.len()) && !t.contains(['\0', '\n', '\r']) { Ok(()) } else {
            Err("an exclude pattern is 1 to 1,024 bytes on one line".to_owned())
        }
    }
}
text! {
    /// Where on the admin page's port the statistics are besides, such as `/haproxy?stats`
    /// (HAProxy `stats uri`).
    StatsUri, |t| {
        let plain = t.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.~?=".contains(&b));
        let good = t.starts_with('/') && !t.contains("//") && (2..=200).contains(&t.len());
        if plain && good && t.matches('?').count() <= 1 { Ok(()) } else {
            Err(format!("an address of the statistics is a path such as /haproxy?stats, not {t:?}"))
        }
    }
}
text! {
    /// The path of an HTTP health check, such as `/healthz`.
    CheckPath, |t| {
        if t.starts_with('/') && t.len() <= 1024 && t.bytes().all(|b| b.is_ascii_graphic()) { Ok(()) } else {
            Err(format!("a check's path begins with / and has no spaces, not {t:?}"))
        }
    }
}
text! {
    /// The `Host` of an HTTP health check, such as `www.example.org` or `app:8080`.
    CheckHost, |t| {
        let plain = t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
        if plain && (1..=255).contains(&t.len()) { Ok(()) } else {
            Err(format!("a check's host is a host name with or without a port, not {t:?}"))
        }
    }
}
text! {
    /// What the answer to a health check has to contain, 1 to 200 bytes.
    CheckText, |t| {
        if (1..=200).contains(&t.len()) && !t.contains(char::is_control) { Ok(()) } else {
            Err("the text a check expects is 1 to 200 bytes on one line".to_owned())
        }
    }
}
text! {
    /// A server's name in the DNS and its port, such as `app.example.org:8080`.
    ServerHost, |t| {
        let label = |l: &str| {
            let plain = l.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            plain && (1..=63).contains(&l.len()) && !l.starts_with('-') && !l.ends_with('-')
        };
        let good = t.rsplit_once(':').is_some_and(|(host, port)| {
            let name = !host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let port = port.parse::<u16>().is_ok_and(|p| p > 0);
            name && port && host.len() <= 253 && host.split('.').all(label)
        });
        if good { Ok(()) } else {
            Err(format!("a server's name in the DNS comes with a port, for example app.example.org:8080, not {t:?}"))
        }
    }
}

impl ServerHost {
    /// The port.
    pub fn port(&self) -> u16 {
        self.0.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
    }
}
