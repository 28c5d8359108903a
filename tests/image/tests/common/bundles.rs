//! Firmware bundles, good ones and bad ones, made of the image's own parts and signed with its
//! own key.

use emulator::{Card, Image};
use firmware::{bundle, slot};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What bundles are made of.
pub struct Maker {
    kernel: Vec<u8>,
    root: Vec<u8>,
    key: [u8; 32],
    /// What the image in slot A says about itself.
    pub version: String,
    /// When it was built.
    pub built: u64,
}

impl Maker {
    pub fn new(image: &Image) -> Self {
        let card = Card::new(image, super::SMALL).unwrap();
        let header = card.slot('a').unwrap().unwrap();
        let key = fs::read(image.beside("signing.key")).unwrap();
        Self {
            kernel: fs::read(image.kernel()).unwrap(),
            root: fs::read(image.initrd()).unwrap(),
            key: key.try_into().unwrap(),
            version: header.version,
            built: header.built,
        }
    }

    /// The image's root with these files over it. The kernel unpacks one archive after the other.
    pub fn root_with(&self, files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut root = self.root.clone();
        root.resize(root.len().next_multiple_of(4), 0);
        for (number, (path, content)) in (1..).zip(files) {
            entry(&mut root, number, 0o100_755, path, content);
        }
        entry(&mut root, 0, 0, "TRAILER!!!", &[]);
        root
    }

    /// A signed bundle with this root.
    pub fn bundle(&self, root: &[u8], version: &str, built: u64) -> Vec<u8> {
        let slot = slot::compose(&self.kernel, root, version, built).unwrap();
        self.signed(&slot, &self.key)
    }

    /// The same, signed by somebody else.
    pub fn forged(&self) -> Vec<u8> {
        let slot = slot::compose(&self.kernel, &self.root, "9.9.9", self.built + 1000).unwrap();
        self.signed(&slot, &[0x17; 32])
    }

    fn signed(&self, slot: &[u8], key: &[u8; 32]) -> Vec<u8> {
        let boards = ["pi2", "pi3", "pi02", "pi4"].map(str::to_owned);
        let mut whole = bundle::sign(slot, &boards, key).unwrap();
        whole.extend_from_slice(slot);
        whole
    }

    /// The next version, with these files over its root.
    pub fn next(&self, files: &[(&str, &[u8])]) -> Vec<u8> {
        let built = self.built + 1000;
        let about = format!("{{\"version\":\"9.9.9\",\"built_unix\":{built}}}\n");
        let mut all: Vec<(&str, &[u8])> = vec![("etc/bramble/build.json", about.as_bytes())];
        all.extend_from_slice(files);
        self.bundle(&self.root_with(&all), "9.9.9", built)
    }
}

/// One file of a cpio archive (newc), four-byte aligned.
fn entry(to: &mut Vec<u8>, number: u32, mode: u32, path: &str, content: &[u8]) {
    let length = |n: usize| u32::try_from(n).unwrap();
    let fields =
        [number, mode, 0, 0, 1, 0, length(content.len()), 0, 0, 0, 0, length(path.len() + 1), 0];
    to.extend_from_slice(b"070701");
    for field in fields {
        to.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    to.extend_from_slice(path.as_bytes());
    to.push(0);
    // Relative to the archive, which begins on such a boundary itself.
    to.resize(to.len().next_multiple_of(4), 0);
    to.extend_from_slice(content);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// A program that starts and then does nothing, for ever.
pub fn idler(dir: &Path) -> Vec<u8> {
    let source = "\
        .arm\n.globl _start\n_start:\n\
        mov r7, #29 @ pause\n\
        svc #0\n\
        b _start\n";
    let [text, object, program] = ["idler.S", "idler.o", "idler"].map(|name| dir.join(name));
    fs::write(&text, source).unwrap();
    for (tool, output, input) in [("as", &object, &text), ("ld", &program, &object)] {
        let mut command = Command::new(format!("arm-linux-gnueabihf-{tool}"));
        assert!(command.arg("-o").args([output, input]).status().unwrap().success(), "{tool}");
    }
    fs::read(&program).unwrap()
}
