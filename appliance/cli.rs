//! The command line.

use crate::{documents, node};
use model::NodeId;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Exit code for bad usage or bad settings.
pub(crate) const BAD_INPUT: u8 = 2;

const USAGE: &str = "usage:
  bramble run --data DIR [--admin ADDR:PORT] [--node ID] [--access-log FILE]
  bramble settings export --data DIR [FILE]
  bramble settings check [FILE]
  bramble settings import --data DIR [--node ID] [FILE]
  bramble password --data DIR      (reads the password from standard input)
  bramble version";

/// What the operator asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Runs one node in the foreground.
    Run(node::Options),
    /// Writes the settings as TOML, secrets masked.
    Export { data: PathBuf, file: Option<PathBuf> },
    /// Checks a document.
    Check { file: Option<PathBuf> },
    /// Makes a document the newest revision.
    Import { data: PathBuf, node: Option<NodeId>, file: Option<PathBuf> },
    /// Sets the admin password.
    Password { data: PathBuf },
    /// Says what this is.
    Version,
    /// Explains the command line.
    Help,
    /// Lives as the guardian of another process.
    Guardian,
}

/// A command that did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What the operator gave is wrong.
    Input(String),
    /// Something else went wrong.
    Other(anyhow::Error),
}

impl Failure {
    /// 2 for bad settings, 1 for a failure.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Input(_) => ExitCode::from(BAD_INPUT),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(text) => f.write_str(text),
            Self::Other(error) => write!(f, "{error:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Does what was asked.
pub(crate) fn execute(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(options) => Ok(node::run(options)?),
        Command::Export { data, file } => documents::export(&data, file.as_deref()),
        Command::Check { file } => documents::check(file.as_deref()),
        Command::Import { data, node, file } => documents::import(&data, node, file.as_deref()),
        Command::Password { data } => documents::password(&data),
        Command::Version => {
            println!("bramble {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Command::Help => {
            println!("{USAGE}");
            Ok(())
        }
        Command::Guardian => Ok(node::guard()?),
    }
}

/// Understands the arguments, or says in one line what is wrong with them.
pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut given = Arguments::read(arguments)?;
    let words: Vec<&str> = given.words.iter().map(String::as_str).collect();
    let command = match words.as_slice() {
        ["run"] => Command::Run(node::Options {
            data: given.data()?,
            admin: given.take("admin", "an address and a port such as 127.0.0.1:1936")?,
            node: given.node()?,
            access_log: given.take("access-log", "a file name")?,
            confirm_within: given
                .take::<u64>("confirm-within", "a number of seconds")?
                .map_or(network::trial::WITHIN, Duration::from_secs),
        }),
        ["settings", "export", file @ ..] => {
            let file = one_file(file)?;
            Command::Export { data: given.data()?, file }
        }
        ["settings", "check", file @ ..] => {
            let file = one_file(file)?;
            // Accepted for symmetry; a check needs no data directory.
            let _ = given.take::<PathBuf>("data", "a directory")?;
            Command::Check { file }
        }
        ["settings", "import", file @ ..] => {
            let file = one_file(file)?;
            Command::Import { data: given.data()?, node: given.node()?, file }
        }
        ["password"] => Command::Password { data: given.data()? },
        ["version"] => Command::Version,
        ["help"] => Command::Help,
        [word] if *word == init::guardian::ARGUMENT => Command::Guardian,
        [] => return Err("say what to do; \"bramble help\" lists the commands".to_owned()),
        _ => {
            return Err(format!(
                "there is no command \"{}\"; \"bramble help\" lists the commands",
                words.join(" ")
            ));
        }
    };
    match given.options.first() {
        Some((name, _)) => {
            Err(format!("--{name} does not belong to this command; see \"bramble help\""))
        }
        None => Ok(command),
    }
}

fn one_file(rest: &[&str]) -> Result<Option<PathBuf>, String> {
    match rest {
        [] | ["-"] => Ok(None),
        [file] => Ok(Some(PathBuf::from(file))),
        [_, extra, ..] => Err(format!("one file at a time; what is \"{extra}\"?")),
    }
}

struct Arguments {
    words: Vec<String>,
    options: Vec<(String, String)>,
}

impl Arguments {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut words, mut options) = (Vec::new(), Vec::new());
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix("--") {
                Some("help") => words = vec!["help".to_owned()],
                Some("version") => words = vec!["version".to_owned()],
                Some(option) => {
                    let (name, value) = match option.split_once('=') {
                        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                        None => (option.to_owned(), arguments.next()),
                    };
                    let value = value.ok_or_else(|| format!("--{name} needs a value"))?;
                    options.push((name, value));
                }
                None if argument == "-h" => words = vec!["help".to_owned()],
                None => words.push(argument),
            }
        }
        Ok(Self { words, options })
    }

    fn take<T: std::str::FromStr>(&mut self, name: &str, what: &str) -> Result<Option<T>, String> {
        let Some(at) = self.options.iter().position(|(n, _)| n == name) else {
            return Ok(None);
        };
        let (_, value) = self.options.remove(at);
        value.parse().map(Some).map_err(|_| format!("--{name} wants {what}, not \"{value}\""))
    }

    fn data(&mut self) -> Result<PathBuf, String> {
        self.take("data", "a directory")?
            .ok_or_else(|| "say where the data are: --data DIR".to_owned())
    }

    fn node(&mut self) -> Result<Option<NodeId>, String> {
        self.take("node", "a node id of a-z, 0-9 and -")
    }
}

/// The address of the admin page when none is given: every address of the node.
pub(crate) fn admin_everywhere() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], model::ADMIN_PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn commands_and_mistakes() {
        assert!(matches!(parsed("run --data /d"), Ok(Command::Run(o)) if o.admin.is_none()));
        assert!(matches!(
            parsed("run --admin=127.0.0.1:99 --data /d --node web01"),
            Ok(Command::Run(o)) if o.admin.is_some() && o.node.is_some()
        ));
        assert!(matches!(
            parsed("settings export --data /d out"),
            Ok(Command::Export { file: Some(_), .. })
        ));
        assert!(matches!(
            parsed("settings import --data /d -"),
            Ok(Command::Import { file: None, .. })
        ));
        assert!(matches!(parsed("version"), Ok(Command::Version)));
        assert!(matches!(parsed("--help"), Ok(Command::Help)));
        for (line, word) in [
            ("", "help"),
            ("fly", "fly"),
            ("run", "--data"),
            ("run --data", "needs a value"),
            ("run --data /d --admin here", "--admin"),
            ("run --data /d --node WEB", "--node"),
            ("version --data /d", "--data"),
            ("settings export --data /d a b", "\"b\""),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(word) && !error.contains('\n'), "{line}: {error}");
        }
    }
}
