//! The live state in the words of the model.

use crate::balance::SCALE;
use crate::config::{Backend, Config, Frontend, Server};
use crate::listen::Place;
use crate::live::{Traffic, lock};
use crate::shared::Shared;
use crate::standing::Verdict;
use model::charts::Series;
use model::status::{
    AgentStatus, BackendStatus, FrontendStatus, Health, HttpCounters, ProxyStatus, QueueCounters,
    ServerStatus, TrafficCounters,
};
use model::{Endpoint, Name, ServerAgent};
use std::collections::BTreeSet;
use std::time::Instant;

/// Everything, at this moment.
pub(crate) fn proxy(shared: &Shared, open: &BTreeSet<Place>, threads: usize) -> ProxyStatus {
    let config: &Config = &shared.config();
    let now = Instant::now();
    let mut ids = 1..;
    let mut id = || ids.next().unwrap_or(u32::MAX);
    ProxyStatus {
        frontends: config.frontends.iter().map(|f| frontend(f, id(), open)).collect(),
        backends: config.backends.iter().map(|b| backend(b, id(), shared, now)).collect(),
        curr_conns: shared.connections.now(),
        maxconn: shared.maxconn(),
        threads: u32::try_from(threads).unwrap_or(u32::MAX),
        conn_rate: shared.connection_rate.get(),
        conn_rate_max: shared.connection_rate.max(),
        dropped_logs: shared.access.dropped.get(),
    }
}

fn traffic(t: &Traffic) -> TrafficCounters {
    TrafficCounters {
        scur: t.current.now(),
        smax: t.current.max(),
        stot: t.total.get(),
        bin: t.bytes_in.get(),
        bout: t.bytes_out.get(),
        rate: t.rate.get(),
        rate_max: t.rate.max(),
    }
}

fn http(t: &Traffic) -> HttpCounters {
    let [a, b, c, d, e, other] = &t.statuses;
    HttpCounters {
        hrsp_1xx: a.get(),
        hrsp_2xx: b.get(),
        hrsp_3xx: c.get(),
        hrsp_4xx: d.get(),
        hrsp_5xx: e.get(),
        hrsp_other: other.get(),
    }
}

fn frontend(f: &Frontend, iid: u32, open: &BTreeSet<Place>) -> FrontendStatus {
    let live = &f.live;
    FrontendStatus {
        name: f.settings.name.clone(),
        iid,
        mode: f.settings.mode,
        bind: f.settings.bind.clone(),
        open: !f.listen.is_empty() && {
            let listens = |a: &_| open.contains(&Place::new(f.settings.mode, *a));
            f.listen.iter().all(listens)
        },
        slim: f.settings.maxconn,
        traffic: traffic(&live.traffic),
        http: http(&live.traffic),
        dreq: live.dreq.get(),
        ereq: live.ereq.get(),
        req_tot: live.requests.get(),
        req_rate: live.request_rate.get(),
        req_rate_max: live.request_rate.max(),
        dcon: live.dcon.get(),
        intercepted: live.intercepted.get(),
        eint: live.faults.internal.get(),
        wrew: live.faults.rewrites.get(),
    }
}

fn backend(b: &Backend, iid: u32, shared: &Shared, now: Instant) -> BackendStatus {
    let uptime = *lock(&b.live.uptime);
    let sids = 1..;
    BackendStatus {
        name: b.settings.name.clone(),
        iid,
        mode: b.settings.mode,
        queue: b.live.queue.counters(),
        balance: b.settings.balance.clone(),
        traffic: traffic(&b.live.traffic),
        http: http(&b.live.traffic),
        slim: b.fullconn.into(),
        cookie: b.settings.cookie.as_ref().map(|c| c.name.to_string()),
        econ: b.live.econ.get(),
        eint: b.live.faults.internal.get(),
        wrew: b.live.faults.rewrites.get(),
        lastchg: uptime.since_s(now),
        downtime: uptime.downtime_s(now),
        chkdown: uptime.downs,
        servers: b
            .servers
            .iter()
            .zip(sids)
            .map(|(s, sid)| server(b, s, sid, shared, now))
            .collect(),
    }
}

fn server(b: &Backend, s: &Server, sid: u32, shared: &Shared, now: Instant) -> ServerStatus {
    let live = &s.live;
    let checked = lock(&live.checked);
    let mut check = checked.last.clone();
    check.check_health = checked.fsm.health();
    check.running = checked.running;
    let uptime = checked.uptime;
    let asked = b.settings.check.agent_port.filter(|_| s.agent != ServerAgent::Off);
    let agent = asked.map(|_| {
        let wish = live.standing.wish();
        let mut check = checked.agent.clone();
        check.running = checked.agent_running;
        check.check_health = match s.agent {
            ServerAgent::Up => 1,
            ServerAgent::Down => 0,
            ServerAgent::Asked | ServerAgent::Off => u32::from(checked.agent_up),
        };
        AgentStatus { check, state: wish.state, weight: wish.weight, maxconn: wish.maxconn }
    });
    drop(checked);
    let address = live.standing.address().unwrap_or(s.address);
    let slowstart = b.settings.slowstart.duration();
    ServerStatus {
        name: s.name.clone(),
        sid,
        addr: Endpoint(address),
        state: s.state,
        health: match live.standing.verdict() {
            Verdict::Up => Health::Up,
            Verdict::Stopping => Health::Stopping,
            Verdict::Down => Health::Down,
            Verdict::Unchecked => Health::Unchecked,
        },
        forced: s.health,
        hostname: s.hostname.as_ref().map(|h| h.as_str().to_owned()),
        weight: s.weight,
        // HAProxy shows what counts at this moment, too.
        user_weight: live.standing.weight(s.weight),
        effective_weight: (live.standing.weight(s.weight) * live.sixteenths(slowstart))
            .div_ceil(SCALE),
        maxconn: live.standing.maxconn(s.maxconn),
        maxqueue: s.maxqueue,
        queue: QueueCounters {
            qtime: live.queue_time.get(),
            qtime_max: live.queue_time.max(),
            ..live.queue.counters()
        },
        agent,
        checked: b.settings.check.enabled,
        observed: b.settings.check.observe,
        throttle: live.throttle(slowstart),
        cookie: b.settings.cookie.as_ref().map(|_| s.cookie.clone()),
        backup: s.backup,
        check_fall: b.settings.check.fall,
        check_rise: b.settings.check.rise,
        check,
        lastchg: uptime.since_s(now),
        downtime: uptime.downtime_s(now),
        lastsess: match live.last_request.get() {
            0 => None,
            at => Some(shared.now_ms().saturating_sub(at) / 1000),
        },
        traffic: traffic(&live.traffic),
        http: http(&live.traffic),
        econ: live.econ.get(),
        eresp: live.eresp.get(),
        eint: live.faults.internal.get(),
        wrew: live.faults.rewrites.get(),
        wretr: live.retries.get(),
        wredis: live.redispatches.get(),
        lbtot: live.chosen.get(),
        connect: live.connects.get(),
        reuse: live.reuses.get(),
        srv_icur: live.idle.now(),
        cli_abrt: live.client_aborts.get(),
        srv_abrt: live.server_aborts.get(),
        ctime: live.connect_time.get(),
        rtime: live.response_time.get(),
        ttime: live.total_time.get(),
        ctime_max: live.connect_time.max(),
        rtime_max: live.response_time.max(),
        ttime_max: live.total_time.max(),
    }
}

/// The history of everything.
pub(crate) fn charts(config: &Config) -> Vec<Series> {
    let series = |proxy: &Name, server: Option<&Name>, frontend: bool, t: &Traffic| {
        let (counted, seconds, minutes) = t.history.read();
        let (proxy, server) = (proxy.clone(), server.cloned());
        Series { proxy, server, frontend, counted, seconds, minutes }
    };
    let frontends =
        config.frontends.iter().map(|f| series(&f.settings.name, None, true, &f.live.traffic));
    let backends = config.backends.iter().flat_map(|b| {
        let name = &b.settings.name;
        let servers = b.servers.iter().map(|s| series(name, Some(&s.name), false, &s.live.traffic));
        std::iter::once(series(name, None, false, &b.live.traffic)).chain(servers)
    });
    frontends.chain(backends).collect()
}

/// Takes the rates of the last second.
pub(crate) fn sample(shared: &Shared, config: &Config) {
    let all = config.frontends.iter().map(|f| f.live.traffic.total.get()).sum();
    shared.connection_rate.sample(all);
    let rate = |t: &Traffic| t.rate.sample(t.total.get());
    for f in &config.frontends {
        let (live, requests) = (&f.live, f.live.requests.get());
        rate(&live.traffic);
        live.request_rate.sample(requests);
        // A connection is what there is to count in mode tcp.
        let counted = if requests > 0 { requests } else { live.traffic.total.get() };
        live.traffic.history.take(&live.traffic, counted, 0);
    }
    for b in &config.backends {
        rate(&b.live.traffic);
        let mut times = (0, 0);
        for s in &b.servers {
            let (t, time) = (&s.live.traffic, s.live.response_time.get());
            t.history.take(t, t.total.get(), time);
            // The backend's is its servers', by how much each has to do.
            let share = t.rate.sample(t.total.get());
            times = (times.0 + time * share, times.1 + share);
        }
        let t = &b.live.traffic;
        t.history.take(t, t.total.get(), times.0 / times.1.max(1));
    }
}
