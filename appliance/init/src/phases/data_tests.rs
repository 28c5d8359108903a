//! On a real block device: a loop device over a sparse file. Needs root, as the tests with
//! network namespaces do.

use super::*;
use crate::mbr::tests::card;
use std::os::unix::fs::MetadataExt;

/// The data partition of these cards: behind the others, at first 64 MiB.
const START: u32 = 532_480;
const SECTORS: u32 = 131_072;
/// One that is large enough to keep copies of its most important blocks.
const LARGE: u32 = 4 * SECTORS;

/// A card in a file, as the kernel sees it; taken apart at the end.
struct Card {
    directory: tempfile::TempDir,
    disk: Disk,
}

impl Card {
    /// As the image is written to a card of this size.
    fn new(size: u64) -> Self {
        Self::with(size, SECTORS)
    }

    /// With a data partition of so many sectors.
    fn with(size: u64, sectors: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("card");
        let data = directory.path().join("data.ext4");
        File::create(&data).unwrap().set_len(u64::from(sectors) * SECTOR).unwrap();
        tool(
            "mke2fs",
            &[
                "-q",
                "-t",
                "ext4",
                "-b",
                "4096",
                "-m",
                "0",
                "-L",
                "data",
                "-E",
                "resize=4194304",
                "-O",
                "^metadata_csum_seed,^orphan_file",
                path(&data),
            ],
        );
        let table = card([
            (0x0c, 8192, 262_144),
            (0xda, 270_336, 131_072),
            (0xda, 401_408, 131_072),
            (0x83, START, sectors),
        ]);
        let mut card = File::create(&file).unwrap();
        card.write_all(&table).unwrap();
        card.set_len(size).unwrap();
        drop(card);
        let seek = format!("seek={START}");
        tool(
            "dd",
            &[
                &format!("if={}", path(&data)),
                &format!("of={}", path(&file)),
                "bs=512",
                &seek,
                "conv=notrunc,sparse",
                "status=none",
            ],
        );
        let device = tool("losetup", &["-P", "--show", "-f", path(&file)]);
        let card = Self { directory, disk: Disk { device: device.trim().into() } };
        // Kernels without this kind of partition table find none by themselves.
        if !card.data().exists() {
            let (start, sectors) = (START.to_string(), sectors.to_string());
            tool("addpart", &[device.trim(), "4", &start, &sectors]);
        }
        card
    }

    fn way(&self) -> Way {
        Way {
            disk: self.disk.clone(),
            at: self.directory.path().join("mnt"),
            reset: None,
            check: "/sbin/e2fsck".into(),
            make: "/sbin/mke2fs".into(),
        }
    }

    fn data(&self) -> PathBuf {
        self.disk.partition(PARTITION)
    }

    fn unmount(&self) {
        umount2(&self.way().at, MntFlags::empty()).unwrap();
    }

    fn is_clean(&self) -> bool {
        Command::new("/sbin/e2fsck")
            .args(["-f", "-n"])
            .arg(self.data())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    fn scribble(&self, at: u64, bytes: &[u8]) {
        let mut file = File::options().write(true).open(self.data()).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(bytes).unwrap();
        file.sync_all().unwrap();
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        let _ = umount2(&self.way().at, MntFlags::MNT_DETACH);
        let _ = Command::new("losetup").arg("-d").arg(&self.disk.device).status();
    }
}

/// Growing a mounted file system takes a right that containers may lack. The partition grows
/// without it.
fn may_grow() -> bool {
    const SYS_RESOURCE: u64 = 1 << 24;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap() & SYS_RESOURCE != 0
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn tool(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(name).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_partition_grows_to_the_cards_end_once() {
    for gib in [4_u64, 32] {
        let card = Card::new(gib << 30);
        let before = std::time::Instant::now();
        let opened = open(&card.way()).unwrap();
        println!("{gib} GiB: opened and grown in {} ms", before.elapsed().as_millis());
        let room = (gib << 30) - u64::from(START) * SECTOR;
        assert_eq!(opened.mended, None);
        if may_grow() {
            assert_eq!(opened.problems, [""; 0]);
            assert!(opened.size > room / 100 * 97, "{} of {room}", opened.size);
        } else {
            assert!(opened.problems[0].contains("could not be grown"), "{:?}", opened.problems);
        }
        let table = card.disk.table().unwrap().unwrap();
        assert_eq!(u64::from(table.partition(4).unwrap().sectors) * SECTOR, room);
        let appliance = fs::metadata(card.way().at.join(APPLIANCE)).unwrap();
        assert_eq!(
            (appliance.uid(), appliance.gid(), appliance.mode() & 0o777),
            (USER, USER, 0o700)
        );
        let init = fs::metadata(card.way().at.join(INIT)).unwrap();
        assert_eq!((init.uid(), init.mode() & 0o777), (0, 0o700));
        card.unmount();
        assert!(card.is_clean());
        let again = open(&card.way()).unwrap();
        assert_eq!(again.size, opened.size);
        card.unmount();
    }
}

#[test]
fn a_power_cut_between_table_and_file_system_is_made_up_for() {
    let card = Card::new(1 << 30);
    grow_partition(&card.disk).unwrap();
    let small = superblock(&card.data()).unwrap().unwrap();
    assert_eq!(small.size(), u64::from(SECTORS) * SECTOR);
    let opened = open(&card.way()).unwrap();
    assert_eq!(opened.size > 600 << 20, may_grow(), "{}", opened.size);
    card.unmount();
    assert!(card.is_clean());
}

#[test]
fn errors_are_repaired_before_it_is_mounted() {
    let card = Card::new(1 << 29);
    // The state field says that the kernel found errors.
    let errors = || tool("debugfs", &["-w", "-R", "ssv state 3", path(&card.data())]);
    errors();
    let opened = open(&card.way()).unwrap();
    assert!(opened.mended.unwrap().contains("repaired"));
    card.unmount();
    assert!(card.is_clean());
    // Without the tool it is used as it is, and said.
    errors();
    let opened = open(&Way { check: "/none".into(), ..card.way() }).unwrap();
    assert!(opened.problems[0].contains("has seen errors"), "{:?}", opened.problems);
    card.unmount();
}

#[test]
fn damage_is_repaired_from_the_copies() {
    // The group descriptors; the superblock, checksum and all.
    for (at, bytes) in [(4096, vec![0xff; 4096]), (0, vec![0; 4096])] {
        let card = Card::with(1 << 29, LARGE);
        open(&card.way()).unwrap();
        fs::write(card.way().at.join(APPLIANCE).join("kept"), "kept").unwrap();
        card.unmount();
        card.scribble(at, &bytes);
        let opened = open(&card.way()).unwrap();
        assert!(opened.mended.unwrap().contains("repaired"));
        assert_eq!(fs::read(card.way().at.join(APPLIANCE).join("kept")).unwrap(), b"kept");
        card.unmount();
        assert!(card.is_clean());
    }
}

#[test]
fn what_is_no_file_system_is_left_alone_unless_ordered() {
    let card = Card::new(1 << 29);
    let nothing = vec![0x5a; 1 << 20];
    card.scribble(0, &nothing);
    assert!(open(&card.way()).unwrap_err().contains("holds no file system"));
    let mut found = vec![0; nothing.len()];
    File::open(card.data()).unwrap().read_exact(&mut found).unwrap();
    assert!(found == nothing, "destroyed without an order");
    let ordered = Way { reset: Some("a test says so".into()), ..card.way() };
    assert!(open(&Way { make: "/none".into(), ..ordered.clone() }).is_err());
    let opened = open(&ordered).unwrap();
    assert!(opened.mended.unwrap().contains("a test says so"));
    assert!(opened.size > 100 << 20, "{}", opened.size);
    card.unmount();
    assert!(card.is_clean());
}

#[test]
fn an_order_empties_it_once() {
    let card = Card::new(1 << 29);
    open(&card.way()).unwrap();
    let at = card.way().at;
    fs::create_dir_all(at.join("bramble/site/deep")).unwrap();
    fs::write(at.join("bramble/site/deep/file"), "x").unwrap();
    fs::write(at.join("loose"), "x").unwrap();
    std::os::unix::fs::symlink("/etc", at.join("bramble/link")).unwrap();
    order_reset(&at).unwrap();
    card.unmount();
    let opened = open(&card.way()).unwrap();
    assert!(opened.mended.unwrap().contains("on the admin page"));
    let mut left: Vec<_> =
        fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [APPLIANCE, INIT, "lost+found"]);
    assert_eq!(fs::read_dir(at.join(APPLIANCE)).unwrap().count(), 0);
    assert!(Path::new("/etc/passwd").exists());
    card.unmount();
    assert_eq!(open(&card.way()).unwrap().mended, None);
    card.unmount();
}

#[test]
fn a_full_partition_is_in_use_and_said() {
    let card = Card::new(1 << 29);
    open(&card.way()).unwrap();
    let mut file = File::create(card.way().at.join("filler")).unwrap();
    while file.write_all(&[0x11; 1 << 20]).is_ok() {}
    drop(file);
    card.unmount();
    let opened = open(&card.way()).unwrap();
    let full = opened.problems.iter().any(|problem| problem.contains("is full"));
    assert!(full, "{:?}", opened.problems);
    card.unmount();
}
