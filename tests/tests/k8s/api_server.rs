//! The cluster without its API server.

use std::{process::Command, time::Duration};

use l2sm_tests::k8s::Kubernetes;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::failures::{another_joins, pair};

/// The operator's Lease ends meanwhile: nobody serves the agents any more.
const HANGS: Duration = Duration::from_secs(25);

pub(crate) fn hangs(cluster: &Kubernetes) {
    let (a, _b) = pair(cluster, "api-server-hangs");
    let pod = cluster.get(&format!("pod {} -n {}", a.name, a.namespace));
    let inside = cluster.process_of(&pod, "sleep");
    let agents = || {
        let of = |node: usize| cluster.node(node).machine.processes_of("l2sm-agent");
        [1, 2].map(|node| of(node).expect("the node is up"))
    };
    let before = agents();

    {
        let _hung = Hung::stop(cluster);
        let count = (HANGS.as_millis() / 100).to_string();
        let mut ping = Command::new("nsenter");
        ping.arg(format!("--net=/proc/{inside}/ns/net"));
        ping.args(["ping", "-n", "-c", &count, "-i", "0.1", "-W", "1", "10.60.0.2"]);
        let output = ping.output().expect("it can be entered");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(&format!("{count} packets transmitted, {count} received")), "{text}");
    }

    assert_eq!(agents(), before, "the agents lived on");
    another_joins(cluster, &a);
    cluster.until_succeeds("rollout status -n l2sm-system deployment/l2sm-operator");
}

/// An API server that answers nobody, until this is dropped.
struct Hung(Vec<Pid>);

impl Hung {
    fn stop(cluster: &Kubernetes) -> Self {
        let servers = cluster.control_plane().processes_of("kube-apiserver").expect("it is up");
        assert!(!servers.is_empty(), "there is an API server");
        for server in &servers {
            kill(*server, Signal::SIGSTOP).expect("it can be stopped");
        }
        Self(servers)
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        for server in &self.0 {
            // One that has ended meanwhile is told by what comes next.
            let _ended: nix::Result<()> = kill(*server, Signal::SIGCONT);
        }
    }
}
