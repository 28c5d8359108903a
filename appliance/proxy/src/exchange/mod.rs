//! One request: chooses a server, connects, relays, tries again where that is harmless, counts
//! and logs.

mod connect;
mod outcome;

pub(crate) use connect::{catch_breath, connect, introduce};

use crate::admit::{Admitted, Busy, Denied, admit};
use crate::balance::key;
use crate::client::{Client, Ticket};
use crate::config::{Backend, Frontend};
use crate::log::{Line, Termination};
use crate::persist::{self, Aftermath, Keep, Plan};
use crate::request::Repeat;
use crate::rules::{self, Facts, Prepared, Verdict};
use crate::shared::Shared;
use crate::track::Tracked;
use connect::find;
use model::{CookieMode, PersistCookie};
use outcome::{Finish, relay};
use std::sync::Arc;

/// What becomes of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may come.
    KeepAlive,
    /// It is closed.
    Close,
    /// It is closed so that what was sent does not look whole, where that can be told.
    Cut,
    /// It is closed in a way that lets the client read the end of the answer.
    Linger,
}

/// What the log line and the counters need in the end.
#[derive(Default)]
struct Story {
    server: Option<usize>,
    queued_ms: u64,
    /// How many were before it in the server's queue and in the backend's.
    before: [u64; 2],
    connected_ms: Option<u64>,
    response_ms: Option<u64>,
    status: Option<u16>,
    bytes: u64,
    /// What the visitor's cookie was worth, and what became of the server's, where there are any.
    cookies: Option<[u8; 2]>,
    retries: u32,
    redispatched: bool,
    /// How long it has waited for a place so far, if the settings changed meanwhile.
    waiting: u64,
    /// What the backend became while the request waited.
    moved: Option<Arc<Backend>>,
}

/// Serves one request.
pub(crate) async fn run(client: &mut Client, mut ticket: Ticket) -> After {
    client.refresh();
    let frontend = Arc::clone(&client.frontend);
    frontend.live.requests.up();
    frontend.live.traffic.bytes_in.add(u64::try_from(ticket.bytes).unwrap_or(0));
    let mut story = Story::default();
    let ruled = rule(client, &frontend, &mut ticket);
    let backend = ruled.backend.or_else(|| frontend.backend.clone());
    let intercepted = !matches!(ruled.verdict, Verdict::Pass);
    let (after, termination, counts) = match &backend {
        _ if intercepted => {
            let (after, termination) = intercept(client, &ticket, &mut story, ruled.verdict).await;
            (after, termination, [0, 0])
        }
        Some(backend) => {
            let busy = Busy::backend(backend);
            backend.live.traffic.bytes_in.add(u64::try_from(ticket.bytes).unwrap_or(0));
            let (after, termination) =
                balance(client, &mut ticket, backend, ruled.prepared.as_ref(), &mut story).await;
            if let Some(status) = story.status {
                backend.live.traffic.status(status);
            }
            backend.live.traffic.bytes_out.add(story.bytes);
            // What HAProxy logs is who else is there.
            drop(busy);
            let latest = story.moved.as_ref().unwrap_or(backend);
            let server = story.server.and_then(|i| latest.servers.get(i));
            let server = server.map_or(0, |s| s.live.traffic.current.now());
            (after, termination, [backend.live.traffic.current.now(), server])
        }
        None => {
            let after = give_up(client, &ticket, &mut story, 503).await;
            (after, Termination::NO_SERVER, [0, 0])
        }
    };
    if let Some(status) = story.status {
        frontend.live.traffic.status(status);
        if (400..500).contains(&status) {
            let tracked = client.tracked.as_deref().or(ruled.tracked.as_ref());
            tracked.into_iter().for_each(|t| t.error(client.worker.now()));
        }
    }
    frontend.live.paths.count(client.worker.index, &ticket.line, story.status);
    // Whoever was answered here got no further than the frontend.
    let reached = story.moved.as_deref().or(backend.as_deref()).filter(|_| !intercepted);
    write_log(client, &frontend, reached, &ticket, &story, termination, counts);
    client.worker.recycle(ticket.head);
    client.worker.recycle(ticket.line);
    if client.pending.is_empty() && client.pending.capacity() > 0 {
        client.worker.recycle(std::mem::take(&mut client.pending));
    }
    after
}

/// What the rules say of a request.
struct Ruled {
    verdict: Verdict,
    backend: Option<Arc<Backend>>,
    prepared: Option<Prepared>,
    /// Counts the visitor for as long as the request takes.
    tracked: Option<Tracked>,
}

/// Runs the frontend's rules.
fn rule(client: &Client, frontend: &Arc<Frontend>, ticket: &mut Ticket) -> Ruled {
    let mut ruled = Ruled { verdict: Verdict::Pass, backend: None, prepared: None, tracked: None };
    if let Some(tracked) = &client.tracked {
        tracked.request(client.worker.now());
    }
    if let Some(rules) = &frontend.rules {
        let mut facts = client.facts(rules.counting());
        ruled.verdict = rules.request(&mut facts, &mut ticket.head, &mut |facts| {
            let now = client.worker.now();
            ruled.tracked = Tracked::begin(frontend, facts.source, now);
            if let Some(tracked) = &ruled.tracked {
                tracked.request(now);
                *facts = Facts { tracked: true, ..client.facts(true) };
            }
        });
        ruled.backend = rules.route(&facts, &ticket.head).cloned();
        ruled.prepared = rules.prepare(&facts, &ticket.head);
    }
    if ticket.owes_forwarded {
        let address = client.peer.ip().to_string();
        rules::add_field(&mut ticket.head, "X-Forwarded-For", address.as_bytes());
    }
    ruled
}

/// Answers as a rule says.
async fn intercept(
    client: &mut Client,
    ticket: &Ticket,
    story: &mut Story,
    verdict: Verdict,
) -> (After, Termination) {
    match verdict {
        Verdict::Redirect(status, location) => {
            let (stay, after) = may_stay(client, ticket);
            story.status = Some(status);
            client.frontend.live.intercepted.up();
            let mut out = client.worker.buffer();
            rules::put_redirect(&mut out, status, &location, !stay);
            story.bytes += client.send(out).await;
            (after, Termination::LOCAL)
        }
        Verdict::Deny(status) => {
            client.frontend.live.dreq.up();
            (give_up(client, ticket, story, status).await, Termination::REFUSED)
        }
        Verdict::Tarpit(status) => {
            client.frontend.live.dreq.up();
            client.pause(client.frontend.settings.timeout_tarpit).await;
            (give_up(client, ticket, story, status).await, Termination::TARPIT)
        }
        Verdict::Pass => (After::KeepAlive, Termination::NORMAL),
    }
}

/// Tries servers until one has answered or none is left to try.
async fn balance(
    client: &mut Client,
    ticket: &mut Ticket,
    backend: &Arc<Backend>,
    rules: Option<&Prepared>,
    story: &mut Story,
) -> (After, Termination) {
    let (wall_s, now) = (ticket.wall_ms / 1000, client.worker.now());
    let plan = persist::plan(backend, &mut ticket.head, *client.peer.ip(), wall_s, now);
    // A cookie that is only watched is not logged (HAProxy `PR_CK_ANY`).
    let logged = |c: &PersistCookie| c.mode != CookieMode::Passive || c.indirect;
    if let (Some(plan), true) = (&plan, backend.settings.cookie.as_ref().is_some_and(logged)) {
        story.cookies = Some([plan.worth().letter(), b'N']);
    }
    try_servers(client, ticket, backend, plan, rules, story).await
}

async fn try_servers(
    client: &mut Client,
    ticket: &mut Ticket,
    backend: &Arc<Backend>,
    plan: Option<Plan>,
    rules: Option<&Prepared>,
    story: &mut Story,
) -> (After, Termination) {
    let (wall_s, now) = (ticket.wall_ms / 1000, client.worker.now());
    let hash = hash(client, ticket, backend).await;
    let mut avoid = None;
    let mut fresh_only = false;
    let mut breathless = false;
    let mut repeated = 0;
    let mut failure = (503, Termination::NO_SERVER);
    // Without `option redispatch` the same server is tried again.
    let mut again = None;
    loop {
        // Who is led to one server waits for this one, unless its queue is full.
        let own = plan.as_ref().and_then(|p| p.server).filter(|own| Some(*own) != avoid);
        let usable = |i: &usize| backend.servers.get(*i).is_some_and(|s| s.live.is_up());
        let led = again.or(own);
        let bound = led.is_some() || hash.is_some();
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
                    let same = |i| backend.same_server(i, &next);
                    story.server = story.server.and_then(same);
                    let mut plan = plan;
                    if let Some(plan) = &mut plan {
                        plan.moved(same);
                    }
                    story.moved = Some(Arc::clone(&next));
                    let again = try_servers(client, ticket, &next, plan, rules, story);
                    return Box::pin(again).await;
                }
                Err(denied) => {
                    if let Denied::TooLong { before } = denied {
                        story.queued_ms += story.waiting + client.worker.now() - asked;
                        story.before = before;
                        failure = (503, Termination::QUEUE_TIMEOUT);
                    }
                    backend.live.econ.up();
                    return (give_up(client, ticket, story, failure.0).await, failure.1);
                }
            };
        story.queued_ms += waited;
        story.waiting = 0;
        story.before = before;
        let server = &backend.servers[index];
        if let Some(before) = story.server {
            if before != index {
                backend.servers[before].live.redispatches.up();
                story.redispatched = true;
                // What was followed has led nowhere.
                if let Some([worth @ b'V', _]) = &mut story.cookies {
                    *worth = b'D';
                }
            } else if breathless {
                catch_breath(backend).await;
            }
        }
        story.server = Some(index);
        if led != Some(index) {
            // As HAProxy counts it: not where persistence has led.
            server.live.chosen.up();
        }
        server.live.last_request.set(client.worker.now());
        let begun = client.worker.now();
        let found = find(client, ticket, backend, server, fresh_only).await;
        let (upstream, reused) = match found {
            Ok(found) => {
                story.connected_ms = Some(client.worker.now() - begun);
                found
            }
            Err(error) => {
                server.live.econ.up();
                if backend.settings.check.observe {
                    server.live.standing.observe(false, backend.settings.check.error_limit);
                }
                failure = (503, error.termination());
                if story.retries >= u32::from(backend.settings.retries) {
                    backend.live.econ.up();
                    return (give_up(client, ticket, story, failure.0).await, failure.1);
                }
                story.retries += 1;
                server.live.retries.up();
                avoid = Some(index);
                again = (!backend.settings.redispatch && server.live.is_up()).then_some(index);
                breathless = true;
                continue;
            }
        };
        let repeatable = ticket.request.body.is_done()
            && match ticket.request.repeat {
                Repeat::Safe => true,
                Repeat::Idempotent => reused,
                Repeat::Never => false,
            };
        let keep =
            plan.as_ref().map(|plan| Keep { plan, backend, server: index, wall_s, now_ms: now });
        let aftermath = Aftermath { rules, keep, ..Aftermath::default() };
        let end = relay(client, ticket, backend, upstream, repeatable, &aftermath, story).await;
        if let (Some([_, theirs]), Some(now)) = (&mut story.cookies, aftermath.cookie.get()) {
            *theirs = now;
        }
        match end {
            // RFC 9110 9.2.2: nothing was answered, and asking again changes nothing. A used
            // connection may just have been closed under us; its server gets another chance.
            Finish::Repeat if repeated < 2 => {
                repeated += 1;
                fresh_only = true;
                breathless = false;
                if !reused {
                    server.live.eresp.up();
                    avoid = Some(index);
                    repeated = 2;
                }
                story.retries += 1;
                server.live.retries.up();
            }
            Finish::Repeat => {
                server.live.eresp.up();
                let after = give_up(client, ticket, story, 502).await;
                return (after, Termination::SERVER_HEAD);
            }
            Finish::Again(status, termination) => {
                server.live.eresp.up();
                if story.retries >= u32::from(backend.settings.retries) {
                    return (give_up(client, ticket, story, status).await, termination);
                }
                story.retries += 1;
                server.live.retries.up();
                avoid = Some(index);
                breathless = false;
            }
            Finish::Done(after, termination) => {
                let total = client.worker.now() - ticket.received;
                if let (Some(connected), Some(response)) = (story.connected_ms, story.response_ms) {
                    server.live.queue_time.add(story.queued_ms);
                    server.live.connect_time.add(connected);
                    server.live.response_time.add(response);
                    server.live.total_time.add(total);
                }
                return (after, termination);
            }
            Finish::Answer(status, termination) => {
                return (give_up(client, ticket, story, status).await, termination);
            }
        }
    }
}

/// The hash of what the algorithm looks at, where it looks at something.
async fn hash(client: &mut Client, ticket: &Ticket, backend: &Backend) -> Option<u32> {
    let balance = &backend.settings.balance;
    if !balance.hashes() {
        return None;
    }
    if key::wants_content(balance, &ticket.head) {
        let limit = client.frontend.settings.timeout_http_request;
        client.await_content(limit, |data| ticket.request.body.has_first(data)).await;
    }
    let asker = key::Asker {
        head: &ticket.head,
        source: *client.peer.ip(),
        content: ticket.request.body.first_content(&client.pending),
    };
    key::of(balance, backend.settings.hash_type, &asker)
}

/// Answers with an error of ours.
async fn give_up(client: &mut Client, ticket: &Ticket, story: &mut Story, status: u16) -> After {
    let (stay, after) = may_stay(client, ticket);
    story.status = Some(status);
    story.bytes += client.answer(status, !stay, ticket.request.is_head).await;
    after
}

/// Does the connection stay open behind an answer of ours?
fn may_stay(client: &Client, ticket: &Ticket) -> (bool, After) {
    let request = &ticket.request;
    // What is left of the body must not be taken for a request.
    let whole = request.body.is_done();
    let stay = whole && request.keep_alive && !request.is_10 && client.may_stay();
    let after = match (stay, whole) {
        (true, _) => After::KeepAlive,
        (false, true) => After::Close,
        (false, false) => After::Linger,
    };
    (stay, after)
}

fn write_log(
    client: &Client,
    frontend: &Frontend,
    backend: Option<&Backend>,
    ticket: &Ticket,
    story: &Story,
    termination: Termination,
    counts: [u64; 2],
) {
    if !frontend.settings.httplog {
        return;
    }
    let name = frontend.settings.name.as_str();
    let server = backend.zip(story.server).and_then(|(b, i)| b.servers.get(i));
    let shared: &Shared = &client.worker.shared;
    client.log(&Line {
        client: client.peer,
        accepted_ms: ticket.wall_ms,
        frontend: name,
        tls: client.tls,
        backend: backend.map_or(name, |b| b.settings.name.as_str()),
        server: server.map_or("<NOSRV>", |s| s.name.as_str()),
        request: Some(ticket.received - ticket.began),
        queue: (server.is_some() || termination == Termination::QUEUE_TIMEOUT)
            .then_some(story.queued_ms),
        connect: story.connected_ms,
        response: story.response_ms,
        total: client.worker.now() - ticket.began,
        status: story.status,
        bytes: story.bytes,
        termination,
        cookies: story.cookies.unwrap_or(*b"--"),
        counts: [
            shared.connections.now(),
            frontend.live.traffic.current.now(),
            counts[0],
            counts[1],
        ],
        retries: story.retries,
        before: story.before,
        redispatched: story.redispatched,
        line: &ticket.line,
    });
}
