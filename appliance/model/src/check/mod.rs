//! Every problem of a settings document at once, in the operator's words.
//!
//! One file per subject. A value that is wrong in itself cannot be here (the newtypes refuse it);
//! what is checked is what values say together.

mod addresses;
mod admin;
mod balancing;
mod certificates;
mod datagrams;
mod nodes;
mod persistence;
mod rules;
mod sites;
mod virtual_routers;
mod wifi;

pub(crate) use wifi::wpa_passphrase;

use crate::problem::Problem;
use crate::settings::Settings;

/// What [`check()`] collects.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, path: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Problem::new(path, problem));
    }

    /// Complains about the second and every further use of a name.
    fn unique<'a>(&mut self, what: &str, names: impl Iterator<Item = (String, &'a str)>) {
        let mut seen: Vec<String> = Vec::new();
        for (path, name) in names {
            let folded = name.to_ascii_lowercase();
            if name.is_empty() {
                self.add(path, format!("every {what} needs a name"));
            } else if seen.contains(&folded) {
                self.add(
                    path,
                    format!("there is another {what} named {name}; choose another name"),
                );
            } else {
                seen.push(folded);
            }
        }
    }
}

/// Every problem of the document; none means it can be run.
pub fn check(settings: &Settings) -> Vec<Problem> {
    let all = settings.completed();
    let mut problems = Problems::default();
    nodes::check(settings, &mut problems);
    addresses::check(settings, &mut problems);
    wifi::check(settings, &mut problems);
    sites::check(&all, settings, &mut problems);
    balancing::check(&all, settings, &mut problems);
    certificates::check(settings, &mut problems);
    datagrams::check(settings, &mut problems);
    rules::check(&all, settings, &mut problems);
    persistence::check(&all, settings, &mut problems);
    virtual_routers::check(&all, settings, &mut problems);
    admin::check(settings, &mut problems);
    problems.0
}

#[cfg(test)]
mod tests;
