//! Whether the process may do what the agent does.

use std::fs;

use anyhow::bail;

/// What is needed, by the number of `capability.h`: devices and routes; other namespaces, bpffs and
/// programs.
const NEEDED: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN")];

/// Checks the effective capabilities.
pub(super) fn check() -> anyhow::Result<()> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let missing = missing(&status);
    if missing.is_empty() {
        return Ok(());
    }
    bail!("l2sm-agent must run as root, or with capabilities that it lacks: {}", missing.join(", "))
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
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert!(missing("CapEff:\t000001ffffffffff\n").is_empty());
        assert_eq!(missing("CapEff:\t0000000000001000\n"), ["CAP_SYS_ADMIN"]);
        assert_eq!(missing(""), ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
    }
}
