//! What takes the room in a directory.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How many are named.
const NAMED: usize = 5;
/// Directories in which what lies below is what one wants to know.
const OPENED: [&str; 3] = ["usr", "lib", "usr/lib"];

/// The five largest contributors and the sum of all.
pub(crate) fn report(root: &Path) -> Result<String> {
    let mut groups = BTreeMap::new();
    let mut seen = BTreeSet::new();
    add(root, "", &mut groups, &mut seen)?;
    let mut sorted: Vec<(u64, String)> = groups.into_iter().map(|(n, s)| (s, n)).collect();
    sorted.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut text = String::new();
    for (size, name) in sorted.iter().take(NAMED) {
        writeln!(text, "{size:>12}  {name}")?;
    }
    let total: u64 = sorted.iter().map(|(size, _)| size).sum();
    writeln!(text, "{total:>12}  all")?;
    Ok(text)
}

fn add(
    directory: &Path,
    name: &str,
    groups: &mut BTreeMap<String, u64>,
    seen: &mut BTreeSet<(u64, u64)>,
) -> Result<()> {
    let list = fs::read_dir(directory)
        .with_context(|| format!("cannot read the directory {}", directory.display()))?;
    let mut paths = list.map(|item| Ok(item?.path())).collect::<std::io::Result<Vec<_>>>()?;
    // The first name of a file counts, the same each time.
    paths.sort();
    for path in paths {
        let own = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let inside = name.is_empty() || OPENED.contains(&name);
        let group = match (inside, name.is_empty()) {
            (true, true) => own,
            (true, false) => format!("{name}/{own}"),
            (false, _) => name.to_owned(),
        };
        let meta = fs::symlink_metadata(&path).with_context(|| format!("{}", path.display()))?;
        if meta.is_dir() {
            add(&path, &group, groups, seen)?;
        } else if seen.insert((meta.dev(), meta.ino())) {
            *groups.entry(group).or_insert(0) += meta.len();
        }
    }
    Ok(())
}
