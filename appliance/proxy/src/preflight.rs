//! Before a change: would its new listening addresses be free, and can its new certificates be
//! shown?

use crate::listen::{self, Holder, Place};
use crate::tls;
use control::{Obstacle, Preflight, Snapshot};
use model::{Problem, Role, Settings};
use std::collections::BTreeSet;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;

/// The proxy's say before a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked;

impl Preflight for Asked {
    fn name(&self) -> &'static str {
        "the load balancer"
    }

    fn prepare<'a>(
        &'a self,
        current: &'a Snapshot,
        next: &'a Snapshot,
    ) -> Pin<Box<dyn Future<Output = Result<(), Obstacle>> + Send + 'a>> {
        Box::pin(async move {
            let problems = certificates(&current.settings, &next.settings);
            if !problems.is_empty() {
                return Err(Obstacle::Settings(problems));
            }
            Ok(look(&places(current), &places(next))?)
        })
    }
}

/// What is wrong with certificates that have come or changed; a node without visitors says so,
/// too, for who has them is not.
fn certificates(current: &Settings, next: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, certificate) in next.certificates.iter().enumerate() {
        if current.certificates.contains(certificate) {
            continue;
        }
        let unusable = match tls::load(certificate) {
            Ok(usable) => tls::strangers(&usable),
            Err(unusable) => Some(unusable),
        };
        if let Some(unusable) = unusable {
            let path = format!("certificates[{index}].{}", unusable.field);
            problems.push(Problem::new(path, unusable.problem));
        }
    }
    problems
}

fn places(snapshot: &Snapshot) -> BTreeSet<Place> {
    let effective = &snapshot.effective;
    let frontends = effective.frontends.iter().filter(|_| effective.is(Role::Balancer));
    let listen = |f: &model::DerivedFrontend| {
        let mode = f.frontend.mode;
        f.listen.clone().into_iter().map(move |address| Place::new(mode, address))
    };
    frontends.flat_map(listen).collect()
}

fn look(current: &BTreeSet<Place>, next: &BTreeSet<Place>) -> Result<(), String> {
    for place in next.difference(current) {
        let shared = current.iter().any(|c| c.shares_port(place));
        let Err(error) = listen::probe(*place, shared) else { continue };
        // Another part of the appliance may be about to give the port up in this very change;
        // if it does not, model::check knows.
        if error.kind() == ErrorKind::AddrInUse && listen::holder(*place) == Holder::Ourselves {
            continue;
        }
        return Err(listen::explain(*place, &error));
    }
    Ok(())
}
