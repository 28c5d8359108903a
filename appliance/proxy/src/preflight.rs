//! Before a change: would its new listening addresses be free, and can its new certificates be
//! shown?

use crate::listen::{self, Holder};
use crate::tls;
use control::{Obstacle, Preflight, Snapshot};
use model::{Problem, Role, Settings};
use std::collections::BTreeSet;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddrV4;
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
            Ok(look(&addresses(current), &addresses(next))?)
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
        if let Err(unusable) = tls::load(certificate) {
            let path = format!("certificates[{index}].{}", unusable.field);
            problems.push(Problem::new(path, unusable.problem));
        }
    }
    problems
}

fn addresses(snapshot: &Snapshot) -> BTreeSet<SocketAddrV4> {
    let effective = &snapshot.effective;
    let frontends = effective.frontends.iter().filter(|_| effective.is(Role::Balancer));
    frontends.flat_map(|f| f.listen.iter().copied()).collect()
}

fn look(current: &BTreeSet<SocketAddrV4>, next: &BTreeSet<SocketAddrV4>) -> Result<(), String> {
    for address in next.difference(current) {
        let shared = current.iter().any(|c| c.port() == address.port());
        let Err(error) = listen::probe(*address, shared) else { continue };
        // Another part of the appliance may be about to give the port up in this very change;
        // if it does not, model::check knows.
        if error.kind() == ErrorKind::AddrInUse && listen::holder(*address) == Holder::Ourselves {
            continue;
        }
        return Err(listen::explain(*address, &error));
    }
    Ok(())
}
