//! Small files of secrets beside the database, readable to nobody else.

use crate::database::make_directory;
use crate::error::StoreError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// No key is longer, in bytes.
const LONGEST: u64 = 64 * 1024;

/// One file of a data directory, mode 0600, that is replaced as a whole or not at all.
///
/// Secrets of the board stand in files of their own and not in the database, so that a copy of
/// the database alone opens nothing.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
}

/// What [`KeyFile::keep`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    /// The content that was there.
    Found(Vec<u8>),
    /// There was none: what was made now, and stored.
    Made(Vec<u8>),
    /// What was there was unreadable or of no use and is set aside; this was made and stored.
    Replaced {
        /// The new content.
        content: Vec<u8>,
        /// Where the old file is now.
        aside: PathBuf,
    },
}

impl Kept {
    /// The content, wherever it came from.
    pub fn content(&self) -> &[u8] {
        match self {
            Self::Found(content) | Self::Made(content) | Self::Replaced { content, .. } => content,
        }
    }
}

impl KeyFile {
    /// The file of this name in a data directory, which is made if missing.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(directory: &Path, name: &str) -> Result<Self, StoreError> {
        make_directory(directory)?;
        Ok(Self { path: directory.join(name) })
    }

    /// The content; None where there is no file.
    ///
    /// # Errors
    /// When it cannot be read, or is longer than 64 KiB.
    pub fn read(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.error(error)),
        };
        let mut content = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut content).map_err(|e| self.error(e))?;
        if u64::try_from(content.len()).is_ok_and(|length| length > LONGEST) {
            return Err(self.error(io::Error::other("the file is too long for a key")));
        }
        Ok(Some(content))
    }

    /// Replaces the content. After a power cut the file is the old or the new one.
    ///
    /// # Errors
    /// When it is not stored; the old content stands then.
    pub fn write(&self, content: &[u8]) -> Result<(), StoreError> {
        self.replace(content).map_err(|e| self.error(e))
    }

    /// The content if `good` likes it, else what `make` makes, stored. Content that cannot be
    /// read or is no good is moved to a name of its own: nothing is lost that somebody might
    /// still read.
    ///
    /// # Errors
    /// When what was made cannot be stored.
    pub fn keep(
        &self,
        good: impl Fn(&[u8]) -> bool,
        make: impl FnOnce() -> Vec<u8>,
    ) -> Result<Kept, StoreError> {
        match self.read() {
            Ok(Some(content)) if good(&content) => return Ok(Kept::Found(content)),
            Ok(None) => {
                let content = make();
                self.write(&content)?;
                return Ok(Kept::Made(content));
            }
            Ok(Some(_)) => tracing::error!("{} is damaged", self.path.display()),
            Err(error) => tracing::error!("{error}"),
        }
        let aside = self.set_aside().map_err(|e| self.error(e))?;
        let content = make();
        self.write(&content)?;
        Ok(Kept::Replaced { content, aside })
    }

    fn replace(&self, content: &[u8]) -> io::Result<()> {
        let new = PathBuf::from(format!("{}.new", self.path.display()));
        // A half-written one of an earlier attempt may have been made with other rights.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        // The name itself has to reach the card as well.
        match self.path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }

    fn set_aside(&self) -> io::Result<PathBuf> {
        let name = |number: u32| PathBuf::from(format!("{}.damaged-{number}", self.path.display()));
        let number = (1..1000).find(|n| !name(*n).exists()).unwrap_or(1000);
        fs::rename(&self.path, name(number))?;
        Ok(name(number))
    }

    fn error(&self, source: io::Error) -> StoreError {
        StoreError::File { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(directory: &Path) -> KeyFile {
        KeyFile::new(directory, "node.key").unwrap()
    }

    fn good(content: &[u8]) -> bool {
        content.starts_with(b"key")
    }

    #[test]
    fn made_once_and_kept_for_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("data");
        let made = file(&below).keep(good, || b"key 1".to_vec()).unwrap();
        assert_eq!(made, Kept::Made(b"key 1".to_vec()));
        let kept = file(&below).keep(good, || panic!("there is one")).unwrap();
        assert_eq!(kept, Kept::Found(b"key 1".to_vec()));
        let mode = fs::metadata(below.join("node.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&below).unwrap().count(), 1, "nothing else lies about");
    }

    #[test]
    fn what_is_no_key_is_set_aside_and_never_lost() {
        let directory = tempfile::tempdir().unwrap();
        for (number, damage) in [&b""[..], b"ke", &[0xff; 70_000]].into_iter().enumerate() {
            fs::write(directory.path().join("node.key"), damage).unwrap();
            let kept = file(directory.path()).keep(good, || b"key 2".to_vec()).unwrap();
            let Kept::Replaced { content, aside } = kept else { panic!("{kept:?}") };
            assert_eq!(content, b"key 2");
            assert!(aside.ends_with(format!("node.key.damaged-{}", number + 1)), "{aside:?}");
            assert_eq!(fs::read(aside).unwrap(), damage);
            assert_eq!(file(directory.path()).read().unwrap().unwrap(), b"key 2");
        }
        // A directory of that name can be opened and not read.
        fs::remove_file(directory.path().join("node.key")).unwrap();
        fs::create_dir(directory.path().join("node.key")).unwrap();
        let kept = file(directory.path()).keep(good, || b"key 3".to_vec()).unwrap();
        assert!(matches!(kept, Kept::Replaced { .. }), "{kept:?}");
    }

    #[test]
    fn a_write_that_was_cut_off_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let key = file(directory.path());
        assert_eq!(key.read().unwrap(), None);
        key.write(b"key 1").unwrap();
        fs::write(directory.path().join("node.key.new"), b"ke").unwrap();
        assert_eq!(key.read().unwrap().unwrap(), b"key 1");
        key.write(b"key 2").unwrap();
        assert_eq!(key.read().unwrap().unwrap(), b"key 2");
        let mode = fs::metadata(directory.path().join("node.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
