//! Where it was measured.

use std::{collections::BTreeMap, fs, path::Path, thread};

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
    /// What the kernel does against faults of this processor, by the fault
    /// (`/sys/devices/system/cpu/vulnerabilities`); those that it does not have are left out.
    pub mitigations: BTreeMap<String, String>,
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
            mitigations: mitigations(Path::new("/sys/devices/system/cpu/vulnerabilities")),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default(),
        }
    }
}

/// What a directory with a file for each fault says of those that are there.
fn mitigations(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let said = entries.filter_map(|entry| {
        let text = fs::read_to_string(entry.path()).ok()?.trim().to_owned();
        Some((entry.file_name().into_string().ok()?, text))
    });
    said.filter(|(_, text)| text != "Not affected").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_that_the_processor_does_not_have_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in
            [("meltdown", "Not affected\n"), ("retbleed", "Mitigation: untrained\n")]
        {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let expected = [("retbleed".to_owned(), "Mitigation: untrained".to_owned())];
        assert_eq!(mitigations(directory.path()), BTreeMap::from(expected));
    }
}
