//! Whether the process may do what the benchmark does.

use std::fs;

use anyhow::{Result, bail};
use nix::unistd::geteuid;

/// What is needed, by the number of `capability.h`: devices, routes and attaching; frames as they are;
/// namespaces and maps; the machine's settings.
const NEEDED: [(u32, &str); 3] =
    [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (21, "CAP_SYS_ADMIN")];

/// Checks for root and its capabilities.
///
/// # Errors
/// One line that names what is missing.
pub(crate) fn check() -> Result<()> {
    if !geteuid().is_root() {
        bail!("the benchmark needs root: it makes network namespaces and loads programs");
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    match missing(&status).as_slice() {
        [] => Ok(()),
        missing => bail!("the benchmark lacks capabilities of root: {}", missing.join(", ")),
    }
}

fn missing(status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok())
        .unwrap_or_default();
    let lacks = |bit: u32| effective & (1 << bit) == 0;
    NEEDED.iter().filter(|(bit, _name)| lacks(*bit)).map(|(_bit, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn what_is_missing_is_named() {
        assert!(missing("CapEff:\t000001ffffffffff\n").is_empty());
        assert_eq!(missing("CapEff:\t0000000000201000\n"), ["CAP_NET_RAW"]);
        assert_eq!(missing(""), ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN"]);
    }
}
