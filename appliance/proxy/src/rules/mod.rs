//! A frontend's rules at work: what they look at, and what they do to a head.
//!
//! Rules run on the head as it is sent on, which has been checked and framed by then: nothing a
//! rule does can change where a message ends. As in HAProxy, the `http-request` rules come first,
//! then the first `use_backend` whose condition holds decides. Conditions of `http-response` rules
//! that are about the request are answered while there is a request.

mod look;

pub(crate) use look::Facts;

use crate::config::Backend;
use crate::head::{fields, first_line};
use crate::message::put_field;
use crate::{request, response};
use look::{Answered, Seen};
use model::rules::{
    Action, Condition, FieldEdit, Format, Parsed, Piece, Redirect, RedirectTo, Rule, Term, Test,
};
use std::sync::Arc;

/// A frontend's rules, with everything they name looked up.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    connections: Vec<Compiled>,
    requests: Vec<Compiled>,
    routes: Vec<(Compiled, Arc<Backend>)>,
    responses: Vec<Compiled>,
    /// Some of them ask how much a visitor asks for.
    counting: bool,
}

/// A rule, and the acls its condition names, in the order they are named.
#[derive(Debug)]
struct Compiled {
    rule: Arc<Parsed>,
    named: Vec<Vec<Arc<Parsed>>>,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It goes on.
    Pass,
    /// It is answered with this status.
    Deny(u16),
    /// It is answered with this status after a while.
    Tarpit(u16),
    /// It is answered with another address.
    Redirect(u16, Vec<u8>),
    /// Its head has become too long.
    NoRoom,
}

/// Rules may make a head so much longer than one is taken (HAProxy `tune.maxrewrite`): what they
/// write may repeat what a visitor has sent, and again what they wrote.
const REWRITE: usize = 1024;

impl Rules {
    /// Looks up what the rules name; a rule about a backend that does not exist does nothing.
    pub(crate) fn new(rules: &[Rule], backends: &[Arc<Backend>]) -> Self {
        let mut all = Self::default();
        let mut acls: Vec<(&str, Arc<Parsed>)> = Vec::new();
        for rule in rules {
            let parsed = rule.parsed();
            all.counting |= parsed.counts();
            if let Action::Acl(name, _) = &parsed.action {
                acls.push((name, Arc::clone(parsed)));
                continue;
            }
            let of = |name: &str| {
                let same = acls.iter().filter(|(n, _)| *n == name);
                same.map(|(_, acl)| Arc::clone(acl)).collect()
            };
            let named = parsed.condition.iter().flat_map(Condition::names).map(of).collect();
            let compiled = Compiled { rule: Arc::clone(parsed), named };
            match &parsed.action {
                Action::UseBackend(name) => {
                    let found = backends.iter().find(|b| b.settings.name == *name);
                    all.routes.extend(found.map(|b| (compiled, Arc::clone(b))));
                }
                Action::Response(_) => all.responses.push(compiled),
                action if action.of_connection() => all.connections.push(compiled),
                _ => all.requests.push(compiled),
            }
        }
        all
    }

    /// Is there nothing to do?
    pub(crate) fn is_empty(&self) -> bool {
        self.connections.is_empty()
            && self.requests.is_empty()
            && self.routes.is_empty()
            && self.responses.is_empty()
    }

    /// Does any of them look at what is counted of visitors?
    pub(crate) fn counting(&self) -> bool {
        self.counting
    }

    /// Does any of them look at new connections?
    pub(crate) fn of_connections(&self) -> bool {
        !self.connections.is_empty()
    }

    /// Runs the `tcp-request connection` rules; false for a connection that is refused. `track`
    /// counts the visitor from then on.
    pub(crate) fn connection(&self, facts: &mut Facts, track: &mut dyn FnMut(&mut Facts)) -> bool {
        for rule in &self.connections {
            if !rule.applies(&Seen { facts, request: b"", response: None }) {
                continue;
            }
            match &rule.rule.action {
                Action::Reject => return false,
                Action::Accept => return true,
                Action::Track(_) => track(facts),
                _ => {}
            }
        }
        true
    }

    /// Runs the `http-request` rules on a head. `track` counts the visitor from then on.
    pub(crate) fn request(
        &self,
        facts: &mut Facts,
        head: &mut Vec<u8>,
        track: &mut dyn FnMut(&mut Facts),
    ) -> Verdict {
        for rule in &self.requests {
            let seen = Seen { facts, request: head, response: None };
            if !rule.applies(&seen) {
                continue;
            }
            match &rule.rule.action {
                Action::Deny(status) => return Verdict::Deny(*status),
                Action::Tarpit(status) => return Verdict::Tarpit(*status),
                // As in HAProxy, who is counted already is not counted a second time.
                Action::Track(_) if !facts.tracked => track(facts),
                Action::Once => facts.once = true,
                Action::Redirect(redirect) => {
                    return Verdict::Redirect(redirect.code, address(redirect, &seen));
                }
                Action::Request(edit) => {
                    let value = edit_value(edit).map(|f| seen.filled(f)).unwrap_or_default();
                    change(head, 0, edit, &value);
                    if head.len() > request::HEAD_LIMIT + REWRITE {
                        return Verdict::NoRoom;
                    }
                }
                _ => {}
            }
        }
        Verdict::Pass
    }

    /// Where the request goes; None for the default backend.
    pub(crate) fn route(&self, facts: &Facts, head: &[u8]) -> Option<&Arc<Backend>> {
        let seen = Seen { facts, request: head, response: None };
        self.routes.iter().find(|(rule, _)| rule.applies(&seen)).map(|(_, backend)| backend)
    }

    /// What the `http-response` rules have to know of the request; None where there are none.
    pub(crate) fn prepare(&self, facts: &Facts, head: &[u8]) -> Option<Prepared> {
        if self.responses.is_empty() {
            return None;
        }
        let seen = Seen { facts, request: head, response: None };
        let prepare = |rule: &Compiled| Pending {
            rule: Arc::clone(&rule.rule),
            when: rule.rule.condition.as_ref().map(|c| rule.resolve(c, &seen)),
            value: match &rule.rule.action {
                Action::Response(edit) => edit_value(edit).map_or_else(Vec::new, |f| seen.half(f)),
                _ => Vec::new(),
            },
        };
        Some(Prepared(self.responses.iter().map(prepare).collect()))
    }
}

impl Compiled {
    fn applies(&self, seen: &Seen<'_>) -> bool {
        let Some(condition) = &self.rule.condition else { return true };
        let mut named = self.named.iter();
        let mut holds = false;
        for all in &condition.any {
            let mut every = true;
            for term in all {
                // Named terms are taken in order even where the answer is known already.
                every &= match term {
                    Term::Inline(negated, test) => seen.holds(test) != *negated,
                    Term::Named(negated, _) => {
                        let tests = named.next().into_iter().flatten();
                        let any = tests.filter_map(|p| acl(p)).any(|test| seen.holds(test));
                        any != *negated
                    }
                };
            }
            holds |= every;
        }
        holds != condition.unless
    }

    /// The answers that are known while there is only the request.
    fn resolve(&self, condition: &Condition, seen: &Seen<'_>) -> Vec<Vec<Answered>> {
        let mut named = self.named.iter();
        let mut term = |term: &Term| match term {
            Term::Inline(_, test) if test.of_response() => Answered::Later,
            Term::Inline(negated, test) => Answered::Now(seen.holds(test) != *negated),
            Term::Named(negated, _) => {
                let tests = named.next().into_iter().flatten();
                let any = tests.filter_map(|p| acl(p)).any(|test| seen.holds(test));
                Answered::Now(any != *negated)
            }
        };
        condition.any.iter().map(|all| all.iter().map(&mut term).collect()).collect()
    }
}

fn acl(parsed: &Parsed) -> Option<&Test> {
    match &parsed.action {
        Action::Acl(_, test) => Some(test),
        _ => None,
    }
}

const fn edit_value(edit: &FieldEdit) -> Option<&Format> {
    match edit {
        FieldEdit::Set(_, value) | FieldEdit::Add(_, value) => Some(value),
        FieldEdit::Remove(_) => None,
    }
}

/// The `http-response` rules of one request.
#[derive(Debug)]
pub(crate) struct Prepared(Vec<Pending>);

#[derive(Debug)]
struct Pending {
    rule: Arc<Parsed>,
    when: Option<Vec<Vec<Answered>>>,
    /// The value with what is known of it filled in.
    value: Vec<Piece>,
}

impl Prepared {
    /// Runs the rules on a response's head, which starts at `from`; false where they would make it
    /// too long.
    pub(crate) fn run(&self, status: u16, head: &mut Vec<u8>, from: usize) -> bool {
        for pending in &self.0 {
            let Action::Response(edit) = &pending.rule.action else { continue };
            let response = &head[from..];
            if pending.applies(status, response) {
                let value = look::fill(&pending.value, status, response);
                change(head, from, edit, &value);
                if head.len() - from > response::HEAD_LIMIT + REWRITE {
                    return false;
                }
            }
        }
        true
    }
}

impl Pending {
    fn applies(&self, status: u16, response: &[u8]) -> bool {
        let (Some(condition), Some(answers)) = (&self.rule.condition, &self.when) else {
            return true;
        };
        let term = |(term, known): (&Term, &Answered)| match (known, term) {
            (Answered::Now(answer), _) => *answer,
            (Answered::Later, Term::Inline(negated, test)) => {
                look::of_response(test, status, response) != *negated
            }
            (Answered::Later, Term::Named(..)) => false,
        };
        let all = |(terms, known): (&Vec<Term>, &Vec<Answered>)| terms.iter().zip(known).all(term);
        condition.any.iter().zip(answers).any(all) != condition.unless
    }
}

/// Changes a field of the head that starts at `from`. Everything else stays, byte for byte.
fn change(head: &mut Vec<u8>, from: usize, edit: &FieldEdit, value: &[u8]) {
    let (name, replace, add) = match edit {
        FieldEdit::Set(name, _) => (name, true, true),
        FieldEdit::Add(name, _) => (name, false, true),
        FieldEdit::Remove(name) => (name, true, false),
    };
    if replace {
        remove(head, from, name);
    }
    if add {
        add_field(head, name, value);
    }
}

/// Removes every line of a field.
pub(crate) fn remove(head: &mut Vec<u8>, from: usize, name: &str) {
    let (line, lines) = first_line(&head[from..]);
    if !fields(lines).any(|f| f.is(name)) {
        return;
    }
    let mut left = Vec::with_capacity(head.len());
    left.extend_from_slice(line);
    left.extend_from_slice(b"\r\n");
    for field in fields(lines).filter(|f| !f.is(name)) {
        put_field(&mut left, field.name, field.value);
    }
    left.extend_from_slice(b"\r\n");
    head.truncate(from);
    head.extend_from_slice(&left);
}

/// Adds a line behind all others.
pub(crate) fn add_field(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    if head.ends_with(b"\r\n\r\n") {
        head.truncate(head.len() - 2);
    }
    put_field(head, name.as_bytes(), value);
    head.extend_from_slice(b"\r\n");
}

/// The address a redirect leads to.
fn address(redirect: &Redirect, seen: &Seen<'_>) -> Vec<u8> {
    let rest = |out: &mut Vec<u8>| {
        let head = seen.head();
        // `*` is no path.
        let path = if head.target.starts_with(b"/") { head.path() } else { b"" };
        out.extend_from_slice(path);
        if redirect.append_slash && !path.ends_with(b"/") {
            out.push(b'/');
        }
        if let (Some(query), false) = (head.query(), redirect.drop_query) {
            out.push(b'?');
            out.extend_from_slice(query);
        }
    };
    match &redirect.to {
        RedirectTo::Location(to) => seen.filled(to),
        RedirectTo::Prefix(to) => {
            let mut out = seen.filled(to);
            if out == b"/" {
                // HAProxy's way to say: this very host.
                out.clear();
            }
            rest(&mut out);
            out
        }
        RedirectTo::Scheme(to) => {
            let mut out = seen.filled(to);
            out.extend_from_slice(b"://");
            out.extend_from_slice(seen.head().values("host").next().unwrap_or_default());
            rest(&mut out);
            out
        }
    }
}

/// The answer of a redirect.
pub(crate) fn put_redirect(out: &mut Vec<u8>, status: u16, location: &[u8], close: bool) {
    let reason = match status {
        301 => "Moved Permanently",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        _ => "Found",
    };
    out.extend_from_slice(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes());
    put_field(out, b"Content-Length", b"0");
    put_field(out, b"Location", location);
    if matches!(status, 302 | 303 | 307) {
        put_field(out, b"Cache-Control", b"no-cache");
    }
    if close {
        put_field(out, b"Connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
