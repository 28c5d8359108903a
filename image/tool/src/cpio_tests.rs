use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

/// What is in an archive: name, mode, links, size, device, content.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    name: String,
    inode: u32,
    mode: u32,
    links: u32,
    device: (u32, u32),
    content: Vec<u8>,
}

/// Read again by the kernel's description of the format (Documentation/driver-api/early-userspace,
/// "buffer format").
fn read(archive: &[u8], time: u32) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        assert_eq!(&archive[at..at + 6], b"070701");
        let field = |n: usize| {
            let digits = std::str::from_utf8(&archive[at + 6 + 8 * n..at + 14 + 8 * n]).unwrap();
            u32::from_str_radix(digits, 16).unwrap()
        };
        let length = |n: usize| usize::try_from(field(n)).unwrap();
        let name = &archive[at + 110..at + 110 + length(11)];
        let name = std::str::from_utf8(name.strip_suffix(b"\0").unwrap()).unwrap().to_owned();
        if name == "TRAILER!!!" {
            assert_eq!(archive.len() % 512, 0);
            assert!(archive[at + 110 + 11..].iter().all(|b| *b == 0));
            return found;
        }
        assert_eq!((field(2), field(3), field(5)), (0, 0, time), "{name}");
        let content = (at + 110 + length(11)).next_multiple_of(4);
        let end = content + length(6);
        found.push(Found {
            name,
            inode: field(0),
            mode: field(1),
            links: field(4),
            device: (field(9), field(10)),
            content: archive[content..end].to_vec(),
        });
        at = end.next_multiple_of(4);
    }
}

fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    for name in ["usr", "usr/bin", "usr-local", "dev", "etc"] {
        fs::create_dir(at(name)).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (name, text, mode) in [
        ("init", "binary", 0o755),
        ("etc/passwd", "root:x:0:0::/:/\n", 0o644),
        ("etc/empty", "", 0o600),
        ("usr-local/x", "12345", 0o644),
    ] {
        fs::write(at(name), text).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::hard_link(at("init"), at("usr/bin/again")).unwrap();
    symlink("../../init", at("usr/bin/bramble")).unwrap();
    root
}

fn pack(root: &Path) -> Vec<u8> {
    let mut archive = Vec::new();
    write(root, 1_700_000_000, &mut archive).unwrap();
    archive
}

#[test]
fn everything_is_in_it_in_order() {
    let root = root();
    let found = read(&pack(root.path()), 1_700_000_000);
    let lines: Vec<_> = found
        .iter()
        .map(|f| {
            let text = String::from_utf8_lossy(&f.content);
            format!("{} {} {:o} {} {:?} {text}", f.inode, f.name, f.mode, f.links, f.device)
        })
        .collect();
    let wanted = [
        "1 dev 40755 2 (0, 0) ",
        "2 dev/console 20600 1 (5, 1) ",
        "3 dev/null 20666 1 (1, 3) ",
        "4 etc 40755 2 (0, 0) ",
        "5 etc/empty 100600 1 (0, 0) ",
        "6 etc/passwd 100644 1 (0, 0) root:x:0:0::/:/\n",
        // The bytes of a file with two names come with the last of them.
        "7 init 100755 2 (0, 0) ",
        "8 usr 40755 2 (0, 0) ",
        "9 usr/bin 40755 2 (0, 0) ",
        "7 usr/bin/again 100755 2 (0, 0) binary",
        "10 usr/bin/bramble 120777 1 (0, 0) ../../init",
        "11 usr-local 40755 2 (0, 0) ",
        "12 usr-local/x 100644 1 (0, 0) 12345",
    ];
    assert_eq!(lines, wanted);
}

#[test]
fn the_same_files_make_the_same_archive() {
    let (one, other) = (root(), root());
    // Made in another order and at another time.
    fs::remove_file(other.path().join("etc/passwd")).unwrap();
    fs::write(other.path().join("etc/passwd"), "root:x:0:0::/:/\n").unwrap();
    fs::set_permissions(other.path().join("etc/passwd"), fs::Permissions::from_mode(0o644))
        .unwrap();
    assert!(pack(one.path()) == pack(other.path()));
    fs::write(other.path().join("etc/empty"), "x").unwrap();
    assert!(pack(one.path()) != pack(other.path()));
}

#[test]
fn what_may_not_be_in_an_image_is_refused() {
    let refused = |change: &dyn Fn(&Path), word: &str| {
        let root = root();
        change(root.path());
        let error = write(root.path(), 0, &mut Vec::new()).unwrap_err();
        assert!(format!("{error:#}").contains(word), "{error:#}");
    };
    for mode in [0o4755, 0o2755, 0o6755] {
        refused(
            &|root| {
                fs::set_permissions(root.join("etc/passwd"), fs::Permissions::from_mode(mode))
                    .unwrap()
            },
            "etc/passwd: is setuid or setgid",
        );
    }
    refused(
        &|root| drop(std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap()),
        "socket: is neither file",
    );
    let error = write(Path::new("/does/not/exist"), 0, &mut Vec::new()).unwrap_err();
    assert!(format!("{error:#}").contains("cannot read the directory"), "{error:#}");
}

#[test]
fn cpio_reads_it() {
    let root = root();
    let mut cpio = Command::new("cpio")
        .args(["--list", "--verbose", "--numeric-uid-gid", "--quiet"])
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cpio is installed");
    let archive = pack(root.path());
    cpio.stdin.take().unwrap().write_all(&archive).unwrap();
    let output = cpio.wait_with_output().unwrap();
    assert!(output.status.success());
    let list = String::from_utf8(output.stdout).unwrap();
    assert_eq!(list.lines().count(), 13, "{list}");
    assert!(list.lines().any(|l| l.starts_with("crw-------") && l.ends_with("dev/console")));
    assert!(list.contains("usr/bin/bramble -> ../../init"), "{list}");
}
