//! What was measured, kept for people.

use lab::{Doing, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Lines under a title, each printed past the test harness and appended to a file at once.
#[derive(Debug)]
pub struct Figures {
    path: PathBuf,
    title: String,
}

impl Figures {
    /// Figures that go to `image-figures.txt` in a directory.
    pub fn new(directory: impl AsRef<Path>, title: &str) -> Self {
        Self { path: directory.as_ref().join("image-figures.txt"), title: title.to_owned() }
    }

    /// Adds a line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note(&self, what: &str, value: &str) -> Result<()> {
        let line = format!("{:24} {what:52} {value}\n", self.title);
        let said = || format!("writing {}", self.path.display());
        std::io::stderr().write_all(line.as_bytes()).doing(said)?;
        let file = File::options().create(true).append(true).open(&self.path);
        file.doing(said)?.write_all(line.as_bytes()).doing(said)
    }
}
