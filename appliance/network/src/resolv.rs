//! The name servers in /etc/resolv.conf.

use crate::error::Error;
use crate::servers::NameServers;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// More than any resolv.conf has; one that is longer is not ours.
const LONGEST: u64 = 64 * 1024;

/// At most so many are looked at (resolv.conf(5), MAXNS).
const MOST: usize = 3;

/// The file for these name servers and, from a DHCP server, the domain of this network.
pub(crate) fn content(found: &NameServers, domain: Option<&str>) -> String {
    let origin = match (found.from_settings, found.from_dhcp) {
        (true, true) => "the settings and what the DHCP server said",
        (false, true) => "what the DHCP server said",
        _ => "the settings",
    };
    let mut text = format!("# Written by Bramble from {origin}.\n");
    let servers = found.servers.iter().take(MOST);
    if let Some(domain) = domain {
        text.push_str(&format!("search {domain}\n"));
    }
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    text
}

/// Has the file say this. It is written in place, because it may be a bind mount, which cannot
/// be replaced by a rename.
///
/// # Errors
/// When it cannot be written, for example on a read-only file system.
pub(crate) fn apply(path: &Path, wanted: &str) -> Result<(), Error> {
    if matches!(read(path), Ok(found) if found == wanted.as_bytes()) {
        return Ok(());
    }
    write(path, wanted).map_err(|source| Error::File { path: path.to_owned(), source })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut found = Vec::new();
    fs::File::open(path)?.take(LONGEST).read_to_end(&mut found)?;
    Ok(found)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    // Written first and cut after, a reader in between finds name servers at every moment.
    file.write_all(text.as_bytes())?;
    let length = u64::try_from(text.len()).map_err(io::Error::other)?;
    file.set_len(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn it_is_written_in_place_and_only_when_it_differs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let servers = vec!["192.168.1.1".parse().unwrap(), "9.9.9.9".parse().unwrap()];
        let text = content(&NameServers { servers, from_settings: true, from_dhcp: false }, None);
        assert!(text.ends_with("\nnameserver 192.168.1.1\nnameserver 9.9.9.9\n"));

        apply(&path, &text).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);

        fs::write(&path, "x".repeat(10_000)).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        apply(&path, &text).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        let after = fs::metadata(&path).unwrap();
        assert_eq!(after.ino(), inode);

        apply(&path, &text).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), after.modified().unwrap());
    }

    #[test]
    fn what_a_dhcp_server_says_is_marked_and_cut() {
        let servers = (1..=5).map(|n| std::net::Ipv4Addr::new(10, 0, 0, n)).collect();
        let found = NameServers { servers, from_settings: false, from_dhcp: true };
        let text = content(&found, Some("lan"));
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.starts_with('#') && first.contains("DHCP"), "{first}");
        let three = "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n";
        assert_eq!(rest, format!("search lan\n{three}"));
    }

    #[test]
    fn a_path_that_cannot_be_written_is_said() {
        let error = apply(Path::new("/proc/no/such/resolv.conf"), "x").unwrap_err();
        assert!(error.to_string().contains("/proc/no/such/resolv.conf"), "{error}");
    }
}
