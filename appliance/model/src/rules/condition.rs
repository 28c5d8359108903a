//! When a rule applies: `if { path_beg /api } !internal or { method POST }`.

use super::fetch::Fetch;
use crate::error::BadValue;
use regex_lite::{Regex, RegexBuilder};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// A compiled expression's share of memory; what needs more is refused.
const REGEX_SIZE: usize = 64 * 1024;
/// The most alternatives of one test.
const PATTERNS: usize = 64;

/// `if` or `unless`, and what must hold: one of the lists, each with all its terms.
#[derive(Debug)]
pub struct Condition {
    /// The rule applies when nothing of it holds.
    pub unless: bool,
    /// `or` of `and`.
    pub any: Vec<Vec<Term>>,
}

/// A test in a condition.
#[derive(Debug)]
pub enum Term {
    /// A named test; `true` for its opposite.
    Named(bool, String),
    /// A test in braces; `true` for its opposite.
    Inline(bool, Test),
}

/// A part of a request, and what it must be like.
#[derive(Debug)]
pub struct Test {
    fetch: Fetch,
    ignore_case: bool,
    matching: Matching,
}

/// What a value must be like; one of several is enough.
#[derive(Debug)]
pub enum Matching {
    /// It is there, and true where it is true or false.
    Found,
    /// Equal.
    Exact(Vec<String>),
    /// Begins so.
    Begins(Vec<String>),
    /// Ends so.
    Ends(Vec<String>),
    /// Has this in it.
    Contains(Vec<String>),
    /// Has this between slashes (HAProxy `path_dir`).
    Directory(Vec<String>),
    /// Has this between dots (HAProxy `hdr_dom`).
    Domain(Vec<String>),
    /// A regular expression finds something in it.
    Regex(Vec<Regex>),
    /// A number in one of these ranges.
    Number(Vec<RangeInclusive<u32>>),
    /// An address in one of these networks.
    Network(Vec<(u32, u32)>),
}

impl Condition {
    pub(super) fn new(unless: bool, words: &[String]) -> Result<Self, BadValue> {
        let mut any = vec![Vec::new()];
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if matches!(word.as_str(), "or" | "||") {
                any.push(Vec::new());
                continue;
            }
            let (mut negated, mut name) = (false, word.as_str());
            while let Some(behind) = name.strip_prefix('!') {
                negated = !negated;
                name = behind;
            }
            if name.is_empty() {
                name = rest.next().map(String::as_str).unwrap_or("");
            }
            let term = if name == "{" {
                let inside: Vec<String> =
                    rest.by_ref().take_while(|w| *w != "}").cloned().collect();
                let whole = words.len() - rest.len();
                if words.get(whole.wrapping_sub(1)).is_none_or(|w| w != "}") {
                    return Err(BadValue::new("a { is missing its }, with spaces around both"));
                }
                Term::Inline(negated, Test::new(&inside)?)
            } else {
                match predefined(name) {
                    Some(test) => Term::Inline(negated, test),
                    None => Term::Named(negated, acl_name(name)?),
                }
            };
            if let Some(all) = any.last_mut() {
                all.push(term);
            }
        }
        if any.iter().any(Vec::is_empty) {
            return Err(BadValue::new(
                "a condition is missing; write for example if { path_beg /api }",
            ));
        }
        Ok(Self { unless, any })
    }

    /// Its tests in braces.
    pub fn tests(&self) -> impl Iterator<Item = &Test> {
        self.any.iter().flatten().filter_map(|t| match t {
            Term::Inline(_, test) => Some(test),
            Term::Named(..) => None,
        })
    }

    /// The names it uses.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.any.iter().flatten().filter_map(|t| match t {
            Term::Named(_, name) => Some(name.as_str()),
            Term::Inline(..) => None,
        })
    }
}

fn acl_name(name: &str) -> Result<String, BadValue> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    if !name.is_empty() && name.bytes().all(plain) {
        return Ok(name.to_owned());
    }
    Err(BadValue::new(format!(
        "{name:?} is no condition; put tests in braces with spaces: {{ path_beg /api }}"
    )))
}

/// What HAProxy has names for.
fn predefined(name: &str) -> Option<Test> {
    let flag = |fetch| Test { fetch, ignore_case: false, matching: Matching::Found };
    let method = |all: &[&str]| Test {
        fetch: Fetch::Method,
        ignore_case: false,
        matching: Matching::Exact(all.iter().map(|m| (*m).to_owned()).collect()),
    };
    Some(match name {
        "TRUE" => flag(Fetch::True),
        "FALSE" => flag(Fetch::False),
        "METH_CONNECT" => method(&["CONNECT"]),
        "METH_DELETE" => method(&["DELETE"]),
        "METH_GET" => method(&["GET", "HEAD"]),
        "METH_HEAD" => method(&["HEAD"]),
        "METH_OPTIONS" => method(&["OPTIONS"]),
        "METH_POST" => method(&["POST"]),
        "METH_PUT" => method(&["PUT"]),
        "METH_TRACE" => method(&["TRACE"]),
        "LOCALHOST" => Test {
            fetch: Fetch::Src,
            ignore_case: false,
            matching: Matching::Network(vec![(0x7f00_0000, 0xff00_0000)]),
        },
        _ => return None,
    })
}

/// The kinds of matching that have a suffix (`path_beg`) and a name (`-m beg`).
const KINDS: [&str; 7] = ["str", "beg", "end", "sub", "dir", "dom", "reg"];

impl Test {
    pub(super) fn new(words: &[String]) -> Result<Self, BadValue> {
        let mut rest = words.iter();
        let Some(first) = rest.next() else {
            return Err(BadValue::new("a test is missing, for example path_beg /api"));
        };
        let (fetch, mut kind) = named(first)?;
        let mut ignore_case = fetch == Fetch::Host;
        let mut patterns = Vec::new();
        while let Some(word) = rest.next() {
            match word.as_str() {
                _ if !patterns.is_empty() => patterns.push(word.clone()),
                "-i" => ignore_case = true,
                "-m" => {
                    let wanted = rest.next().map(String::as_str).unwrap_or("");
                    let known = KINDS.iter().chain(&["found"]).find(|k| **k == wanted);
                    kind = Some(known.copied().ok_or_else(|| {
                        BadValue::new(format!(
                            "-m takes found, str, beg, end, sub, dir, dom or reg, not {wanted:?}"
                        ))
                    })?);
                }
                "--" => patterns.extend(rest.by_ref().cloned()),
                flag if flag.starts_with('-') && flag.len() == 2 => {
                    return Err(BadValue::new(format!("tests know -i and -m, not {flag}")));
                }
                _ => patterns.push(word.clone()),
            }
        }
        if patterns.len() > PATTERNS {
            return Err(BadValue::new(format!("a test has at most {PATTERNS} alternatives")));
        }
        let matching = matching(&fetch, kind, ignore_case, patterns)?;
        Ok(Self { fetch, ignore_case, matching })
    }

    /// What is looked at.
    pub fn fetch(&self) -> &Fetch {
        &self.fetch
    }

    /// Is it about the response?
    pub fn of_response(&self) -> bool {
        self.fetch.of_response()
    }

    /// Is this value as it must be? Addresses and numbers have functions of their own.
    pub fn holds(&self, value: &[u8]) -> bool {
        let same = |a: &[u8], b: &[u8]| {
            if self.ignore_case { a.eq_ignore_ascii_case(b) } else { a == b }
        };
        let begins = |p: &str| value.get(..p.len()).is_some_and(|v| same(v, p.as_bytes()));
        let ends = |p: &str| {
            let at = value.len().checked_sub(p.len());
            at.and_then(|at| value.get(at..)).is_some_and(|v| same(v, p.as_bytes()))
        };
        let contains = |p: &str| {
            p.is_empty() || value.windows(p.len()).any(|window| same(window, p.as_bytes()))
        };
        let between = |p: &str, stops: &[u8]| {
            let inner = |b: &u8| stops.contains(b);
            let trim = |text: &[u8]| {
                let from = text.iter().position(|b| !inner(b)).unwrap_or(text.len());
                let to = text.iter().rposition(|b| !inner(b)).map_or(from, |at| at + 1);
                (from, to)
            };
            let (from, to) = trim(p.as_bytes());
            let pattern = p.as_bytes().get(from..to).unwrap_or_default();
            !pattern.is_empty()
                && value.windows(pattern.len()).enumerate().any(|(at, window)| {
                    let before = at.checked_sub(1).and_then(|b| value.get(b)).is_none_or(inner);
                    let after = value.get(at + pattern.len()).is_none_or(inner);
                    before && after && same(window, pattern)
                })
        };
        match &self.matching {
            Matching::Found => true,
            Matching::Exact(all) => all.iter().any(|p| same(value, p.as_bytes())),
            Matching::Begins(all) => all.iter().any(|p| begins(p)),
            Matching::Ends(all) => all.iter().any(|p| ends(p)),
            Matching::Contains(all) => all.iter().any(|p| contains(p)),
            Matching::Directory(all) => all.iter().any(|p| between(p, b"/?")),
            Matching::Domain(all) => all.iter().any(|p| between(p, b"/?.:")),
            Matching::Regex(all) => {
                let text = std::str::from_utf8(value);
                text.is_ok_and(|text| all.iter().any(|r| r.is_match(text)))
            }
            Matching::Number(_) => {
                let number = std::str::from_utf8(value).ok().and_then(|t| t.trim().parse().ok());
                number.is_some_and(|n| self.holds_number(n))
            }
            Matching::Network(_) => {
                let address = std::str::from_utf8(value).ok().and_then(|t| t.trim().parse().ok());
                address.is_some_and(|a| self.holds_address(a))
            }
        }
    }

    /// Is this number as it must be?
    pub fn holds_number(&self, number: u32) -> bool {
        match &self.matching {
            Matching::Number(all) => all.iter().any(|range| range.contains(&number)),
            Matching::Found => true,
            _ => false,
        }
    }

    /// Is this address as it must be?
    pub fn holds_address(&self, address: Ipv4Addr) -> bool {
        match &self.matching {
            Matching::Network(all) => {
                all.iter().any(|(network, mask)| u32::from(address) & mask == *network)
            }
            Matching::Found => true,
            _ => false,
        }
    }
}

/// `path_beg` is `path` and `beg`; `hdr_dom(host)` is `hdr(host)` and `dom`.
fn named(word: &str) -> Result<(Fetch, Option<&'static str>), BadValue> {
    let (name, argument) = match word.find('(') {
        Some(at) => word.split_at(at),
        None => (word, ""),
    };
    for kind in KINDS {
        let base = name.strip_suffix(kind).and_then(|n| n.strip_suffix('_'));
        if let Some(base) = base {
            return Ok((Fetch::new(&format!("{base}{argument}"))?, Some(kind)));
        }
    }
    Ok((Fetch::new(word)?, None))
}

fn matching(
    fetch: &Fetch,
    kind: Option<&str>,
    ignore_case: bool,
    patterns: Vec<String>,
) -> Result<Matching, BadValue> {
    if kind == Some("found") || (kind.is_none() && fetch.is_flag()) {
        if patterns.is_empty() {
            return Ok(Matching::Found);
        }
        return Err(BadValue::new(format!("{fetch} is true or false and takes no values here")));
    }
    if patterns.is_empty() {
        return Err(BadValue::new(format!("{fetch} needs a value to compare with")));
    }
    if kind.is_some() && (fetch.is_number() || *fetch == Fetch::Src) {
        return Err(BadValue::new(format!("{fetch} is no text; give values without -m")));
    }
    Ok(match kind {
        None | Some("str") if *fetch == Fetch::Src => {
            Matching::Network(patterns.iter().map(|p| network(p)).collect::<Result<_, _>>()?)
        }
        None if fetch.is_number() => Matching::Number(numbers(&patterns)?),
        Some("beg") => Matching::Begins(patterns),
        Some("end") => Matching::Ends(patterns),
        Some("sub") => Matching::Contains(patterns),
        Some("dir") => Matching::Directory(patterns),
        Some("dom") => Matching::Domain(patterns),
        Some("reg") => {
            let compile = |p: &String| {
                let built = RegexBuilder::new(p)
                    .case_insensitive(ignore_case)
                    .size_limit(REGEX_SIZE)
                    .build();
                built.map_err(|e| BadValue::new(format!("the expression {p:?} is not usable: {e}")))
            };
            Matching::Regex(patterns.iter().map(compile).collect::<Result<_, _>>()?)
        }
        _ => Matching::Exact(patterns),
    })
}

fn network(text: &str) -> Result<(u32, u32), BadValue> {
    let whole = if text.contains('/') { text.to_owned() } else { format!("{text}/32") };
    let (address, prefix) = whole.split_once('/').unwrap_or((&whole, "32"));
    let address: Option<Ipv4Addr> = address.parse().ok();
    let prefix = prefix.parse::<u32>().ok().filter(|p| *p <= 32);
    let (Some(address), Some(prefix)) = (address, prefix) else {
        return Err(BadValue::new(format!(
            "{text:?} is no address or network; write for example 192.168.1.0/24"
        )));
    };
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    Ok((u32::from(address) & mask, mask))
}

/// `200`, `500:599`, and with an operator in front `ge 500`.
fn numbers(words: &[String]) -> Result<Vec<RangeInclusive<u32>>, BadValue> {
    let mut ranges = Vec::new();
    let mut operator = "eq";
    for word in words {
        if let Some(known) = ["eq", "ge", "gt", "le", "lt"].iter().find(|o| **o == word) {
            operator = known;
            continue;
        }
        let refuse = || BadValue::new(format!("{word:?} is no number, such as 404 or 500:599"));
        let one = |text: &str| text.parse::<u32>().map_err(|_| refuse());
        let range = match (word.split_once(':'), operator) {
            (Some((low, high)), "eq") => {
                let low = if low.is_empty() { 0 } else { one(low)? };
                let high = if high.is_empty() { u32::MAX } else { one(high)? };
                low..=high
            }
            (Some(_), _) => return Err(refuse()),
            (None, "ge") => one(word)?..=u32::MAX,
            (None, "gt") => one(word)?.checked_add(1).ok_or_else(refuse)?..=u32::MAX,
            (None, "le") => 0..=one(word)?,
            (None, "lt") => 0..=one(word)?.checked_sub(1).ok_or_else(refuse)?,
            (None, _) => one(word)?..=one(word)?,
        };
        ranges.push(range);
    }
    if ranges.is_empty() {
        return Err(BadValue::new("a number is missing, such as 404 or 500:599"));
    }
    Ok(ranges)
}
