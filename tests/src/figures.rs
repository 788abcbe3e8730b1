//! Figures, and what they are held against.

use std::{env, fs, time::Duration};

/// Prints one figure.
pub fn say(what: &str, figure: &str) {
    println!("measured: {what}: {figure}");
}

/// A bar of time: judged where `L2SM_BARS=judge` (`cargo xtask bench --check`), told elsewhere, since it
/// depends on what else the machine does.
pub fn bar(what: &str, held: bool) {
    if held {
        return;
    }
    let judged = env::var("L2SM_BARS").is_ok_and(|how| how == "judge");
    assert!(!judged, "bar missed: {what}");
    say("bar missed", what);
}

/// The time that `percent` of these are not longer than (nearest rank).
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

/// Runnable tasks over the last minute: who judges a time should know.
pub fn say_load() {
    let load = fs::read_to_string("/proc/loadavg").expect("/proc");
    let cpus = std::thread::available_parallelism().expect("the kernel tells");
    say("load of the machine", &format!("{} on {cpus} CPUs", load.split(' ').next().unwrap()));
}

/// Resident memory of a process, bytes.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// Bytes as MiB, one digit behind the point.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[test]
fn percentiles_are_of_what_was_measured() {
    let times: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
    assert_eq!(percentile(&times, 50), Duration::from_millis(50));
    assert_eq!(percentile(&times, 99), Duration::from_millis(99));
    assert_eq!(percentile(&times[..1], 50), Duration::from_millis(100));
}
