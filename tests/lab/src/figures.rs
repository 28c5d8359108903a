//! What was measured, as a table for people.

use crate::error::{Doing, Result};
use crate::load::Report;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A table that is printed and kept when it is complete.
#[derive(Debug)]
pub struct Figures {
    path: PathBuf,
    title: String,
    rows: Vec<(String, Report)>,
}

impl Figures {
    /// A table that will be appended to `lab-figures.txt` in the build's target directory, which
    /// holds `tmp` (a test's `CARGO_TARGET_TMPDIR`).
    pub fn new(tmp: &str, title: &str) -> Self {
        let path = Path::new(tmp).with_file_name("lab-figures.txt");
        Self { path, title: title.to_owned(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, what: &str, report: &Report) {
        self.rows.push((what.to_owned(), report.clone()));
    }

    /// The table.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{:44} {:>9} {:>7} {:>15} {:>12}\n",
            self.title, "requests", "failed", "longest gap ms", "slowest ms"
        );
        for (what, r) in &self.rows {
            let (gap, slow) = (r.longest_gap_ms, r.slowest_ms);
            let line = format!("{what:44} {:>9} {:>7} {gap:>15.0} {slow:>12.0}", r.total, r.failed);
            text.push_str(&line);
            for (reason, count) in &r.reasons {
                text.push_str(&format!("  {count} x {reason};"));
            }
            text.push('\n');
        }
        text
    }

    /// Prints the table, past the test harness that keeps the output of a test that passed, and
    /// appends it to the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn publish(&self) -> Result<()> {
        let text = format!("\n{}", self.text());
        let what = || format!("writing {}", self.path.display());
        std::io::stderr().write_all(text.as_bytes()).doing(what)?;
        let file = File::options().create(true).append(true).open(&self.path);
        file.doing(what)?.write_all(text.as_bytes()).doing(what)
    }
}
