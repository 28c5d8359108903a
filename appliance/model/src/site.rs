//! What the web servers serve, and how it is kept the same on all of them.

use crate::text::{Name, NodeId, Pattern, SiteHost};
use crate::units::{Millis, Port};
use serde::{Deserialize, Serialize};

/// The name of the site that exists as soon as there is a web server.
pub const DEFAULT_SITE: &str = "default";

/// One entry of the `sites` section. The site `default` lives in `DIR/site/`, any other in
/// `DIR/sites/NAME/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Site {
    /// Its name; also the name of its directory.
    pub name: Name,
    /// Host names that lead to it. Empty: every host no other site claims.
    pub hosts: Vec<SiteHost>,
    /// The port the web servers listen on.
    pub port: Port,
    /// File names tried in a directory, in order (Apache `DirectoryIndex`).
    pub index: Vec<String>,
    /// How the other web servers follow the origin.
    pub mirror: MirrorPolicy,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            name: Name::default(),
            hosts: Vec::new(),
            port: Port::constant(80),
            index: vec!["index.html".to_owned(), "index.htm".to_owned()],
            mirror: MirrorPolicy::default(),
        }
    }
}

/// How a site is mirrored from its origin to the other web servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MirrorPolicy {
    /// Off: every web server keeps what it has.
    pub enabled: bool,
    /// Where files are edited; none: the first web server.
    pub origin: Option<NodeId>,
    /// rsync exclude patterns: neither sent nor deleted.
    pub exclude: Vec<Pattern>,
    /// Time between full compares, which find what notification missed.
    pub full_compare: Millis,
}

impl Default for MirrorPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            origin: None,
            exclude: Vec::new(),
            full_compare: Millis::seconds(300),
        }
    }
}
