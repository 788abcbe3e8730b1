//! The gate for `deploy/`: what is generated is in step, and images have the workspace's version.

use std::fs;

use anyhow::{Context, Result};

use super::finding::Finding;
use crate::{crds, workspace};

/// What names images besides: applied by itself when all else is taken away, and a component.
const OTHERS: [&str; 2] = ["deploy/cleanup.yaml", "deploy/components/bpffs/agent.yaml"];

/// Generates everything anew and compares.
///
/// # Errors
/// When it cannot be generated.
pub(super) fn check() -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in crds::generate()? {
        if !file.is_in_step() {
            let what = "is not what is generated, run: cargo xtask crds".to_owned();
            findings.push(Finding::error(&file.path, 1, what));
        }
    }
    let version = workspace::version()?;
    let mut paths = crds::parts()?;
    paths.extend(OTHERS.map(str::to_owned));
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        findings.extend(images(&path, &text, &version));
    }
    Ok(findings)
}

/// Images of ours with another version than the workspace's.
fn images(path: &str, text: &str, version: &str) -> Vec<Finding> {
    let lines = (1..).zip(text.lines());
    let ours = lines.filter_map(|(number, line)| {
        let image = line.trim().strip_prefix("image: l2sm/")?;
        let (_, found) = image.split_once(':')?;
        (found != version).then_some((number, image))
    });
    ours.map(|(number, image)| {
        Finding::error(path, number, format!("image l2sm/{image}, limit: version {version}"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_another_version_is_found() {
        let text = "a:\n  image: l2sm/agent:0.1.0\n  image: busybox:1\n";
        assert_eq!(images("f", text, "0.1.0"), []);
        let what = "image l2sm/agent:0.1.0, limit: version 0.2.0".to_owned();
        assert_eq!(images("f", text, "0.2.0"), [Finding::error("f", 2, what)]);
    }
}
