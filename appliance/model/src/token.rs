//! Tokens of programs: what every node knows of one, which is not enough to use it.

use crate::error::BadValue;
use crate::text::Name;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Tokens there may be at once.
pub const MOST: usize = 64;

/// What a token may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Looking at everything, changing nothing.
    #[default]
    Read,
    /// Everything the password may be used for.
    Full,
}

impl Scope {
    /// How forms name it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read only",
            Self::Full => "everything",
        })
    }
}

impl FromStr for Scope {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "read" => Ok(Self::Read),
            "full" => Ok(Self::Full),
            _ => Err(BadValue::new(format!("a token is for read or full, not {text:?}"))),
        }
    }
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What the operator calls it.
    pub name: Name,
    /// What it may be used for.
    pub scope: Scope,
    /// Hash of the token, in hexadecimal. Tokens are random and long: a fast hash hides them.
    pub hash: String,
    /// Who made it, for the operator.
    #[serde(default)]
    pub by: String,
    /// When, in milliseconds since 1970 by the clock of the node it was made on.
    #[serde(default)]
    pub at_ms: i64,
}
