//! The benchmark; `cargo xtask bench` builds and starts it.

use std::process::ExitCode;

use l2sm_bench::{cli, say};

fn main() -> ExitCode {
    cli::run().unwrap_or_else(|error| {
        say::error(&error);
        ExitCode::FAILURE
    })
}
