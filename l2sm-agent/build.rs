//! Builds the kernel programs (`l2sm-ebpf`) and puts the object at `OUT_DIR/l2sm.o`, where the
//! agent embeds it from. Without the toolchain for it there is one line of error and no agent.

#[path = "../build/kernel.rs"]
mod kernel;
#[path = "../build/revision.rs"]
mod revision;

use std::process::ExitCode;

fn main() -> ExitCode {
    revision::tell();
    match kernel::build("bpf", &[]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("cargo::error=cannot build the eBPF programs: {reason}");
            ExitCode::FAILURE
        }
    }
}
