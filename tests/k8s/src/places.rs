//! Names, addresses and directories of the lab.

use std::path::{Path, PathBuf};

/// A lab of another name is another lab: several may be up, if the host can bear them.
const NAME: &str = "L2SM_CLUSTER_NAME";

/// Name of the machine that is not a node.
pub const CONTROL_PLANE: &str = "control-plane";

/// Its address in the underlay.
pub const CONTROL_PLANE_ADDRESS: &str = "192.0.2.254";

/// Port of the API server.
pub const API_PORT: u16 = 6443;

/// Addresses of Services.
pub const SERVICE_CIDR: &str = "10.96.0.0/16";

/// The Service `kubernetes`: the first of them.
pub const API_SERVICE: &str = "10.96.0.1";

/// Addresses of pods, on all nodes.
pub const POD_CIDR: &str = "10.244.0.0/16";

/// The image of a pod's sandbox, which `cargo xtask images` makes.
pub const PAUSE_IMAGE: &str = "docker.io/l2sm/pause:1";

/// Name of the node of that number, from 1.
pub fn node_name(number: u8) -> String {
    format!("node{number}")
}

/// Its address in the underlay.
pub fn node_address(number: u8) -> String {
    format!("192.0.2.{number}")
}

/// Addresses of its pods.
pub fn node_pod_cidr(number: u8) -> String {
    format!("10.244.{number}.0/24")
}

/// What names are made from that this host has once: of namespaces, control groups, directories.
pub fn lab(prefix: &str) -> String {
    match std::env::var(NAME) {
        Ok(name) if !name.is_empty() => format!("{prefix}-{name}"),
        Ok(_) | Err(_) => prefix.to_owned(),
    }
}

/// Everything of the lab that is a file is here, but logs and programs.
pub fn state() -> PathBuf {
    Path::new("/run").join(lab("l2sm-cluster"))
}

/// The directory of a machine.
pub fn machine_directory(machine: &str) -> PathBuf {
    state().join(machine)
}

/// Where certificates and kubeconfigs are.
pub fn pki() -> PathBuf {
    state().join("pki")
}

/// The administrator's kubeconfig.
pub fn kubeconfig() -> PathBuf {
    state().join("kubeconfig")
}

/// The build's directory that holds what the lab keeps from run to run.
pub fn kept() -> PathBuf {
    // A program is in TARGET/PROFILE, a test in TARGET/PROFILE/deps.
    let ours = std::env::current_exe().unwrap_or_default();
    let test = ours.parent().is_some_and(|directory| directory.ends_with("deps"));
    let target = ours.ancestors().nth(if test { 3 } else { 2 });
    target.unwrap_or_else(|| Path::new("target")).join("k8s")
}

/// Where the logs of the last lab are, which outlive it.
pub fn logs() -> PathBuf {
    kept().join(lab("logs"))
}

/// The log of a service.
pub fn log(machine: &str, service: &str) -> PathBuf {
    logs().join(format!("{machine}-{service}.log"))
}

/// Where image archives are: the lab's own, and those that `cargo xtask images` leaves.
pub fn images() -> [PathBuf; 2] {
    [kept().join("images"), kept().with_file_name("images")]
}
