//! The file mirror: every other web server follows the origin of a site.
//!
//! The origin watches its tree (inotify), lists it to each mirror that connects, and tells what
//! changes as it happens. A mirror compares that with its own tree, which it watches too, asks
//! for what it lacks and becomes equal: content, deletions, permissions, numeric owners, times to
//! the nanosecond, symbolic links as links. Full compares at both ends find what notification
//! missed. A file is replaced in one step: it is written outside the tree, verified, made to
//! last and renamed, so that a visitor or a power cut finds the old one or the new one.
//!
//! Excluded names (rsync's patterns, `filter`) are neither sent nor deleted. A mirror stops, and
//! says so, when its origin's tree is gone, unreadable or empty, and when too many files would be
//! deleted (`guard`); a scan that met any error deletes nothing.
//!
//! Pure: `tree`, `wildmatch`, `filter`, `plan`, `guard`, `pending`, `wire`. The edge of the file
//! system: `root`, `scan`, `watch`, `observer`, `apply`, `serve`. The origin: `origin` (one
//! thread per site) and `session` (one per mirror). The mirror: `follow`, `round`, `arrive` (one
//! thread per site) and `link`. Between both and the settings: `runner`.
//!
//! Not done here: the connection itself, which is authenticated and encrypted by whoever provides
//! [`Transport`]; devices, fifos and sockets; hard links, extended attributes and ACLs; sending
//! only the changed part of a large file; keeping what was deleted.

mod apply;
mod arrive;
mod error;
mod filter;
mod follow;
mod guard;
mod link;
mod live;
mod observer;
mod origin;
mod pending;
mod plan;
mod root;
mod round;
mod runner;
mod scan;
mod serve;
mod session;
mod tree;
mod watch;
mod wildmatch;
mod wire;

pub use runner::{Handle, Options, start};

use model::NodeId;
use std::future::Future;
use std::io;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection to another node.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What [`Transport::open`] gives: a stream, sooner or later.
pub type Opening<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// Connects to other nodes, authenticated and encrypted.
pub trait Transport: Send + Sync + 'static {
    /// Opens a stream to the mirror of another node, which hands it to [`Handle::serve`].
    fn open<'a>(&'a self, to: &'a NodeId) -> Opening<'a>;
}
