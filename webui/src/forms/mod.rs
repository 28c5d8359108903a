//! Forms: what was typed, what is wrong with it, and the typed edit it stands for.
//!
//! A field's name on the page is its path in the settings below the entry it belongs to, so that
//! a problem the check finds at `nodes[2].eth0.address` is shown at the field it concerns.

mod admin;
mod backend;
mod base;
mod certificate;
mod check_fields;
mod cluster;
mod field;
mod frontend;
mod node;
mod pairs;
mod roles;
mod server;
mod site;
mod submit;
mod virtual_router;
mod wifi;

pub(crate) use admin::AdminForm;
pub(crate) use backend::BackendForm;
pub(crate) use base::{Base, Place};
pub(crate) use certificate::CertificateForm;
pub(crate) use check_fields::CheckFields;
pub(crate) use cluster::ClusterForm;
pub(crate) use field::Field;
pub(crate) use frontend::FrontendForm;
pub(crate) use node::NodeForm;
pub(crate) use pairs::Pairs;
pub(crate) use roles::{CHOICES, Card, RolesForm};
pub(crate) use server::ServerForm;
pub(crate) use site::SiteForm;
pub(crate) use submit::{Submitted, submit};
pub(crate) use virtual_router::VirtualRouterForm;
pub(crate) use wifi::{CountryForm, NetworkForm};

use control::Snapshot;
use model::Settings;

/// What every form has besides its fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// What the form was made from.
    pub(crate) base: Base,
    /// What is wrong and belongs to no field.
    pub(crate) top: Vec<String>,
    /// Somebody else changed the same entry meanwhile.
    pub(crate) stale: bool,
    /// The entry is new.
    pub(crate) new: bool,
}

/// The fields entries are known by.
const KEYS: [&str; 2] = ["id", "name"];

/// At least one field has an error now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Invalid;

/// Which rule of a frontend a path is about.
fn rule_at(name: &str, path: &str) -> Option<usize> {
    let index = path.strip_prefix("rules[").filter(|_| name == "rules")?.strip_suffix(']')?;
    index.parse().ok()
}

/// What is wrong with one line of several; lines count from 1.
fn at_line(index: usize, problem: &str) -> String {
    format!("line {}: {problem}", index + 1)
}

/// A form for one entry of the settings.
pub(crate) trait Form: Default {
    /// The entry.
    type Part: Clone + PartialEq;

    /// What every form has.
    fn head(&mut self) -> &mut Head;
    /// The fields with their paths below the entry, always in the same order.
    fn fields(&mut self) -> Vec<(&'static str, &mut Field)>;
    /// Fills the fields in.
    fn fill(&mut self, part: &Self::Part);
    /// The entry this form is about, as the settings have it.
    fn part(&self, settings: &Settings) -> Option<Self::Part>;
    /// The path of the entry in settings that hold it already, or to which it will be added.
    fn place(&self, settings: &Settings) -> String;
    /// The entry the edit starts from, so that what the form does not show stays as it is.
    fn start_from(&mut self, part: Option<Self::Part>);

    /// The form for an entry that exists.
    fn of(part: &Self::Part, snapshot: &Snapshot) -> Self {
        let mut form = Self::default();
        form.fill(part);
        form.head().base = Base::of(snapshot);
        form
    }

    /// What was typed.
    fn typed(pairs: &Pairs) -> Self {
        let mut form = Self::default();
        form.head().base = Base::read(pairs.first("revision")).unwrap_or_default();
        form.head().new = pairs.first("new") == "yes";
        for (name, field) in form.fields() {
            field.value = pairs.joined(name);
            if KEYS.contains(&name) {
                // Entries are looked up by these before they are parsed.
                field.value = field.value.trim().to_owned();
            }
        }
        form
    }

    /// Notes what the settings say now wherever that is not what was typed.
    fn compare(&mut self, current: Option<&Self::Part>) {
        let Some(current) = current else {
            let gone = "Somebody else removed this entry meanwhile. Saving brings it back.";
            self.head().top.push(gone.to_owned());
            return;
        };
        let mut theirs = Self::default();
        theirs.fill(current);
        let theirs = theirs.fields();
        for ((_, mine), (_, theirs)) in self.fields().into_iter().zip(theirs) {
            if mine.value != theirs.value {
                mine.now = Some(theirs.value.clone());
            }
        }
    }

    /// Shows a problem at the field it concerns, or on top.
    fn blame(&mut self, path: &str, problem: &str, settings: &Settings) {
        let place = self.place(settings);
        let inside = path.strip_prefix(&place).map(|p| p.trim_start_matches('.'));
        let below = |name: &str, path: &str| {
            path.strip_prefix(name).is_some_and(|r| r.is_empty() || r.starts_with(['.', '[']))
        };
        if let Some(inside) = inside {
            let mut fields = self.fields();
            let field = fields.iter_mut().find(|(name, _)| below(name, inside));
            if let Some((name, field)) = field {
                match rule_at(name, inside) {
                    Some(line) => field.refuse(&at_line(line, problem)),
                    None => field.refuse(problem),
                }
                return;
            }
        }
        self.head().top.push(crate::words::sentence(problem));
    }
}
