//! Processes inside the lab: started in a namespace, with a host name and a resolv.conf of their
//! own, and gone when the lab is gone.

use crate::error::{Doing, Error, Result};
use crate::netns::Namespace;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use std::ffi::CString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

type Job = Box<dyn FnOnce() + Send>;

/// Starts a command from a thread that lives as long as this process: `PR_SET_PDEATHSIG` fires
/// when the starting *thread* ends, and a test's thread ends before the lab does.
fn from_lasting_thread(mut command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = channel::<Job>();
        // Without this thread every start below fails with a clear message.
        let _ = thread::Builder::new().name("lab-spawner".to_owned()).spawn(move || {
            for job in inbox {
                job();
            }
        });
        Mutex::new(jobs)
    });
    let (reply, wait) = channel();
    let line = format!("{command:?}");
    let job: Job = Box::new(move || {
        let _ = reply.send(command.spawn());
    });
    let gone = || Error::other("the thread that starts processes is gone");
    spawner.lock().unwrap_or_else(PoisonError::into_inner).send(job).map_err(|_| gone())?;
    wait.recv().map_err(|_| gone())?.doing(|| format!("starting {line}"))
}

/// Starts `command` in the namespace. It is killed when this process ends, however that happens.
///
/// `resolv_conf`: a file that stands in for `/etc/resolv.conf`.
///
/// # Errors
/// When the namespace or the program is missing.
pub fn start(space: &Namespace, resolv_conf: Option<&Path>, mut command: Command) -> Result<Child> {
    enter_fresh(space, resolv_conf, &mut command)?;
    die_with_us(&mut command);
    from_lasting_thread(command)
}

/// Starts `command` where this process is. It is killed when this process ends, however that
/// happens.
///
/// # Errors
/// When the program is missing.
pub fn start_here(mut command: Command) -> Result<Child> {
    die_with_us(&mut command);
    from_lasting_thread(command)
}

fn die_with_us(command: &mut Command) {
    // SAFETY: one system call, which is safe between fork and exec.
    unsafe {
        command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
    }
}

/// Makes `command` start in the namespace, with mounts and a host name of its own.
///
/// # Errors
/// When the namespace is missing.
pub fn enter_fresh(
    space: &Namespace,
    resolv_conf: Option<&Path>,
    command: &mut Command,
) -> Result<()> {
    let net = space.open()?;
    let resolv_conf = resolv_conf
        .map(|path| CString::new(path.as_os_str().as_bytes()))
        .transpose()
        .map_err(|_| Error::other("a path with a NUL in it"))?;
    let enter = move || -> std::io::Result<()> {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        setns(&net, CloneFlags::CLONE_NEWNET)?;
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)?;
        let none = None::<&std::ffi::CStr>;
        let (private, root) = (MsFlags::MS_REC | MsFlags::MS_PRIVATE, c"/");
        mount(none, root, none, private, none)?;
        // /sys/class/net shows the network namespace it was mounted in.
        let _ = umount2(c"/sys", MntFlags::MNT_DETACH);
        let _ = mount(Some(c"lab"), c"/sys", Some(c"sysfs"), MsFlags::empty(), none);
        if let Some(file) = &resolv_conf {
            let file = Some(file.as_c_str());
            mount(file, c"/etc/resolv.conf", none, MsFlags::MS_BIND, none)?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only; all it needs was allocated before the fork.
    unsafe {
        command.pre_exec(enter);
    }
    Ok(())
}

/// Makes `command` start where the process `pid` lives: its network, mounts and host name.
///
/// # Errors
/// When that process is gone.
pub fn enter_like(pid: u32, command: &mut Command) -> Result<()> {
    let open = |kind: &str| {
        File::open(format!("/proc/{pid}/ns/{kind}"))
            .doing(|| format!("joining the namespaces of process {pid}"))
    };
    let (net, uts, mnt) = (open("net")?, open("uts")?, open("mnt")?);
    let enter = move || -> std::io::Result<()> {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        setns(&net, CloneFlags::CLONE_NEWNET)?;
        setns(&uts, CloneFlags::CLONE_NEWUTS)?;
        setns(&mnt, CloneFlags::CLONE_NEWNS)?;
        Ok(())
    };
    // SAFETY: as in `enter_fresh`.
    unsafe {
        command.pre_exec(enter);
    }
    Ok(())
}
