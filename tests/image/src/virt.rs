//! QEMU's plain ARM machine with the image's kernel and root: no boot chain, and fast.

use crate::card::Card;
use crate::image::Image;
use crate::machine::{Machine, Start, directory};
use crate::segment::Segment;
use crate::tools::qemu;
use lab::netns::Namespace;
use lab::{Doing, Error, Result};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

/// The admin port.
const ADMIN: u16 = 1936;
const WORDS: &str = "console=ttyAMA0,115200 loglevel=4 panic=10 bramble.slot=a bramble.emulated=1";
/// QEMU's own network gives its guest this address by DHCP.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// How a board is started.
#[derive(Debug)]
pub struct Options {
    /// Its card.
    pub card: Card,
    /// Words on the kernel's command line besides what the machine needs.
    pub words: Vec<String>,
    /// Its cable.
    pub net: Net,
    /// It ends instead of starting again.
    pub stays_off: bool,
    /// Another root than the image's.
    pub initrd: Option<PathBuf>,
    /// Where each write to the card is logged; only here, not on raspi2b.
    pub log_writes: Option<PathBuf>,
}

/// What a board's cable is plugged into.
#[derive(Debug)]
pub enum Net {
    /// QEMU's own network, with ports of this machine that lead into it.
    Forwarded(Forwards),
    /// A cable of a segment.
    Segment {
        /// Its namespace.
        space: Namespace,
        /// Which cable.
        cable: usize,
    },
}

/// Ports of this machine that lead to a board.
#[derive(Clone, Debug)]
pub struct Forwards {
    /// To its admin page.
    pub admin: SocketAddr,
    /// To port 80 of an address in the board's network, 10.0.2.0/24.
    pub site: Option<(SocketAddr, Ipv4Addr)>,
}

impl Forwards {
    /// The admin page at a free port of the loopback address.
    ///
    /// # Errors
    /// When there is none.
    pub fn free() -> Result<Self> {
        Ok(Self { admin: free_port()?, site: None })
    }

    /// QEMU's own words when an address is taken say little.
    pub(crate) fn check(&self) -> Result<()> {
        for addr in [Some(self.admin), self.site.map(|(at, _)| at)].into_iter().flatten() {
            TcpListener::bind(addr).doing(|| format!("listening on {addr}"))?;
        }
        Ok(())
    }
}

/// A free port of the loopback address.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<SocketAddr> {
    let what = || "looking for a free port".to_owned();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing(what)?;
    listener.local_addr().doing(what)
}

impl Net {
    /// A cable of a segment.
    ///
    /// # Errors
    /// When it has no such cable.
    pub fn cable(segment: &Segment, cable: usize) -> Result<Self> {
        if cable >= segment.cables() {
            return Err(Error::other(format!("the segment has no cable {cable}")));
        }
        Ok(Self::Segment { space: segment.space().clone(), cable })
    }

    /// QEMU's word for it, and the hardware address at the board's end.
    pub(crate) fn netdev(&self) -> (String, String) {
        match self {
            Self::Forwarded(forwards) => {
                let mut text =
                    format!("user,id=net,hostfwd=tcp:{}-{GUEST}:{ADMIN}", forwards.admin);
                if let Some((at, to)) = forwards.site {
                    text.push_str(&format!(",hostfwd=tcp:{at}-{to}:80"));
                }
                (text, mac(Segment::mac(0)))
            }
            Self::Segment { cable, .. } => {
                let tap = Segment::tap(*cable);
                let text = format!("tap,id=net,ifname={tap},script=no,downscript=no");
                (text, mac(Segment::mac(*cable)))
            }
        }
    }

    /// Where the page is, and from where it is reached.
    pub(crate) fn reached(&self) -> (SocketAddr, Option<Namespace>) {
        match self {
            Self::Forwarded(forwards) => (forwards.admin, None),
            Self::Segment { space, cable } => {
                ((Segment::address(*cable), ADMIN).into(), Some(space.clone()))
            }
        }
    }
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|b| format!("{b:02x}")).join(":")
}

impl Options {
    /// A card, on QEMU's own network.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn new(card: Card) -> Result<Self> {
        let net = Net::Forwarded(Forwards::free()?);
        Ok(Self { card, words: Vec::new(), net, stays_off: false, initrd: None, log_writes: None })
    }

    /// Plugged into something else.
    #[must_use]
    pub fn net(mut self, net: Net) -> Self {
        self.net = net;
        self
    }

    /// More words for the kernel's command line.
    #[must_use]
    pub fn words(mut self, words: &[&str]) -> Self {
        self.words.extend(words.iter().map(|w| (*w).to_owned()));
        self
    }

    /// With so many simulated radios.
    #[must_use]
    pub fn radios(self, count: u32) -> Self {
        self.words(&[&format!("bramble.hwsim={count}")])
    }

    /// The board's test hooks allowed.
    #[must_use]
    pub fn hooks(self) -> Self {
        self.words(&["bramble.test"])
    }
}

/// Switches one on. Its watchdog is the kernel's own.
///
/// # Errors
/// When a part of the image is missing or QEMU does not start.
pub fn start(image: &Image, options: Options) -> Result<Machine> {
    let dir = directory()?;
    let mut words = vec![WORDS.to_owned()];
    if !options.words.iter().any(|w| w.starts_with("bramble.watchdog=")) {
        words.push("bramble.watchdog=soft".to_owned());
    }
    words.extend(options.words);
    let initrd = options.initrd.unwrap_or_else(|| image.initrd());
    let mut command = qemu();
    // Without highmem=off the devices lie where a kernel for boards with little memory looks not.
    command.args(["-M", "virt,highmem=off", "-cpu", "cortex-a7", "-m", "512", "-smp", "1"]);
    command.arg("-kernel").arg(image.kernel()).arg("-initrd").arg(initrd);
    command.args(["-append", &words.join(" "), "-device", "virtio-rng-device", "-blockdev"]);
    let file = options.card.path().display();
    command.arg(match &options.log_writes {
        None => format!("driver=raw,node-name=card,file.driver=file,file.filename={file}"),
        Some(log) => {
            File::create(log).doing(|| format!("making {}", log.display()))?;
            format!(
                "driver=blklogwrites,node-name=card,file.driver=raw,file.file.driver=file,\
                 file.file.filename={file},log.driver=file,log.filename={}",
                log.display()
            )
        }
    });
    command.args(["-device", "virtio-blk-device,drive=card"]);
    let (netdev, mac) = options.net.netdev();
    command.args(["-netdev", &netdev]);
    command.args(["-device", &format!("virtio-net-device,netdev=net,mac={mac}")]);
    if options.stays_off {
        command.arg("-no-reboot");
    }
    if let Net::Forwarded(forwards) = &options.net {
        forwards.check()?;
    }
    let (admin, space) = options.net.reached();
    Machine::start(Start { command, dir, card: options.card, admin, space })
}
