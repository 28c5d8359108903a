//! One Ethernet segment for several emulated boards: a bridge in a network namespace, a tap for
//! each board's cable, and a router that gives out addresses.

use crate::dhcp;
use lab::netns::{self, Namespace};
use lab::{Doing, Result};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

const PREFIX: &str = "emulator";
const BRIDGE: &str = "segment";

/// The segment. Dropping it removes the namespace and everything in it.
#[derive(Debug)]
pub struct Segment {
    space: Namespace,
    cables: usize,
    stop: Arc<AtomicBool>,
    router: Option<JoinHandle<()>>,
}

/// The host's own address on a segment: the boards' router.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);

impl Segment {
    /// One with so many cables, and what killed tests left behind removed.
    ///
    /// # Errors
    /// Without root, or when the system refuses.
    pub fn new(cables: usize) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        remove_orphans();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let space = Namespace::create(format!("{PREFIX}-{}-{number}", std::process::id()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut segment = Self { space, cables, stop, router: None };
        segment.build()?;
        Ok(segment)
    }

    fn build(&mut self) -> Result<()> {
        let space = &self.space;
        // A bridge that snoops swallows VRRP's multicast until somebody asks for it.
        space.ip(&["link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0"])?;
        space.ip(&["addr", "add", &format!("{ROUTER}/24"), "dev", BRIDGE])?;
        space.ip(&["link", "set", BRIDGE, "up"])?;
        for cable in 0..self.cables {
            let tap = Self::tap(cable);
            space.ip(&["tuntap", "add", &tap, "mode", "tap"])?;
            space.ip(&["link", "set", &tap, "master", BRIDGE, "up"])?;
        }
        let leases: Vec<_> = (0..self.cables).map(|i| (Self::mac(i), Self::address(i))).collect();
        let socket = space.within(|| dhcp::socket(BRIDGE))??;
        let stop = Arc::clone(&self.stop);
        let router = std::thread::Builder::new()
            .name("emulator-dhcp".to_owned())
            .spawn(move || dhcp::serve(&socket, ROUTER, &leases, &stop));
        self.router = Some(router.doing(|| "starting a thread".to_owned())?);
        Ok(())
    }

    /// Where the host's end of it is.
    pub fn space(&self) -> &Namespace {
        &self.space
    }

    /// How many boards fit.
    pub fn cables(&self) -> usize {
        self.cables
    }

    /// The tap of a cable.
    pub fn tap(cable: usize) -> String {
        format!("tap{cable}")
    }

    /// The address the board on this cable is given.
    pub fn address(cable: usize) -> Ipv4Addr {
        let last = u8::try_from(cable).unwrap_or(u8::MAX);
        Ipv4Addr::new(192, 168, 77, last.saturating_add(11))
    }

    /// Its hardware address. With a locally administered one Linux would call an adapter on USB
    /// `usb0`, so it is one of the Raspberry Pi Foundation's.
    pub fn mac(cable: usize) -> [u8; 6] {
        [0xb8, 0x27, 0xeb, 0x19, 0x36, u8::try_from(cable).unwrap_or(u8::MAX)]
    }

    /// Pulls a cable, or puts it back.
    ///
    /// # Errors
    /// When there is no such cable.
    pub fn cable(&self, cable: usize, plugged: bool) -> Result<()> {
        let state = if plugged { "up" } else { "down" };
        self.space.ip(&["link", "set", &Self::tap(cable), state]).map(drop)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(router) = self.router.take() {
            let _ = router.join();
        }
        if let Err(e) = self.space.remove() {
            eprintln!("emulator: {e}");
        }
    }
}

/// Namespaces of processes that are gone.
fn remove_orphans() {
    let Ok(list) = netns::ip(&["netns", "list"]) else {
        return;
    };
    for name in list.lines().filter_map(|line| line.split_whitespace().next()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1));
        if let Some(owner) = owner.and_then(|pid| pid.parse::<u32>().ok()) {
            if !std::path::Path::new(&format!("/proc/{owner}")).exists() {
                let _ = Namespace::named(name).remove();
            }
        }
    }
}
