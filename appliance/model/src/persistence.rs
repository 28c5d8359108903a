//! What keeps a visitor on the same server: cookies and stick tables, in HAProxy's words.

use crate::error::BadValue;
use crate::units::Millis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The most entries a stick table may have: about 300 bytes of memory each.
const MAX_ENTRIES: u32 = 256 * 1024;
const MAX_KEY: u16 = 128;

/// A type that is written as one line of text.
macro_rules! line {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = BadValue;
            fn try_from(text: String) -> Result<Self, BadValue> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}
pub(crate) use line;

fn bad(text: impl Into<String>) -> BadValue {
    BadValue::new(text)
}

/// May this stand for a cookie's name (RFC 6265 4.1.1: a token)?
fn is_cookie_name(text: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(token)
}

/// What the balancer does with the persistence cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CookieMode {
    /// Reads it; the servers set it.
    #[default]
    Passive,
    /// Sets a cookie of its own.
    Insert,
    /// Puts the server's name in front of the value of a cookie that the servers set.
    Prefix,
    /// Writes the server's name over the value of a cookie that the servers set.
    Rewrite,
}

/// HAProxy `cookie`, written as its keyword line: `SRV insert indirect nocache httponly` ...
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PersistCookie {
    /// The cookie's name.
    pub name: String,
    /// What is done with it.
    pub mode: CookieMode,
    /// Keep it from the servers, and set it only when it has to change.
    pub indirect: bool,
    /// Tell caches to keep responses that set it to themselves.
    pub nocache: bool,
    /// Set it only in answers to POST.
    pub postonly: bool,
    /// Leave a cookie alone that a server sets itself.
    pub preserve: bool,
    /// Keep it from scripts.
    pub httponly: bool,
    /// Have browsers send it over TLS only.
    pub secure: bool,
    /// The domains it is for.
    pub domains: Vec<String>,
    /// It is worth nothing after so long without a visit.
    pub maxidle: Option<Millis>,
    /// It is worth nothing after so long in any case.
    pub maxlife: Option<Millis>,
    /// More attributes, such as `SameSite=Lax`.
    pub attributes: Vec<String>,
}

impl fmt::Display for PersistCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        f.write_str(match self.mode {
            CookieMode::Passive => "",
            CookieMode::Insert => " insert",
            CookieMode::Prefix => " prefix",
            CookieMode::Rewrite => " rewrite",
        })?;
        for (on, word) in [
            (self.indirect, "indirect"),
            (self.nocache, "nocache"),
            (self.postonly, "postonly"),
            (self.preserve, "preserve"),
            (self.httponly, "httponly"),
            (self.secure, "secure"),
        ] {
            if on {
                write!(f, " {word}")?;
            }
        }
        for domain in &self.domains {
            write!(f, " domain {domain}")?;
        }
        if let Some(idle) = self.maxidle {
            write!(f, " maxidle {idle}")?;
        }
        if let Some(life) = self.maxlife {
            write!(f, " maxlife {life}")?;
        }
        for attribute in &self.attributes {
            write!(f, " attr {attribute}")?;
        }
        Ok(())
    }
}

/// A time of whole seconds; a bare number is seconds, as HAProxy reads it here.
fn seconds(what: &str, word: Option<&str>) -> Result<Millis, BadValue> {
    let word = word.unwrap_or("");
    let bare = word.bytes().all(|b| b.is_ascii_digit());
    let text = if bare { format!("{word}s") } else { word.to_owned() };
    let time: Millis = text.parse()?;
    if time.0 < 1000 {
        return Err(bad(format!("{what} is at least 1s")));
    }
    Ok(time)
}

impl FromStr for PersistCookie {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let mut words = text.split_ascii_whitespace();
        let name = words.next().unwrap_or("").to_owned();
        if !is_cookie_name(&name) {
            return Err(bad(format!(
                "{name:?} is no name for a cookie; write for example SRV insert indirect nocache"
            )));
        }
        if name.starts_with(crate::SESSION_COOKIE) {
            return Err(bad("this name is taken by the admin page; choose another"));
        }
        let mut cookie = Self { name, ..Self::default() };
        let mut modes = 0;
        while let Some(word) = words.next() {
            let mut mode = |mode| {
                modes += 1;
                cookie.mode = mode;
            };
            match word {
                "insert" => mode(CookieMode::Insert),
                "prefix" => mode(CookieMode::Prefix),
                "rewrite" => mode(CookieMode::Rewrite),
                "indirect" => cookie.indirect = true,
                "nocache" => cookie.nocache = true,
                "postonly" => cookie.postonly = true,
                "preserve" => cookie.preserve = true,
                "httponly" => cookie.httponly = true,
                "secure" => cookie.secure = true,
                "domain" => {
                    let domain = words.next().unwrap_or("");
                    let label = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
                    if domain.is_empty() || domain.len() > 253 || !domain.bytes().all(label) {
                        return Err(bad(format!(
                            "domain needs a name such as .example.org, not {domain:?}"
                        )));
                    }
                    cookie.domains.push(domain.to_owned());
                }
                "maxidle" => cookie.maxidle = Some(seconds("maxidle", words.next())?),
                "maxlife" => cookie.maxlife = Some(seconds("maxlife", words.next())?),
                "attr" => {
                    let attribute = words.next().unwrap_or("");
                    let plain = |b: u8| b.is_ascii_graphic() && b != b';';
                    if attribute.is_empty() || !attribute.bytes().all(plain) {
                        return Err(bad("attr needs an attribute such as SameSite=Lax"));
                    }
                    cookie.attributes.push(attribute.to_owned());
                }
                other => {
                    return Err(bad(format!(
                        "cookie knows insert, prefix, rewrite, indirect, nocache, postonly, preserve, httponly, secure, domain, maxidle, maxlife and attr, not {other:?}"
                    )));
                }
            }
        }
        if modes > 1 {
            return Err(bad("insert, prefix and rewrite exclude each other"));
        }
        if cookie.mode != CookieMode::Insert
            && (cookie.maxidle.is_some() || cookie.maxlife.is_some())
        {
            return Err(bad("maxidle and maxlife work with insert only"));
        }
        if cookie.mode == CookieMode::Prefix && cookie.indirect {
            return Err(bad("indirect has no meaning with prefix: the cookie is the servers' own"));
        }
        Ok(cookie)
    }
}

line!(PersistCookie);

/// What a server is called in the persistence cookie (HAProxy `server … cookie`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CookieValue(String);

impl CookieValue {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CookieValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CookieValue {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        // `~` and `|` separate it from what follows it in the cookie.
        let plain = |b: u8| b.is_ascii_graphic() && !b"\",;\\~|".contains(&b);
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(bad(format!(
            "a server's cookie value is 1 to 64 visible characters without \" , ; \\ ~ and |, not {text:?}"
        )))
    }
}

line!(CookieValue);

/// What a stick table remembers visitors by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StickType {
    /// An IPv4 address.
    Ip,
    /// Text, cut off at so many bytes.
    Text(u16),
}

/// HAProxy `stick-table`, written as its keyword line: `type ip size 100k expire 30m`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StickTable {
    /// What visitors are remembered by.
    pub kind: StickType,
    /// The most entries; the oldest go first.
    pub size: u32,
    /// How long an entry is kept without a visit; None: until the table is full.
    pub expire: Option<Millis>,
    /// Keep old entries when the table is full; new visitors are not remembered then.
    pub nopurge: bool,
}

impl fmt::Display for StickTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            StickType::Ip => f.write_str("type ip")?,
            StickType::Text(32) => f.write_str("type string")?,
            StickType::Text(len) => write!(f, "type string len {len}")?,
        }
        match self.size {
            size if size % 1024 == 0 => write!(f, " size {}k", size / 1024)?,
            size => write!(f, " size {size}")?,
        }
        if let Some(expire) = self.expire {
            write!(f, " expire {expire}")?;
        }
        f.write_str(if self.nopurge { " nopurge" } else { "" })
    }
}

/// A table's size: a number of entries, such as `100k`.
pub(crate) fn size(word: Option<&str>) -> Result<u32, BadValue> {
    let word = word.unwrap_or("");
    let (digits, factor) = match word.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1024),
        None => match word.strip_suffix(['m', 'M']) {
            Some(digits) => (digits, 1024 * 1024),
            None => (word, 1),
        },
    };
    let number = digits.parse::<u32>().ok().and_then(|n| n.checked_mul(factor));
    number.filter(|n| (1..=MAX_ENTRIES).contains(n)).ok_or_else(|| {
        bad(format!(
            "size is a number of entries from 1 to {MAX_ENTRIES} such as 100k, not {word:?}"
        ))
    })
}

impl FromStr for StickTable {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let mut words = text.split_ascii_whitespace().peekable();
        let (mut kind, mut entries, mut expire, mut nopurge) = (None, None, None, false);
        while let Some(word) = words.next() {
            match word {
                "type" => {
                    kind = match words.next() {
                        Some("ip") => Some(StickType::Ip),
                        Some("string") if words.peek() == Some(&"len") => {
                            words.next();
                            let len = words.next().and_then(|w| w.parse::<u16>().ok());
                            let len = len.filter(|n| (1..=MAX_KEY).contains(n));
                            Some(StickType::Text(len.ok_or_else(|| {
                                bad(format!("len is a number from 1 to {MAX_KEY}"))
                            })?))
                        }
                        Some("string") => Some(StickType::Text(32)),
                        other => {
                            return Err(bad(format!(
                                "a stick table's type is ip or string, not {:?}",
                                other.unwrap_or("")
                            )));
                        }
                    }
                }
                "size" => entries = Some(size(words.next())?),
                "expire" => expire = Some(words.next().unwrap_or("").parse::<Millis>()?),
                "nopurge" => nopurge = true,
                other => {
                    return Err(bad(format!(
                        "a stick table knows type, size, expire and nopurge, not {other:?}"
                    )));
                }
            }
        }
        match (kind, entries) {
            (Some(kind), Some(size)) => Ok(Self { kind, size, expire, nopurge }),
            _ => Err(bad(
                "a stick table needs a type and a size, for example: type ip size 100k expire 30m",
            )),
        }
    }
}

line!(StickTable);

/// What a visitor is recognised by (HAProxy `stick on`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StickOn {
    /// The address (HAProxy `stick on src`).
    Src,
    /// A cookie that the servers set (HAProxy `stick on req.cook(NAME)` together with
    /// `stick store-response res.cook(NAME)`).
    Cookie(String),
}

impl fmt::Display for StickOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Src => f.write_str("src"),
            Self::Cookie(name) => write!(f, "cookie({name})"),
        }
    }
}

impl FromStr for StickOn {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let text = text.trim();
        if text == "src" {
            return Ok(Self::Src);
        }
        let inside = ["cookie(", "req.cook("].iter().find_map(|start| text.strip_prefix(start));
        let name = inside.and_then(|rest| rest.strip_suffix(')')).unwrap_or("");
        if is_cookie_name(name) {
            return Ok(Self::Cookie(name.to_owned()));
        }
        Err(bad(format!("stick on takes src or cookie(NAME), not {text:?}")))
    }
}

line!(StickOn);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_written_again() {
        for line in [
            "SRV",
            "SRV insert indirect nocache",
            "SRV insert postonly preserve httponly secure domain .a.org domain .b.org maxidle 5m maxlife 1h attr SameSite=Lax",
            "JSESSIONID prefix",
            "S rewrite nocache",
        ] {
            assert_eq!(line.parse::<PersistCookie>().unwrap().to_string(), line);
        }
        let bare: PersistCookie = "S insert maxidle 90".parse().unwrap();
        assert_eq!(bare.maxidle, Some(Millis::seconds(90)));
        for line in [
            "type ip size 100k expire 30m",
            "type string len 52 size 1000 nopurge",
            "type string size 1",
        ] {
            assert_eq!(line.parse::<StickTable>().unwrap().to_string(), line);
        }
        assert_eq!("req.cook(A)".parse::<StickOn>().unwrap().to_string(), "cookie(A)");
        assert_eq!("src".parse(), Ok(StickOn::Src));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, says) in [
            ("", "no name"),
            ("a;b insert", "no name"),
            ("bramble_sid insert", "admin page"),
            ("S insert prefix", "exclude"),
            ("S inser", "not \"inser\""),
            ("S prefix maxidle 5m", "insert only"),
            ("S insert domain", "domain needs"),
            ("S insert maxidle 10ms", "at least 1s"),
            ("S prefix indirect", "no meaning"),
        ] {
            let error = line.parse::<PersistCookie>().unwrap_err().to_string();
            assert!(error.contains(says), "{line:?}: {error}");
        }
        for line in [
            "",
            "type ip",
            "size 10",
            "type ipv9 size 1",
            "type ip size 0",
            "type ip size 1m",
            "type ip size 1 expire x",
        ] {
            assert!(line.parse::<StickTable>().is_err(), "{line:?}");
        }
        for text in ["a~b", "a|b", "a b", "", "a;b"] {
            assert!(text.parse::<CookieValue>().is_err(), "{text:?}");
        }
        assert!("hdr(x)".parse::<StickOn>().is_err());
    }
}
