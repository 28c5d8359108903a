//! Forwards a port of this machine into the lab: bytes both ways, nothing looked at, so
//! keep-alive, upgrades and half-closed connections are the two ends' own business.

use crate::error::{Doing, Result};
use crate::netns::Namespace;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// Connections forwarded at the same time; more wait in the kernel.
const MOST: usize = 1024;

/// A forwarded port. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Relay {
    addr: SocketAddr,
    _stop: watch::Sender<()>,
}

impl Relay {
    /// Listens on `listen` out here and connects to the first of `targets` that answers, from
    /// inside `space`.
    ///
    /// # Errors
    /// When the address is taken or the namespace is missing.
    pub fn start(space: &Namespace, listen: SocketAddr, targets: Vec<SocketAddr>) -> Result<Self> {
        let what = || format!("listening on {listen}");
        let listener = std::net::TcpListener::bind(listen).doing(what)?;
        listener.set_nonblocking(true).doing(what)?;
        let addr = listener.local_addr().doing(what)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .doing(|| "starting a port forward".to_owned())?;
        let (stop, mut stopped) = watch::channel(());
        space.spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    _ = stopped.changed() => {}
                    () = serve(listener, targets) => {}
                }
            });
        })?;
        Ok(Self { addr, _stop: stop })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn serve(listener: std::net::TcpListener, targets: Vec<SocketAddr>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let (targets, room) = (Arc::new(targets), Arc::new(Semaphore::new(MOST)));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((outside, _)) => {
                let targets = Arc::clone(&targets);
                tokio::spawn(async move {
                    forward(outside, &targets).await;
                    drop(place);
                });
            }
            // Out of file descriptors, most likely: wait for some to come back.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn forward(mut outside: TcpStream, targets: &[SocketAddr]) {
    for target in targets {
        // A node without power does not refuse, it stays silent.
        let connecting = timeout(Duration::from_millis(1500), TcpStream::connect(target));
        if let Ok(Ok(mut inside)) = connecting.await {
            let _ = (outside.set_nodelay(true), inside.set_nodelay(true));
            let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            return;
        }
    }
}
