//! Mode tcp: a connection is balanced as a whole, and its bytes are passed on as they come.

use crate::admit::Busy;
use crate::balance::key;
use crate::client::Client;
use crate::config::Backend;
use crate::exchange::{connect, introduce};
use crate::log::{TcpLine, Termination};
use crate::persist::{self, Keep, Plan};
use crate::shared::Shared;
use crate::tries::{NoPlace, Tries};
use crate::tunnel::{self, End, Silence};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;

/// What the log line needs in the end.
struct Story {
    began: u64,
    wall_ms: u64,
    tries: Tries,
    bytes: u64,
}

/// Serves one connection of a frontend in mode tcp.
pub(crate) async fn run(client: &mut Client) {
    let frontend = Arc::clone(&client.frontend);
    let mut story = Story {
        began: client.worker.now(),
        wall_ms: Shared::wall_ms(),
        tries: Tries::default(),
        bytes: 0,
    };
    let termination = match &frontend.backend {
        Some(backend) => {
            let _busy = Busy::backend(backend);
            balance(client, backend, &mut story).await
        }
        None => Termination::NO_SERVER,
    };
    if !frontend.settings.httplog {
        return;
    }
    let name = frontend.settings.name.as_str();
    let backend = story.tries.moved.as_deref().or(frontend.backend.as_deref());
    let server = backend.zip(story.tries.server).and_then(|(b, i)| b.servers.get(i));
    client.log_tcp(&TcpLine {
        client: client.peer,
        accepted_ms: story.wall_ms,
        frontend: name,
        tls: client.tls,
        backend: backend.map_or(name, |b| b.settings.name.as_str()),
        server: server.map_or("<NOSRV>", |s| s.name.as_str()),
        total: client.worker.now() - story.began,
        bytes: story.bytes,
        termination,
        counts: [
            client.worker.shared.connections.now(),
            frontend.live.traffic.current.now(),
            backend.map_or(0, |b| b.live.traffic.current.now()),
            server.map_or(0, |s| s.live.traffic.current.now()),
        ],
        way: story.tries.way,
    });
}

async fn balance(client: &mut Client, backend: &Arc<Backend>, story: &mut Story) -> Termination {
    let algorithm = &backend.settings.balance;
    if key::wants_more(algorithm, &client.pending) {
        let limit = client.frontend.settings.inspect_delay;
        client.await_content(limit, |data| !key::wants_more(algorithm, data)).await;
    }
    // There are no requests to look at here.
    let source = *client.peer.ip();
    let mut plan = persist::plan(backend, &mut Vec::new(), source, 0, client.worker.now());
    story.tries.led = plan.as_ref().and_then(|p| p.server);
    let mut backend = Arc::clone(backend);
    loop {
        let settings = &backend.settings;
        let asker = key::Asker { head: &[], source, content: &client.pending };
        story.tries.hash = key::of(&settings.balance, settings.hash_type, &asker);
        match try_servers(client, &backend, plan.as_ref(), story).await {
            ControlFlow::Break(termination) => return termination,
            ControlFlow::Continue(next) => {
                story.tries.go_on_with(next, &mut backend, plan.as_mut());
            }
        }
    }
}

/// Tries servers until there is a connection or none is left to try, or until the settings change
/// while a place is waited for.
async fn try_servers(
    client: &mut Client,
    backend: &Arc<Backend>,
    plan: Option<&Plan>,
    story: &mut Story,
) -> ControlFlow<Termination, Arc<Backend>> {
    let limit = u64::from(backend.settings.timeout_connect.0);
    loop {
        let (index, _busy) = match story.tries.next(client, backend).await {
            Ok(found) => found,
            Err(NoPlace::Changed(next)) => return ControlFlow::Continue(next),
            Err(NoPlace::GivenUp(termination)) => return ControlFlow::Break(termination),
        };
        let server = &backend.servers[index];
        let begun = client.worker.now();
        server.live.connects.up();
        let connected = match connect(client, server, limit).await {
            Ok(io) => introduce(&io, server.send_proxy, || client.ends()).map(|()| io),
            Err(error) => Err(error),
        };
        match connected {
            Ok(mut io) => {
                let took = client.worker.now() - begun;
                story.tries.way.connect = Some(took);
                server.live.connect_time.add(took);
                if let Some(plan) = plan {
                    Keep { plan, backend, server: index }.learn(&[]);
                }
                let termination = relay(client, backend, index, &mut io, story).await;
                server.live.total_time.add(client.worker.now() - story.began);
                server.live.queue_time.add(story.tries.way.queue.unwrap_or(0));
                return ControlFlow::Break(termination);
            }
            Err(error) => {
                if let Err(termination) = story.tries.not_connected(backend, server, &error) {
                    return ControlFlow::Break(termination);
                }
            }
        }
    }
}

async fn relay(
    client: &mut Client,
    backend: &Backend,
    index: usize,
    io: &mut TcpStream,
    story: &mut Story,
) -> Termination {
    let live = &backend.servers[index].live;
    let worker = Rc::clone(&client.worker);
    let early = std::mem::take(&mut client.pending);
    let silence = Silence::of(&client.frontend.settings, &backend.settings);
    let (timer, ends) = (&client.timer, (&mut client.io, io));
    let moved = tunnel::run(&worker, timer, &live.standing, ends, early, silence).await;
    for traffic in [&client.frontend.live.traffic, &backend.live.traffic, &live.traffic] {
        traffic.bytes_in.add(moved.up);
        traffic.bytes_out.add(moved.down);
    }
    story.bytes = moved.down;
    match moved.end {
        End::Closed => Termination::NORMAL,
        End::ClientFailed => {
            live.client_aborts.up();
            Termination::CLIENT_DATA
        }
        End::ServerFailed => {
            live.server_aborts.up();
            Termination::SERVER_DATA
        }
        End::ClientSilent => Termination::CLIENT_BODY_SLOW,
        End::ServerSilent => Termination::SERVER_DATA_SLOW,
        End::Killed => {
            live.server_aborts.up();
            Termination::KILLED_DATA
        }
    }
}
