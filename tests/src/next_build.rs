//! Another build of the agent, to upgrade to: other program bytes, and the ABI that a test chooses.

use std::{path::PathBuf, process::Command, sync::OnceLock, time::Instant};

use crate::cluster::program;

/// The agent built with the feature `next-build`; built by the first test that asks. It shares what
/// does not differ with the other build: only the agent and the kernel programs are compiled again.
pub fn next_agent() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let started = Instant::now();
    let ours = program("l2sm-agent");
    let release = ours.parent().is_some_and(|directory| directory.ends_with("release"));
    let name = "l2sm-agent-next";
    let arguments = ["build", "--package", "l2sm-agent", "--features", "next-build", "--bin", name];
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo tells a test would make build scripts of others run again.
    let told = std::env::vars().map(|(name, _value)| name);
    for name in told.filter(|name| name.starts_with("CARGO") && name != "CARGO_HOME") {
        cargo.env_remove(name);
    }
    let output = cargo
        .args(arguments)
        .env_remove("LD_LIBRARY_PATH")
        .args(release.then_some("--release"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("the other build took {:?}", started.elapsed());
    program(name)
}
