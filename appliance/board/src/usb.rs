//! USB devices that nothing here drives: an adapter somebody plugged in and wonders about.

use std::fs;
use std::path::Path;

/// Classes of interfaces that a network adapter without a driver shows: wireless, and "see the
/// maker" (USB class codes).
const ADAPTERS: [&str; 2] = ["e0", "ff"];
/// More are not listed; nobody plugs in more at once.
const MOST: usize = 4;

/// Names of devices below this directory (`/sys/bus/usb/devices`) that may be network adapters
/// and have no driver.
pub(crate) fn strangers(devices: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(devices) else { return Vec::new() };
    let mut found: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let interface = entry.path();
            let name = interface.file_name()?.to_str()?.to_owned();
            let (device, _) = name.split_once(':')?;
            let class = text(&interface.join("bInterfaceClass"))?;
            let driven = interface.join("driver").exists();
            let stranger = !driven && ADAPTERS.contains(&class.as_str());
            stranger.then(|| called(&devices.join(device)))
        })
        .collect();
    found.sort();
    found.dedup();
    found.truncate(MOST);
    found
}

/// What a device calls itself, which can be anything, and its numbers, which are what a search
/// engine knows.
fn called(device: &Path) -> String {
    let told = |file: &str| text(&device.join(file)).unwrap_or_default();
    let name: String = told("product").chars().filter(|c| !c.is_control()).take(40).collect();
    format!("{name} ({}:{})", told("idVendor"), told("idProduct")).trim_start().to_owned()
}

fn text(file: &Path) -> Option<String> {
    Some(fs::read_to_string(file).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plug(root: &Path, device: &str, product: &str, class: &str, driven: bool) {
        let dir = root.join(device);
        let interface = root.join(format!("{device}:1.0"));
        fs::create_dir_all(&dir).unwrap();
        fs::create_dir_all(&interface).unwrap();
        fs::write(dir.join("product"), format!("{product}\n")).unwrap();
        fs::write(dir.join("idVendor"), "0bda\n").unwrap();
        fs::write(dir.join("idProduct"), "f179\n").unwrap();
        fs::write(interface.join("bInterfaceClass"), format!("{class}\n")).unwrap();
        if driven {
            fs::create_dir(interface.join("driver")).unwrap();
        }
    }

    #[test]
    fn only_adapters_that_nothing_drives_are_strangers() {
        let root = tempfile::tempdir().unwrap();
        plug(root.path(), "1-1.2", "802.11n\u{7} Adapter", "ff", false);
        plug(root.path(), "1-1.3", "Known", "ff", true);
        plug(root.path(), "1-1.4", "Keyboard", "03", false);
        assert_eq!(strangers(root.path()), ["802.11n Adapter (0bda:f179)"]);
        plug(root.path(), "1-1.5", "", "e0", false);
        assert_eq!(strangers(root.path()), ["(0bda:f179)", "802.11n Adapter (0bda:f179)"]);
        assert!(strangers(&root.path().join("nothing")).is_empty());
    }
}
