//! Builds the kernel programs once more, with those that only test runs call (feature `bench`), and
//! puts the object at `OUT_DIR/l2sm.o`.

#[path = "../build/kernel.rs"]
mod kernel;

use std::process::ExitCode;

fn main() -> ExitCode {
    match kernel::build("bpf-bench", &["--features", "bench"], "l2sm.o") {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("cargo::error=cannot build the eBPF programs: {reason}");
            ExitCode::FAILURE
        }
    }
}
