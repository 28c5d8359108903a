//! Stick tables of the load balancers, told to every other node: all of them when two nodes meet,
//! then the changes, a few times a second. So a visitor stays on the same server when the floating
//! IP moves.

use crate::exchange::{Talking, keep, receive, send};
use crate::{Handle, Service};
use control::{Shutdown, SnapshotReceiver};
use model::Visit;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, split};

/// Longest message, in bytes: a portion of visits with the longest names there may be.
const LONGEST: usize = 1024 * 1024;
/// How long changes are gathered before they are told: what a failover may lose.
const GATHER: Duration = Duration::from_millis(100);

/// The stick tables of this node.
pub trait SharedVisits: Send + Sync + 'static {
    /// What changed after `number` (0: everything there is), in portions, and the number this is.
    fn news_since(&self, number: u64) -> (Vec<Visit>, u64);
    /// Takes over what another node tells.
    fn merge(&self, news: &[Visit]);
}

/// Tells this node's visits to the others and hears theirs; needs a tokio runtime.
pub fn share_visits(
    handle: &Handle,
    snapshots: SnapshotReceiver,
    shutdown: Shutdown,
    visits: Arc<dyn SharedVisits>,
) {
    let talk = move |_, stream| {
        let visits = visits.clone();
        let talking: Talking = Box::pin(talk(stream, visits));
        talking
    };
    keep(handle, snapshots, shutdown, Service::Visits, Arc::new(talk));
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite,
    visits: Arc<dyn SharedVisits>,
) -> io::Result<()> {
    let (mut reader, mut writer) = split(stream);
    let tell = async {
        let mut told = 0;
        loop {
            let (news, number) = visits.news_since(told);
            if !news.is_empty() {
                send(&mut writer, &news, LONGEST).await?;
            }
            told = number;
            tokio::time::sleep(GATHER).await;
        }
    };
    let hear = async {
        loop {
            let news: Vec<Visit> = receive(&mut reader, LONGEST).await?;
            visits.merge(&news);
        }
    };
    tokio::select! {
        ended = tell => ended,
        ended = hear => ended,
    }
}
