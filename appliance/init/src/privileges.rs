//! The rights of the appliance process: its own user, four capabilities, and no way to more.

use nix::libc::{self, c_int, c_ulong};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::io;

/// The user and the group of the appliance process.
pub const USER: u32 = 1936;

// linux/capability.h
const NET_BIND_SERVICE: u32 = 10;
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const SYS_NICE: u32 = 23;
/// What it may: ports below 1024, addresses and routes, raw sockets for VRRP and ARP, and
/// real-time scheduling for VRRP.
const KEPT: [u32; 4] = [NET_BIND_SERVICE, NET_ADMIN, NET_RAW, SYS_NICE];
/// No kernel has more.
const HIGHEST: u32 = 63;
/// `_LINUX_CAPABILITY_VERSION_3`
const VERSION: u32 = 0x2008_0522;
/// `PR_CAP_AMBIENT_RAISE`
const RAISE: c_ulong = 2;

#[repr(C)]
struct Header {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives everything up but [`KEPT`], for good. Between fork and exec: system calls only.
pub(crate) fn drop_all_but_ours() -> io::Result<()> {
    for capability in 0..=HIGHEST {
        if !KEPT.contains(&capability) {
            // EINVAL: the kernel has no capability of this number.
            let _ = control(libc::PR_CAPBSET_DROP, c_ulong::from(capability));
        }
    }
    control(libc::PR_SET_KEEPCAPS, 1)?;
    let (user, group) = (Uid::from_raw(USER), Gid::from_raw(USER));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    let mask = KEPT.iter().fold(0, |mask, capability| mask | (1_u32 << capability));
    let header = Header { version: VERSION, pid: 0 };
    let low = Sets { effective: mask, permitted: mask, inheritable: mask };
    let sets = [low, Sets { effective: 0, permitted: 0, inheritable: 0 }];
    // SAFETY: both structures are laid out as version 3 of the call wants them.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) })?;
    for capability in KEPT {
        control_of(libc::PR_CAP_AMBIENT, RAISE, c_ulong::from(capability))?;
    }
    no_new_privileges()
}

/// No program started from here gains rights.
pub(crate) fn no_new_privileges() -> io::Result<()> {
    control(libc::PR_SET_NO_NEW_PRIVS, 1)
}

fn control(option: c_int, value: c_ulong) -> io::Result<()> {
    control_of(option, value, 0)
}

fn control_of(option: c_int, value: c_ulong, of: c_ulong) -> io::Result<()> {
    let none: c_ulong = 0;
    // SAFETY: plain system call with numbers only.
    checked(unsafe { libc::prctl(option, value, of, none, none) }.into())
}

fn checked(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
