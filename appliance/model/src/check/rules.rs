//! What the rules of a frontend name must exist.

use super::Problems;
use crate::balancing::Mode;
use crate::rules::{Action, MOST, Parsed};
use crate::settings::Settings;

pub(super) fn check(all: &Settings, written: &Settings, problems: &mut Problems) {
    for (i, frontend) in written.frontends.iter().enumerate() {
        let path = format!("frontends[{i}].rules");
        if frontend.rules.len() > MOST {
            problems.add(&path, format!("a frontend has at most {MOST} rules"));
        }
        if frontend.mode == Mode::Tcp && !frontend.rules.is_empty() {
            problems.add(&path, "rules read requests, which mode tcp does not");
        }
        let mut named: Vec<&str> = Vec::new();
        for (k, rule) in frontend.rules.iter().enumerate() {
            let path = format!("{path}[{k}]");
            let parsed: &Parsed = rule.parsed();
            if let Action::UseBackend(backend) = &parsed.action {
                if all.backend(backend).is_none() {
                    problems.add(&path, format!("there is no backend named {backend}"));
                }
            }
            if let Action::Acl(name, test) = &parsed.action {
                named.push(name);
                if test.of_response() {
                    problems.add(
                        &path,
                        format!("put a test of the response into braces where it is used, not into acl {name}"),
                    );
                }
            }
            for name in parsed.condition.iter().flat_map(|c| c.names()) {
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
