//! Connections: how many, how long, and how they end.

use crate::app::{App, lock};
use crate::audit;
use crate::gate::{Local, Peer};
use crate::pages::stats::frontend::Statistics;
use crate::ports::Ports;
use crate::router::routes;
use axum::Router;
use axum::extract::Request;
use control::Shutdown;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::ServiceExt;

/// Connections of everybody, and of one address, so that nobody can take them all.
const CONNECTIONS: usize = 64;
const PER_ADDRESS: usize = 32;
/// A request's head must be there so soon (slowloris), and an idle connection speaks again so soon.
const HEAD: Duration = Duration::from_secs(10);
/// Largest head.
const HEAD_BYTES: usize = 16 * 1024;
/// A phone that went out of reach is given up after so long without a sign of it.
const UNHEARD: Duration = Duration::from_secs(30);
/// Requests under way may take so long when the node stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// Sessions whose time is over are forgotten so often.
const TIDY: Duration = Duration::from_secs(3600);
/// It is looked so often whether failed sign-ins are to be written down.
const COUNTED: Duration = Duration::from_secs(10);

/// How many connections each address has.
#[derive(Clone, Debug, Default)]
struct Places(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

struct Place(Places, IpAddr);

impl Places {
    fn take(&self, from: IpAddr) -> Option<Place> {
        let mut places = lock(&self.0);
        let own = places.get(&from).copied().unwrap_or(0);
        if own >= PER_ADDRESS || places.values().sum::<usize>() >= CONNECTIONS {
            return None;
        }
        places.insert(from, own + 1);
        Some(Place(self.clone(), from))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = lock(&self.0.0);
        if let Some(own) = places.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                places.remove(&self.1);
            }
        }
    }
}

/// The admin page, before it is served.
#[derive(Clone)]
pub struct AdminPage {
    app: App,
    shutdown: Shutdown,
}

impl std::fmt::Debug for AdminPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminPage")
    }
}

impl AdminPage {
    /// Everything but the connections.
    pub fn new(ports: Ports, shutdown: Shutdown) -> Self {
        Self { app: App::new(ports, Some(shutdown.clone())), shutdown }
    }

    /// The statistics that frontends show: the same password, with the same patience for guesses.
    pub fn statistics(&self) -> Statistics {
        Statistics::new(self.app.clone())
    }

    /// Serves the admin port until it is time to stop.
    pub async fn serve(self, listener: TcpListener) {
        serve_app(listener, self.app, self.shutdown).await;
    }
}

/// Serves the admin port until it is time to stop.
pub async fn serve(listener: TcpListener, ports: Ports, shutdown: Shutdown) {
    AdminPage::new(ports, shutdown).serve(listener).await;
}

async fn serve_app(listener: TcpListener, app: App, shutdown: Shutdown) {
    let router = routes(&app);
    let places = Places::default();
    let mut connections = JoinSet::new();
    let mut tidy = tokio::time::interval(TIDY);
    let mut count = tokio::time::interval(COUNTED);
    loop {
        tokio::select! {
            // In this order: a flood of newcomers must not keep connections that have ended, and
            // their memory, from being let go.
            biased;
            () = shutdown.requested() => break,
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = count.tick() => audit::flush(&app).await,
            _ = tidy.tick() => {
                if let Err(error) = app.store.tidy().await {
                    tracing::warn!("sessions that are over could not be removed: {error}");
                }
            }
            accepted = listener.accept() => match accepted {
                // At the limit the newcomer is turned away at once rather than left waiting.
                Ok((stream, from)) => if let Some(place) = places.take(from.ip().to_canonical()) {
                    connections.spawn(connection(stream, from, router.clone(), shutdown.clone(), place));
                },
                Err(error) => {
                    // Out of file descriptors, most likely: trying again at once would spin.
                    tracing::warn!("a connection to the admin page could not be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    // Whatever is still under way after that is cut off when the set is dropped.
    let _ = tokio::time::timeout(FAREWELL, finished).await;
}

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    router: Router,
    shutdown: Shutdown,
    _place: Place,
) {
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNHEARD));
    let local = stream.local_addr().ok();
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        let mut request: Request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(Peer(from));
        if let Some(local) = local {
            request.extensions_mut().insert(Local(local));
        }
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|e| match e {})) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_header_size(HEAD_BYTES)
        .max_headers(64);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // What goes wrong on a connection is its other end's affair.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = shutdown.requested() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// The pages without connections, as somebody at this address sees them: for tests.
pub fn router(ports: Ports, from: SocketAddr) -> Router {
    routes(&App::new(ports, None)).layer(axum::Extension(Peer(from)))
}
