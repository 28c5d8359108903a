//! Before a change: would its new listening addresses be free?

use crate::listen::{self, Holder};
use control::{Preflight, Snapshot};
use model::Role;
use std::collections::BTreeSet;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddrV4;
use std::pin::Pin;

/// The proxy's say before a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports;

impl Preflight for Ports {
    fn name(&self) -> &'static str {
        "the load balancer"
    }

    fn prepare<'a>(
        &'a self,
        current: &'a Snapshot,
        next: &'a Snapshot,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        Box::pin(async move { look(&addresses(current), &addresses(next)) })
    }
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
