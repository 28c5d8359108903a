//! QEMU's Raspberry Pi 2, started the way of a real one: U-Boot, boot script, slot.
//!
//! Two things stand in for the Pi's own firmware: a few instructions before U-Boot (`shim.S`),
//! and a device tree whose card reader is the one QEMU does well. U-Boot asks the firmware for
//! the clock of the other one (sdhost), QEMU does not know that question, and U-Boot divides by
//! the zero it gets.

use crate::image::Image;
use crate::machine::{Machine, Start, directory};
use crate::tools::{qemu, run};
use crate::virt::{Net, Options};
use lab::{Doing, Result};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

const SHIM: &str = include_str!("shim.S");
const BOARD: &str = "bcm2836-rpi-2-b";
/// QEMU's board resets at once when somebody opens its watchdog, and its further processors only
/// cost time.
const WORDS: &str = "bramble.emulated=1 bramble.watchdog=off maxcpus=1";

/// Switches one on.
///
/// # Errors
/// When a part of the image or a program is missing, or QEMU does not start.
pub fn start(image: &Image, options: Options) -> Result<Machine> {
    let dir = directory()?;
    let firmware = firmware(&image.u_boot(), dir.path())?;
    let tree = device_tree(&image.device_tree(BOARD), dir.path())?;
    let words: Vec<&str> =
        [WORDS].into_iter().chain(options.words.iter().map(String::as_str)).collect();
    options.card.extra_args(&words.join(" "))?;
    let mut command = qemu();
    command.args(["-M", "raspi2b", "-kernel"]).arg(firmware).arg("-dtb").arg(tree);
    command.arg("-drive");
    command.arg(format!("if=sd,format=raw,file={}", options.card.path().display()));
    let (netdev, mac) = options.net.netdev();
    command.args(["-netdev", &netdev, "-device", &format!("usb-net,netdev=net,mac={mac}")]);
    if options.stays_off {
        command.arg("-no-reboot");
    }
    let (admin, space) = options.net.reached();
    if let Net::Forwarded(forwards) = &options.net {
        forwards.check()?;
    }
    Machine::start(Start { command, dir, card: options.card, admin, space })
}

fn firmware(u_boot: &Path, dir: &Path) -> Result<PathBuf> {
    let [source, object, binary] = ["shim.S", "shim.o", "firmware.bin"].map(|n| dir.join(n));
    fs::write(&source, SHIM).doing(|| format!("writing {}", source.display()))?;
    let words = |list: &[&Path]| -> Vec<OsString> { list.iter().map(OsString::from).collect() };
    let mut args = words(&[Path::new("-march=armv7-a"), Path::new("-o"), &object, &source]);
    run("arm-linux-gnueabihf-as", args.drain(..))?;
    let mut args = words(&[Path::new("-O"), Path::new("binary"), &object, &binary]);
    run("arm-linux-gnueabihf-objcopy", args.drain(..))?;
    let mut whole = fs::read(&binary).doing(|| format!("reading {}", binary.display()))?;
    whole.extend(fs::read(u_boot).doing(|| format!("reading {}", u_boot.display()))?);
    fs::write(&binary, whole).doing(|| format!("writing {}", binary.display()))?;
    Ok(binary)
}

fn device_tree(from: &Path, dir: &Path) -> Result<PathBuf> {
    let to = dir.join("board.dtb");
    fs::copy(from, &to).doing(|| format!("copying {}", from.display()))?;
    for (node, status) in [("/soc/mmc@7e202000", "disabled"), ("/soc/mmc@7e300000", "okay")] {
        let args = ["-t".into(), "s".into(), to.clone().into_os_string(), node.into()];
        run("fdtput", args.into_iter().chain(["status".into(), status.into()]))?;
    }
    Ok(to)
}
