//! In which order modules are loaded: `modules.dep`.

use std::collections::HashMap;

/// Modules by name, with what each needs.
#[derive(Debug)]
pub(crate) struct Dependencies<'a> {
    by_name: HashMap<String, &'a str>,
    needs: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Dependencies<'a> {
    /// Reads the file; lines that are not of its form are passed over.
    pub(crate) fn parse(text: &'a str) -> Self {
        let mut by_name = HashMap::new();
        let mut needs = HashMap::new();
        for line in text.lines() {
            if let Some((path, rest)) = line.split_once(':') {
                by_name.insert(name(path), path);
                needs.insert(path, rest.split_ascii_whitespace().collect());
            }
        }
        Self { by_name, needs }
    }

    /// The files to load, what is needed first; empty for a module that is built in or unknown.
    pub(crate) fn order(&self, module: &str) -> Vec<&'a str> {
        let mut order = Vec::new();
        let mut seen = Vec::new();
        if let Some(path) = self.by_name.get(&name(module)) {
            self.visit(path, &mut seen, &mut order);
        }
        order
    }

    fn visit(&self, path: &'a str, seen: &mut Vec<&'a str>, order: &mut Vec<&'a str>) {
        if seen.contains(&path) {
            return;
        }
        seen.push(path);
        // depmod writes what is to be loaded first at the end.
        for needed in self.needs.get(path).into_iter().flatten().rev() {
            self.visit(needed, seen, order);
        }
        order.push(path);
    }
}

/// The kernel's name of a module, from a path, a file name or a name with dashes.
pub(crate) fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/net/wireless/cfg80211.ko: kernel/net/rfkill/rfkill.ko
kernel/net/rfkill/rfkill.ko:
kernel/net/mac80211/mac80211.ko: kernel/net/wireless/cfg80211.ko kernel/net/rfkill/rfkill.ko
kernel/drivers/rt2x00usb.ko: kernel/drivers/rt2x00lib.ko kernel/net/mac80211/mac80211.ko
kernel/drivers/rt2x00lib.ko: kernel/net/mac80211/mac80211.ko
kernel/drivers/brcmfmac-wcc.ko.xz: kernel/drivers/brcmfmac.ko.xz
kernel/drivers/brcmfmac.ko.xz:
";

    #[test]
    fn what_is_needed_comes_first() {
        let dep = Dependencies::parse(DEP);
        assert_eq!(
            dep.order("rt2x00usb"),
            [
                "kernel/net/rfkill/rfkill.ko",
                "kernel/net/wireless/cfg80211.ko",
                "kernel/net/mac80211/mac80211.ko",
                "kernel/drivers/rt2x00lib.ko",
                "kernel/drivers/rt2x00usb.ko"
            ]
        );
    }

    #[test]
    fn names_with_dashes_and_compressed_files() {
        let dep = Dependencies::parse(DEP);
        let both = ["kernel/drivers/brcmfmac.ko.xz", "kernel/drivers/brcmfmac-wcc.ko.xz"];
        assert_eq!(dep.order("brcmfmac_wcc"), both);
        assert_eq!(dep.order("brcmfmac-wcc"), both);
        assert!(dep.order("ext4").is_empty(), "built in");
    }

    #[test]
    fn a_circle_ends() {
        let dep = Dependencies::parse("a.ko: b.ko\nb.ko: a.ko\nno colon\n: \n");
        assert_eq!(dep.order("a"), ["b.ko", "a.ko"]);
    }
}
