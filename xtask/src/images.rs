//! `cargo xtask images`: what a cluster runs, as archives that no registry is needed for.

mod archive;
mod programs;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use self::archive::Image;
use crate::say::say;
use crate::{command, workspace};

/// Where archives are.
pub(crate) const DIRECTORY: &str = "target/images";
/// Where those of the tests' cluster are.
const LAB: &str = "target/k8s/images";
/// Debian's, static.
const BUSYBOX: &str = "busybox";

/// Build the container images: target/images/l2sm-agent.tar and l2sm-operator.tar.
///
/// OCI archives, made without a registry and without Docker: one layer each, static programs, no
/// shell. Import them with `ctr -n k8s.io images import`, `podman load` or `docker load`. Prints
/// names and sizes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build for use rather than for tests: slower to build, smaller and faster.
    #[arg(long)]
    pub(crate) release: bool,
}

/// Builds the images and says what they are.
///
/// # Errors
/// When the programs do not build, or files cannot be written.
pub(crate) fn run(args: &Args) -> Result<()> {
    let version = workspace::version()?;
    let programs = programs::build(args.release)?;
    fs::create_dir_all(DIRECTORY).with_context(|| format!("cannot make {DIRECTORY}"))?;
    let place = |name: &str| (name.to_owned(), programs.join(name));
    let agent = Image {
        names: vec![format!("l2sm/agent:{version}")],
        programs: ["l2sm-agent", "l2sm-cni"].map(place).to_vec(),
        links: Vec::new(),
        entrypoint: vec!["/l2sm-agent".to_owned()],
        command: Vec::new(),
        user: "0:0",
    };
    write("l2sm-agent", &agent)?;
    let operator = Image {
        names: vec![format!("l2sm/operator:{version}")],
        programs: vec![place("l2sm-operator")],
        links: Vec::new(),
        entrypoint: vec!["/l2sm-operator".to_owned()],
        command: Vec::new(),
        user: "65532:65532",
    };
    write("l2sm-operator", &operator)
}

/// Makes the images that the tests' cluster runs besides ours: a sandbox and a shell with `ping`.
///
/// # Errors
/// When there is no busybox (`cargo xtask setup` installs it), or files cannot be written.
pub(crate) fn lab() -> Result<()> {
    let busybox = command::find(BUSYBOX).context("no busybox: run `cargo xtask setup`")?;
    fs::create_dir_all(LAB).with_context(|| format!("cannot make {LAB}"))?;
    // It fails where there is nothing to link.
    let dynamic = command::read(command::new("ldd").arg(&busybox)).is_ok();
    ensure!(!dynamic, "{} is not static: install busybox-static", busybox.display());
    let applets = command::read(command::new(&busybox).arg("--list"))?;
    let links = applets.lines().filter(|applet| *applet != BUSYBOX);
    let links = links.map(|applet| (format!("bin/{applet}"), BUSYBOX.to_owned())).collect();
    let program = || vec![("bin/busybox".to_owned(), busybox.clone())];
    let shell = Image {
        names: vec!["library/busybox:1".to_owned(), "library/busybox:latest".to_owned()],
        programs: program(),
        links,
        entrypoint: Vec::new(),
        command: vec!["sh".to_owned()],
        user: "",
    };
    shell.write(&Path::new(LAB).join("busybox.tar"))?;
    let pause = Image {
        names: vec!["l2sm/pause:1".to_owned()],
        programs: program(),
        links: Vec::new(),
        entrypoint: ["/bin/busybox", "sleep", "2147483647"].map(str::to_owned).to_vec(),
        command: Vec::new(),
        user: "",
    };
    pause.write(&Path::new(LAB).join("pause.tar"))?;
    Ok(())
}

fn write(name: &str, image: &Image) -> Result<()> {
    let file = PathBuf::from(DIRECTORY).join(name).with_extension("tar");
    let size = image.write(&file)?;
    say!("built {} ({}, {} KiB)", file.display(), image.names.join(", "), size.div_ceil(1024));
    Ok(())
}
