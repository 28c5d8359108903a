//! One request: chooses a server, connects, relays, tries again where that is harmless, counts
//! and logs.

mod connect;
mod outcome;

pub(crate) use connect::{NotConnected, catch_breath, connect, introduce};

use crate::admit::Busy;
use crate::balance::key;
use crate::client::{Client, Ticket};
use crate::config::{Backend, Frontend};
use crate::log::{Line, Termination};
use crate::persist::{self, Aftermath, Keep, Plan};
use crate::request::Repeat;
use crate::rules::{self, Prepared, Verdict};
use crate::shared::Shared;
use crate::statistics;
use crate::track::Tracked;
use crate::tries::{NoPlace, Tries};
use connect::find;
use model::statistics::Asked;
use model::{CookieMode, PersistCookie};
use outcome::{Finish, relay};
use std::ops::ControlFlow;
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
    tries: Tries,
    /// How often it was sent again because nothing was answered (RFC 9110 9.2.2).
    repeated: u8,
    response_ms: Option<u64>,
    status: Option<u16>,
    bytes: u64,
    /// What the visitor's cookie was worth, and what became of the server's, where there are any.
    cookies: Option<[u8; 2]>,
    /// It was answered with the statistics page.
    statistics: bool,
}

/// Serves one request.
pub(crate) async fn run(client: &mut Client, mut ticket: Ticket) -> After {
    client.refresh();
    let frontend = Arc::clone(&client.frontend);
    frontend.live.requests.up();
    frontend.live.traffic.bytes_in.add(u64::try_from(ticket.bytes).unwrap_or(0));
    let mut story = Story::default();
    let mut ruled = rule(client, &frontend, &mut ticket);
    let mut intercepted = !matches!(ruled.verdict, Verdict::Pass);
    let statistics = if intercepted { None } else { statistics::asked(client, &frontend, &ticket) };
    intercepted |= statistics.is_some();
    if frontend.settings.stats_uri.is_some() {
        statistics::keep_password(&mut ticket.head);
    }
    let backend = ruled.backend.take().or_else(|| frontend.backend.clone());
    let (after, termination, counts) = match &backend {
        _ if statistics.is_some() => {
            let after = show_statistics(client, &ticket, &mut story, statistics).await;
            (after, Termination::LOCAL, [0, 0])
        }
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
            let latest = story.tries.moved.as_ref().unwrap_or(backend);
            let server = story.tries.server.and_then(|i| latest.servers.get(i));
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
    if frontend.settings.count_paths {
        frontend.live.paths.count(client.worker.index, &ticket.line, story.status);
    }
    // Whoever was answered here got no further than the frontend.
    let reached = story.tries.moved.as_deref().or(backend.as_deref()).filter(|_| !intercepted);
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
                facts.tracked = true;
                if rules.counting() {
                    facts.counts = client.counts();
                }
            }
        });
        ticket.once = facts.once;
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
        Verdict::NoRoom => {
            client.frontend.live.faults.no_room();
            (give_up(client, ticket, story, 500).await, Termination::REFUSED)
        }
        Verdict::Tarpit(status) => {
            client.frontend.live.dreq.up();
            if !client.hold(client.frontend.settings.timeout_tarpit).await {
                return (After::Cut, Termination::TARPIT);
            }
            (give_up(client, ticket, story, status).await, Termination::TARPIT)
        }
        Verdict::Pass => (After::KeepAlive, Termination::NORMAL),
    }
}

/// Answers with the statistics page.
async fn show_statistics(
    client: &mut Client,
    ticket: &Ticket,
    story: &mut Story,
    asked: Option<Asked>,
) -> After {
    client.frontend.live.intercepted.up();
    story.statistics = true;
    let (stay, after) = may_stay(client, ticket);
    let mut out = client.worker.buffer();
    let how = (!stay, ticket.request.is_head);
    let shared = Arc::clone(&client.worker.shared);
    let status = match asked {
        Some(asked) => statistics::put(&shared.statistics, asked, how, &mut out).await,
        None => None,
    };
    let Some(status) = status else {
        return give_up(client, ticket, story, 503).await;
    };
    if status == 500 {
        client.frontend.live.faults.internal.up();
    }
    story.status = Some(status);
    story.bytes += client.send(out).await;
    after
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
    let mut plan = persist::plan(backend, &mut ticket.head, *client.peer.ip(), wall_s, now);
    // A cookie that is only watched is not logged (HAProxy `PR_CK_ANY`).
    let logged = |c: &PersistCookie| c.mode != CookieMode::Passive || c.indirect;
    if let (Some(plan), true) = (&plan, backend.settings.cookie.as_ref().is_some_and(logged)) {
        story.cookies = Some([plan.worth().letter(), b'N']);
    }
    if key::wants_content(&backend.settings.balance, &ticket.head) {
        let limit = client.frontend.settings.timeout_http_request;
        client.await_content(limit, |data| ticket.request.body.has_first(data)).await;
    }
    story.tries.led = plan.as_ref().and_then(|p| p.server);
    let mut backend = Arc::clone(backend);
    loop {
        story.tries.hash = hash(client, ticket, &backend);
        match try_servers(client, ticket, &backend, plan.as_ref(), rules, story).await {
            ControlFlow::Break(end) => return end,
            ControlFlow::Continue(next) => {
                story.tries.go_on_with(next, &mut backend, plan.as_mut());
            }
        }
    }
}

/// The same, until the settings change while a place is waited for.
async fn try_servers(
    client: &mut Client,
    ticket: &mut Ticket,
    backend: &Arc<Backend>,
    plan: Option<&Plan>,
    rules: Option<&Prepared>,
    story: &mut Story,
) -> ControlFlow<(After, Termination), Arc<Backend>> {
    let ended = |after, termination| ControlFlow::Break((after, termination));
    loop {
        let (index, _busy) = match story.tries.next(client, backend).await {
            Ok(found) => found,
            Err(NoPlace::Changed(next)) => return ControlFlow::Continue(next),
            Err(NoPlace::GivenUp(termination)) => {
                return ended(give_up(client, ticket, story, 503).await, termination);
            }
        };
        if let (true, Some([worth @ b'V', _])) = (story.tries.way.redispatched, &mut story.cookies)
        {
            // What was followed has led nowhere.
            *worth = b'D';
        }
        let server = &backend.servers[index];
        let begun = client.worker.now();
        let (upstream, reused) =
            match find(client, ticket, backend, server, story.repeated > 0).await {
                Ok(found) => found,
                Err(error) => {
                    if backend.settings.check.observe {
                        server.live.standing.observe(false, backend.settings.check.error_limit);
                    }
                    match story.tries.not_connected(backend, server, &error) {
                        Ok(()) => continue,
                        Err(termination) => {
                            return ended(give_up(client, ticket, story, 503).await, termination);
                        }
                    }
                }
            };
        story.tries.way.connect = Some(client.worker.now() - begun);
        let repeatable = ticket.request.body.is_done()
            && !ticket.once
            && match ticket.request.repeat {
                Repeat::Safe => true,
                Repeat::Idempotent => reused,
                Repeat::Never => false,
            };
        let keep = plan.map(|plan| Keep { plan, backend, server: index });
        let aftermath = Aftermath { rules, keep, ..Aftermath::default() };
        let end = relay(client, ticket, backend, upstream, repeatable, &aftermath, story).await;
        if let (Some([_, theirs]), Some(now)) = (&mut story.cookies, aftermath.cookie.get()) {
            *theirs = now;
        }
        match end {
            // RFC 9110 9.2.2: nothing was answered, and asking again changes nothing. A used
            // connection may just have been closed under us; its server gets another chance.
            Finish::Repeat => {
                story.repeated += 1;
                if !reused {
                    server.live.eresp.up();
                    story.repeated = 2;
                    story.tries.elsewhere(backend, server);
                }
                story.tries.once_more(server);
            }
            Finish::Again(status, termination) => {
                server.live.eresp.up();
                if !story.tries.has_more(backend) {
                    return ended(give_up(client, ticket, story, status).await, termination);
                }
                story.tries.elsewhere(backend, server);
                story.tries.once_more(server);
            }
            Finish::Done(after, termination) => {
                let total = client.worker.now() - ticket.received;
                let way = &story.tries.way;
                if let (Some(connected), Some(response)) = (way.connect, story.response_ms) {
                    server.live.queue_time.add(way.queue.unwrap_or(0));
                    server.live.connect_time.add(connected);
                    server.live.response_time.add(response);
                    server.live.total_time.add(total);
                }
                return ended(after, termination);
            }
            Finish::Answer(status, termination) => {
                return ended(give_up(client, ticket, story, status).await, termination);
            }
        }
    }
}

/// The hash of what the algorithm looks at, where it looks at something.
fn hash(client: &Client, ticket: &Ticket, backend: &Backend) -> Option<u32> {
    let balance = &backend.settings.balance;
    if !balance.hashes() {
        return None;
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
    let server = backend.zip(story.tries.server).and_then(|(b, i)| b.servers.get(i));
    let nobody = if story.statistics { "<STATS>" } else { "<NOSRV>" };
    let shared: &Shared = &client.worker.shared;
    client.log(&Line {
        client: client.peer,
        accepted_ms: ticket.wall_ms,
        frontend: name,
        tls: client.tls,
        backend: backend.map_or(name, |b| b.settings.name.as_str()),
        server: server.map_or(nobody, |s| s.name.as_str()),
        request: Some(ticket.received - ticket.began),
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
        way: story.tries.way,
        line: &ticket.line,
    });
}
