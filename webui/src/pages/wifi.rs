//! Wi-Fi: the networks this board may join, those in reach, and what became of joining one.

use super::{Confirm, Ctx, Shell, after, page, page_with, see};
use crate::app::{App, lock};
use crate::countries;
use crate::error::{Failure, PageResult};
use crate::forms::{Base, CountryForm, Form, NetworkForm, submit};
use crate::gate::encode;
use crate::live::Part;
use crate::tries::{self, stand};
use crate::view::wifi::{Blind, SeenView, TrialView, band, seen, strength, trial};
use askama::Template;
use control::{Change, Snapshot};
use http::{HeaderMap, StatusCode};
use model::Edit;
use model::status::{NodeReport, NodeStatus, SetupStatus, WifiAdapter, WifiConnection};
use std::time::Duration;

/// A scan of all channels takes a few seconds; after this it is given up.
const SCAN: Duration = Duration::from_secs(25);

/// The part that says what became of joining a network.
const TRIAL: &str = "wifi-trial";

/// A network of the settings.
struct Saved {
    ssid: String,
    address: String,
    open: bool,
    hidden: bool,
    connected: bool,
    first: bool,
    last: bool,
}

#[derive(Template)]
#[template(path = "wifi.html")]
struct WifiPage {
    shell: Shell,
    parts: Vec<Part>,
    radio: bool,
    welcome: bool,
    saved: Vec<Saved>,
    form: CountryForm,
    countries: Vec<(String, String)>,
    base: Base,
}

#[derive(Template)]
#[template(path = "part_wifi_trial.html")]
struct TrialPart {
    trial: Option<TrialView>,
}

#[derive(Template)]
#[template(path = "part_wifi.html")]
struct WifiPart {
    adapters: Vec<WifiAdapter>,
    connected: Option<WifiConnection>,
    strength: &'static str,
    band: &'static str,
    setup: Option<SetupStatus>,
    known: bool,
}

#[derive(Template)]
#[template(path = "wifi_networks.html")]
struct Networks {
    shell: Shell,
    networks: Vec<SeenView>,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "wifi_join.html")]
struct JoinPage {
    shell: Shell,
    parts: Vec<Part>,
    form: NetworkForm,
    countries: Vec<(String, String)>,
    /// A passphrase for it is in the settings.
    kept: bool,
    /// Drawn again by itself in a browser without scripts.
    refresh: bool,
}

#[derive(Template)]
#[template(path = "wifi_form.html")]
struct NetworkPage {
    shell: Shell,
    form: NetworkForm,
    kept: bool,
}

fn own(reports: &[NodeReport]) -> NodeStatus {
    reports.first().map(|r| r.status.clone()).unwrap_or_default()
}

/// The names this board answers to in its network.
fn names(snapshot: &Snapshot) -> Vec<String> {
    let own = snapshot.settings.node(snapshot.node()).map(|n| n.name.to_string());
    let own = own.filter(|n| !n.eq_ignore_ascii_case("bramble"));
    let mut names: Vec<String> =
        own.map(|n| format!("{}.local", n.to_ascii_lowercase())).into_iter().collect();
    names.push("bramble.local".to_owned());
    names
}

/// The parts that are pushed to open pages.
pub(crate) fn parts(
    app: &App,
    snapshot: &Snapshot,
    reports: &[NodeReport],
) -> Result<Vec<Part>, askama::Error> {
    let system = own(reports).system;
    let stand = stand(lock(&app.tried).as_ref(), system.wifi.as_ref());
    let known = system.wifi.is_some();
    let wifi = system.wifi.unwrap_or_default();
    let blind = Blind::of(&wifi.adapters, snapshot.settings.wifi.country.as_ref());
    let trial = TrialPart { trial: stand.map(|s| trial(&s, &names(snapshot), blind)) };
    let part = WifiPart {
        strength: wifi.connected.as_ref().map_or("", |c| strength(c.signal_dbm)),
        band: wifi.connected.as_ref().map_or("", |c| band(c.frequency)),
        adapters: wifi.adapters,
        connected: wifi.connected,
        setup: system.setup,
        known,
    };
    Ok(vec![Part::new(TRIAL, trial.render()?), Part::new("wifi-state", part.render()?)])
}

fn all_parts(ctx: &Ctx) -> Result<Vec<Part>, askama::Error> {
    parts(&ctx.app, &ctx.snapshot(), &ctx.app.ports.board.nodes())
}

fn whole(ctx: &Ctx, status: StatusCode, form: CountryForm) -> PageResult {
    let snapshot = ctx.snapshot();
    let networks = &snapshot.settings.wifi.networks;
    let connected = ctx.app.ports.board.own().system.wifi.and_then(|w| w.connected);
    let saved = networks.iter().enumerate().map(|(i, n)| Saved {
        ssid: n.ssid.to_string(),
        address: encode(n.ssid.as_str()),
        open: n.passphrase.is_empty(),
        hidden: n.hidden,
        connected: connected.as_ref().is_some_and(|c| c.ssid == n.ssid.as_str()),
        first: i == 0,
        last: i + 1 == networks.len(),
    });
    page_with(
        status,
        &WifiPage {
            saved: saved.collect(),
            parts: all_parts(ctx)?,
            radio: ctx.app.ports.radio.is_some(),
            welcome: !ctx.query.first("welcome").is_empty(),
            form,
            countries: countries::options(),
            base: Base::of(&snapshot),
            shell: ctx.shell("Wi-Fi", "more"),
        },
    )
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    let snapshot = ctx.snapshot();
    let form = CountryForm::of(&snapshot.settings.wifi, &snapshot);
    whole(&ctx, StatusCode::OK, form)
}

pub(crate) async fn save_country(ctx: Ctx) -> PageResult {
    let mut form = CountryForm::typed(&ctx.form);
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/wifi", |status| whole(&ctx, status, form))
}

/// A live part alone, for pages whose stream may not survive a change of channel.
pub(crate) async fn state(ctx: Ctx) -> PageResult {
    use axum::response::{Html, IntoResponse};
    let mut parts = all_parts(&ctx)?;
    parts.retain(|p| p.id == ctx.query.first("part"));
    let part = parts.pop().ok_or_else(|| Failure::not_found("There is no such part."))?;
    Ok(Html(part.html).into_response())
}

fn no_radio() -> Failure {
    Failure::new(
        StatusCode::CONFLICT,
        "Not here",
        "Wi-Fi is not Bramble's affair on this node, so networks can be noted here but not looked \
         for or joined.",
    )
}

pub(crate) async fn networks(ctx: Ctx) -> PageResult {
    let radio = ctx.app.ports.radio.clone().ok_or_else(no_radio)?;
    let found = tokio::time::timeout(SCAN, radio.scan()).await;
    let found = found.unwrap_or_else(|_| {
        Err("the adapter did not answer; unplug it and plug it in again, or restart".to_owned())
    });
    let snapshot = ctx.snapshot();
    let adapters = ctx.app.ports.board.own().system.wifi.unwrap_or_default().adapters;
    let known =
        |ssid: &str| snapshot.settings.wifi.networks.iter().any(|n| n.ssid.as_str() == ssid);
    let (networks, problem) = match found {
        Ok(list) => (list, None),
        Err(why) => (Vec::new(), Some(crate::words::sentence(&why))),
    };
    let mut networks: Vec<SeenView> =
        networks.iter().map(|s| seen(s, &adapters, known(&s.ssid))).collect();
    // Those that can be joined first; each half stays in the order of strength.
    networks.sort_by_key(|n| !n.obstacle.is_empty());
    page(&Networks { shell: ctx.shell("Networks in reach", "more"), networks, problem })
}

fn join_page(ctx: &Ctx, status: StatusCode, form: NetworkForm) -> PageResult {
    let snapshot = ctx.snapshot();
    let networks = &snapshot.settings.wifi.networks;
    let kept =
        networks.iter().any(|n| n.ssid.as_str() == form.ssid.value && !n.passphrase.is_empty());
    let wifi = ctx.app.ports.board.own().system.wifi;
    let stand = stand(lock(&ctx.app.tried).as_ref(), wifi.as_ref());
    // What became of another network is of no interest here.
    let stand = stand.filter(|s| s.ssid() == form.ssid.value);
    let refresh = stand.as_ref().is_some_and(|s| trial(s, &[], Blind::default()).trying);
    let mut parts = all_parts(ctx)?;
    parts.retain(|p| p.id == TRIAL && stand.is_some());
    page_with(
        status,
        &JoinPage {
            parts,
            kept,
            form,
            countries: countries::options(),
            refresh,
            shell: ctx.shell("Join a network", "more"),
        },
    )
}

pub(crate) async fn ask_join(ctx: Ctx) -> PageResult {
    ctx.app.ports.radio.as_ref().ok_or_else(no_radio)?;
    let snapshot = ctx.snapshot();
    let mut form = NetworkForm::default();
    form.ssid.set(ctx.query.first("ssid"));
    form.open.set(ctx.query.first("open"));
    form.hidden.set(ctx.query.first("hidden"));
    form.country.set_option(snapshot.settings.wifi.country.as_ref());
    join_page(&ctx, StatusCode::OK, form)
}

pub(crate) async fn join(ctx: Ctx, headers: HeaderMap) -> PageResult {
    let radio = ctx.app.ports.radio.clone().ok_or_else(no_radio)?;
    let mut form = NetworkForm::typed(&ctx.form);
    let Some((network, country)) = form.wanted(&ctx.snapshot().settings) else {
        return join_page(&ctx, StatusCode::UNPROCESSABLE_ENTITY, form);
    };
    tries::start(&ctx.app, radio, network, country);
    if headers.contains_key("hx-request") {
        // The page stays as it is, with everything that was typed.
        return join_page(&ctx, StatusCode::ACCEPTED, form);
    }
    let tick = |on: bool, name: &str| if on { format!("&{name}=on") } else { String::new() };
    Ok(see(&format!(
        "/wifi/join?ssid={}{}{}",
        encode(&form.ssid.value),
        tick(form.open.on(), "open"),
        tick(form.hidden.on(), "hidden")
    )))
}

fn form_page(ctx: &Ctx, status: StatusCode, form: NetworkForm) -> PageResult {
    let snapshot = ctx.snapshot();
    let kept = snapshot
        .settings
        .wifi
        .networks
        .iter()
        .any(|n| n.ssid.as_str() == form.was && !n.passphrase.is_empty());
    let shell = ctx.shell(if form.head.new { "Add a network" } else { "Wi-Fi network" }, "more");
    page_with(status, &NetworkPage { shell, form, kept })
}

pub(crate) async fn new(ctx: Ctx) -> PageResult {
    let mut form = NetworkForm::default();
    form.head.new = true;
    form.head.base = Base::of(&ctx.snapshot());
    form_page(&ctx, StatusCode::OK, form)
}

pub(crate) async fn edit(ctx: Ctx) -> PageResult {
    let snapshot = ctx.snapshot();
    let ssid = ctx.query.first("ssid");
    let form = NetworkForm::saved(&snapshot.settings.wifi, ssid, &snapshot);
    form_page(&ctx, StatusCode::OK, form.ok_or_else(gone)?)
}

fn gone() -> Failure {
    Failure::not_found("There is no such network any more.")
}

/// Adds a network or changes one: `was` tells which.
pub(crate) async fn save(ctx: Ctx) -> PageResult {
    let mut form = NetworkForm::typed(&ctx.form);
    form.was = ctx.form.first("was").to_owned();
    form.head.new = form.was.is_empty();
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/wifi", |status| form_page(&ctx, status, form))
}

async fn rearrange(
    ctx: &Ctx,
    change: impl FnOnce(&mut Vec<model::WifiNetwork>, usize),
) -> PageResult {
    let ssid = ctx.query.first("ssid");
    let mut wifi = ctx.snapshot().settings.wifi.clone();
    let at = wifi.networks.iter().position(|n| n.ssid.as_str() == ssid).ok_or_else(gone)?;
    change(&mut wifi.networks, at);
    let base = ctx.base().await?;
    let author = ctx.visitor.author();
    let change = Change { base, author, edits: vec![Edit::PutWifi(wifi)] };
    Ok(super::done(ctx.app.ports.control.submit(change).await?, "/wifi"))
}

/// One place up or down in the order.
pub(crate) async fn shift(ctx: Ctx) -> PageResult {
    let up = ctx.form.first("to") == "up";
    rearrange(&ctx, |networks, at| {
        let other = if up { at.checked_sub(1) } else { at.checked_add(1) };
        if let Some(other) = other.filter(|o| *o < networks.len()) {
            networks.swap(at, other);
        }
    })
    .await
}

pub(crate) async fn ask_remove(ctx: Ctx) -> PageResult {
    let snapshot = ctx.snapshot();
    let ssid = ctx.query.first("ssid");
    let wifi = ctx.app.ports.board.own().system.wifi;
    let on_it = wifi.and_then(|w| w.connected).is_some_and(|c| c.ssid == ssid);
    if !snapshot.settings.wifi.networks.iter().any(|n| n.ssid.as_str() == ssid) {
        return Err(gone());
    }
    let mut consequence = "All nodes forget it and its passphrase.".to_owned();
    if on_it {
        consequence.push_str(
            " This board is on it at this moment: without a cable or another network it is out of \
             reach afterwards, but for its setup network.",
        );
    }
    page(&Confirm {
        shell: ctx.shell("Forget", "more"),
        question: format!("Forget {ssid}?"),
        consequence,
        action: format!("/wifi/remove?ssid={}", encode(ssid)),
        back: "/wifi",
        verb: "Forget",
        base: Base::of(&snapshot),
    })
}

pub(crate) async fn remove_now(ctx: Ctx) -> PageResult {
    rearrange(&ctx, |networks, at| {
        networks.remove(at);
    })
    .await
}

/// Does this board need Wi-Fi to be of use: no cable, no network yet, and a radio?
pub(crate) fn suggested(app: &App) -> bool {
    let status = app.ports.board.own();
    let wired = |name: &str| name.starts_with("eth") || name.starts_with("en");
    let cable = status.links.iter().any(|l| l.running && wired(&l.name));
    let joined = status.system.wifi.is_some_and(|w| w.connected.is_some());
    app.ports.radio.is_some() && !cable && !joined
}
