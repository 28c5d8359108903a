//! Style, script and icons, served from memory.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use std::sync::LazyLock;

/// A file and the hash that its address and its ETag carry.
struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    hash: String,
}

macro_rules! asset {
    ($name:literal, $media_type:literal) => {
        Asset::new($name, $media_type, include_bytes!(concat!("../../static/", $name)))
    };
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    vec![
        asset!("bramble.css", "text/css; charset=utf-8"),
        asset!("htmx.min.js", "text/javascript; charset=utf-8"),
        asset!("sse.min.js", "text/javascript; charset=utf-8"),
        asset!("live.js", "text/javascript; charset=utf-8"),
        asset!("icon.svg", "image/svg+xml"),
        asset!("LICENSE-htmx.txt", "text/plain; charset=utf-8"),
        asset!("LICENSE-htmx-ext-sse.txt", "text/plain; charset=utf-8"),
    ]
});

impl Asset {
    fn new(name: &'static str, media_type: &'static str, bytes: &'static [u8]) -> Self {
        let hash = blake3::hash(bytes).to_hex().chars().take(16).collect();
        Self { name, media_type, bytes, hash }
    }
}

/// Where a file is found for as long as it stays the same.
pub(crate) fn url(name: &str) -> String {
    match ASSETS.iter().find(|a| a.name == name) {
        Some(asset) => format!("/static/{}/{name}", asset.hash),
        None => format!("/static/-/{name}"),
    }
}

/// The style sheet, and the hash that tells it from others.
pub(crate) fn style() -> Option<(&'static str, &'static [u8])> {
    let style = ASSETS.iter().find(|a| a.name == "bramble.css")?;
    Some((&style.hash, style.bytes))
}

pub(crate) async fn serve(
    Path((hash, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(asset) = ASSETS.iter().find(|a| a.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let etag = format!("\"{}\"", asset.hash);
    let cached = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let fresh = cached.is_some_and(|c| c.split(',').any(|e| e.trim() == etag));
    // Under another hash it is not what the address promises; then it must be asked for again.
    let caching =
        if hash == asset.hash { "public, max-age=31536000, immutable" } else { "no-cache" };
    let head = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::ETAG, etag.as_str()),
        (header::CACHE_CONTROL, caching),
    ];
    if fresh {
        (StatusCode::NOT_MODIFIED, head).into_response()
    } else {
        (head, asset.bytes).into_response()
    }
}

/// What browsers ask for whatever a page says.
pub(crate) async fn favicon() -> Response {
    axum::response::Redirect::temporary(&url("icon.svg")).into_response()
}
