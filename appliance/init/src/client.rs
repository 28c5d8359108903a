//! The appliance process's end of the channel.

use crate::channel::{FD_VARIABLE, MAX_MESSAGE, Numbered, Reply, Request, Setup};
use crate::facts::{FACTS, Facts};
use model::status::FirmwareProgress;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{MsgFlags, recv, send};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Whatever is asked of process 1 is answered in this time; the longest is a slow card.
const ANSWER: Duration = Duration::from_secs(60);
/// A firmware is written in steps, each shorter than this.
const STEP: Duration = Duration::from_secs(180);

/// Asks process 1. Cheap to clone; every method may be called from any thread, and those that
/// wait for an answer block theirs.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: OwnedFd,
    next: AtomicU32,
    /// None once process 1 has closed its end.
    waiting: Mutex<Option<HashMap<u32, Sender<Reply>>>>,
}

impl Client {
    /// None when this process was not started by process 1 of ours. To be called once, early: the
    /// descriptor is taken over and no longer inherited by children.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let number: RawFd = std::env::var(FD_VARIABLE).ok()?.parse().ok()?;
        if number <= 2 {
            return None;
        }
        // SAFETY: whoever set the variable made the descriptor for this process; a number that is
        // not open fails the next call, and nothing else here knows it.
        let socket = unsafe { OwnedFd::from_raw_fd(number) };
        if fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).is_err() {
            std::mem::forget(socket);
            return None;
        }
        Some(Self::over(socket))
    }

    /// Over a connected socket.
    #[must_use]
    pub fn over(socket: OwnedFd) -> Self {
        let waiting = Mutex::new(Some(HashMap::new()));
        let shared = Arc::new(Shared { socket, next: AtomicU32::new(1), waiting });
        let reader = Arc::clone(&shared);
        let started = thread::Builder::new()
            .name("process 1".into())
            .stack_size(256 * 1024)
            .spawn(move || reader.read());
        if started.is_err() {
            shared.close();
        }
        Self { shared }
    }

    /// Leaves the socket open for the program that takes the place of this one (execve(2)), which
    /// finds it through the same variable.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn outlast_exec(&self) -> io::Result<()> {
        fcntl(&self.shared.socket, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(())
    }

    /// Says that everything moves. Never blocks.
    pub fn heartbeat(&self) {
        let _ = self.shared.send(0, &Request::Heartbeat);
    }

    /// What stands on the screen besides what process 1 knows.
    pub fn screen(&self, lines: Vec<String>, setup: Option<Setup>) {
        let _ = self.shared.send(0, &Request::Screen { lines, setup });
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// Why it was not done, for the operator.
    pub fn ask(&self, request: &Request) -> Result<(), String> {
        self.finish(&self.begin(request)?, ANSWER, &mut |_| {})
    }

    /// Installs a bundle from the directory for uploads, reporting how far it is.
    ///
    /// # Errors
    /// Why it was not installed, for the operator.
    pub fn install(
        &self,
        path: std::path::PathBuf,
        report: &mut dyn FnMut(FirmwareProgress),
    ) -> Result<(), String> {
        self.finish(&self.begin(&Request::InstallFirmware { path })?, STEP, report)
    }

    fn begin(&self, request: &Request) -> Result<Receiver<Reply>, String> {
        let (sender, receiver) = channel();
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed).max(1);
        self.shared
            .waiting()
            .as_mut()
            .ok_or("Process 1 does not answer any more. Switch the board off and on.")?
            .insert(number, sender);
        self.shared.send(number, request).inspect_err(|_| self.shared.forget(number))?;
        Ok(receiver)
    }

    fn finish(
        &self,
        replies: &Receiver<Reply>,
        limit: Duration,
        report: &mut dyn FnMut(FirmwareProgress),
    ) -> Result<(), String> {
        loop {
            match replies.recv_timeout(limit) {
                Ok(Reply::Done) => return Ok(()),
                Ok(Reply::Refused { why }) => return Err(why),
                Ok(Reply::Progress { progress }) => report(progress),
                Err(RecvTimeoutError::Timeout) => {
                    return Err("Process 1 has not answered in time; it may still be done. \
                                Look again in a minute."
                        .into());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("Process 1 has closed its end; the board is about to stop.".into());
                }
            }
        }
    }
}

impl Shared {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<HashMap<u32, Sender<Reply>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, number: u32) {
        if let Some(waiting) = self.waiting().as_mut() {
            waiting.remove(&number);
        }
    }

    fn close(&self) {
        *self.waiting() = None;
    }

    fn send(&self, number: u32, request: &Request) -> Result<(), String> {
        let packet = serde_json::to_vec(&Numbered { number, message: request })
            .map_err(|error| error.to_string())?;
        if packet.len() > MAX_MESSAGE {
            return Err("That is too long for process 1.".into());
        }
        // A heartbeat that does not fit is not waited for: a full socket means a process 1 that
        // does not read, and the watchdog sees to that.
        let flags = match request {
            Request::Heartbeat | Request::Screen { .. } => MsgFlags::MSG_DONTWAIT,
            _ => MsgFlags::empty(),
        };
        send(self.socket.as_raw_fd(), &packet, flags | MsgFlags::MSG_NOSIGNAL)
            .map(drop)
            .map_err(|error| format!("Process 1 cannot be asked: {error}."))
    }

    fn read(&self) {
        let mut packet = vec![0; MAX_MESSAGE];
        loop {
            match recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                Ok(0) => break,
                Ok(length) => {
                    let reply = packet.get(..length).map(serde_json::from_slice::<Numbered<Reply>>);
                    if let Some(Ok(reply)) = reply {
                        self.deliver(reply);
                    }
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        self.close();
    }

    fn deliver(&self, reply: Numbered<Reply>) {
        let mut waiting = self.waiting();
        let Some(waiting) = waiting.as_mut() else { return };
        let last = !matches!(reply.message, Reply::Progress { .. });
        if let Some(sender) = waiting.get(&reply.number) {
            let _ = sender.send(reply.message);
        }
        if last {
            waiting.remove(&reply.number);
        }
    }
}

/// What process 1 found; None where there is no process 1 of ours.
#[must_use]
pub fn read_facts() -> Option<Facts> {
    serde_json::from_slice(&fs::read(FACTS).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    fn pair() -> (OwnedFd, Client) {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .unwrap();
        (ours, Client::over(theirs))
    }

    fn next(socket: &OwnedFd) -> Numbered<Request> {
        let mut packet = vec![0; MAX_MESSAGE];
        let length = recv(socket.as_raw_fd(), &mut packet, MsgFlags::empty()).unwrap();
        serde_json::from_slice(&packet[..length]).unwrap()
    }

    fn answer(socket: &OwnedFd, number: u32, message: Reply) {
        let packet = serde_json::to_vec(&Numbered { number, message }).unwrap();
        send(socket.as_raw_fd(), &packet, MsgFlags::empty()).unwrap();
    }

    #[test]
    fn answers_find_their_questions_in_any_order() {
        let (socket, client) = pair();
        let other = client.clone();
        let install = thread::spawn(move || {
            let mut steps = Vec::new();
            let result = other.install("/run/x".into(), &mut |step| steps.push(step));
            (result, steps)
        });
        let first = next(&socket);
        let clock = thread::spawn(move || client.ask(&Request::Clock { unix_ms: 5 }));
        let second = next(&socket);
        assert_ne!(first.number, second.number);
        let progress = FirmwareProgress::Verifying;
        answer(&socket, first.number, Reply::Progress { progress: progress.clone() });
        socket_says(&socket, b"garbage");
        answer(&socket, 999, Reply::Done);
        answer(&socket, second.number, Reply::Refused { why: "no".into() });
        assert_eq!(clock.join().unwrap(), Err("no".into()));
        answer(&socket, first.number, Reply::Done);
        assert_eq!(install.join().unwrap(), (Ok(()), vec![progress]));
    }

    fn socket_says(socket: &OwnedFd, bytes: &[u8]) {
        send(socket.as_raw_fd(), bytes, MsgFlags::empty()).unwrap();
    }

    #[test]
    fn a_closed_end_is_an_answer() {
        let (socket, client) = pair();
        let other = client.clone();
        let asked = thread::spawn(move || other.ask(&Request::Reboot));
        next(&socket);
        drop(socket);
        assert!(asked.join().unwrap().is_err());
        assert!(client.ask(&Request::Reboot).is_err());
        client.heartbeat();
    }

    #[test]
    fn what_does_not_fit_is_not_sent() {
        let (_socket, client) = pair();
        let text = "x".repeat(MAX_MESSAGE);
        assert!(client.ask(&Request::RewriteBootFile { text }).is_err());
    }
}
