//! Builds the kernel programs (`l2sm-ebpf`) and puts the object at `OUT_DIR/l2sm.o`, where the
//! agent embeds it from. Without the toolchain for it there is one line of error and no agent.

#[path = "../build/kernel.rs"]
mod kernel;
#[path = "../build/revision.rs"]
mod revision;

use std::{env, process::ExitCode};

/// What the programs of the next build differ in.
const NEXT: &str = "profile.release.package.l2sm-ebpf.opt-level=2";

fn main() -> ExitCode {
    revision::tell();
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("cargo::error=cannot build the eBPF programs: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the object, and with the feature `log` the one that logs besides.
fn build() -> Result<(), String> {
    // Tests upgrade from one build to another: its programs are compiled otherwise.
    let next = env::var_os("CARGO_FEATURE_NEXT_BUILD").is_some();
    let (directory, more) =
        if next { ("bpf-next", &["--config", NEXT][..]) } else { ("bpf", &[][..]) };
    kernel::build(directory, more, "l2sm.o")?;
    if env::var_os("CARGO_FEATURE_LOG").is_some() {
        kernel::build("bpf-log", &["--features", "log"], "l2sm-log.o")?;
    }
    Ok(())
}
