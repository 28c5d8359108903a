//! Text with parts of the request in it (HAProxy's log-format strings): `https://%[hdr(host)]/`.

use super::fetch::Fetch;
use crate::error::BadValue;

/// A piece of a [`Format`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is.
    Text(String),
    /// A value of a part of the request or response, the last one of a field; nothing where there
    /// is none.
    Fetch(Fetch),
}

/// A text with places to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Piece>);

impl Format {
    pub(super) fn new(text: &str, response: bool) -> Result<Self, BadValue> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            plain.push_str(before);
            let fetch = if let Some(after) = after.strip_prefix('%') {
                plain.push('%');
                rest = after;
                continue;
            } else if let Some(after) = after.strip_prefix("ci") {
                rest = after;
                Fetch::Src
            } else if let Some((inside, after)) =
                after.strip_prefix('[').and_then(|a| a.split_once(']'))
            {
                if inside.contains(',') {
                    return Err(BadValue::new(format!(
                        "%[{inside}]: converters after a comma are not known here"
                    )));
                }
                rest = after;
                Fetch::new(inside)?
            } else {
                return Err(BadValue::new(
                    "after % comes [ and what to put there, as in %[src]; write %% for a percent sign",
                ));
            };
            if fetch.of_response() && !response {
                return Err(BadValue::new(format!(
                    "{} is known in http-response rules only",
                    fetch
                )));
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Fetch(fetch));
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// Its pieces in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }
}
