//! Claiming a node, signing in and out, and changing the password.

use super::{Ctx, Shell, cluster_name, node_name, page, page_with, see};
use crate::app::{lock, now_unix};
use crate::audit;
use crate::claim_window::{self, Closed};
use crate::error::{Failure, PageResult};
use crate::forms::Field;
use crate::gate;
use crate::password::{SHORTEST, USER, acceptable};
use crate::session::{KEY, SignedIn, fingerprint};
use askama::Template;
use http::{StatusCode, header};
use model::audit::{Actor, Deed, Record};
use std::time::{Duration, Instant};
use tower_sessions::Session;

#[derive(Template)]
#[template(path = "claim.html")]
struct Claim {
    node: String,
    csrf: String,
    error: Option<String>,
    /// Why nobody can claim it now.
    closed: Option<&'static str>,
    /// The boot partition has a code that must be typed.
    code: bool,
    /// What the cluster will be called.
    cluster: Field,
    /// A cluster wants this board.
    asked: Option<AskedView>,
    /// What the operator should know before, such as why this node has lost its password.
    notices: Vec<String>,
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    node: String,
    cluster: String,
    csrf: String,
    next: String,
    note: Option<&'static str>,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "password.html")]
struct Password {
    shell: Shell,
    error: Option<String>,
}

/// A cluster that wants this board, and the code that tells this board from others.
struct AskedView {
    cluster: String,
    node: String,
    code: String,
    blinks: u8,
}

#[derive(Template)]
#[template(path = "part_asked.html")]
struct AskedPart {
    asked: Option<AskedView>,
}

fn asked(ctx: &Ctx) -> Option<AskedView> {
    let asked = ctx.app.ports.adoption.as_ref()?.asked()?;
    let cluster =
        if asked.cluster.is_empty() { "Another cluster".to_owned() } else { asked.cluster };
    let code = crate::view::found::groups(&asked.code);
    Some(AskedView { cluster, node: asked.node, code, blinks: asked.blinks })
}

/// Who wants this board, for the open page to ask for again and again.
pub(crate) async fn asked_now(ctx: Ctx) -> PageResult {
    page(&AskedPart { asked: asked(&ctx) })
}

fn claim_page(ctx: &Ctx, status: StatusCode, error: Option<String>) -> PageResult {
    let snapshot = ctx.snapshot();
    let node = node_name(&snapshot);
    let mut cluster = Field::default();
    match ctx.form.has("cluster") {
        true => cluster.set(ctx.form.first("cluster")),
        false => cluster.set(cluster_name(&snapshot)),
    }
    // Says what is wrong with it, if it was typed.
    let _ = cluster.read::<model::Name>();
    let own = ctx.app.ports.board.own();
    let notices = crate::view::board::in_memory(&own.system).into_iter();
    let notices = notices.chain(own.notices.into_iter().map(|n| n.text)).collect();
    let code = ctx.app.ports.credentials.claim_code().is_some();
    let closed = closed(ctx);
    let status = if closed.is_some() { StatusCode::FORBIDDEN } else { status };
    let (csrf, asked) = (ctx.visitor.csrf.clone(), asked(ctx));
    let claim = Claim { node, csrf, error, closed, code, cluster, asked, notices };
    page_with(status, &claim)
}

/// Why this node cannot be claimed now, from there; None while it can.
fn closed(ctx: &Ctx) -> Option<&'static str> {
    let own = ctx.app.ports.board.own();
    let board = ctx.app.ports.system.is_some();
    let up = Duration::from_millis(if board { own.system.uptime_ms } else { own.uptime_ms });
    match claim_window::judge(up, ctx.visitor.address).err()? {
        Closed::FromAfar => Some(
            "It can be claimed only from the network it stands in, not from the internet. Open \
             this page by the board's own address, from a device beside it.",
        ),
        Closed::TooLate if board => Some(
            "It can be claimed in the first 30 minutes after it got power, so that only somebody \
             who can touch it can. Unplug it, plug it in again, wait a minute and reload this page.",
        ),
        Closed::TooLate => Some(
            "It can be claimed in the first 30 minutes after its start. Start the program again \
             and reload this page, or set a password with \"bramble password\".",
        ),
    }
}

pub(crate) async fn claim(ctx: Ctx) -> PageResult {
    claim_page(&ctx, StatusCode::OK, None)
}

/// Did they type the code of the boot partition, if there is one?
fn knows_code(ctx: &Ctx) -> Result<bool, Duration> {
    let Some(code) = ctx.app.ports.credentials.claim_code() else { return Ok(true) };
    lock(&ctx.app.throttle).attempt(ctx.visitor.address, Instant::now())?;
    let right = crate::csrf::equal(ctx.form.first("code").trim(), code.reveal().trim());
    if right {
        lock(&ctx.app.throttle).succeeded(ctx.visitor.address);
    }
    Ok(right)
}

/// The two passwords of a form, if they will do.
fn chosen(ctx: &Ctx) -> Result<String, String> {
    let password = ctx.form.first("password").to_owned();
    acceptable(&password)?;
    if password != ctx.form.first("again") {
        return Err("The two passwords are not the same. Type both again.".to_owned());
    }
    Ok(password)
}

pub(crate) async fn claim_now(ctx: Ctx, session: Session) -> PageResult {
    if closed(&ctx).is_some() {
        return claim_page(&ctx, StatusCode::FORBIDDEN, None);
    }
    match knows_code(&ctx) {
        Ok(true) => {}
        Ok(false) => {
            let error = "This is not the code in bramble.toml on the card.".to_owned();
            return claim_page(&ctx, StatusCode::UNPROCESSABLE_ENTITY, Some(error));
        }
        Err(wait) => {
            let error =
                format!("Too many attempts. Wait {} s, then try again.", wait.as_secs() + 1);
            return claim_page(&ctx, StatusCode::TOO_MANY_REQUESTS, Some(error));
        }
    }
    let wanted = ctx.form.first("cluster").trim();
    let name = match (ctx.form.has("cluster"), wanted.parse::<model::Name>()) {
        (true, Ok(name)) => Some(name),
        (true, Err(_)) => return claim_page(&ctx, StatusCode::UNPROCESSABLE_ENTITY, None),
        (false, _) => None,
    };
    let password = match chosen(&ctx) {
        Ok(password) => password,
        Err(error) => return claim_page(&ctx, StatusCode::UNPROCESSABLE_ENTITY, Some(error)),
    };
    let Ok(hash) = ctx.app.hasher.hash(&password).await else {
        return busy(&ctx, claim_page);
    };
    let hash = hash.map_err(Failure::inside)?;
    let print = fingerprint(&hash);
    if !ctx.app.claim(hash).await.map_err(Failure::inside)? {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            "Somebody was faster",
            "This node was claimed a moment ago with another password. If that was not you, \
             somebody in your network was: reset the node.",
        ));
    }
    tracing::info!(from = %ctx.visitor.address, "this node was claimed");
    ctx.note(Deed::Claimed, "").await;
    lock(&ctx.app.throttle).succeeded(ctx.visitor.address);
    sign_in(&ctx, &session, print).await?;
    if name.is_some() {
        found_cluster(&ctx, name).await;
    }
    let alone = ctx.snapshot().settings.nodes.len() < 2 && ctx.app.ports.adoption.is_some();
    Ok(see(match (super::wifi::suggested(&ctx.app), alone) {
        (true, _) => "/wifi?welcome=1",
        (false, true) => "/found?welcome=1",
        (false, false) => "/",
    }))
}

/// Makes a cluster of this node: its name, and a key for the nodes to come.
async fn found_cluster(ctx: &Ctx, name: Option<model::Name>) {
    let mut cluster = ctx.snapshot().settings.cluster.clone();
    cluster.name = name.or(cluster.name);
    let mut key = [0_u8; 32];
    if cluster.key.is_empty() && getrandom::fill(&mut key).is_ok() {
        let digits: String = key.iter().map(|b| format!("{b:02x}")).collect();
        cluster.key = model::Secret::new(digits);
    }
    let edits = vec![model::Edit::PutCluster(cluster)];
    let change = control::Change { base: None, author: ctx.visitor.author(), edits };
    if let Err(why) = ctx.app.ports.control.submit(change).await {
        // The node is claimed all the same; name and key can be given under Nodes, Cluster.
        tracing::warn!("the new cluster has no name yet: {why}");
    }
}

fn login_page(ctx: &Ctx, status: StatusCode, error: Option<String>) -> PageResult {
    let snapshot = ctx.snapshot();
    let asked = |name| ctx.form.first(name).to_owned() + ctx.query.first(name);
    page_with(
        status,
        &Login {
            node: node_name(&snapshot),
            cluster: cluster_name(&snapshot),
            csrf: ctx.visitor.csrf.clone(),
            next: local(&asked("next")),
            note: match () {
                () if ctx.query.has("out") => Some("You are signed out."),
                () if ctx.query.has("restored") => {
                    Some("The backup is restored. Sign in with the password of then.")
                }
                () => None,
            },
            error,
        },
    )
}

pub(crate) async fn login(ctx: Ctx, session: Session) -> PageResult {
    let stored = ctx.app.password_hash().await.map_err(Failure::inside)?.unwrap_or_default();
    if gate::resume(&ctx.app, &session, &fingerprint(&stored), true).await.is_some() {
        return Ok(see("/"));
    }
    login_page(&ctx, StatusCode::OK, None)
}

pub(crate) async fn login_now(ctx: Ctx, session: Session) -> PageResult {
    let turn = lock(&ctx.app.throttle).attempt(ctx.visitor.address, Instant::now());
    if let Err(wait) = turn {
        return slow_down(&ctx, wait);
    }
    let stored = ctx.app.password_hash().await.map_err(Failure::inside)?.unwrap_or_default();
    let Ok(right) = ctx.app.hasher.verify(ctx.form.first("password"), &stored).await else {
        lock(&ctx.app.throttle).withdrawn(ctx.visitor.address);
        return busy(&ctx, login_page);
    };
    if !right || ctx.form.first("username").trim() != USER {
        tracing::warn!(from = %ctx.visitor.address, "a sign-in failed");
        audit::failed(&ctx.app, ctx.visitor.address).await;
        let error = "User or password is wrong.".to_owned();
        return login_page(&ctx, StatusCode::UNAUTHORIZED, Some(error));
    }
    lock(&ctx.app.throttle).succeeded(ctx.visitor.address);
    sign_in(&ctx, &session, fingerprint(&stored)).await?;
    Ok(see(&local(ctx.form.first("next"))))
}

/// A path of ours to go on to; anything else would send the operator to a stranger.
pub(crate) fn local(next: &str) -> String {
    let plain = next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let ours = next.starts_with('/') && !next.starts_with("//") && plain && next.len() < 500;
    if ours { next.to_owned() } else { "/".to_owned() }
}

async fn sign_in(ctx: &Ctx, session: &Session, credential: String) -> Result<(), Failure> {
    let node = ctx.snapshot().node().clone();
    let signed_in = SignedIn::new(now_unix(), credential, ctx.visitor.address, node)
        .map_err(Failure::inside)?;
    let failed = |e: tower_sessions::session::Error| {
        Failure::inside(format!("the session cannot be stored: {e}"))
    };
    // A new id, whatever cookie came with the request: nobody can plant one (session fixation).
    // Not flush(), after which the planted id would be used for the new session.
    session.clear().await;
    session.cycle_id().await.map_err(failed)?;
    let idle = ctx.snapshot().settings.admin.session_idle;
    let idle = time::Duration::milliseconds(i64::from(idle.0));
    session.set_expiry(Some(tower_sessions::Expiry::OnInactivity(idle)));
    session.insert(KEY, &signed_in).await.map_err(failed)?;
    session.save().await.map_err(failed)?;
    tracing::info!(from = %ctx.visitor.address, "the operator signed in");
    let id = session.id().map(|id| id.to_string()).unwrap_or_default();
    let actor =
        Actor::Session { session: model::session::short(&id), address: ctx.visitor.address };
    audit::note(&ctx.app, Record::done(actor, Deed::SignIn, "")).await;
    Ok(())
}

fn slow_down(ctx: &Ctx, wait: Duration) -> PageResult {
    let seconds = wait.as_secs() + 1;
    let error = format!("Too many attempts. Wait {seconds} s, then try again.");
    let mut page = login_page(ctx, StatusCode::TOO_MANY_REQUESTS, Some(error))?;
    page.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    Ok(page)
}

fn busy(ctx: &Ctx, page: impl Fn(&Ctx, StatusCode, Option<String>) -> PageResult) -> PageResult {
    let error = "Many are signing in at this moment. Try again in a few seconds.".to_owned();
    let mut page = page(ctx, StatusCode::TOO_MANY_REQUESTS, Some(error))?;
    page.headers_mut().insert(header::RETRY_AFTER, 3.into());
    Ok(page)
}

pub(crate) async fn logout(ctx: Ctx, session: Session) -> PageResult {
    let ended = session.flush().await;
    ended.map_err(|e| Failure::inside(format!("the session cannot be ended: {e}")))?;
    ctx.note(Deed::SignOut, "").await;
    Ok(see("/login?out=1"))
}

fn password_page(ctx: &Ctx, status: StatusCode, error: Option<String>) -> PageResult {
    page_with(status, &Password { shell: ctx.shell("Password", "more"), error })
}

pub(crate) async fn password(ctx: Ctx) -> PageResult {
    password_page(&ctx, StatusCode::OK, None)
}

pub(crate) async fn password_now(ctx: Ctx, session: Session) -> PageResult {
    let turn = lock(&ctx.app.throttle).attempt(ctx.visitor.address, Instant::now());
    if let Err(wait) = turn {
        let error = format!("Too many attempts. Wait {} s, then try again.", wait.as_secs() + 1);
        return password_page(&ctx, StatusCode::TOO_MANY_REQUESTS, Some(error));
    }
    let stored = ctx.app.password_hash().await.map_err(Failure::inside)?.unwrap_or_default();
    let refuse =
        |text: &str| password_page(&ctx, StatusCode::UNPROCESSABLE_ENTITY, Some(text.to_owned()));
    match ctx.app.hasher.verify(ctx.form.first("old"), &stored).await {
        Err(_) => {
            lock(&ctx.app.throttle).withdrawn(ctx.visitor.address);
            return busy(&ctx, password_page);
        }
        Ok(false) => {
            audit::failed(&ctx.app, ctx.visitor.address).await;
            return refuse("The password you have now is another one.");
        }
        Ok(true) => lock(&ctx.app.throttle).succeeded(ctx.visitor.address),
    }
    let password = match chosen(&ctx) {
        Ok(password) => password,
        Err(error) => return refuse(&error),
    };
    let Ok(hash) = ctx.app.hasher.hash(&password).await else {
        return busy(&ctx, password_page);
    };
    let hash = hash.map_err(Failure::inside)?;
    let print = fingerprint(&hash);
    ctx.app.set_password(hash).await.map_err(Failure::inside)?;
    // This session goes on under a new id; every other one is over.
    let ended = ctx.app.store.end_others(None).await;
    ended.map_err(|e| Failure::inside(format!("the other sessions cannot be ended: {e}")))?;
    ctx.note(Deed::Password, "").await;
    sign_in(&ctx, &session, print).await?;
    tracing::info!(from = %ctx.visitor.address, "the password was changed");
    Ok(see("/more?password=1"))
}

const _: () = assert!(SHORTEST >= 8);

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn goes_on_to_our_own_pages_only() {
        for ours in ["/", "/nodes?x=1", "/stats;csv"] {
            assert_eq!(local(ours), ours);
        }
        for strange in ["", "//evil.example", "http://evil", "/\\evil", "javascript:x", "/a\r\nb"] {
            assert_eq!(local(strange), "/");
        }
    }
}
