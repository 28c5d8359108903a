//! One attempt at one server: what is relayed, counted, and made of how it ended.

use super::{After, Story};
use crate::client::{Client, Ticket};
use crate::config::Backend;
use crate::log::Termination;
use crate::persist::Aftermath;
use crate::pool::Upstream;
use crate::relay::{End, KEPT, Relay};
use crate::response::Asked;
use crate::tunnel;
use model::RetryOn;
use std::future::poll_fn;
use std::sync::Arc;

/// How an attempt at a server ended.
pub(super) enum Finish {
    /// Nothing was answered, and the request may be sent again.
    Repeat,
    /// The operator wants it tried again (HAProxy `retry-on`); else this is the answer.
    Again(u16, Termination),
    /// The client has (part of) a response.
    Done(After, Termination),
    /// The client gets an answer of ours.
    Answer(u16, Termination),
}

/// Sends the request to the server and what it answers to the client.
pub(super) async fn relay(
    client: &mut Client,
    ticket: &mut Ticket,
    backend: &Backend,
    mut upstream: Upstream,
    repeatable: bool,
    aftermath: &Aftermath<'_>,
    story: &mut Story,
) -> Finish {
    let may_stay = client.may_stay();
    let worker = std::rc::Rc::clone(&client.worker);
    let live = Arc::clone(&upstream.server);
    let retry = retries(ticket, backend, story);
    let unwanted: Vec<u16> = retry.iter().filter_map(|r| r.status()).collect();
    let request = &mut ticket.request;
    let fits = request.body.left().is_none_or(|left| {
        usize::try_from(left).is_ok_and(|left| ticket.head.len().saturating_add(left) <= KEPT)
    });
    let success_switches = request.upgrade && client.io.is_one_request();
    let now = worker.now();
    let mut relay = Relay {
        worker: &worker,
        timer: &client.timer,
        client: &mut client.io,
        pending: &mut client.pending,
        server: &mut upstream.io,
        live: &live,
        asked: Asked {
            is_head: request.is_head,
            is_10: request.is_10,
            keep_alive: request.keep_alive && may_stay,
            upgrade: request.upgrade,
            websocket: request.websocket,
            success_switches,
            wants_trailers: request.wants_trailers,
        },
        body: &mut request.body,
        repeatable,
        kept: !retry.is_empty() && fits,
        unwanted: &unwanted,
        ended: live.standing.ended(),
        client_limit: u64::from(client.frontend.settings.timeout_client.0),
        server_limit: u64::from(backend.settings.timeout_server.0),
        up: &mut ticket.head,
        up_at: 0,
        up_dead: false,
        down: worker.buffer(),
        down_at: 0,
        unflushed: false,
        crowded: false,
        partial: Vec::new(),
        response: None,
        aftermath: (!aftermath.is_empty()).then_some(aftermath),
        answered_at: None,
        interims: 0,
        client_seen: now,
        server_seen: now,
        bytes_in: 0,
        bytes_out: 0,
        now,
    };
    let end = poll_fn(|cx| relay.poll(cx)).await;
    let whole_request = relay.body.is_done() && !relay.up_dead && relay.up_at >= relay.up.len();
    let read_whole = relay.body.is_done();
    let response = relay.response.take();
    let (answered_at, bytes_in) = (relay.answered_at, relay.bytes_in);
    let retry = if relay.is_all_here() { retry } else { &[] };
    let touched = relay.bytes_out > 0 || answered_at.is_some() || relay.interims > 0;
    let down = std::mem::take(&mut relay.down);
    story.bytes += relay.bytes_out;
    let bytes_out = relay.bytes_out;
    worker.recycle(down);

    for traffic in [&client.frontend.live.traffic, &backend.live.traffic, &live.traffic] {
        traffic.bytes_in.add(bytes_in);
    }
    live.traffic.bytes_in.add(u64::try_from(ticket.bytes).unwrap_or(0) + ticket.resent);
    ticket.resent += bytes_in;
    live.traffic.bytes_out.add(bytes_out);
    client.frontend.live.traffic.bytes_out.add(bytes_out);
    if let (Some(r), Some(at)) = (&response, answered_at) {
        story.status = Some(r.status);
        story.response_ms = Some(at.saturating_sub(now));
        live.traffic.status(r.status);
    }

    if backend.settings.check.observe {
        if let Some(good) = observed(end, response.as_ref().map(|r| r.status)) {
            live.standing.observe(good, backend.settings.check.error_limit);
        }
    }

    let keep_alive = response.as_ref().is_some_and(|r| r.keep_alive);
    match end {
        End::Complete => {
            let reusable = response.is_some_and(|r| r.reusable);
            let after = match (keep_alive, read_whole) {
                (true, _) => After::KeepAlive,
                (false, true) => After::Close,
                (false, false) => After::Linger,
            };
            if reusable && whole_request {
                upstream.used = worker.now();
                worker.pool.give(upstream);
            }
            Finish::Done(after, Termination::NORMAL)
        }
        End::Upgraded => {
            let early = std::mem::take(&mut client.pending);
            let silence = tunnel::Silence::of(&client.frontend.settings, &backend.settings);
            let (timer, ends) = (&client.timer, (&mut client.io, &mut upstream.io));
            let moved = tunnel::run(&worker, timer, &live.standing, ends, early, silence).await;
            let tunnel::Moved { up, down, end } = moved;
            for traffic in [&client.frontend.live.traffic, &backend.live.traffic, &live.traffic] {
                traffic.bytes_in.add(up);
            }
            live.traffic.bytes_out.add(down);
            client.frontend.live.traffic.bytes_out.add(down);
            story.bytes += down;
            let after = if end == tunnel::End::Closed { After::Close } else { After::Cut };
            Finish::Done(after, Termination::NORMAL)
        }
        End::NoAnswer if repeatable && !touched && story.repeated < 2 => Finish::Repeat,
        End::NoAnswer if !touched && retry.contains(&RetryOn::EmptyResponse) => {
            Finish::Again(502, Termination::SERVER_HEAD)
        }
        End::NoAnswer if repeatable && !touched => {
            live.eresp.up();
            Finish::Answer(502, Termination::SERVER_HEAD)
        }
        End::BadHead if !touched && retry.contains(&RetryOn::JunkResponse) => {
            Finish::Again(502, Termination::BAD_HEAD)
        }
        End::ServerSlow if !touched && retry.contains(&RetryOn::ResponseTimeout) => {
            Finish::Again(504, Termination::SERVER_SLOW)
        }
        End::Unwanted(status) => Finish::Again(status, Termination::NORMAL),
        End::NoAnswer | End::BrokenHead => {
            live.eresp.up();
            live.server_aborts.up();
            Finish::Answer(502, Termination::SERVER_HEAD)
        }
        End::BadHead => {
            live.eresp.up();
            Finish::Answer(502, Termination::BAD_HEAD)
        }
        End::ServerSlow => {
            live.eresp.up();
            Finish::Answer(504, Termination::SERVER_SLOW)
        }
        End::ServerBroke => {
            live.eresp.up();
            live.server_aborts.up();
            if bytes_out == 0 {
                // Not even the head has gone out: the client can still be told.
                return Finish::Answer(502, Termination::SERVER_DATA);
            }
            Finish::Done(After::Cut, Termination::SERVER_DATA)
        }
        End::ServerSilent => {
            live.eresp.up();
            live.server_aborts.up();
            Finish::Done(After::Cut, Termination::SERVER_DATA_SLOW)
        }
        End::ClientGone => {
            live.client_aborts.up();
            let head = answered_at.is_none();
            let termination =
                if head { Termination::CLIENT_HEAD } else { Termination::CLIENT_DATA };
            Finish::Done(After::Cut, termination)
        }
        End::ClientSilent => {
            live.client_aborts.up();
            client.frontend.live.ereq.up();
            if answered_at.is_some() {
                return Finish::Done(After::Cut, Termination::CLIENT_BODY_SLOW);
            }
            Finish::Answer(408, Termination::CLIENT_BODY_SLOW)
        }
        End::Killed => {
            live.server_aborts.up();
            if bytes_out == 0 {
                return Finish::Answer(503, Termination::KILLED_HEAD);
            }
            Finish::Done(After::Cut, Termination::KILLED_DATA)
        }
        End::NoRoom => {
            client.frontend.live.faults.no_room();
            backend.live.faults.no_room();
            live.faults.no_room();
            story.response_ms = None;
            Finish::Answer(500, Termination::BAD_HEAD)
        }
        End::BadBody => {
            client.frontend.live.ereq.up();
            if answered_at.is_some() {
                return Finish::Done(After::Cut, Termination::REFUSED);
            }
            Finish::Answer(400, Termination::REFUSED)
        }
    }
}

/// What is tried again for this request (HAProxy: of any method), unless a rule forbids it or it has
/// been tried often enough.
fn retries<'a>(ticket: &Ticket, backend: &'a Backend, story: &Story) -> &'a [RetryOn] {
    let wanted = backend.settings.retry_on.as_slice();
    if ticket.once || !story.tries.has_more(backend) { &[] } else { wanted }
}

/// What this says of the server, if anything (HAProxy `observe layer7`: 5xx but for 501 and 505,
/// and no or broken answers, are bad).
fn observed(end: End, status: Option<u16>) -> Option<bool> {
    match (end, status) {
        (End::ClientGone | End::ClientSilent | End::BadBody | End::Killed, None) => None,
        (
            End::NoAnswer
            | End::BrokenHead
            | End::BadHead
            | End::ServerSlow
            | End::ServerBroke
            | End::ServerSilent,
            _,
        ) => Some(false),
        (End::Unwanted(status), _) | (_, Some(status)) => {
            Some(status < 500 || status == 501 || status == 505)
        }
        (_, None) => None,
    }
}
