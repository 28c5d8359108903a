//! Mode tcp: a connection is balanced as a whole, and its bytes are passed on as they come.

use crate::admit::{Admitted, Busy, Denied, admit};
use crate::balance::key;
use crate::client::Client;
use crate::config::Backend;
use crate::exchange::{catch_breath, connect, introduce};
use crate::log::{TcpLine, Termination};
use crate::persist::{self, Keep};
use crate::shared::Shared;
use crate::tunnel::{self, End, Silence};
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;

/// What the log line needs in the end.
struct Story {
    began: u64,
    wall_ms: u64,
    server: Option<usize>,
    queued_ms: u64,
    before: [u64; 2],
    connected_ms: Option<u64>,
    retries: u32,
    redispatched: bool,
    bytes: u64,
    /// How long it has waited for a place so far, if the settings changed meanwhile.
    waiting: u64,
    /// What the backend became while the connection waited.
    moved: Option<Arc<Backend>>,
}

/// Serves one connection of a frontend in mode tcp.
pub(crate) async fn run(client: &mut Client) {
    let frontend = Arc::clone(&client.frontend);
    let mut story = Story {
        began: client.worker.now(),
        wall_ms: Shared::wall_ms(),
        server: None,
        queued_ms: 0,
        before: [0, 0],
        connected_ms: None,
        retries: 0,
        redispatched: false,
        bytes: 0,
        waiting: 0,
        moved: None,
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
    let backend = story.moved.as_deref().or(frontend.backend.as_deref());
    let server = backend.zip(story.server).and_then(|(b, i)| b.servers.get(i));
    client.log_tcp(&TcpLine {
        client: client.peer,
        accepted_ms: story.wall_ms,
        frontend: name,
        tls: client.tls,
        backend: backend.map_or(name, |b| b.settings.name.as_str()),
        server: server.map_or("<NOSRV>", |s| s.name.as_str()),
        queue: (server.is_some() || termination == Termination::QUEUE_TIMEOUT)
            .then_some(story.queued_ms),
        connect: story.connected_ms,
        total: client.worker.now() - story.began,
        bytes: story.bytes,
        termination,
        counts: [
            client.worker.shared.connections.now(),
            frontend.live.traffic.current.now(),
            backend.map_or(0, |b| b.live.traffic.current.now()),
            server.map_or(0, |s| s.live.traffic.current.now()),
        ],
        retries: story.retries,
        redispatched: story.redispatched,
        before: story.before,
    });
}

async fn balance(client: &mut Client, backend: &Arc<Backend>, story: &mut Story) -> Termination {
    let algorithm = &backend.settings.balance;
    // Who has waited in a queue has been waited for.
    if story.waiting == 0 && key::wants_more(algorithm, &client.pending) {
        let limit = client.frontend.settings.inspect_delay;
        client.await_content(limit, |data| !key::wants_more(algorithm, data)).await;
    }
    // There are no requests to look at here.
    let source = *client.peer.ip();
    let asker = key::Asker { head: &[], source, content: &client.pending };
    let hash = key::of(algorithm, backend.settings.hash_type, &asker);
    let now = client.worker.now();
    let plan = persist::plan(backend, &mut Vec::new(), source, 0, now);
    let own = plan.as_ref().and_then(|p| p.server);
    let mut avoid = None;
    let mut again = None;
    let mut failure = Termination::NO_SERVER;
    loop {
        // Who is led to one server waits for this one.
        let led = again.or(own.filter(|own| Some(*own) != avoid));
        let bound = led.is_some() || hash.is_some();
        let usable = |i: &usize| backend.servers.get(*i).is_some_and(|s| s.live.is_up());
        let pick = |anyone: bool| {
            let led = led.filter(|i| !anyone && usable(i));
            led.or_else(|| backend.live.pick(backend, hash.filter(|_| !anyone), avoid))
        };
        let asked = client.worker.now();
        let Admitted { index, busy: _busy, waited, before } =
            match admit(client, backend, bound, story.waiting, pick).await {
                Ok(admitted) => admitted,
                Err(Denied::Changed(next, waited)) => {
                    story.waiting = waited;
                    story.server = story.server.and_then(|i| backend.same_server(i, &next));
                    story.moved = Some(Arc::clone(&next));
                    return Box::pin(balance(client, &next, story)).await;
                }
                Err(denied) => {
                    backend.live.econ.up();
                    let Denied::TooLong { before } = denied else { return failure };
                    story.queued_ms += story.waiting + client.worker.now() - asked;
                    story.before = before;
                    return Termination::QUEUE_TIMEOUT;
                }
            };
        story.queued_ms += waited;
        story.waiting = 0;
        story.before = before;
        let server = &backend.servers[index];
        if let Some(last) = story.server {
            if last == index {
                catch_breath(backend).await;
            } else {
                backend.servers[last].live.redispatches.up();
                story.redispatched = true;
            }
        }
        story.server = Some(index);
        if led != Some(index) {
            server.live.chosen.up();
        }
        let begun = client.worker.now();
        server.live.last_request.set(begun);
        server.live.connects.up();
        let limit = u64::from(backend.settings.timeout_connect.0);
        let connected = match connect(client, server, limit).await {
            Ok(io) => introduce(&io, server.send_proxy, || client.ends()).map(|()| io),
            Err(error) => Err(error),
        };
        match connected {
            Ok(mut io) => {
                let took = client.worker.now() - begun;
                story.connected_ms = Some(took);
                server.live.connect_time.add(took);
                if let Some(plan) = &plan {
                    Keep { plan, backend, server: index, wall_s: 0, now_ms: now }.learn(&[]);
                }
                let termination = relay(client, backend, index, &mut io, story).await;
                server.live.total_time.add(client.worker.now() - story.began);
                server.live.queue_time.add(story.queued_ms);
                return termination;
            }
            Err(error) => {
                server.live.econ.up();
                failure = error.termination();
                if story.retries >= u32::from(backend.settings.retries) {
                    backend.live.econ.up();
                    return failure;
                }
                story.retries += 1;
                server.live.retries.up();
                avoid = Some(index);
                again = (!backend.settings.redispatch && server.live.is_up()).then_some(index);
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
