//! Makes what a card is made of: slots, bundles, the RAM root and U-Boot's files. Everything but
//! a key is a function of its input.

mod arguments;
mod cpio;
mod sizes;
mod uboot;

use anyhow::{Context, Result, bail, ensure};
use arguments::Arguments;
use firmware::bundle::{self, KEY, Running};
use firmware::slot;
use firmware::state::{Slot, State};
use std::fs;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage:
  imagetool keygen PRIVATE PUBLIC
  imagetool slot --kernel FILE --initrd FILE --version VERSION --built UNIX OUT
  imagetool bundle --slot FILE --key PRIVATE [--version VERSION] [--built UNIX] --board NAME... OUT
  imagetool verify BUNDLE --key PUBLIC [--board NAME] [--built UNIX]
  imagetool env SIZE OUT NAME=VALUE...
  imagetool script IN OUT
  imagetool state OUT [--active a|b] [--trial a|b]
  imagetool cpio DIRECTORY OUT        (needs SOURCE_DATE_EPOCH)
  imagetool sizes DIRECTORY
  imagetool bramble-toml              (to standard output)";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let Some(command) = words.next() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&command, words.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("imagetool {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, words: Vec<String>) -> Result<()> {
    match command {
        "keygen" => keygen(Arguments::read(words, &[])?),
        "slot" => slot(Arguments::read(words, &["--kernel", "--initrd", "--version", "--built"])?),
        "bundle" => {
            let options = ["--slot", "--key", "--version", "--built", "--board"];
            bundle(Arguments::read(words, &options)?)
        }
        "verify" => verify(Arguments::read(words, &["--key", "--board", "--built"])?),
        "env" => env(Arguments::read(words, &[])?),
        "script" => script(Arguments::read(words, &[])?),
        "state" => state(Arguments::read(words, &["--active", "--trial"])?),
        "cpio" => cpio(Arguments::read(words, &[])?),
        "sizes" => sizes(Arguments::read(words, &[])?),
        "bramble-toml" => {
            let [] = Arguments::read(words, &[])?.positional()?;
            print!("{}", model::provision::template());
            Ok(())
        }
        "help" | "--help" => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("there is no such command\n{USAGE}"),
    }
}

fn read(path: &str) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {path}"))
}

fn write(path: &str, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {path}"))
}

fn key(path: &str) -> Result<[u8; KEY]> {
    let bytes = read(path)?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| anyhow::anyhow!("{path} has {length} bytes, a key has {KEY}"))
}

fn keygen(arguments: Arguments) -> Result<()> {
    let [private_path, public_path] = arguments.positional()?;
    let mut private = [0; KEY];
    getrandom::fill(&mut private)
        .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    // Never over a key that exists: cards in the field trust its public half.
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&private_path)
        .with_context(|| format!("cannot make {private_path}"))?;
    file.write_all(&private).with_context(|| format!("cannot write {private_path}"))?;
    write(&public_path, &bundle::public_key(&private))
}

fn slot(mut arguments: Arguments) -> Result<()> {
    let kernel = read(&arguments.one("--kernel")?)?;
    let initrd = read(&arguments.one("--initrd")?)?;
    let version = arguments.one("--version")?;
    let built = arguments.number("--built")?;
    let [out] = arguments.positional()?;
    ensure!(
        slot::is_version(&version),
        "\"{version}\" is no version: 1 to {} visible ASCII characters",
        slot::MAX_VERSION
    );
    let image = slot::compose(&kernel, &initrd, &version, built).with_context(|| {
        format!(
            "kernel ({} bytes) and root ({} bytes) make no slot: neither may be empty, the kernel \
             has at most {} bytes and the slot {}",
            kernel.len(),
            initrd.len(),
            slot::MAX_KERNEL,
            slot::MAX_SLOT
        )
    })?;
    write(&out, &image)
}

fn bundle(mut arguments: Arguments) -> Result<()> {
    let path = arguments.one("--slot")?;
    let image = read(&path)?;
    let key = key(&arguments.one("--key")?)?;
    let boards: Vec<String> = arguments
        .all("--board")
        .iter()
        .flat_map(|list| list.split(','))
        .map(str::to_owned)
        .collect();
    ensure!(!boards.is_empty(), "which boards it is for is missing (--board)");
    // The slot says both already; given here, they must agree.
    let header = slot::check(&mut std::io::Cursor::new(&image))
        .map_err(|fault| anyhow::anyhow!("{path} is no slot: {fault}"))?;
    if let Some(version) = arguments.optional("--version")? {
        ensure!(version == header.version, "{path} has version {}", header.version);
    }
    if let Some(built) = arguments.optional_number("--built")? {
        ensure!(built == header.built_unix, "{path} was built at {}", header.built_unix);
    }
    let [out] = arguments.positional()?;
    let mut bytes = bundle::sign(&image, &boards, &key)?;
    bytes.extend_from_slice(&image);
    write(&out, &bytes)
}

fn verify(mut arguments: Arguments) -> Result<()> {
    let key = key(&arguments.one("--key")?)?;
    let running = Running {
        version: "given here".to_owned(),
        built_unix: arguments.optional_number("--built")?.unwrap_or(0),
        board: arguments.optional("--board")?,
    };
    let [path] = arguments.positional()?;
    let mut file = fs::File::open(&path).with_context(|| format!("cannot read {path}"))?;
    let manifest = bundle::check(&mut file, &key, &running)?.manifest;
    println!(
        "{} {} built {} for {}, {} bytes, sha256 {}",
        manifest.product,
        manifest.version,
        manifest.built_unix,
        manifest.boards.join(", "),
        manifest.size,
        manifest.sha256
    );
    Ok(())
}

fn env(arguments: Arguments) -> Result<()> {
    let mut words = arguments.any().into_iter();
    let (Some(size), Some(out)) = (words.next(), words.next()) else {
        bail!("size and file are missing\n{USAGE}");
    };
    let size = arguments::number(&size).with_context(|| format!("{size} is no size"))?;
    let variables: Vec<String> = words.collect();
    write(&out, &uboot::environment(usize::try_from(size)?, &variables)?)
}

fn script(arguments: Arguments) -> Result<()> {
    let [input, out] = arguments.positional()?;
    let text = read(&input)?;
    write(&out, &uboot::script(&text).with_context(|| input)?)
}

fn state(mut arguments: Arguments) -> Result<()> {
    let mut letter = |option: &str| -> Result<Option<Slot>> {
        let Some(letter) = arguments.optional(option)? else { return Ok(None) };
        let slot = Slot::from_letter(&letter);
        Ok(Some(slot.with_context(|| format!("{letter} is no slot: a or b"))?))
    };
    let active = letter("--active")?.unwrap_or_default();
    let trial = letter("--trial")?;
    let [out] = arguments.positional()?;
    let mut state = State::default().confirmed(active);
    if let Some(trial) = trial {
        state = state.trying(trial);
    }
    write(&out, &[state.encode(0), state.encode(1)].concat())
}

fn cpio(arguments: Arguments) -> Result<()> {
    let [directory, out] = arguments.positional()?;
    let epoch = std::env::var("SOURCE_DATE_EPOCH")
        .context("SOURCE_DATE_EPOCH is not set: the time that every file gets")?;
    let time = epoch.parse().with_context(|| format!("SOURCE_DATE_EPOCH is {epoch}"))?;
    let file = fs::File::create(&out).with_context(|| format!("cannot write {out}"))?;
    let mut file = BufWriter::new(file);
    cpio::write(Path::new(&directory), time, &mut file)?;
    file.flush().with_context(|| format!("cannot write {out}"))
}

fn sizes(arguments: Arguments) -> Result<()> {
    let [directory] = arguments.positional()?;
    print!("{}", sizes::report(Path::new(&directory))?);
    Ok(())
}
