use super::*;
use crate::bundle;
use crate::state::{Copies, LBA};
use std::path::PathBuf;

const PRIVATE: [u8; KEY] = [9; KEY];
const SLOT_SECTORS: u32 = 256;
const FIRST: [u32; 2] = [2048, 2048 + SLOT_SECTORS];

/// A card as a file, and a file in place of its third partition's device.
struct Card {
    directory: tempfile::TempDir,
}

impl Card {
    fn new(state: State, other: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = vec![0; usize::try_from(FIRST[1] + SLOT_SECTORS).unwrap() * SECTOR];
        for (entry, first) in [(462, FIRST[0]), (478, FIRST[1])] {
            bytes[entry + 4] = 0xda;
            bytes[entry + 8..entry + 12].copy_from_slice(&first.to_le_bytes());
            bytes[entry + 12..entry + 16].copy_from_slice(&SLOT_SECTORS.to_le_bytes());
        }
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        bytes[64 * SECTOR..65 * SECTOR].copy_from_slice(&state.encode(0));
        let at = usize::try_from(FIRST[1]).unwrap() * SECTOR;
        bytes[at..at + other.len()].copy_from_slice(other);
        fs::write(directory.path().join("disk"), bytes).unwrap();
        let device = vec![0xee_u8; usize::try_from(SLOT_SECTORS).unwrap() * SECTOR];
        fs::write(directory.path().join("device"), device).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn install(&self, bundle: &Path, on_trial: bool) -> Result<Manifest, Error> {
        let running = Running { version: "0.1.0".to_owned(), built_unix: 1, board: None };
        let (disk, device) = (self.path("disk"), self.path("device"));
        let target = Target { disk: &disk, device: &device, slot: Slot::B, on_trial };
        install(bundle, &target, &bundle::public_key(&PRIVATE), &running, &mut |_| ())
    }

    fn bundle(&self, image: &[u8]) -> PathBuf {
        let mut bytes = bundle::sign(image, &["pi2".to_owned()], &PRIVATE).unwrap();
        bytes.extend_from_slice(image);
        fs::write(self.path("update.bramble"), bytes).unwrap();
        self.path("update.bramble")
    }
}

fn image(version: &str, built_unix: u64) -> Vec<u8> {
    slot::compose(&[3; 30_000], &[4; 50_000], version, built_unix).unwrap()
}

fn present(slot: Slot, on_trial: bool) -> Present {
    Present { slot, on_trial, version: "0.1.0".to_owned(), built_unix: 1 }
}

#[test]
fn an_update_from_file_to_trial_to_kept() {
    let card = Card::new(State::default(), &[]);
    let disk = card.path("disk");
    assert_eq!(status(&disk, &present(Slot::A, false)).unwrap().other_version, None);
    let new = image("0.2.0", 2);
    let manifest = card.install(&card.bundle(&new), false).unwrap();
    assert_eq!(manifest.version, "0.2.0");
    assert!(fs::read(card.path("device")).unwrap().starts_with(&new));
    assert_eq!(state(&disk).unwrap(), State::default().trying(Slot::B));
    // Confirming the firmware that runs does not call off the update that was announced.
    confirm(&disk, Slot::A).unwrap();
    assert_eq!(state(&disk).unwrap().next_start(), Slot::B);
    confirm(&disk, Slot::B).unwrap();
    assert_eq!(state(&disk).unwrap(), State::default().confirmed(Slot::B));
    let before = fs::read(&disk).unwrap();
    confirm(&disk, Slot::B).unwrap();
    end_trial(&disk).unwrap();
    assert!(fs::read(&disk).unwrap() == before, "written without need");
}

#[test]
fn a_trial_that_failed_is_told() {
    let card = Card::new(State::default().trying(Slot::B), &image("0.2.0", 2));
    let disk = card.path("disk");
    end_trial(&disk).unwrap();
    let found = status(&disk, &present(Slot::A, false)).unwrap();
    assert_eq!(found.other_version.as_deref(), Some("0.2.0"));
    assert!(found.last_update.unwrap().contains("0.2.0 was tried and not kept"));
    assert_eq!(state(&disk).unwrap().next_start(), Slot::A);
}

#[test]
fn power_cycles_are_counted_beside_the_trial() {
    let card = Card::new(State::default().trying(Slot::B), &[]);
    let disk = card.path("disk");
    for count in 1..6 {
        set_quick_cycles(&disk, count).unwrap();
        let state = state(&disk).unwrap();
        assert_eq!((state.quick_cycles, state.left), (count, 3));
    }
    // Both copies are in use and the one that counts was not touched by the last write.
    let bytes = fs::read(&disk).unwrap();
    let sector = |lba: u64| {
        let at = usize::try_from(lba).unwrap() * SECTOR;
        <[u8; SECTOR]>::try_from(&bytes[at..at + SECTOR]).unwrap()
    };
    let mut sectors = LBA.map(sector);
    let (older, _) = Copies::read(&sectors).next(&State::default());
    sectors[1 - older].fill(0);
    assert_eq!(Copies::read(&sectors).state.quick_cycles, 4);
}

#[test]
fn lost_copies_are_written_anew() {
    let card = Card::new(State::default(), &[]);
    let disk = card.path("disk");
    let mut bytes = fs::read(&disk).unwrap();
    bytes[64 * SECTOR..66 * SECTOR].fill(0xff);
    fs::write(&disk, bytes).unwrap();
    assert_eq!(state(&disk).unwrap(), State::default());
    end_trial(&disk).unwrap();
    let bytes = fs::read(&disk).unwrap();
    assert_eq!(&bytes[64 * SECTOR..64 * SECTOR + 4], b"BRS1");
}

#[test]
fn a_card_of_another_kind_is_left_alone() {
    let card = Card::new(State::default(), &[]);
    let bundle = card.bundle(&image("0.2.0", 2));
    // A partition of another size than the table says is not the slot.
    fs::write(card.path("device"), vec![0xee; 256 * SECTOR - 512]).unwrap();
    assert!(matches!(card.install(&bundle, false), Err(Error::NoSlots)));
    fs::write(card.path("device"), vec![0xee; 256 * SECTOR]).unwrap();
    let mut bytes = fs::read(card.path("disk")).unwrap();
    bytes[478..494].fill(0);
    fs::write(card.path("disk"), &bytes).unwrap();
    assert!(matches!(card.install(&bundle, false), Err(Error::NoSlots)));
    assert!(matches!(status(&card.path("disk"), &present(Slot::A, false)), Err(Error::NoSlots)));
    assert!(fs::read(card.path("disk")).unwrap() == bytes);
    assert!(fs::read(card.path("device")).unwrap().iter().all(|b| *b == 0xee));
    let missing = status(&card.path("nothing"), &present(Slot::A, false)).unwrap_err();
    assert!(missing.to_string().starts_with("Opening the card failed"), "{missing}");
}

#[test]
fn a_bundle_is_taken_from_an_open_descriptor() {
    let card = Card::new(State::default(), &[]);
    let bundle = card.bundle(&image("0.2.0", 2));
    let file = fs::File::open(&bundle).unwrap();
    fs::remove_file(&bundle).unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
    let name = format!("/proc/self/fd/{descriptor}");
    card.install(Path::new(&name), false).unwrap();
}

#[test]
fn only_a_file_is_a_bundle() {
    let card = Card::new(State::default(), &[]);
    assert!(matches!(card.install(card.directory.path(), false), Err(Error::NotABundle)));
    assert!(matches!(card.install(&card.path("nothing"), false), Err(Error::Io { .. })));
    let pipe = card.path("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(matches!(card.install(&pipe, false), Err(Error::NotABundle)));
}

#[test]
fn the_running_firmware_is_what_its_root_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    assert!(running(&path("build"), &path("compatible")).is_err());
    fs::write(path("build"), r#"{"version":"0.1.0","built_unix":1700000000}"#).unwrap();
    let wanted = Running { version: "0.1.0".into(), built_unix: 1_700_000_000, board: None };
    assert_eq!(running(&path("build"), &path("compatible")).unwrap(), wanted);
    fs::write(path("compatible"), "raspberrypi,4-model-b\0brcm,bcm2711\0").unwrap();
    let board = running(&path("build"), &path("compatible")).unwrap().board;
    assert_eq!(board.as_deref(), Some("pi4"));
    fs::write(path("build"), "{}").unwrap();
    assert!(running(&path("build"), &path("compatible")).is_err());
    assert!(matches!(public_key(&path("key")), Err(Error::BadKey)));
    fs::write(path("key"), [1; 31]).unwrap();
    assert!(matches!(public_key(&path("key")), Err(Error::BadKey)));
    fs::write(path("key"), [1; 32]).unwrap();
    assert_eq!(public_key(&path("key")).unwrap(), [1; 32]);
}
