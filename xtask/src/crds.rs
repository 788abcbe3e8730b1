//! `cargo xtask crds`: what is generated under `deploy/`.

use std::fs;
use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::say::say;
use crate::{command, workspace};

/// Where definitions are, and the parts that the install file is made of.
const DEFINITIONS: &str = "deploy/crds";
const BASE: &str = "deploy/base";
/// All in one file: what users apply.
const INSTALL: &str = "deploy/l2sm.yaml";

const HEAD: &str = "# Everything that l2sm needs on a cluster: kubectl apply -f this file.\n\
    # Generated from deploy/base and deploy/crds by `cargo xtask crds`.\n";

/// Generate the custom resource definitions, and the install file deploy/l2sm.yaml.
///
/// Definitions come from the types of l2sm-api, the install file from them and from deploy/base.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail where a file is not what would be written.
    #[arg(long)]
    check: bool,
}

/// A generated file.
pub(crate) struct Generated {
    /// From the root of the workspace.
    pub(crate) path: String,
    text: String,
}

impl Generated {
    /// Whether the file is there as it is generated.
    pub(crate) fn is_in_step(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|text| text == self.text)
    }
}

/// Writes what is not in step, or says it.
///
/// # Errors
/// When something cannot be generated or written.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in generate()?.iter().filter(|file| !file.is_in_step()) {
        if args.check {
            say!("{}: is not what is generated, run: cargo xtask crds", file.path);
            code = ExitCode::FAILURE;
        } else {
            fs::write(&file.path, &file.text)
                .with_context(|| format!("cannot write {}", file.path))?;
            say!("wrote {}", file.path);
        }
    }
    Ok(code)
}

/// Everything that is generated: definitions, then the install file.
///
/// # Errors
/// When l2sm-api does not build, or a part is missing.
pub(crate) fn generate() -> Result<Vec<Generated>> {
    let scratch = workspace::target_file("crds")?;
    // What is there is from another version of the types.
    match fs::remove_dir_all(&scratch) {
        Err(why) if why.kind() != ErrorKind::NotFound => {
            return Err(why).context("cannot empty target/crds");
        }
        _ => {}
    }
    let mut cargo = command::cargo();
    cargo
        .args(["run", "--quiet", "--package", "l2sm-api", "--example", "crds", "--"])
        .arg(&scratch);
    command::read(&mut cargo)?;
    let mut files = Vec::new();
    for name in resources(&read(&format!("{DEFINITIONS}/kustomization.yaml"))?) {
        let text = read(&scratch.join(&name).display().to_string())?;
        files.push(Generated { path: format!("{DEFINITIONS}/{name}"), text });
    }
    let made = fs::read_dir(&scratch).context("cannot read target/crds")?.count();
    if made != files.len() {
        let listed = files.len();
        bail!("{DEFINITIONS}/kustomization.yaml lists {listed} files, and {made} are generated");
    }
    let mut texts = Vec::new();
    for path in parts()? {
        let generated = files.iter().find(|file| file.path == path);
        texts.push(match generated {
            Some(file) => file.text.clone(),
            None => read(&path)?,
        });
    }
    files.push(Generated { path: INSTALL.to_owned(), text: joined(&texts) });
    Ok(files)
}

/// The files of the install file, in order.
///
/// # Errors
/// When a list of resources cannot be read.
pub(crate) fn parts() -> Result<Vec<String>> {
    let mut parts = Vec::new();
    for name in resources(&read(&format!("{BASE}/kustomization.yaml"))?) {
        if name == "../crds" {
            let names = resources(&read(&format!("{DEFINITIONS}/kustomization.yaml"))?);
            parts.extend(names.iter().map(|name| format!("{DEFINITIONS}/{name}")));
        } else {
            parts.push(format!("{BASE}/{name}"));
        }
    }
    Ok(parts)
}

/// Documents one after the other.
fn joined(texts: &[String]) -> String {
    let documents: Vec<&str> = texts.iter().map(|text| text.trim_end()).collect();
    format!("{HEAD}---\n{}\n", documents.join("\n---\n"))
}

/// What a kustomization lists: the items below `resources:`.
fn resources(kustomization: &str) -> Vec<String> {
    let (_, list) = kustomization.split_once("resources:\n").unwrap_or_default();
    list.lines().map_while(|line| line.strip_prefix("- ")).map(str::to_owned).collect()
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_the_items_below_that_key() {
        let text = "kind: Kustomization\nresources:\n- a.yaml\n- ../crds\nlabels:\n- b\n";
        assert_eq!(resources(text), ["a.yaml", "../crds"]);
        assert!(resources("kind: Kustomization\n").is_empty());
    }

    #[test]
    fn documents_are_told_apart() {
        let text = joined(&["a: 1\n".to_owned(), "b: 2\n---\nc: 3\n".to_owned()]);
        assert!(text.ends_with("---\na: 1\n---\nb: 2\n---\nc: 3\n"), "{text}");
    }
}
