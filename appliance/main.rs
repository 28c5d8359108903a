//! Bramble: a few Raspberry Pis as one highly available web service.
//!
//! This binary is the composition root: `cli` understands the command line, `node` starts one
//! node and stops it again, `adapters` joins the subsystems' ports to each other. On a board of its
//! own it is process 1 as well (`process_one`), and the node has more to do (`aboard`, with
//! `boot_file`, `radio`, `trial`, `door` and `pulse`). Everything else lives in the crates.

mod aboard;
mod adapters;
mod adoption;
mod boot_file;
mod cli;
mod device;
mod documents;
mod door;
mod node;
mod password;
mod process_one;
mod pulse;
mod radio;
mod recovery;
mod services;
mod trial;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        process_one::live();
    }
    // Names under which the kernel and process 1 start this program; no operator does.
    let mut words = std::env::args();
    if words.next().is_some_and(|name| name == "/sbin/modprobe") {
        return if init::modprobe(words).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if words.next().is_some_and(|word| word == init::INSTALLER) {
        return process_one::install(words);
    }
    match cli::parse(std::env::args().skip(1)) {
        Ok(command) => match cli::execute(command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("bramble: {failure}");
                failure.exit_code()
            }
        },
        Err(usage) => {
            eprintln!("bramble: {usage}");
            ExitCode::from(cli::BAD_INPUT)
        }
    }
}
