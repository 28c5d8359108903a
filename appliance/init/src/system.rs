//! System calls that neither the standard library nor nix wraps.

use nix::libc::{self, c_int};
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `BLKPG_RESIZE_PARTITION` of linux/blkpg.h.
const RESIZE_PARTITION: c_int = 3;

/// `struct blkpg_ioctl_arg`
#[repr(C)]
struct PartitionCall {
    op: c_int,
    flags: c_int,
    length: c_int,
    data: *mut PartitionPlace,
}

/// `struct blkpg_partition`, in bytes
#[repr(C)]
struct PartitionPlace {
    start: i64,
    length: i64,
    number: c_int,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// `struct rand_pool_info` with room for a seed
#[repr(C)]
struct Entropy {
    bits: c_int,
    bytes: c_int,
    seed: [u8; SEED],
}

/// Length of a seed for the kernel's generator.
pub(crate) const SEED: usize = 512;

mod calls {
    use nix::libc::{c_int, winsize};

    nix::ioctl_write_ptr!(ext4_resize, b'f', 16, u64);
    nix::ioctl_readwrite!(watchdog_set_timeout, b'W', 6, c_int);
    nix::ioctl_read!(watchdog_timeout, b'W', 7, c_int);
    nix::ioctl_write_ptr!(add_entropy, b'R', 3, [c_int; 2]);
    nix::ioctl_write_ptr_bad!(partition, nix::request_code_none!(0x12, 105), super::PartitionCall);
    nix::ioctl_read_bad!(window_size, nix::libc::TIOCGWINSZ, winsize);
}

/// Tells the kernel the new length of a partition that may be in use; the bytes on the disk are
/// not touched.
pub(crate) fn resize_partition(disk: &File, number: u8, start: u64, length: u64) -> io::Result<()> {
    let mut place = PartitionPlace {
        start: i64::try_from(start).map_err(io::Error::other)?,
        length: i64::try_from(length).map_err(io::Error::other)?,
        number: c_int::from(number),
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let call = PartitionCall {
        op: RESIZE_PARTITION,
        flags: 0,
        length: c_int::try_from(size_of::<PartitionPlace>()).map_err(io::Error::other)?,
        data: &raw mut place,
    };
    // SAFETY: both structures are laid out as the kernel's and live through the call.
    unsafe { calls::partition(disk.as_raw_fd(), &raw const call) }?;
    Ok(())
}

/// Lets a mounted ext4 file system have so many blocks.
pub(crate) fn resize_ext4(mounted: &File, blocks: u64) -> io::Result<()> {
    // SAFETY: the kernel reads eight bytes.
    unsafe { calls::ext4_resize(mounted.as_raw_fd(), &raw const blocks) }?;
    Ok(())
}

/// Mixes a seed into the kernel's generator and credits it with so many bits.
pub(crate) fn add_entropy(seed: &[u8; SEED], bits: u16) -> io::Result<()> {
    let file = File::options().write(true).open("/dev/urandom")?;
    let length = c_int::try_from(SEED).map_err(io::Error::other)?;
    let pool = Entropy { bits: c_int::from(bits), bytes: length, seed: *seed };
    // SAFETY: the structure begins with the two numbers the kernel reads first and has as many
    // bytes behind them as it says.
    unsafe { calls::add_entropy(file.as_raw_fd(), (&raw const pool).cast()) }?;
    Ok(())
}

/// Sets a watchdog's timeout and returns what it has become. A driver may know only one.
pub(crate) fn watchdog_timeout(file: &File, seconds: u16) -> Option<c_int> {
    let mut value = c_int::from(seconds);
    // SAFETY: the kernel reads and writes one int.
    unsafe {
        let _ = calls::watchdog_set_timeout(file.as_raw_fd(), &raw mut value);
        calls::watchdog_timeout(file.as_raw_fd(), &raw mut value).ok()?;
    }
    Some(value)
}

/// Columns and rows of a terminal.
pub(crate) fn window_size(terminal: &File) -> Option<(usize, usize)> {
    // SAFETY: all zeroes is a valid winsize, and the kernel writes one.
    let mut size: libc::winsize = unsafe { mem::zeroed() };
    // SAFETY: as above.
    unsafe { calls::window_size(terminal.as_raw_fd(), &raw mut size) }.ok()?;
    (size.ws_col > 0 && size.ws_row > 0)
        .then(|| (usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// Brings `lo` up.
pub(crate) fn loopback_up() -> io::Result<()> {
    // SAFETY: plain system call; the descriptor is owned right away.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::try_from(*from).unwrap_or_default();
    }
    let up = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(up).unwrap_or_default();
    // SAFETY: the request lives through the call and holds a name that ends with a zero.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
