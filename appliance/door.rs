//! Port 80 while no role needs it: whoever types the board's bare address finds the admin page.

use control::{Shutdown, SnapshotReceiver};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpListener;

/// A port that somebody else holds is tried again so often.
const RETRY: Duration = Duration::from_secs(5);

/// Holds the port whenever this node is neither web server nor load balancer.
pub(crate) async fn keep(mut snapshots: SnapshotReceiver, shutdown: Shutdown) {
    loop {
        let free = snapshots.borrow_and_update().effective.roles.is_empty();
        let changed = snapshots.changed();
        if !free {
            tokio::select! {
                news = changed => if news.is_err() { return },
                () = shutdown.requested() => return,
            }
            continue;
        }
        tokio::select! {
            news = changed => if news.is_err() { return },
            () = open(&shutdown) => {}
            () = shutdown.requested() => return,
        }
    }
}

/// Serves until it is dropped, which frees the port at once.
async fn open(shutdown: &Shutdown) {
    match TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80))).await {
        Ok(listener) => webui::front_door::serve(listener, shutdown.clone()).await,
        Err(error) => {
            tracing::warn!("port 80 cannot lead to the admin page: {error}");
            tokio::time::sleep(RETRY).await;
        }
    }
}
