//! What the `lab` command can ask of a running lab, over the socket its `lab up` listens on:
//! one order as a line of JSON, one reply as a line of JSON.

use crate::error::{Doing, Error, Result};
use crate::lab::Lab;
use crate::network::{LINKS, NODES};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "lowercase")]
pub enum Order {
    /// What is there and how it is.
    Status,
    /// Where a command for this place is to run.
    Place {
        /// A node, `client` or `router`.
        name: String,
    },
    /// SIGKILL to a node's appliance.
    Kill {
        /// The node.
        node: String,
    },
    /// SIGTERM to a node's appliance.
    Stop {
        /// The node.
        node: String,
    },
    /// Starts a node's appliance.
    Start {
        /// The node.
        node: String,
    },
    /// Cuts a node's power or gives it back.
    Power {
        /// The node.
        node: String,
        /// Gives it back.
        on: bool,
    },
    /// Pulls or plugs a cable.
    Link {
        /// The node.
        node: String,
        /// `eth0` or `wlan0`.
        link: String,
        /// Plugs it.
        up: bool,
    },
    /// Splits the switch in two.
    Partition {
        /// Who stays with the router, the client and whoever is not named.
        near: Vec<String>,
        /// Who is cut off.
        far: Vec<String>,
    },
    /// Makes the switch whole again.
    Heal,
}

/// A reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// What went wrong.
    pub error: Option<String>,
    /// For people.
    pub text: String,
    /// Of [`Order::Place`]: the namespace to enter.
    pub space: Option<String>,
    /// Of [`Order::Place`]: the process whose namespaces to enter instead.
    pub pid: Option<u32>,
}

/// Carries out orders until the process ends. `about` is printed above the status.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve(lab: Arc<Lab>, about: String) -> Result<()> {
    let path = lab.record().socket();
    let listener =
        UnixListener::bind(&path).doing(|| format!("listening on {}", path.display()))?;
    thread::Builder::new()
        .name("lab-orders".to_owned())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                // The next order may come; this one's author went away.
                let _ = answer(&lab, &about, &stream);
            }
        })
        .doing(|| "starting a thread".to_owned())
        .map(drop)
}

fn answer(lab: &Lab, about: &str, mut stream: &UnixStream) -> Result<()> {
    let patience = Some(Duration::from_secs(2));
    stream.set_read_timeout(patience).doing(|| "reading an order".to_owned())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).doing(|| "reading an order".to_owned())?;
    let reply = serde_json::from_str(&line)
        .map_err(|e| Error::other(format!("no order: {e}")))
        .and_then(|order| carry_out(lab, about, order))
        .unwrap_or_else(|e| Reply { error: Some(e.to_string()), ..Reply::default() });
    let text = serde_json::to_string(&reply).unwrap_or_default();
    writeln!(stream, "{text}").doing(|| "replying".to_owned())
}

/// Gives an order to the lab behind a socket.
///
/// # Errors
/// When nobody listens there, or the order fails.
pub fn give(socket: &Path, order: &Order) -> Result<Reply> {
    let what = || "talking to the lab".to_owned();
    let mut stream = UnixStream::connect(socket).doing(what)?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).doing(what)?;
    let text = serde_json::to_string(order).unwrap_or_default();
    writeln!(stream, "{text}").doing(what)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).doing(what)?;
    let reply: Reply = serde_json::from_str(&line)
        .map_err(|e| Error::other(format!("no reply of the lab: {e}")))?;
    match reply.error {
        Some(error) => Err(Error::Other(error)),
        None => Ok(reply),
    }
}

fn carry_out(lab: &Lab, about: &str, order: Order) -> Result<Reply> {
    match order {
        Order::Status => {
            let text = format!("{about}{}", status(lab));
            return Ok(Reply { text, ..Reply::default() });
        }
        Order::Place { name } => return place(lab, &name),
        Order::Kill { node } => drop(lab.node(&node).kill()?),
        Order::Stop { node } => drop(lab.node(&node).stop()?),
        Order::Start { node } => lab.node(&node).start()?,
        Order::Power { node, on } => lab.node(&node).power(on)?,
        Order::Link { node, link, up } => lab.node(&node).link(&link, up)?,
        Order::Partition { near, far } => lab.network().partition(&near, &far)?,
        Order::Heal => lab.network().heal()?,
    }
    Ok(Reply::default())
}

fn place(lab: &Lab, name: &str) -> Result<Reply> {
    let space = Some(lab.network().space(name).name().to_owned());
    if name == "client" || name == "router" {
        return Ok(Reply { space, ..Reply::default() });
    }
    let node = lab.node(name);
    if !NODES.contains(&name) {
        let text = format!("there is no {name:?}; there are {}, client, router", NODES.join(", "));
        return Err(Error::Other(text));
    }
    if !node.powered() {
        return Err(Error::other(format!("{name} has no power")));
    }
    Ok(Reply { space, pid: node.pid(), ..Reply::default() })
}

/// A table for people.
fn status(lab: &Lab) -> String {
    let mut text = format!("data:  {}\n\n", lab.state().display());
    text.push_str("NODE      POWER  PROCESS  ETH0                             WLAN0\n");
    for name in NODES {
        let node = lab.node(name);
        let power = if node.powered() { "on" } else { "off" };
        let process = node.pid().map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let [eth, wlan] = LINKS.map(|link| node.addresses(link).join(" "));
        text.push_str(format!("{name:9} {power:6} {process:8} {eth:32} {wlan}").trim_end());
        text.push('\n');
    }
    text
}
