//! What the rules of a frontend name must exist.

use super::Problems;
use crate::balancing::{Frontend, Mode};
use crate::rules::{Action, MOST, Parsed};
use crate::settings::Settings;

pub(super) fn check(all: &Settings, written: &Settings, problems: &mut Problems) {
    for (i, frontend) in written.frontends.iter().enumerate() {
        let path = format!("frontends[{i}].rules");
        if frontend.rules.len() > MOST {
            problems.add(&path, format!("a frontend has at most {MOST} rules"));
        }
        if frontend.mode == Mode::Udp && !frontend.rules.is_empty() {
            problems.add(&path, "rules look at connections and requests, and mode udp has neither");
            continue;
        }
        let mut named: Vec<&str> = Vec::new();
        let mut of_requests: Vec<&str> = Vec::new();
        for (k, rule) in frontend.rules.iter().enumerate() {
            let path = format!("{path}[{k}]");
            let parsed: &Parsed = rule.parsed();
            let of_connection = parsed.action.of_connection();
            let acl = matches!(parsed.action, Action::Acl(..));
            if frontend.mode == Mode::Tcp && !of_connection && !acl {
                problems.add(
                    &path,
                    "this rule reads requests, which mode tcp does not; it knows tcp-request connection",
                );
            }
            counted(frontend, parsed, &path, problems);
            if let Action::UseBackend(backend) = &parsed.action {
                if all.backend(backend).is_none() {
                    problems.add(&path, format!("there is no backend named {backend}"));
                }
            }
            if let Action::Acl(name, test) = &parsed.action {
                named.push(name);
                if !test.of_connection() {
                    of_requests.push(name);
                }
                if test.of_response() {
                    problems.add(
                        &path,
                        format!("put a test of the response into braces where it is used, not into acl {name}"),
                    );
                }
            }
            for name in parsed.condition.iter().flat_map(|c| c.names()) {
                if of_connection && of_requests.contains(&name) {
                    problems.add(
                        &path,
                        format!(
                            "acl {name} looks at requests, and this rule runs before there is one"
                        ),
                    );
                }
                if !named.contains(&name) {
                    problems.add(
                        &path,
                        format!("there is no acl named {name} above this rule; a test of its own stands in braces"),
                    );
                }
            }
        }
    }
}

/// Whoever counts needs a table that stores it.
fn counted(frontend: &Frontend, parsed: &Parsed, path: &str, problems: &mut Problems) {
    let table = frontend.stick_table.as_ref();
    if matches!(parsed.action, Action::Track(_)) && table.is_none() {
        problems.add(
            path,
            "visitors are counted in the frontend's stick-table; set it, for example: type ip size 100k expire 30s store http_req_rate(10s)",
        );
    }
    let tests = parsed.condition.iter().flat_map(|c| c.tests());
    let own = match &parsed.action {
        Action::Acl(_, test) => Some(test),
        _ => None,
    };
    for what in tests.chain(own).filter_map(|test| test.fetch().counter()) {
        if !table.is_some_and(|t| t.counts(what)) {
            problems.add(
                path,
                format!("the frontend's stick-table does not store {what}; add it there, for example: type ip size 100k expire 30s store {what}{}",
                    if what.is_rate() { "(10s)" } else { "" }),
            );
        }
    }
}
