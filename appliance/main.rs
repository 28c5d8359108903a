//! Bramble: a few Raspberry Pis as one highly available web service.
//!
//! This binary is the composition root: `cli` understands the command line, `node` starts one
//! node and stops it again, `adapters` joins the subsystems' ports to each other. Everything else
//! lives in the crates.

mod adapters;
mod cli;
mod documents;
mod node;

use std::process::ExitCode;

fn main() -> ExitCode {
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
