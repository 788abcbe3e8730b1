//! The CNI plugin as it is installed: one small file that needs no other.
//!
//! It links the C library statically, the compiler's own target's: a program that asks for no names
//! of users or hosts can. Its flags must not reach build scripts and procedural macros, so the
//! target is named.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::command;
use crate::say::say;

/// The package.
pub(super) const PACKAGE: &str = "l2sm-cni";
/// Its profile in the workspace's `Cargo.toml`: for size, and without unwinding.
const PROFILE: &str = "cni";
/// Flags of the compiler.
const STATIC: &str = "-C target-feature=+crt-static";

/// Builds the plugin, puts it beside the other programs and says its size.
pub(super) fn build() -> Result<()> {
    let target = host()?;
    let mut cargo = command::cargo();
    cargo.args(["build", "--profile", PROFILE, "--package", PACKAGE, "--target", &target]);
    cargo.env("RUSTFLAGS", STATIC);
    say!("RUSTFLAGS={STATIC:?}");
    let programs = super::build(cargo)?;
    let [program] = programs.as_slice() else {
        bail!("cargo built no {PACKAGE}, or several: {}", programs.join(", "));
    };
    // Cargo puts it at TARGET/TRIPLE/PROFILE/PACKAGE.
    let target = Path::new(program).ancestors().nth(3).context("cargo built it nowhere")?;
    let place = target.join("release").join(PACKAGE);
    replace(Path::new(program), &place)?;
    let size = fs::metadata(&place).context("cannot see what was built")?.len();
    say!("built {} (static, {} KiB)", place.display(), size.div_ceil(1024));
    Ok(())
}

/// Copies a program over another that may be running, or be cargo's own by a hard link.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let fresh = to.with_extension("new");
    let failed = || format!("cannot write {}", to.display());
    fs::copy(from, &fresh).with_context(failed)?;
    fs::rename(&fresh, to).with_context(failed)
}

/// The target that programs are built for where none is named.
fn host() -> Result<String> {
    let said = command::read(command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_names_its_host() {
        assert!(host().unwrap().contains("-linux-"));
    }
}
