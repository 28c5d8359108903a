//! A second, tiny process that acts when the first one dies without a word.
//!
//! A killed load balancer leaves its floating IP on the interface: visitors are refused until the
//! backup misses three adverts, seconds later. The guardian waits at the end of a pipe. The
//! appliance process writes down, whenever it changes, what is to be done in case of its death;
//! the end of the pipe is that death, however it came, and is noticed by the kernel at once.

use crate::multicast;
use model::Cidr;
use nix::libc;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

/// The argument by which the binary becomes the guardian.
pub const ARGUMENT: &str = "guardian";
/// A will is a few hundred bytes; whatever is longer is not one.
const MAX_LINE: u64 = 64 * 1024;

/// What to do for one virtual router of a dead process: say farewell, then let go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// The interface everything happens on.
    pub interface: String,
    /// The sender's address.
    pub source: Ipv4Addr,
    /// The IP protocol of `packet`.
    pub protocol: u8,
    /// The multicast group the packet goes to.
    pub group: Ipv4Addr,
    /// The whole packet above IP.
    pub packet: Vec<u8>,
    /// Addresses to remove from the interface afterwards.
    pub addresses: Vec<Cidr>,
}

/// The appliance process's end of the pipe. Dropping it without [`Guardian::retire`] counts as
/// death.
#[derive(Debug)]
pub struct Guardian {
    child: Child,
    pipe: ChildStdin,
}

impl Guardian {
    /// Starts the guardian: this same binary, in a session of its own so that no signal meant for
    /// the terminal reaches it.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start() -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::null());
        // SAFETY: setsid(2) is async-signal-safe and touches no memory of this process.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                Ok(())
            });
        }
        let mut child = command.spawn()?;
        let pipe = child.stdin.take().ok_or_else(|| io::Error::other("the pipe was not made"))?;
        Ok(Self { child, pipe })
    }

    /// Replaces what is to be done. Nothing, while this node holds nothing.
    ///
    /// # Errors
    /// When the guardian is gone.
    pub fn write(&mut self, will: &[Deed]) -> io::Result<()> {
        let mut line = serde_json::to_vec(will)?;
        line.push(b'\n');
        self.pipe.write_all(&line)
    }

    /// Ends the guardian with nothing to do.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn retire(mut self) -> io::Result<()> {
        self.write(&[])?;
        drop(self.pipe);
        self.child.wait()?;
        Ok(())
    }
}

/// The life of the guardian: reads wills from standard input until it ends, then carries the last
/// one out. `remove` takes an address off an interface.
///
/// # Errors
/// The first failure, after everything has been tried.
pub fn guard(mut remove: impl FnMut(&str, Cidr) -> io::Result<()>) -> io::Result<()> {
    // Only the end of the pipe ends the guardian: a service manager that stops the whole group
    // must not end it before the appliance process has said its own farewell.
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: ignoring a signal installs no handler code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let will = last_will(BufReader::new(io::stdin().lock()));
    let mut outcome = Ok(());
    for deed in &will {
        // Twice: one lost packet would cost seconds, and a farewell heard twice does no harm.
        for _ in 0..2 {
            outcome = outcome.and(multicast::send(deed));
        }
    }
    for deed in &will {
        for address in &deed.addresses {
            outcome = outcome.and(remove(&deed.interface, *address));
        }
    }
    outcome
}

/// The last complete line is the will; a line cut off by death in the middle of writing is not.
fn last_will(mut pipe: impl BufRead) -> Vec<Deed> {
    let mut will = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        match take_line(&mut pipe, &mut line) {
            Ok(true) => will = serde_json::from_slice(&line).unwrap_or(will),
            Ok(false) | Err(_) => return will,
        }
    }
}

/// Reads one whole line of at most [`MAX_LINE`] bytes; false at the end.
fn take_line(pipe: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    pipe.take(MAX_LINE).read_until(b'\n', line)?;
    Ok(line.last() == Some(&b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed(packet: &[u8]) -> Deed {
        Deed {
            interface: "eth0".into(),
            source: Ipv4Addr::new(192, 168, 1, 14),
            protocol: 112,
            group: Ipv4Addr::new(224, 0, 0, 18),
            packet: packet.to_vec(),
            addresses: vec!["192.168.1.15/32".parse().unwrap()],
        }
    }

    #[test]
    fn the_last_whole_will_counts() {
        let line = |will: &[Deed]| format!("{}\n", serde_json::to_string(will).unwrap());
        let (a, b) = (line(&[deed(b"a")]), line(&[deed(b"b"), deed(b"c")]));
        assert_eq!(last_will(format!("{a}{b}").as_bytes()), [deed(b"b"), deed(b"c")]);
        assert_eq!(last_will(format!("{a}[]\n").as_bytes()), []);
        assert_eq!(last_will(&b""[..]), []);
        for cut in 0..b.len() {
            assert_eq!(last_will(format!("{a}{}", &b[..cut]).as_bytes()), [deed(b"a")], "{cut}");
        }
        assert_eq!(last_will(format!("{a}garbage\n").as_bytes()), [deed(b"a")]);
    }
}
