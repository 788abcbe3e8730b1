//! The programs of a lab and their arguments, as data.

use std::path::PathBuf;

use super::plan::{CONTROLLER, CONTROLLER_PORT, DIRECTORY, Node, UNDERLAY};

/// A program that runs as long as the lab does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Daemon {
    /// Name in listings, and of its log.
    pub(crate) name: String,
    /// File name of the program.
    pub(crate) program: &'static str,
    /// The namespace it runs in.
    pub(crate) netns: String,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
}

impl Daemon {
    /// The controller: a program and its arguments.
    pub(crate) fn controller() -> Self {
        let store = PathBuf::from(DIRECTORY).join("controller.redb");
        Self {
            name: "controller".into(),
            program: "l2sm-controller",
            netns: UNDERLAY.into(),
            arguments: vec![
                "serve".into(),
                "--store".into(),
                store.display().to_string(),
                "--listen".into(),
                // All addresses of the namespace: the underlay's for the agents, loopback for us.
                format!("0.0.0.0:{CONTROLLER_PORT}"),
                "--insecure".into(),
                "--insecure-allow-remote".into(),
            ],
        }
    }

    /// The agent of a node.
    pub(crate) fn agent(node: &Node) -> Self {
        let directory = node.directory();
        let inside = |name: &str| directory.join(name).display().to_string();
        Self {
            name: format!("agent-{}", node.name),
            program: "l2sm-agent",
            netns: node.netns.clone(),
            arguments: vec![
                "run".into(),
                "--node-name".into(),
                node.name.clone(),
                "--controller".into(),
                format!("http://{CONTROLLER}:{CONTROLLER_PORT}"),
                "--insecure".into(),
                "--underlay-device".into(),
                "eth0".into(),
                "--bpffs".into(),
                node.bpffs().display().to_string(),
                "--socket".into(),
                inside("agent.sock"),
                "--state-dir".into(),
                inside("state"),
            ],
        }
    }

    /// Where what it prints goes.
    pub(crate) fn log(&self) -> PathBuf {
        PathBuf::from(DIRECTORY).join(format!("{}.log", self.name))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::lab::plan::{Plan, Size};

    #[test]
    fn agents_share_no_file() {
        let plan = Plan::new(Size { nodes: 2, pods: 1, networks: 1, mtu: 1600 }).unwrap();
        let [one, two] = plan.nodes.as_slice() else { panic!("two nodes") };
        let (one, two) = (Daemon::agent(one), Daemon::agent(two));
        let files = |daemon: &Daemon| -> BTreeSet<String> {
            daemon.arguments.iter().filter(|word| word.starts_with('/')).cloned().collect()
        };
        assert_eq!(files(&one).len(), 3);
        assert!(files(&one).is_disjoint(&files(&two)));
        assert_ne!(one.log(), two.log());
    }
}
