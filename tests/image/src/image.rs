//! Where `make image` leaves what it made.

use lab::{Error, Result};
use std::path::{Path, PathBuf};

/// A built image and the parts it was made of.
#[derive(Clone, Debug)]
pub struct Image {
    img: PathBuf,
}

impl Image {
    /// The image in this file; its parts lie beside it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn at(img: impl Into<PathBuf>) -> Result<Self> {
        let mut img = img.into();
        // Cargo runs a test in its package's directory, people mean the workspace's.
        if img.is_relative() && !img.exists() {
            img = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(img);
        }
        match img.canonicalize() {
            Ok(img) => Ok(Self { img }),
            Err(_) => {
                let text = format!("there is no image {}; make image makes it", img.display());
                Err(Error::Other(text))
            }
        }
    }

    /// The image that `BRAMBLE_IMAGE` names; None without that variable.
    ///
    /// # Errors
    /// When it names one that is not there.
    pub fn from_environment() -> Result<Option<Self>> {
        match std::env::var_os("BRAMBLE_IMAGE").filter(|v| !v.is_empty()) {
            Some(path) => Self::at(path).map(Some),
            None => Ok(None),
        }
    }

    /// The card.
    pub fn img(&self) -> &Path {
        &self.img
    }

    /// Something beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.img.with_file_name(name)
    }

    /// U-Boot for the Pi 2, as on the card.
    pub fn u_boot(&self) -> PathBuf {
        self.beside("u-boot-rpi2.bin")
    }

    /// The kernel of slot A.
    pub fn kernel(&self) -> PathBuf {
        self.beside("kernel/zImage")
    }

    /// The device tree of a board, such as `bcm2836-rpi-2-b`.
    pub fn device_tree(&self, board: &str) -> PathBuf {
        self.beside(&format!("kernel/dtbs/{board}.dtb"))
    }

    /// The root of slot A.
    pub fn initrd(&self) -> PathBuf {
        self.beside("initrd.zst")
    }
}
