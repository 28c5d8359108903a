//! QEMU's machine protocol: one JSON object a line, an answer to each order.

use lab::{Doing, Error, Result};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// QEMU answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to a running QEMU.
#[derive(Debug)]
pub struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to the socket QEMU listens on.
    ///
    /// # Errors
    /// When nobody listens, or it is no QEMU.
    pub fn connect(socket: &Path) -> Result<Self> {
        let what = || format!("connecting to {}", socket.display());
        let stream = UnixStream::connect(socket).doing(what)?;
        stream.set_read_timeout(Some(PATIENCE)).doing(what)?;
        stream.set_write_timeout(Some(PATIENCE)).doing(what)?;
        let mut monitor = Self { stream: BufReader::new(stream) };
        if monitor.line()?.get("QMP").is_none() {
            return Err(Error::other(format!("{} is no QEMU", socket.display())));
        }
        monitor.order("qmp_capabilities", &Value::Null)?;
        Ok(monitor)
    }

    /// Gives an order, with arguments or null, and waits for its answer; events meanwhile are passed over.
    ///
    /// # Errors
    /// When QEMU refuses, or is gone.
    pub fn order(&mut self, name: &str, arguments: &Value) -> Result<Value> {
        let mut order = json!({ "execute": name });
        if !arguments.is_null() {
            order["arguments"] = arguments.clone();
        }
        let text = order.to_string();
        let what = || format!("ordering QEMU to {name}");
        self.stream.get_mut().write_all(text.as_bytes()).doing(what)?;
        self.stream.get_mut().write_all(b"\n").doing(what)?;
        loop {
            let line = self.line()?;
            if let Some(error) = line.get("error") {
                return Err(Error::other(format!("QEMU refuses {name}: {error}")));
            }
            if let Some(answer) = line.get("return") {
                return Ok(answer.clone());
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut text = String::new();
        let read = self.stream.read_line(&mut text).doing(|| "listening to QEMU".to_owned())?;
        if read == 0 {
            return Err(Error::other("QEMU has ended"));
        }
        serde_json::from_str(&text).map_err(|e| Error::other(format!("QEMU says {text:?}: {e}")))
    }
}
