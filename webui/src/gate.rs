//! Who may ask for what. Everything is closed unless it is listed here.

use crate::app::{App, lock, now_unix};
use crate::audit;
use crate::csrf;
use crate::error::Failure;
use crate::host;
use crate::pages::stats;
use crate::password::USER;
use crate::session::{self, SignedIn, Use};
use crate::tokens;
use crate::upload;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use futures_util::StreamExt;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use model::audit::Actor;
use model::token::Scope;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tower_sessions::{Expiry, Session};

/// The other end of the connection. Never taken from a header: those can say anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The address of ours that the connection came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local(pub(crate) SocketAddr);

/// Who asks, once the gate let them in.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    /// From where.
    pub(crate) address: IpAddr,
    /// The token of this visitor's forms.
    pub(crate) csrf: String,
    /// Signed in on the page (and not merely with a program's credential).
    pub(crate) session: bool,
    /// The password itself was given in the last minutes; see [`crate::pages::again`].
    pub(crate) proven: bool,
    /// As the audit log names them.
    pub(crate) actor: Actor,
    /// May look and change nothing.
    pub(crate) read_only: bool,
}

impl Visitor {
    pub(crate) fn author(&self) -> control::Author {
        control::Author::Operator(self.address.to_string())
    }
}

/// The whole body of a request that may change something.
#[derive(Clone, Debug, Default)]
pub(crate) struct WholeBody(pub(crate) Bytes);

/// Largest bodies: of a form, of a settings document, and of a backup.
const FORM: usize = 64 * 1024;
const SETTINGS: usize = model::MAX_DOCUMENT;
/// A backup with the form around it.
const BACKUP: usize = crate::backup::LARGEST + 8 * 1024;
/// How much of a body that is too large is read and dropped, so that its sender reads our answer.
const DROPPED: usize = 16 * 1024 * 1024;
/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(10);

enum Door {
    /// Everyone, nothing asked.
    Open,
    /// Everyone, with a form that carries a visitor's token.
    SignIn,
    /// Browsers with a session.
    Page,
    /// Sessions, and programs with a password.
    Program,
}

fn door(uri: &http::Uri, settings: &model::Settings) -> Door {
    let path = uri.path();
    match path {
        "/healthz" | "/favicon.ico" => Door::Open,
        "/login" | "/claim" | "/claim/asked" => Door::SignIn,
        "/metrics" | "/stats" => Door::Program,
        _ if path.starts_with("/static/") => Door::Open,
        _ if stats::rest(uri, settings).is_some() => Door::Program,
        _ if path.starts_with("/stats;") || path.starts_with("/api/") => Door::Program,
        _ => Door::Page,
    }
}

/// The outermost check: is the page opened under a name of ours?
pub(crate) async fn known_host(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(authority) = host::authority(request.uri(), request.headers()) else {
        return Failure::new(
            StatusCode::BAD_REQUEST,
            "No host name",
            "The request says not, or not clearly, under which name this page was opened.",
        )
        .into_response();
    };
    let name = host::name_of(authority);
    // A monitor asks for /healthz under whatever name it knows; there is nothing to protect.
    if request.uri().path() != "/healthz" && !host::allowed(name, &app.snapshot().settings) {
        let short: String = name.chars().take(80).collect();
        return Failure::new(
            StatusCode::MISDIRECTED_REQUEST,
            "Unknown name",
            format!(
                "This page was opened under the name {short:?}, which this node does not know. \
                 Open it by its IP address, for example http://192.168.1.14:1936, by its host name, \
                 or by its host name with .local. To use this name, sign in that way and add it \
                 under More, Admin page."
            ),
        )
        .into_response();
    }
    next.run(request).await
}

/// Lets a request in, or answers it.
pub(crate) async fn gate(
    State(app): State<App>,
    session: Session,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let address = parts
        .extensions
        .get::<Peer>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |p| p.0.ip().to_canonical());
    let door = door(&parts.uri, &app.snapshot().settings);
    if let Door::Open = door {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let safe = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let host = host::authority(&parts.uri, &parts.headers).unwrap_or_default();
    if !safe && !csrf::same_origin(&parts.headers, host) {
        return Failure::forbidden(
            "This request came from another site's page. If you meant it, open the admin page \
             itself and do it there.",
        )
        .into_response();
    }
    let visitor = match let_in(&app, &session, &parts, &door, address).await {
        Ok(visitor) => visitor,
        Err(answer) => return answer,
    };
    let mut body = body;
    if upload::is_one(&parts.method, &path) {
        if visitor.read_only {
            return only_reads(&path);
        }
        let (token, source) = match upload::open(&parts.headers, body).await {
            Ok(opened) => opened,
            Err(refused) => return crate::pages::firmware::refusal(&refused).into_response(),
        };
        if visitor.session && !csrf::equal(&token, &visitor.csrf) {
            upload::drop_rest(source).await;
            return too_old();
        }
        parts.extensions.insert(upload::Incoming::new(source));
        body = Body::empty();
    } else if !safe {
        let whole = match whole_body(&path, body).await {
            Ok(whole) => whole,
            Err(answer) => return answer,
        };
        if visitor.read_only {
            return only_reads(&path);
        }
        let token = if upload::is_small(&parts.method, &path, &parts.headers) {
            let fields = upload::Fields::of(&parts.headers, whole.clone()).await;
            let token = fields.text(csrf::FIELD);
            parts.extensions.insert(fields);
            token
        } else {
            token_of(&parts.headers, &whole)
        };
        let holds = match (&door, visitor.session) {
            (Door::SignIn, _) => app.visitor_token_holds(address, &token),
            (_, true) => csrf::equal(&token, &visitor.csrf),
            (_, false) => true,
        };
        if !holds {
            return too_old();
        }
        parts.extensions.insert(WholeBody(whole));
        body = Body::empty();
    }
    parts.extensions.insert(visitor);
    next.run(Request::from_parts(parts, body)).await
}

fn only_reads(path: &str) -> Response {
    let text = "this token may only read; make one for everything to change something";
    if path.starts_with("/api/") {
        return crate::api::refused(StatusCode::FORBIDDEN, text);
    }
    Failure::forbidden(crate::words::sentence(text)).into_response()
}

fn too_old() -> Response {
    Failure::forbidden(
        "This form is too old or did not come from this page, so nothing was changed. Go back, \
         reload the page and try again.",
    )
    .into_response()
}

async fn let_in(
    app: &App,
    session: &Session,
    request: &Parts,
    door: &Door,
    address: IpAddr,
) -> Result<Visitor, Response> {
    let stored = app.password_hash().await.map_err(|e| {
        Failure::inside(format!("the password cannot be read: {e}")).into_response()
    })?;
    let newcomer = || Visitor {
        address,
        csrf: app.visitor_token(address),
        session: false,
        proven: false,
        actor: Actor::Visitor { address },
        read_only: false,
    };
    let path = request.uri.path();
    let Some(stored) = stored else {
        return match door {
            Door::SignIn if path != "/login" => Ok(newcomer()),
            Door::Program if !wants_page(request) => {
                Err(unauthorized("this node has no password yet; open the page"))
            }
            _ => Err(lead_to(request, "/claim")),
        };
    };
    if let Door::SignIn = door {
        return if path == "/login" { Ok(newcomer()) } else { Err(lead_to(request, "/login")) };
    }
    let counts = !stats::loads_itself(&request.uri, &app.snapshot().settings);
    if let Some(signed_in) = resume(app, session, &session::fingerprint(&stored), counts).await {
        let proven = signed_in.proven_lately(now_unix());
        let id = session.id().map(|id| id.to_string()).unwrap_or_default();
        let actor = Actor::Session { session: model::session::short(&id), address };
        let csrf = signed_in.csrf;
        return Ok(Visitor { address, csrf, session: true, proven, actor, read_only: false });
    }
    if let Door::Program = door {
        if let Some(given) = request.headers.get(header::AUTHORIZATION) {
            let (actor, read_only) = credential(app, given, &stored, address).await?;
            let csrf = String::new();
            // What asks for the password once more is for people; a program has given all it has.
            return Ok(Visitor { address, csrf, session: false, proven: true, actor, read_only });
        }
        if !wants_page(request) || path.starts_with("/api/") {
            return Err(unauthorized(""));
        }
    }
    Err(lead_to(request, "/login"))
}

/// The session of the cookie, if it is one and not over. Also keeps it alive, where this counts as
/// use of it.
pub(crate) async fn resume(
    app: &App,
    session: &Session,
    credential: &str,
    counts: bool,
) -> Option<SignedIn> {
    let mut signed_in = session.get::<SignedIn>(session::KEY).await.ok()??;
    let admin = app.snapshot().settings.admin.clone();
    let seconds = |m: model::Millis| i64::from(m.0 / 1000);
    let idle = seconds(admin.session_idle);
    let now = now_unix();
    match signed_in.judge(now, idle, seconds(admin.session_max), credential) {
        Use::Fine => {}
        Use::WriteDown if !counts => {}
        Use::WriteDown => {
            // Only here: setting it makes tower-sessions write the session down.
            session.set_expiry(Some(Expiry::OnInactivity(time::Duration::seconds(idle))));
            signed_in.seen = now;
            session.insert(session::KEY, &signed_in).await.ok()?;
        }
        // It is not ended: that would end it on the nodes that know of a later use or of an
        // older password as well. Each node forgets it when its time is over.
        Use::Over => return None,
    }
    Some(signed_in)
}

/// Whose the credential of an `Authorization` is, and whether they may only look.
pub(crate) async fn credential(
    app: &App,
    given: &HeaderValue,
    stored: &str,
    address: IpAddr,
) -> Result<(Actor, bool), Response> {
    if let Some(token) = bearer(given) {
        return with_token(app, token, address).await;
    }
    program(app, given, stored, address).await?;
    Ok((Actor::Password { address }, false))
}

/// A program's `Authorization: Basic`.
async fn program(
    app: &App,
    given: &HeaderValue,
    stored: &str,
    address: IpAddr,
) -> Result<(), Response> {
    let Some(password) = basic_password(given) else {
        return Err(unauthorized(""));
    };
    if lock(&app.remembered).is(&app.key, &password, stored) {
        return Ok(());
    }
    let turn = lock(&app.throttle).attempt(address, Instant::now());
    turn.map_err(|wait| too_many(wait, ""))?;
    match app.hasher.verify(&password, stored).await {
        Err(_) => {
            lock(&app.throttle).withdrawn(address);
            Err(too_many(Duration::from_secs(2), ""))
        }
        Ok(false) => {
            audit::failed(app, address).await;
            Err(unauthorized(""))
        }
        Ok(true) => {
            lock(&app.throttle).succeeded(address);
            lock(&app.remembered).remember(&app.key, &password, stored);
            Ok(())
        }
    }
}

/// A program's `Authorization: Bearer`. Looking a token up is cheap, so that only wrong ones wait.
async fn with_token(app: &App, token: &str, address: IpAddr) -> Result<(Actor, bool), Response> {
    let tokens = app
        .tokens()
        .await
        .map_err(|e| Failure::inside(format!("the tokens cannot be read: {e}")).into_response())?;
    if let Some(known) = tokens::find(&tokens, token) {
        lock(&app.tokens_used).insert(known.name.to_string(), Instant::now());
        let actor = Actor::Token { name: known.name.to_string(), address };
        return Ok((actor, known.scope == Scope::Read));
    }
    let turn = lock(&app.throttle).attempt(address, Instant::now());
    turn.map_err(|wait| too_many(wait, ""))?;
    audit::failed(app, address).await;
    Err(unauthorized(""))
}

fn bearer(given: &HeaderValue) -> Option<&str> {
    let (scheme, rest) = given.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
}

fn basic_password(given: &HeaderValue) -> Option<String> {
    let (scheme, rest) = given.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || rest.len() > 1024 {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    (user == USER).then(|| password.to_owned())
}

fn wants_page(request: &Parts) -> bool {
    let accept = request.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    accept.is_some_and(|a| a.contains("text/html"))
}

/// Sends a browser somewhere else, and tells everything else that it is not signed in.
fn lead_to(request: &Parts, to: &str) -> Response {
    let mut response = if request.headers.contains_key("hx-request") {
        StatusCode::UNAUTHORIZED.into_response()
    } else if wants_page(request) {
        let path = request.uri.path_and_query().map_or("/", |p| p.as_str());
        let somewhere = !["/", "/claim", "/claim/asked"].contains(&path);
        if to == "/login" && request.method == Method::GET && somewhere {
            Redirect::to(&format!("/login?next={}", encode(path))).into_response()
        } else {
            Redirect::to(to).into_response()
        }
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        if let Ok(to) = HeaderValue::from_str(to) {
            response.headers_mut().insert("hx-redirect", to);
        }
    }
    response
}

/// Percent-encodes a path for use as a query parameter's value.
pub(crate) fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~;:".contains(&b);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

pub(crate) fn unauthorized(text: &'static str) -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, model::ADMIN_CHALLENGE)];
    (StatusCode::UNAUTHORIZED, challenge, text).into_response()
}

pub(crate) fn too_many(wait: Duration, text: &str) -> Response {
    let seconds = wait.as_secs().max(1).to_string();
    let head = [(header::RETRY_AFTER, seconds)];
    (StatusCode::TOO_MANY_REQUESTS, head, text.to_owned()).into_response()
}

async fn whole_body(path: &str, body: Body) -> Result<Bytes, Response> {
    let limit = match path {
        "/api/v1/settings" => SETTINGS,
        "/backup/open" => BACKUP,
        _ => FORM,
    };
    match tokio::time::timeout(BODY_TIME, collect(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(Unusable::CutOff)) => Err(StatusCode::BAD_REQUEST.into_response()),
        Ok(Err(Unusable::TooLarge)) => Err(Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Too large",
            format!("At most {limit} bytes are taken here. Nothing was changed."),
        )
        .into_response()),
        Err(_) => Err(Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            "Too slow",
            "The request did not arrive in time. Nothing was changed.",
        )
        .into_response()),
    }
}

enum Unusable {
    CutOff,
    TooLarge,
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, Unusable> {
    let mut stream = body.into_data_stream();
    let (mut kept, mut seen) = (Vec::new(), 0_usize);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Unusable::CutOff)?;
        seen += chunk.len();
        if seen <= limit {
            kept.extend_from_slice(&chunk);
        } else {
            kept = Vec::new();
            if seen > DROPPED {
                break;
            }
        }
    }
    if seen <= limit { Ok(kept.into()) } else { Err(Unusable::TooLarge) }
}

fn token_of(headers: &HeaderMap, body: &[u8]) -> String {
    if let Some(token) = headers.get(csrf::HEADER).and_then(|v| v.to_str().ok()) {
        return token.to_owned();
    }
    let form = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    if !form.is_some_and(|t| t.starts_with("application/x-www-form-urlencoded")) {
        return String::new();
    }
    crate::forms::Pairs::parse(body).first(csrf::FIELD).to_owned()
}
