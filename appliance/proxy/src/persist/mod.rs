//! What keeps a visitor on the same server: the persistence cookie (HAProxy `cookie`) and the stick
//! table (`stick on`). The cookie has the first word; a server that is down has none.

pub(crate) mod cookie;
pub(crate) mod stick;

use crate::config::Backend;
use crate::head::{Head, fields, first_line};
use crate::rules::Prepared;
use cookie::{Found, Worth};
use model::{CookieMode, PersistCookie, ServerState, StickOn, StickTable};
use std::cell::Cell;
use std::net::Ipv4Addr;

/// What persistence knows of one request.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The server it belongs to, which can take it.
    pub(crate) server: Option<usize>,
    found: Found,
    by_cookie: bool,
    posted: bool,
    /// Its answer may be cached as far as the method is concerned (RFC 9110 9.2.1).
    safe: bool,
    key: Option<String>,
    /// When it was asked for, in seconds since 1970 and in milliseconds of this process.
    wall_s: u64,
    now_ms: u64,
}

impl Plan {
    /// What the visitor's cookie was worth, where there is one to look for.
    pub(crate) fn worth(&self) -> Worth {
        self.found.worth
    }

    /// The servers have other places now.
    pub(crate) fn moved(&mut self, place: impl FnOnce(usize) -> Option<usize>) {
        self.server = self.server.and_then(place);
    }
}

/// Looks up where a request belongs, and takes out of its head what the servers must not see. None
/// where the backend keeps nobody.
pub(crate) fn plan(
    backend: &Backend,
    head: &mut Vec<u8>,
    source: Ipv4Addr,
    wall_s: u64,
    now_ms: u64,
) -> Option<Plan> {
    let settings = &backend.settings;
    let stick = settings.stick_table.as_ref().zip(settings.stick_on.as_ref());
    if settings.cookie.is_none() && stick.is_none() {
        return None;
    }
    let method = Head::new(head).method;
    let mut plan = Plan {
        posted: method == b"POST",
        safe: [&b"GET"[..], b"HEAD", b"OPTIONS", b"TRACE"].contains(&method),
        wall_s,
        now_ms,
        ..Plan::default()
    };
    if let Some((table, on)) = stick {
        plan.key = match on {
            StickOn::Src => Some(source.to_string()),
            StickOn::Cookie(name) => Head::new(head).cookie(name).and_then(|v| text(v, table)),
        };
    }
    if let Some(settings) = &settings.cookie {
        plan.found = cookie::read(settings, head, wall_s);
        let value = plan.found.server.as_deref();
        let mut worth = plan.found.worth;
        plan.server = value.and_then(|value| {
            let called = |s: &crate::config::Server| s.cookie.as_bytes() == value;
            let at = backend.servers.iter().position(|s| called(s) && takes_its_own(s));
            if at.is_none() && backend.servers.iter().any(called) {
                worth = Worth::Down;
            }
            at
        });
        plan.by_cookie = plan.server.is_some();
        plan.found.worth = if plan.by_cookie { Worth::Valid } else { worth };
        cookie::hide(settings, head);
    }
    if let (None, Some((table, _)), Some(key)) = (plan.server, stick, &plan.key) {
        let name = backend.live.stick.get(table, key, now_ms);
        plan.server = name.and_then(|name| {
            let called = |s: &crate::config::Server| s.name == name;
            backend.servers.iter().position(|s| called(s) && takes_its_own(s))
        });
    }
    Some(plan)
}

/// May a server be sent those who belong to it? In drain, with weight 0 and full, too.
pub(crate) fn takes_its_own(server: &crate::config::Server) -> bool {
    server.live.is_up()
        && server.wanted() != ServerState::Maint
        && server.live.standing.address().is_some()
}

fn text(value: &[u8], table: &StickTable) -> Option<String> {
    let model::StickType::Text(length) = table.kind else { return None };
    let cut = value.get(..usize::from(length)).unwrap_or(value);
    std::str::from_utf8(cut).ok().filter(|t| !t.is_empty()).map(str::to_owned)
}

/// What is done to a response's head, and what is learnt from it.
#[derive(Debug, Default)]
pub(crate) struct Aftermath<'a> {
    pub(crate) rules: Option<&'a Prepared>,
    pub(crate) keep: Option<Keep<'a>>,
    /// What became of the cookie in the response, in the letters of HAProxy's log.
    pub(crate) cookie: Cell<Option<u8>>,
}

/// A request's plan, and the server that answers it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) backend: &'a Backend,
    pub(crate) server: usize,
}

impl Aftermath<'_> {
    /// Is there nothing to do?
    pub(crate) const fn is_empty(&self) -> bool {
        self.rules.is_none() && self.keep.is_none()
    }

    /// Changes the response's head that starts at `from`; false where rules would make it too long.
    pub(crate) fn run(&self, status: u16, head: &mut Vec<u8>, from: usize) -> bool {
        if self.rules.is_some_and(|rules| !rules.run(status, head, from)) {
            return false;
        }
        if let Some(keep) = &self.keep {
            keep.learn(&head[from..]);
            if let Some(settings) = &keep.backend.settings.cookie {
                self.cookie.set(Some(keep.set_cookie(settings, status, head, from)));
            }
        }
        true
    }
}

impl Keep<'_> {
    /// Remembers the visitor's server, by this response's head where a cookie in it says who he is.
    pub(crate) fn learn(&self, head: &[u8]) {
        let settings = &self.backend.settings;
        let Some((table, on)) = settings.stick_table.as_ref().zip(settings.stick_on.as_ref())
        else {
            return;
        };
        let name = &self.backend.servers[self.server].name;
        let stick = &self.backend.live.stick;
        if let Some(key) = &self.plan.key {
            stick.put(table, key, name, self.plan.now_ms);
        }
        if let StickOn::Cookie(cookie) = on {
            let (_, lines) = first_line(head);
            let set = fields(lines).filter(|f| f.is("set-cookie"));
            let values = set.filter_map(|f| crate::head::pair(cookie::first_pair(f.value)));
            let ours = values.filter(|(n, _)| *n == cookie.as_bytes());
            for key in ours.filter_map(|(_, value)| text(value, table)) {
                stick.put(table, &key, name, self.plan.now_ms);
            }
        }
    }

    fn set_cookie(
        &self,
        settings: &PersistCookie,
        status: u16,
        head: &mut Vec<u8>,
        from: usize,
    ) -> u8 {
        let value = self.backend.servers[self.server].cookie.as_str();
        // Whoever was brought here by cookie or table is where he belongs.
        let direct = self.plan.server == Some(self.server);
        let theirs = cookie::rewrite(settings, value, direct, head, from);
        let provided = theirs != cookie::NONE;
        if settings.mode != CookieMode::Insert || (provided && settings.preserve) {
            return theirs;
        }
        let stale =
            self.plan.by_cookie && self.plan.found.wants_new_dates(settings, self.plan.wall_s);
        if (direct && !stale) || (settings.postonly && !self.plan.posted) {
            return theirs;
        }
        let line = cookie::set(settings, value, &self.plan.found, self.plan.wall_s);
        crate::rules::add_field(head, "Set-Cookie", &line);
        if settings.nocache && cookie::may_be_cached(status, self.plan.safe, &head[from..]) {
            crate::rules::add_field(head, "Cache-Control", b"private");
        }
        // Inserted, or only its dates were.
        if direct { b'U' } else { b'I' }
    }
}

#[cfg(test)]
mod tests;
