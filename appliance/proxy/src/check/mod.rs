//! Health checks, agents and names: one task per server, for the whole process.
//!
//! The decisions are HAProxy's (`health` counts, this file says what follows from it): `inter`
//! while all is well, `fastinter` while a server's state is about to change, `downinter` while it
//! is down; a 404 may only drain; an agent that cannot be reached changes nothing.

mod agent;
mod ask_dns;
pub(crate) mod dns;
mod probe;
mod resolve;

use crate::config::{Backend, Server};
use crate::health::{Fsm, Turn};
use crate::live::{Checked, candidates, lock, unasked};
use crate::shared::Shared;
use crate::standing::Verdict;
use control::StatusBoard;
use model::{Check, Mode, Name, OnError, ServerAgent, ServerHealth, ServerHost, ServerState};
use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What a running task depends on.
#[derive(Clone, Debug, PartialEq)]
struct Plan {
    backend: Name,
    server: Name,
    address: SocketAddrV4,
    hostname: Option<ServerHost>,
    check: Check,
    /// The checks themselves run; agent and name have lives of their own.
    checked: bool,
    agent: ServerAgent,
    proxy: model::SendProxy,
    mode: Mode,
}

/// The tasks that run, by the server's id.
#[derive(Debug, Default)]
pub(crate) struct Checks(HashMap<u64, (Plan, JoinHandle<()>)>);

impl Checks {
    /// Checks these backends' servers and no others.
    pub(crate) fn set(&mut self, shared: &Arc<Shared>, board: &StatusBoard, all: &[Arc<Backend>]) {
        let mut old = std::mem::take(&mut self.0);
        for backend in all {
            let check = &backend.settings.check;
            let count = u32::try_from(backend.servers.len()).unwrap_or(1).max(1);
            for (at, server) in (0_u32..).zip(&backend.servers) {
                let was = old.remove(&server.live.id);
                let plan = Plan {
                    backend: backend.settings.name.clone(),
                    server: server.name.clone(),
                    address: server.address,
                    hostname: server.hostname.clone(),
                    check: check.clone(),
                    checked: is_checked(check, server),
                    agent: server.agent,
                    proxy: server.send_proxy,
                    mode: backend.settings.mode,
                };
                let begun = was.as_ref().is_some_and(|(before, _)| before.checked);
                let task = match was {
                    Some((before, task)) if before == plan && !task.is_finished() => task,
                    was => {
                        begin(server, check, plan.checked && !begun);
                        if let Some((_, task)) = was {
                            task.abort();
                        }
                        // Spread, so that they do not all start at the same moment.
                        let offset = check.inter.duration() * at / count;
                        let (shared, board) = (Arc::clone(shared), board.clone());
                        let watcher =
                            Watcher { shared, board, plan: plan.clone(), server: server.clone() };
                        tokio::spawn(watcher.run(offset))
                    }
                };
                judge(server, check, &lock(&server.live.checked));
                self.0.insert(server.live.id, (plan, task));
            }
        }
        for (_, task) in old.into_values() {
            task.abort();
        }
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.0.values().for_each(|(_, task)| task.abort());
    }
}

fn is_checked(check: &Check, server: &Server) -> bool {
    check.enabled && server.state != ServerState::Maint && server.health == ServerHealth::Checked
}

/// Gets a server's state ready: one that was not checked before starts up and is one failure
/// away from down; one that was goes on as it is under the new numbers.
fn begin(server: &Server, check: &Check, new: bool) {
    let mut checked = lock(&server.live.checked);
    if new {
        checked.fsm = Fsm::new(check.rise, check.fall);
        checked.stopping = false;
    } else {
        checked.fsm.set(check.rise, check.fall);
    }
    if check.agent_port.is_none() {
        checked.agent_up = true;
        checked.agent = unasked();
        server.live.standing.set_wish(crate::standing::Wish::default());
    }
    // Whoever was asking when this changed asks no more.
    (checked.running, checked.agent_running) = (false, false);
    // Without an agent or checks the server may have come back just now.
    let up = verdict(server, check, &checked) != Verdict::Down;
    checked.uptime.set(up, std::time::Instant::now());
}

/// What follows from everything that is said about a server's health.
fn verdict(server: &Server, check: &Check, checked: &Checked) -> Verdict {
    match server.health {
        ServerHealth::Up => return Verdict::Up,
        ServerHealth::Stopping => return Verdict::Stopping,
        ServerHealth::Down => return Verdict::Down,
        ServerHealth::Checked => {}
    }
    let agent_down = match server.agent {
        ServerAgent::Up => false,
        ServerAgent::Down => check.agent_port.is_some(),
        ServerAgent::Asked | ServerAgent::Off => !checked.agent_up,
    };
    if agent_down {
        return Verdict::Down;
    }
    match (check.enabled, checked.fsm.is_up(), checked.stopping) {
        (false, ..) => Verdict::Unchecked,
        (true, false, _) => Verdict::Down,
        (true, true, true) => Verdict::Stopping,
        (true, true, false) => Verdict::Up,
    }
}

/// Makes the verdict known to the threads that carry traffic; true when it is another one.
fn judge(server: &Server, check: &Check, checked: &Checked) -> bool {
    let next = verdict(server, check, checked);
    let standing = &server.live.standing;
    let changed = standing.verdict() != next;
    if changed {
        standing.set_verdict(next);
    }
    changed
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    word: &'static str,
    code: Option<u16>,
    text: String,
}

impl Found {
    fn new(word: &'static str, text: impl Into<String>) -> Self {
        Self { word, code: None, text: text.into() }
    }

    fn passed(&self) -> bool {
        matches!(self.word, "L4OK" | "L7OK" | "L7OKC")
    }
}

/// The time to the next check (HAProxy `srv_getinter`).
fn pause(check: &Check, checked: &Checked, down: bool) -> Duration {
    let inter = match (checked.fsm.is_settled(), down && checked.fsm.health() == 0) {
        (true, _) => check.inter,
        (_, true) => check.downinter.unwrap_or(check.inter),
        _ => check.fastinter.unwrap_or(check.inter),
    };
    inter.duration().max(Duration::from_millis(10))
}

/// Looks after one server.
struct Watcher {
    shared: Arc<Shared>,
    board: StatusBoard,
    plan: Plan,
    server: Server,
}

impl Watcher {
    async fn run(self, offset: Duration) {
        let nothing = std::future::pending::<()>;
        let checks =
            async { if self.plan.checked { self.check(offset).await } else { nothing().await } };
        let agent = async {
            match self.plan.check.agent_port.filter(|_| self.plan.agent != ServerAgent::Off) {
                Some(port) => self.ask_agent(port.get(), offset).await,
                None => nothing().await,
            }
        };
        let name = async {
            match &self.plan.hostname {
                Some(name) => {
                    resolve::follow(name, &self.server.live.standing, || self.settle(true)).await;
                }
                None => nothing().await,
            }
        };
        tokio::join!(checks, agent, name);
    }

    async fn check(&self, offset: Duration) {
        let check = &self.plan.check;
        let standing = &self.server.live.standing;
        tokio::time::sleep(offset).await;
        loop {
            let begun = Instant::now();
            let target = standing.address().map(|a| match check.port {
                Some(port) => SocketAddrV4::new(*a.ip(), port.get()),
                None => a,
            });
            let resting = standing.wish().state == ServerState::Maint;
            if let (Some(target), false) = (target, resting) {
                let up = standing.verdict() != Verdict::Down;
                lock(&self.server.live.checked).running = true;
                let found =
                    probe::probe(target, check, (self.plan.mode, self.plan.proxy), up).await;
                let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(0);
                self.note(&found, Some(took));
            }
            let mut next = begun + self.pause();
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(next) => break,
                    () = standing.hurry.notified() => {
                        if standing.was_too_bad() {
                            self.too_bad();
                            // HAProxy: the next check comes early, where there is a fastinter.
                            if let Some(fast) = check.fastinter {
                                next = next.min(Instant::now() + fast.duration());
                            }
                        }
                    }
                }
            }
        }
    }

    fn pause(&self) -> Duration {
        let down = self.server.live.standing.verdict() == Verdict::Down;
        pause(&self.plan.check, &lock(&self.server.live.checked), down)
    }

    /// Too many bad answers in a row (HAProxy `on-error`).
    fn too_bad(&self) {
        let checked = &self.server.live.checked;
        match self.plan.check.on_error {
            OnError::Fastinter => return,
            OnError::FailCheck => {}
            OnError::SuddenDeath => lock(checked).fsm.nearly_down(),
            OnError::MarkDown => lock(checked).fsm.last_chance(),
        }
        lock(checked).last.hanafail += 1;
        let text = format!("Health analyze: {} bad answers in a row", self.plan.check.error_limit);
        self.note(&Found::new("HANA", text), None);
    }

    fn note(&self, found: &Found, took: Option<u64>) {
        let live = &self.server.live;
        let mut checked = lock(&live.checked);
        let before = live.standing.verdict();
        let turn = checked.fsm.check(found.passed());
        let first = checked.last.check_status == "INI";
        checked.stopping = found.word == "L7OKC" && checked.fsm.is_up();
        checked.running &= took.is_none();
        let last = &mut checked.last;
        found.word.clone_into(&mut last.check_status);
        last.check_code = found.code;
        last.check_duration = took;
        found.text.clone_into(&mut last.last_chk);
        if before != Verdict::Down && !found.passed() {
            last.chkfail += 1;
        }
        if turn == Turn::Down {
            last.chkdown += 1;
        }
        if found.passed() {
            live.standing.forgive();
        }
        let changed = judge(&self.server, &self.plan.check, &checked);
        drop(checked);
        self.tell(before, changed, &found.text);
        if changed || first {
            self.board.touch();
        }
    }

    async fn ask_agent(&self, port: u16, offset: Duration) {
        let inter = self.plan.check.agent_inter.duration().max(Duration::from_millis(10));
        let standing = &self.server.live.standing;
        tokio::time::sleep(offset).await;
        loop {
            let begun = Instant::now();
            if let Some(address) = standing.address() {
                lock(&self.server.live.checked).agent_running = true;
                let said = agent::ask(SocketAddrV4::new(*address.ip(), port), inter).await;
                let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(0);
                self.hear(&said, took);
            }
            tokio::time::sleep_until(begun + inter).await;
        }
    }

    /// Takes in what an agent said.
    fn hear(&self, said: &agent::Said, took: u64) {
        let live = &self.server.live;
        let before = live.standing.verdict();
        let wish = live.standing.wish();
        let next = said.wish(wish);
        live.standing.set_wish(next);
        let mut checked = lock(&live.checked);
        said.found.word.clone_into(&mut checked.agent.check_status);
        checked.agent.check_duration = Some(took);
        said.found.text.clone_into(&mut checked.agent.last_chk);
        if said.up == Some(false) {
            checked.agent.chkfail += u64::from(checked.agent_up);
        }
        checked.agent_up = said.up.unwrap_or(checked.agent_up);
        checked.agent_running = false;
        let changed = judge(&self.server, &self.plan.check, &checked);
        drop(checked);
        self.tell(before, changed, &said.found.text);
        if changed || wish != next {
            self.settle(wish.state != next.state);
            self.board.touch();
        }
    }

    /// Says in the log what changed, and has it take effect.
    fn tell(&self, before: Verdict, changed: bool, why: &str) {
        if !changed {
            return;
        }
        let live = &self.server.live;
        let (backend, name) = (&self.plan.backend, &self.plan.server);
        let now = live.standing.verdict();
        match now {
            Verdict::Up | Verdict::Unchecked => {
                tracing::info!("server {backend}/{name} is up: {why}")
            }
            Verdict::Stopping => tracing::warn!("server {backend}/{name} is stopping: {why}"),
            Verdict::Down => tracing::warn!("server {backend}/{name} is down: {why}"),
        }
        let up = now != Verdict::Down;
        if up != (before != Verdict::Down) {
            lock(&live.checked).uptime.set(up, std::time::Instant::now());
        }
        if !up && self.plan.check.shutdown_sessions {
            live.standing.end_requests();
        }
        self.settle(true);
    }

    /// Has requests see the change; with `waiting`, also those that wait for a server.
    fn settle(&self, waiting: bool) {
        let config = self.shared.config();
        let found = config.backends.iter().find(|b| b.settings.name == self.plan.backend);
        if let Some(backend) = found {
            settle(backend);
        }
        if waiting {
            self.shared.look_again();
        }
    }
}

/// Has a backend's requests see who can be chosen now.
pub(crate) fn settle(backend: &Backend) {
    backend.live.changed();
    let up = !candidates(backend).is_empty();
    if lock(&backend.live.uptime).set(up, std::time::Instant::now()) && !up {
        tracing::warn!("backend {} has no server left", backend.settings.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Millis;

    #[test]
    fn the_time_to_the_next_check_is_haproxys() {
        let check = Check {
            inter: Millis(1000),
            fastinter: Some(Millis(100)),
            downinter: Some(Millis(5000)),
            ..Check::default()
        };
        let mut checked = Checked::new(&check, std::time::Instant::now());
        let ms = |c: &Checked, down| pause(&check, c, down).as_millis();
        // At first it is one failure away from down, then all is well.
        assert_eq!(ms(&checked, false), 100);
        checked.fsm.check(true);
        assert_eq!(ms(&checked, false), 1000);
        checked.fsm.check(false);
        assert_eq!(ms(&checked, false), 100);
        checked.fsm.check(false);
        checked.fsm.check(false);
        assert_eq!(ms(&checked, true), 5000);
        checked.fsm.check(true);
        assert_eq!(ms(&checked, true), 100);
        let plain = Check { inter: Millis(1000), ..Check::default() };
        assert_eq!(pause(&plain, &checked, true).as_millis(), 1000);
    }
}
