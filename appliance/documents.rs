//! Settings documents and the password, on the command line, while no node runs.

use crate::cli::Failure;
use control::{Author, Book};
use model::{MASK, NodeId, Problem, Revision, Settings};
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use store::{DataLock, Store};

/// Writes the newest settings as TOML, with secrets masked: a file that leaves the node.
pub(crate) fn export(data: &Path, file: Option<&Path>) -> Result<(), Failure> {
    let settings = book(&Store::open(data)?)?.settings().clone();
    let text = format!(
        "# Settings of a Bramble cluster. Secrets read {MASK:?}; imported again, they stay as they are.\n\n{}",
        model::to_toml(&settings.masked())
    );
    match file {
        Some(path) => fs::write(path, text).map_err(|e| named(path, &e))?,
        None => io::stdout().write_all(text.as_bytes())?,
    }
    Ok(())
}

/// Says whether a document could be imported.
pub(crate) fn check(file: Option<&Path>) -> Result<(), Failure> {
    read(file, &Settings::default())?;
    println!("the settings are good");
    Ok(())
}

/// Makes a document the newest revision of a data directory.
pub(crate) fn import(
    data: &Path,
    node: Option<NodeId>,
    file: Option<&Path>,
) -> Result<(), Failure> {
    let _lock = DataLock::take(data)?;
    let store = Store::open(data)?;
    if let Some(id) = &node {
        store.local().set_node_id(id)?;
    }
    let mut book = book(&store)?;
    book.begin()?;
    let mut settings = read(file, book.settings())?;
    settings.keep_devices(book.settings());
    let before = book.revision();
    if settings != *book.settings() || before == Revision(0) {
        book.write_settings(settings, &Author::Local, "imported a settings document")?;
    }
    match book.revision() {
        same if same == before => println!("revision {same} already says so"),
        revision => println!("imported as revision {revision}"),
    }
    // Whoever does this is at the board itself and need not prove that it can be reached.
    store.local().forget_network()?;
    Ok(())
}

/// The settings of a data directory.
fn book(store: &Store) -> Result<Book<store::Revisions>, Failure> {
    let node = store.local().node_id()?.unwrap_or_default();
    Ok(Book::open(store.revisions(), &node, Settings::default())?)
}

/// Sets the admin password to the first line of standard input.
pub(crate) fn password(data: &Path) -> Result<(), Failure> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let hash = webui::hash_password(line.trim_end_matches(['\r', '\n'])).map_err(Failure::Input)?;
    let store = Store::open(data)?;
    store.local().set_password_hash(&hash)?;
    store.sessions()?.end_all_except(None)?;
    println!("the admin password is set; every session has ended");
    Ok(())
}

/// A document in TOML, or in JSON as the API gives it.
fn read(file: Option<&Path>, current: &Settings) -> Result<Settings, Failure> {
    let limit = u64::try_from(model::MAX_DOCUMENT).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    match file {
        Some(path) => {
            let document = fs::File::open(path).map_err(|e| named(path, &e))?;
            document.take(limit).read_to_string(&mut text).map_err(|e| named(path, &e))?;
        }
        None => {
            io::stdin().take(limit).read_to_string(&mut text)?;
        }
    }
    let settings = if text.trim_start().starts_with('{') {
        model::from_json(text.as_bytes(), current)
    } else {
        model::from_toml(&text, current)
    };
    settings.map_err(|problems| refused(&problems))
}

fn named(path: &Path, error: &io::Error) -> Failure {
    Failure::Input(format!("{}: {error}", path.display()))
}

/// One line, as promised to scripts: the problems follow each other.
fn refused(problems: &[Problem]) -> Failure {
    let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Failure::Input(format!("{} problem(s) in the settings: {}", list.len(), list.join("; ")))
}
