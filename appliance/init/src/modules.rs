//! Drivers by device: what is there at the start, and what is plugged in later.

mod alias;
mod depend;
pub(crate) mod uevent;

use crate::error::{Problem, at};
use depend::Dependencies;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// `MODULE_INIT_COMPRESSED_FILE` of linux/module.h: the kernel unpacks it.
const COMPRESSED: u32 = 4;

/// The modules of the running kernel.
#[derive(Debug)]
pub(crate) struct Modules {
    directory: PathBuf,
    aliases: String,
    dependencies: String,
}

impl Modules {
    /// Reads the lists that depmod made.
    pub(crate) fn open() -> io::Result<Self> {
        let release = nix::sys::utsname::uname()?.release().to_owned();
        let directory = Path::new("/lib/modules").join(release);
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path).map_err(|error| at(&path, error))
        };
        let (aliases, dependencies) = (read("modules.alias")?, read("modules.dep")?);
        Ok(Self { directory, aliases, dependencies })
    }

    /// Loads what these devices ask for. Problems are sentences, one a module that failed.
    pub(crate) fn for_devices(&self, modaliases: &BTreeSet<String>) -> Vec<Problem> {
        let dependencies = Dependencies::parse(&self.dependencies);
        let mut names: Vec<&str> = Vec::new();
        for modalias in modaliases {
            for name in alias::wanted(&self.aliases, modalias) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let load = |name: &&str| self.load_with(&dependencies, name, "").err();
        names.iter().filter_map(load).map(|error| Problem::new(format_args!(
            "A driver could not be loaded ({error}). The device it is for, probably a Wi-Fi \
             adapter, does not work."
        ))).collect()
    }

    /// Loads one module, by its name or by one of its aliases, and what it needs.
    pub(crate) fn load(&self, wanted: &str, parameters: &str) -> io::Result<()> {
        let dependencies = Dependencies::parse(&self.dependencies);
        if !dependencies.order(wanted).is_empty() {
            return self.load_with(&dependencies, wanted, parameters);
        }
        for name in alias::wanted(&self.aliases, wanted) {
            self.load_with(&dependencies, name, parameters)?;
        }
        Ok(())
    }

    fn load_with(
        &self,
        dependencies: &Dependencies<'_>,
        module: &str,
        parameters: &str,
    ) -> io::Result<()> {
        let order = dependencies.order(module);
        for (i, file) in order.iter().enumerate() {
            let name = depend::name(file);
            if Path::new("/sys/module").join(&name).join("initstate").exists() {
                continue;
            }
            // Parameters are for the module that was asked for, which is the last.
            let own = if i + 1 == order.len() { parameters } else { "" };
            insert(&self.directory.join(file), own)?;
        }
        Ok(())
    }
}

fn insert(path: &Path, parameters: &str) -> io::Result<()> {
    let file = File::open(path).map_err(|error| at(path, error))?;
    let plain = path.extension().is_some_and(|extension| extension == "ko");
    let flags = ModuleInitFlags::from_bits_retain(if plain { 0 } else { COMPRESSED });
    let parameters = CString::new(parameters).map_err(|error| at(path, error))?;
    match finit_module(file, &parameters, flags) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(at(path, error)),
    }
}

/// What every device on every bus says of itself.
pub(crate) fn coldplug() -> BTreeSet<String> {
    let list = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    list(Path::new("/sys/bus"))
        .flat_map(|bus| list(&bus.path().join("devices")))
        .filter_map(|device| fs::read_to_string(device.path().join("modalias")).ok())
        .map(|text| text.trim_end().to_owned())
        .filter(|text| !text.is_empty())
        .collect()
}

/// The process the kernel starts as `/sbin/modprobe -q -- NAME` when it wants a module itself.
///
/// # Errors
/// When it could not be loaded.
pub fn modprobe(arguments: impl Iterator<Item = String>) -> io::Result<()> {
    let wanted = arguments.filter(|argument| !argument.starts_with('-')).last();
    match wanted {
        Some(name) => Modules::open()?.load(&name, ""),
        None => Ok(()),
    }
}
