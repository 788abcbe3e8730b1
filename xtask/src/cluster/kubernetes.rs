//! Kubernetes' own programs: found, or built by Go from a module that pins them.

use std::fs;
use std::path::{Path, PathBuf};
use std::{env, io};

use anyhow::{Context, Result};

use super::golang;
use crate::{command, progress, workspace};

/// The module that pins them.
const MODULE: &str = "tests/k8s";
/// The files of it that say what is built.
const PINS: [&str; 2] = ["go.mod", "go.sum"];
/// Where they are built to.
const PLACE: &str = "target/k8s/bin";
/// The pins that the programs there were built from.
const STAMP: &str = "target/k8s/bin/pins";
/// The variable by which envtest, too, is told of a directory of such programs.
const ASSETS: &str = "KUBEBUILDER_ASSETS";
/// What calls itself by the version.
const VERSION: &str = "k8s.io/component-base/version";

/// Has the programs built that are neither in `KUBEBUILDER_ASSETS` nor built from the same pins.
///
/// # Errors
/// When there is no Go and none to be had, or the build fails.
pub(crate) fn build() -> Result<()> {
    let mut pins = String::new();
    for name in PINS {
        let file = Path::new(MODULE).join(name);
        pins += &fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
    }
    let packages = tools(&pins);
    let same = fs::read_to_string(STAMP).is_ok_and(|stamp| stamp == pins);
    let there = |package: &&String| {
        let name = name(package);
        asset(name).is_some() || (same && Path::new(PLACE).join(name).is_file())
    };
    let missing: Vec<_> = packages.iter().filter(|package| !there(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let version = version(&pins).context("tests/k8s/go.mod requires no k8s.io/kubernetes")?;
    fs::create_dir_all(PLACE).with_context(|| format!("cannot make {PLACE}"))?;
    remove(Path::new(STAMP))?;
    let go = golang::find()?;
    let log = workspace::target_file("k8s/build.log")?;
    let title = format!("building Kubernetes {version}: {} programs (minutes)", missing.len());
    progress::step(&title, || {
        let place = std::path::absolute(PLACE).context("no current directory")?;
        let mut build = command::new(&go);
        build.args(["build", "-trimpath", "-ldflags", &link_flags(version)]);
        build.arg("-o").arg(place).args(missing).current_dir(MODULE);
        build.envs([
            ("GOTOOLCHAIN", "local"),
            ("CGO_ENABLED", "0"),
            ("GOFLAGS", "-buildvcs=false"),
        ]);
        command::logged(&mut build, &log)
    })?;
    fs::write(STAMP, pins).with_context(|| format!("cannot write {STAMP}"))
}

/// The packages of the module's `tool` lines.
fn tools(pins: &str) -> Vec<String> {
    let block = pins.split_once("tool (").and_then(|(_, rest)| rest.split_once(')'));
    let lines = block.map_or("", |(block, _)| block).lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The version of Kubernetes that the module requires.
fn version(pins: &str) -> Option<&str> {
    let lines = pins.lines().map(|line| line.trim().trim_start_matches("require "));
    let mut versions = lines.filter_map(|line| line.strip_prefix("k8s.io/kubernetes "));
    versions.next()?.split(' ').next()
}

fn name(package: &str) -> &str {
    package.rsplit('/').next().unwrap_or(package)
}

/// A program in the directory that the user named.
fn asset(name: &str) -> Option<PathBuf> {
    let file = PathBuf::from(env::var_os(ASSETS)?).join(name);
    file.is_file().then_some(file)
}

fn link_flags(version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
    format!(
        "-s -w -X {VERSION}.gitVersion={version} -X {VERSION}.gitMajor={major} \
         -X {VERSION}.gitMinor={minor}"
    )
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PINS: &str = "module x\n\nrequire (\n\tk8s.io/api v0.36.3 // indirect\n\
        \tk8s.io/kubernetes v1.36.3 // indirect\n)\n\ntool (\n\tk8s.io/kubernetes/cmd/kubelet\n\
        \tk8s.io/kubernetes/cmd/kubectl\n)\n";

    #[test]
    fn tools_and_version_are_read_from_the_module() {
        let expected = ["k8s.io/kubernetes/cmd/kubelet", "k8s.io/kubernetes/cmd/kubectl"];
        assert_eq!(tools(PINS), expected);
        assert_eq!(version(PINS), Some("v1.36.3"));
        assert_eq!(version("require k8s.io/kubernetes v1.2.3\n"), Some("v1.2.3"));
        assert_eq!((tools(""), version("")), (Vec::new(), None));
    }

    #[test]
    fn programs_say_their_version() {
        let flags = link_flags("v1.36.3");
        assert!(flags.ends_with("gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"));
    }
}
