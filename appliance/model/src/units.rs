//! Units and identities as types, so that seconds never meet centiseconds.

use crate::error::BadValue;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A whole number with a permitted range, written as a plain number.
macro_rules! ranged {
    ($(#[$doc:meta])* $name:ident($repr:ty), $low:literal ..= $high:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name($repr);

        impl $name {
            /// The value, or what is wrong with it.
            pub fn new(value: u64) -> Result<Self, BadValue> {
                let range: std::ops::RangeInclusive<u64> = $low..=$high;
                match <$repr>::try_from(value) {
                    Ok(small) if range.contains(&value) => Ok(Self(small)),
                    _ => Err(BadValue::new(format!(
                        concat!($what, " must be between ", $low, " and ", $high, ", not {}"),
                        value
                    ))),
                }
            }

            /// A constant known to be in range.
            #[expect(clippy::as_conversions, reason = "u64::from is not const; this only widens")]
            pub const fn constant(value: $repr) -> Self {
                let (low, high): (u64, u64) = ($low, $high);
                assert!(value as u64 >= low && value as u64 <= high);
                Self(value)
            }

            /// The bare number.
            pub const fn get(self) -> $repr {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = BadValue;
            fn try_from(value: u64) -> Result<Self, BadValue> {
                Self::new(value)
            }
        }

        impl From<$name> for u64 {
            fn from(value: $name) -> u64 {
                u64::from(value.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = BadValue;
            fn from_str(text: &str) -> Result<Self, BadValue> {
                let number = text.trim().parse::<u64>().map_err(|_| {
                    BadValue::new(format!(concat!($what, " must be a whole number, not \"{}\""), text))
                })?;
                Self::new(number)
            }
        }
    };
}

ranged! {
    /// A server's share of the traffic (HAProxy `weight`, 0-256; 0 takes no new visitors).
    Weight(u16), 0..=256, "a weight"
}
ranged! {
    /// VRRP priority (RFC 9568 5.2.4). 0 is the farewell and cannot be configured.
    Priority(u8), 1..=255, "a VRRP priority"
}
ranged! {
    /// Virtual router identifier (RFC 9568 5.2.3, keepalived `virtual_router_id`).
    Vrid(u8), 1..=255, "a virtual router id"
}
ranged! {
    /// Hundredths of a second, VRRP's unit of time (RFC 9568 5.2.7).
    Centiseconds(u16), 1..=4095, "an advertisement interval in hundredths of a second"
}
ranged! {
    /// A TCP port.
    Port(u16), 1..=65535, "a port"
}

#[allow(clippy::derivable_impls, reason = "1 is HAProxy's default, not the type's zero")]
impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

impl Centiseconds {
    /// The same span as a `Duration`.
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.0) * 10)
    }
}

/// The number of a revision of the settings; 0 is the state before the first commit.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A span of time in HAProxy's notation: `500ms`, `5s`, `2m`, `12h`, `30d`; a bare number is
/// milliseconds. At most 49 days, as in HAProxy (a 32-bit count of milliseconds).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u32);

impl Millis {
    /// So many seconds.
    pub const fn seconds(seconds: u32) -> Self {
        Self(seconds * 1000)
    }

    /// The same span as a `Duration`.
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.0))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
            if self.0 != 0 && self.0 % size == 0 {
                return write!(f, "{}{unit}", self.0 / size);
            }
        }
        write!(f, "{}ms", self.0)
    }
}

impl FromStr for Millis {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let factor: u32 = match unit.trim() {
            "" | "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => 0,
        };
        number
            .parse::<u32>()
            .ok()
            .filter(|_| factor != 0)
            .and_then(|n| n.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| {
                BadValue::new(format!(
                    "\"{text}\" is no span of time; write for example 500ms, 5s, 10m or 12h (at most 49 days)"
                ))
            })
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a span of time such as \"500ms\" or \"5s\"")]
        enum Either {
            Number(u32),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(ms) => Ok(Self(ms)),
            Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}
