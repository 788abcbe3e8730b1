//! The benchmark; `cargo xtask bench` builds and starts it.

use std::process::ExitCode;

use clap::Parser as _;
use l2sm_bench::{cli, say};

fn main() -> ExitCode {
    let args = cli::Args::parse();
    cli::run(&args).unwrap_or_else(|error| {
        say::error(&error);
        ExitCode::FAILURE
    })
}
