//! Where it was measured.

use std::{fs, thread};

use serde::Serialize;

/// The machine, as far as figures depend on it.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// `uname -r`.
    pub kernel: String,
    /// Processors that the benchmark may use.
    pub cpus: usize,
    /// Their model.
    pub cpu: String,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Preemption and the like, as `uname -v` says.
    pub build: String,
    /// How TCP shares a wire here (`net.ipv4.tcp_congestion_control`), and so in the pods.
    pub congestion_control: String,
    /// Load average of the last minute when the run began: others that used the machine.
    pub load: f64,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let memory = memory.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let load = read("/proc/loadavg");
        Self {
            kernel: read("/proc/sys/kernel/osrelease"),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            memory_mib: memory.unwrap_or_default() / 1024,
            build: read("/proc/sys/kernel/version"),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control"),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default(),
        }
    }
}
