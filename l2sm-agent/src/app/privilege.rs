//! Whether the process may do what the agent does.

use std::fs;

use anyhow::bail;

/// What is needed, by the number of `capability.h`: devices, routes and attaching; entering the pods'
/// namespaces, and mounting bpffs; reading kernel memory by programs; maps and programs.
const NEEDED: [(u32, &str); 4] =
    [(12, "CAP_NET_ADMIN"), (SYS_ADMIN, "CAP_SYS_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];
/// It stands for the two after it, which were split from it in Linux 5.8.
const SYS_ADMIN: u32 = 21;

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
    let has = |bit: u32| effective & (1_u64 << bit) != 0;
    let lacks = |bit: u32| !(has(bit) || (bit > SYS_ADMIN && has(SYS_ADMIN)));
    NEEDED.iter().filter(|(bit, _name)| lacks(*bit)).map(|(_bit, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert!(missing("CapEff:\t000001ffffffffff\n").is_empty());
        assert_eq!(
            missing("CapEff:\t0000000000001000\n"),
            ["CAP_SYS_ADMIN", "CAP_PERFMON", "CAP_BPF"]
        );
        assert!(missing("CapEff:\t0000000000201000\n").is_empty(), "as the kernel has it");
        let all = ["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_PERFMON", "CAP_BPF"];
        assert_eq!(missing(""), all);
        assert_eq!(missing("CapEff:\t000000c000000000\n"), ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
    }
}
