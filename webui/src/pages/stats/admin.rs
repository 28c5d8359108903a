//! The form under each backend of `/stats`, as HAProxy's users know it (`stats admin`): an action
//! for the ticked servers.
//!
//! States and forced health, the agent's included, are settings, so they hold on every balancer and after a restart;
//! breaking requests off is an order to this node alone. What HAProxy lets any page of any site do
//! (it asks for no token) needs our own here, as every form does.

use crate::error::PageResult;
use crate::pages::{Ctx, see};
use control::{Change, Outcome};
use model::status::{Health, ProxyStatus, ServerStatus};
use model::{Edit, Name, ServerAgent, ServerHealth, ServerState};

/// What may be done, under HAProxy's names and words.
pub(super) const ACTIONS: [(&str, &str); 13] = [
    ("ready", "Set state to READY"),
    ("drain", "Set state to DRAIN"),
    ("maint", "Set state to MAINT"),
    ("dhlth", "Health: disable checks"),
    ("ehlth", "Health: enable checks"),
    ("hrunn", "Health: force UP"),
    ("hnolb", "Health: force NOLB"),
    ("hdown", "Health: force DOWN"),
    ("dagent", "Agent: disable checks"),
    ("eagent", "Agent: enable checks"),
    ("arunn", "Agent: force UP"),
    ("adown", "Agent: force DOWN"),
    ("shutdown", "Kill Sessions"),
];

/// What came of it, under HAProxy's codes.
pub(super) fn words(code: &str) -> Option<(bool, &'static str)> {
    Some(match code {
        "DONE" => (true, "Action processed successfully."),
        "NONE" => (true, "Nothing has changed."),
        "PART" => (false, "Action partially processed. Some server names are unknown."),
        "ERRP" => (false, "Action not processed: tick at least one server and choose an action."),
        "UNKN" => (false, "Action not processed: there is no such backend, server or action."),
        "DENY" => (false, "Nothing is changed here. Change states on the admin page, port 1936."),
        "ERRV" => (false, "Action not processed: the settings that follow from it are not valid."),
        _ => return None,
    })
}

/// What an action means for a server that is in this state.
fn edit(action: &str, backend: &Name, now: &ServerStatus) -> Option<Edit> {
    let (mut state, mut health, mut agent) = (None, None, None);
    match action {
        "ready" => state = Some(ServerState::Ready),
        "drain" => state = Some(ServerState::Drain),
        "maint" => state = Some(ServerState::Maint),
        "ehlth" => health = Some(ServerHealth::Checked),
        // Without checks it stays as it is.
        "dhlth" => {
            health = Some(match now.health {
                Health::Up | Health::Unchecked => ServerHealth::Up,
                Health::Stopping => ServerHealth::Stopping,
                Health::Down => ServerHealth::Down,
            });
        }
        "hrunn" => health = Some(ServerHealth::Up),
        "hnolb" => health = Some(ServerHealth::Stopping),
        "hdown" => health = Some(ServerHealth::Down),
        "dagent" => agent = Some(ServerAgent::Off),
        "eagent" => agent = Some(ServerAgent::Asked),
        "arunn" => agent = Some(ServerAgent::Up),
        "adown" => agent = Some(ServerAgent::Down),
        _ => return None,
    }
    let (backend, server) = (backend.clone(), now.name.clone());
    Some(Edit::SetServer { backend, server, weight: None, state, health, agent })
}

/// The servers that are meant, and whether every name was one.
fn chosen<'a>(
    proxy: &'a ProxyStatus,
    backend: &str,
    names: &[String],
) -> Option<(&'a Name, Vec<&'a ServerStatus>, bool)> {
    let by_number = backend.strip_prefix('#').and_then(|n| n.parse::<u32>().ok());
    let found = proxy.backends.iter().find(|b| match by_number {
        Some(iid) => b.iid == iid,
        None => b.name.as_str() == backend,
    })?;
    let servers: Vec<_> =
        found.servers.iter().filter(|s| names.iter().any(|n| *n == s.name.as_str())).collect();
    let all = names.iter().all(|n| servers.iter().any(|s| s.name.as_str() == n));
    Some((&found.name, servers, all))
}

async fn act(ctx: &Ctx) -> Result<&'static str, crate::error::Failure> {
    let proxy = ctx.app.ports.board.own().proxy.clone().unwrap_or_default();
    let (action, backend) = (ctx.form.first("action"), ctx.form.first("b"));
    let names: Vec<String> = ctx.form.joined("s").lines().map(str::to_owned).collect();
    if names.is_empty() || action.is_empty() {
        return Ok("ERRP");
    }
    let known = ACTIONS.iter().any(|(key, _)| *key == action);
    let Some((backend, servers, all)) = chosen(&proxy, backend, &names).filter(|_| known) else {
        return Ok("UNKN");
    };
    if servers.is_empty() {
        return Ok("UNKN");
    }
    if action == "shutdown" {
        let ended = servers
            .iter()
            .filter(|s| ctx.app.ports.access_log.shut_down_sessions(backend, &s.name))
            .count();
        return Ok(if ended == 0 {
            "NONE"
        } else if all && ended == servers.len() {
            "DONE"
        } else {
            "PART"
        });
    }
    let edits: Vec<Edit> = servers.iter().filter_map(|s| edit(action, backend, s)).collect();
    let change = Change { base: None, author: ctx.visitor.author(), edits };
    Ok(match ctx.app.ports.control.submit(change).await? {
        Outcome::Applied(_) if all => "DONE",
        Outcome::Applied(_) => "PART",
        Outcome::Unchanged(_) => "NONE",
    })
}

/// Does what the form says and leads back to the page.
pub(super) async fn post(ctx: Ctx, back: &str) -> PageResult {
    let code = act(&ctx).await?;
    Ok(see(&format!("{back};st={code}")))
}
