//! A file on its way in: from the connection straight into a file, never whole in memory.
//!
//! It comes as the whole body (programs, and the page with its script) or as a field of a
//! multipart form (RFC 7578; the page without a script). In the form the token comes first, so
//! that the gate can judge the request before a byte of the file is written.

use crate::csrf;
use axum::body::{Body, BodyDataStream, Bytes};
use futures_util::StreamExt;
use http::{HeaderMap, Method, header};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// The largest bundle: a slot has 64 MiB.
pub(crate) const LARGEST: u64 = 80 * 1024 * 1024;
/// What a form may have around the file.
const AROUND: u64 = 16 * 1024;
/// The sender may pause so long.
const PAUSE: Duration = Duration::from_secs(30);
/// And take so long altogether; the slowest Wi-Fi is faster.
const WHOLE: Duration = Duration::from_secs(20 * 60);
/// What is read and dropped of a refused file, so that its sender reads the answer.
const DROPPED: u64 = 16 * 1024 * 1024;

/// Where a file comes from.
pub(crate) enum Source {
    /// The whole body.
    Raw(BodyDataStream),
    /// The field of a form.
    Field(multer::Field<'static>),
    /// A form without a file.
    Nothing,
}

/// The place where the gate leaves a source for the page to take.
#[derive(Clone)]
pub(crate) struct Incoming(Arc<Mutex<Option<Source>>>);

impl Incoming {
    pub(crate) fn new(source: Source) -> Self {
        Self(Arc::new(Mutex::new(Some(source))))
    }

    pub(crate) fn take(&self) -> Option<Source> {
        crate::app::lock(&self.0).take()
    }
}

/// Requests whose body is a file.
pub(crate) fn is_one(method: &Method, path: &str) -> bool {
    matches!((method, path), (&Method::POST, "/firmware") | (&Method::PUT, "/api/v1/firmware"))
}

/// Requests whose body is a form with a small file, which is kept in memory.
pub(crate) fn is_small(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let here = path == "/backup/open" || path.starts_with("/balancing/certificates/");
    method == Method::POST && here && kind.is_some_and(|k| k.starts_with("multipart/form-data"))
}

/// The fields of such a form, the first of each name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Arc<BTreeMap<String, Bytes>>);

impl Fields {
    /// Fields of a form at most; the rest is not looked at.
    const MOST: usize = 8;

    /// Reads a whole multipart form. What cannot be read is left out: the page misses it.
    pub(crate) async fn of(headers: &HeaderMap, body: Bytes) -> Self {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let Ok(boundary) = multer::parse_boundary(kind.unwrap_or_default()) else {
            return Self::default();
        };
        let stream = Body::from(body).into_data_stream();
        let mut form = multer::Multipart::new(stream, boundary);
        let mut fields = BTreeMap::new();
        for _ in 0..Self::MOST {
            let Ok(Some(field)) = form.next_field().await else { break };
            let Some(name) = field.name().map(str::to_owned) else { continue };
            let Ok(value) = field.bytes().await else { break };
            fields.entry(name).or_insert(value);
        }
        Self(Arc::new(fields))
    }

    /// A field's bytes; none where there is no such field.
    pub(crate) fn bytes(&self, name: &str) -> Bytes {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// A field as text; empty where it is none.
    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name).into()).unwrap_or_default()
    }
}

/// The token a request carries, and where its file comes from.
pub(crate) async fn open(headers: &HeaderMap, body: Body) -> Result<(String, Source), Refused> {
    let in_head = headers.get(csrf::HEADER).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let Ok(boundary) = multer::parse_boundary(kind) else {
        return Ok((in_head.unwrap_or_default(), Source::Raw(body.into_data_stream())));
    };
    let sizes = multer::SizeLimit::new().whole_stream(LARGEST + AROUND).for_field(csrf::FIELD, 200);
    let limits = multer::Constraints::new().size_limit(sizes);
    let mut form = multer::Multipart::with_constraints(body.into_data_stream(), boundary, limits);
    let mut token = in_head;
    // The token, the file, and nothing of interest beside them.
    for _ in 0..4 {
        let field = tokio::time::timeout(PAUSE, form.next_field()).await;
        let Some(field) = field.map_err(|_| Refused::Slow)?.map_err(Refused::of)? else {
            return Ok((token.unwrap_or_default(), Source::Nothing));
        };
        match field.name() {
            Some(csrf::FIELD) => {
                let text = tokio::time::timeout(PAUSE, field.text()).await;
                let text = text.map_err(|_| Refused::Slow)?.map_err(Refused::of)?;
                token.get_or_insert(text);
            }
            Some("file") => return Ok((token.unwrap_or_default(), Source::Field(field))),
            _ => {}
        }
    }
    Ok((token.unwrap_or_default(), Source::Nothing))
}

/// Why a file did not arrive.
#[derive(Debug)]
pub(crate) enum Refused {
    CutOff,
    Slow,
    TooLarge,
    Nothing,
    Disk(std::io::Error),
}

impl Refused {
    fn of(error: multer::Error) -> Self {
        match error {
            multer::Error::FieldSizeExceeded { .. } | multer::Error::StreamSizeExceeded { .. } => {
                Self::TooLarge
            }
            _ => Self::CutOff,
        }
    }

    /// For the operator.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::CutOff => {
                "The file did not arrive whole: the connection was cut off. Nothing was changed; \
                 send it again."
                    .to_owned()
            }
            Self::Slow => "The file stopped arriving, so the transfer was given up. Nothing was \
                           changed; come closer to the network and send it again."
                .to_owned(),
            Self::TooLarge => format!(
                "This file has more than {} MiB, which no firmware has. Nothing was changed; \
                 choose the file that ends in .bramble.",
                LARGEST / 1024 / 1024
            ),
            Self::Nothing => {
                "There was no file. Choose the one that ends in .bramble, then send it.".to_owned()
            }
            Self::Disk(error) => format!(
                "The file could not be kept in memory: {error}. Nothing was changed; restart the \
                 board and try again."
            ),
        }
    }
}

/// The file being written; gone again unless it became whole.
struct Partial<'a> {
    path: &'a Path,
    whole: bool,
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if !self.whole {
            remove(self.path);
        }
    }
}

/// Removes a file that may be there.
pub(crate) fn remove(path: &Path) {
    // In memory, at once; that it is not there is as good.
    let _ = fs::remove_file(path);
}

/// Writes the file, telling how many bytes there are so far.
pub(crate) async fn receive(
    mut source: Source,
    path: PathBuf,
    told: impl Fn(u64),
) -> Result<u64, Refused> {
    let arrived = tokio::time::timeout(WHOLE, write(&mut source, &path, told)).await;
    let arrived = arrived.unwrap_or(Err(Refused::Slow));
    if let Err(Refused::TooLarge | Refused::Disk(_)) = arrived {
        drop_rest(source).await;
    }
    arrived
}

async fn write(source: &mut Source, path: &Path, told: impl Fn(u64)) -> Result<u64, Refused> {
    remove(path);
    let mut partial = Partial { path, whole: false };
    let mut options = tokio::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.await.map_err(Refused::Disk)?;
    let mut size = 0_u64;
    loop {
        let chunk =
            tokio::time::timeout(PAUSE, next(source)).await.map_err(|_| Refused::Slow)??;
        let Some(chunk) = chunk else { break };
        size += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        if size > LARGEST {
            return Err(Refused::TooLarge);
        }
        file.write_all(&chunk).await.map_err(Refused::Disk)?;
        told(size);
    }
    file.flush().await.map_err(Refused::Disk)?;
    if size == 0 {
        return Err(Refused::Nothing);
    }
    partial.whole = true;
    Ok(size)
}

async fn next(source: &mut Source) -> Result<Option<Bytes>, Refused> {
    match source {
        Source::Raw(stream) => stream.next().await.transpose().map_err(|_| Refused::CutOff),
        Source::Field(field) => field.chunk().await.map_err(Refused::of),
        Source::Nothing => Ok(None),
    }
}

/// Reads on for a while without keeping anything.
pub(crate) async fn drop_rest(mut source: Source) {
    let dropping = async {
        let mut seen = 0;
        while let Ok(Some(chunk)) = next(&mut source).await {
            seen += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            if seen > DROPPED {
                break;
            }
        }
    };
    // A sender that is slower than this finds its connection closed.
    let _ = tokio::time::timeout(Duration::from_secs(10), dropping).await;
}
