//! Which address leads where.

use crate::app::App;
use crate::pages::balancing::{self, backends, certificates, frontends, servers};
use crate::pages::notices;
use crate::pages::{
    account, admin, again, audit, backup, board, cluster, diagnostics, failover, firmware, history,
    log, more, nodes, overview, sessions, sites, stats, tokens, wifi,
};
use crate::pages::{conflicts, found, network, node, roles};
use crate::{api, assets, gate, headers, health, live, session};
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, patch, post};

/// Every page and resource, behind the gate.
pub(crate) fn routes(app: &App) -> Router {
    Router::new()
        .merge(pages())
        .merge(resources())
        .fallback(stats::fallback)
        .layer(from_fn_with_state(app.clone(), gate::gate))
        .layer(session::layer(app.store.clone()))
        .layer(from_fn_with_state(app.clone(), gate::known_host))
        .layer(from_fn(headers::secure))
        .with_state(app.clone())
}

fn pages() -> Router<App> {
    Router::new()
        .route("/", get(overview::show))
        .route("/events", get(live::events))
        .route("/claim", get(account::claim).post(account::claim_now))
        .route("/claim/asked", get(account::asked_now))
        .route("/login", get(account::login).post(account::login_now))
        .route("/logout", post(account::logout))
        .route("/password", get(account::password).post(account::password_now))
        .route("/again", get(again::show).post(again::prove))
        .route("/sessions", get(sessions::show))
        .route("/sessions/end", post(sessions::end))
        .route("/sessions/end-all", post(sessions::end_all))
        .route("/tokens", get(tokens::show).post(tokens::make))
        .route("/tokens/{name}/remove", post(tokens::remove))
        .route("/admin", get(admin::edit).post(admin::save))
        .route("/audit", get(audit::show))
        .route("/backup", get(backup::show))
        .route("/backup/make", post(backup::make))
        .route("/backup/open", post(backup::open))
        .route("/backup/restore", post(backup::restore))
        .route("/diagnostics", get(diagnostics::show))
        .route("/more", get(more::show))
        .route("/notices/{name}/dismiss", post(notices::dismiss))
        .route("/nodes", get(nodes::list).post(nodes::add))
        .route("/nodes/new", get(nodes::new))
        .route("/nodes/{id}", get(node::show).post(nodes::save))
        .route("/nodes/{id}/edit", get(nodes::edit))
        .route("/cluster", get(cluster::edit).post(cluster::save))
        .route("/balancing", get(balancing::show))
        .route("/balancing/servers/{backend}/{server}", post(servers::set))
        .route("/balancing/frontends/new", get(frontends::new).post(frontends::add))
        .route("/balancing/frontends/{name}", get(frontends::edit).post(frontends::save))
        .route(
            "/balancing/frontends/{name}/remove",
            get(frontends::ask_remove).post(frontends::remove_now),
        )
        .route("/balancing/certificates", get(certificates::list))
        .route("/balancing/certificates/new", get(certificates::new).post(certificates::add))
        .route("/balancing/certificates/{name}", get(certificates::edit).post(certificates::save))
        .route(
            "/balancing/certificates/{name}/remove",
            get(certificates::ask_remove).post(certificates::remove_now),
        )
        .route("/balancing/backends/new", get(backends::new).post(backends::add))
        .route("/balancing/backends/{name}", get(backends::edit).post(backends::save))
        .route(
            "/balancing/backends/{name}/remove",
            get(backends::ask_remove).post(backends::remove_now),
        )
        .route("/balancing/backends/{name}/servers/new", get(servers::new).post(servers::add))
        .route(
            "/balancing/backends/{name}/servers/{server}",
            get(servers::edit).post(servers::save),
        )
        .route("/balancing/backends/{name}/servers/{server}/remove", post(servers::remove_now))
        .route("/failover", get(failover::show))
        .route("/failover/new", get(failover::new).post(failover::add))
        .route("/failover/{name}", post(failover::start))
        .route("/failover/{name}/edit", get(failover::edit).post(failover::save))
        .route("/failover/{name}/remove", get(failover::ask_remove).post(failover::remove_now))
        .route("/sites", get(sites::list))
        .route("/sites/new", get(sites::new).post(sites::add))
        .route("/sites/{name}", get(sites::edit).post(sites::save))
        .route("/sites/{name}/remove", get(sites::ask_remove).post(sites::remove_now))
        .route("/sites/{name}/approve", get(sites::ask_approve).post(sites::approve_now))
        .route("/history", get(history::show))
        .route("/history/{revision}/revert", post(history::revert))
        .route("/history/{revision}/undo", post(history::undo))
        .route("/stats", get(stats::show).post(stats::post))
        .merge(board_pages())
        .merge(cluster_pages())
}

/// How boards come into the cluster and what becomes of it.
fn cluster_pages() -> Router<App> {
    Router::new()
        .route("/found", get(found::show))
        .route("/found/look", post(found::look))
        .route("/found/adopt", post(found::adopt))
        .route("/found/confirm", post(found::confirm))
        .route("/found/cancel", post(found::cancel))
        .route("/found/blink", post(found::blink))
        .route("/nodes/{id}/state", get(node::state))
        .route("/nodes/{id}/drain", post(node::drain))
        .route("/nodes/{id}/ready", post(node::ready))
        .route("/nodes/{id}/blink", post(node::blink))
        .route("/nodes/{id}/log", get(node::log))
        .route("/nodes/{id}/replace", get(node::replace))
        .route("/nodes/{id}/remove", get(node::ask_remove).post(node::remove))
        .route("/nodes/{id}/do/{order}", get(node::ask).post(node::obey))
        .route("/nodes/{id}/failover/{name}", get(node::ask_failover).post(node::failover))
        .route("/conflicts", get(conflicts::show))
        .route("/conflicts/resolve", post(conflicts::resolve))
        .route("/conflicts/decide", post(conflicts::decide))
        .route("/network", get(network::show))
        .route("/network/keep", post(network::keep))
        .route("/roles", get(roles::show).post(roles::save))
        .route("/roles/applied", get(roles::progress_page))
}

/// The board under this node.
fn board_pages() -> Router<App> {
    Router::new()
        .route("/board", get(board::show))
        .route("/board/blink", post(board::blink))
        .route("/board/reboot", get(board::ask_reboot).post(board::reboot))
        .route("/board/poweroff", get(board::ask_power_off).post(board::power_off))
        .route("/board/reset", get(board::ask_reset).post(board::reset))
        .route("/firmware", get(firmware::show).post(firmware::install))
        .route("/log", get(log::show))
        .route("/log/lines", get(log::lines))
        .route("/log.txt", get(log::text))
        .route("/wifi", get(wifi::show).post(wifi::save_country))
        .route("/wifi/state", get(wifi::state))
        .route("/wifi/networks", get(wifi::networks))
        .route("/wifi/join", get(wifi::ask_join).post(wifi::join))
        .route("/wifi/new", get(wifi::new))
        .route("/wifi/edit", get(wifi::edit).post(wifi::save))
        .route("/wifi/move", post(wifi::shift))
        .route("/wifi/remove", get(wifi::ask_remove).post(wifi::remove_now))
}

fn resources() -> Router<App> {
    Router::new()
        .route("/static/{hash}/{name}", get(assets::serve))
        .route("/favicon.ico", get(assets::favicon))
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(stats::metrics))
        .route("/api/v1/settings", get(api::settings::get).put(api::settings::put))
        .route("/api/v1/status", get(api::status::get))
        .route("/api/v1/charts", get(api::charts::charts))
        .route("/api/v1/paths", get(api::charts::paths))
        .route("/api/v1/backends/{backend}/servers/{server}", patch(api::servers::patch))
        .route("/api/v1/vrrp/{name}/failover", post(api::failover::post))
        .route("/api/v1/sites/{name}/approve", post(api::sites::approve_now))
        .route("/api/v1/firmware", get(api::firmware::get).put(api::firmware::put))
        .route("/api/v1/log", get(api::log::get))
        .route("/api/v1/network/keep", post(api::network::keep_now))
        .route("/api/v1/audit", get(api::audit::get))
        .route("/api/v1/nodes/{node}/log", get(api::nodes::log))
        .route("/api/v1/nodes/{node}/blink", post(api::nodes::blink))
        .route("/api/v1/nodes/{node}/reboot", post(api::nodes::reboot))
        .route("/api/v1/nodes/{node}/poweroff", post(api::nodes::power_off))
        .route("/api/v1/reboot", post(api::board::reboot))
        .route("/api/v1/poweroff", post(api::board::power_off))
        .route("/api/v1/factory-reset", post(api::board::factory_reset))
        .route("/api/v1/test/{how}", post(api::board::fail))
}
