//! `cnitool` of the CNI project, which drives plugins by its own library as Multus and containerd do.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use crate::cluster::program;

/// Its source, by the Go module proxy.
const SOURCE: &str = "github.com/containernetworking/cni/cnitool@v1.3.0";
/// A test that cannot run leaves a line in the file that this variable names (`cargo xtask test`).
const NOT_RUN: &str = "L2SM_NOT_RUN_FILE";

/// Builds `cnitool`, once; `None`: it cannot be had here, and the line that says so is left for
/// `test`.
pub fn build(test: &str) -> Option<PathBuf> {
    // target/debug/l2sm-cni
    let tools = program("l2sm-cni").ancestors().nth(2).expect("a target directory").join("tools");
    let built = tools.join("cnitool");
    if built.is_file() {
        return Some(built);
    }
    fs::create_dir_all(&tools).expect("can be made");
    let go = Command::new("go").args(["install", SOURCE]).env("GOBIN", &tools).output();
    let why = match go {
        Ok(output) if output.status.success() => return Some(built),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            format!("go install {SOURCE}: {}", said.lines().last().unwrap_or_default())
        }
        Err(why) => format!("go, which builds {SOURCE}: {why}"),
    };
    leave_line(&format!("NOT RUN: {test}, {why}"));
    None
}

/// Leaves a line for the summary of `cargo xtask test`.
pub fn leave_line(line: &str) {
    println!("{line}");
    let Some(file) = env::var_os(NOT_RUN) else { return };
    let file = fs::OpenOptions::new().create(true).append(true).open(Path::new(&file));
    writeln!(file.expect("can be written"), "{line}").expect("can be written");
}
