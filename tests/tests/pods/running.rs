//! Pods that run already: attached and detached hot, found again by an agent that starts, and found
//! without the plugin's help.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command},
};

use l2sm_tests::{netns::Netns, wait};

use super::{
    attach, interfaces, netns, node,
    plugin::{Pod, host_veths, record},
    status, until_followed,
};

#[test]
fn a_running_pod_is_attached_and_detached_hot() {
    let (cluster, operator) = node();
    let netns = netns();
    let pod = Pod::new(&cluster.nodes[0], "u-1", &netns);
    assert!(pod.run("ADD", "c").succeeded);
    operator.tell(|script| drop(attach(&mut script.instructions, "u-1", 1, 1)));
    wait::until_equal("interfaces", &vec!["net1".to_owned()], || interfaces(&netns));
    operator.until_error("u-1-net1", None);

    operator.tell(|script| script.instructions.ports.clear());
    wait::until_equal("interfaces", &Vec::<String>::new(), || interfaces(&netns));

    operator.tell(|script| drop(attach(&mut script.instructions, "u-1", 1, 1)));
    wait::until_equal("interfaces", &vec!["net1".to_owned()], || interfaces(&netns));
    // DEL tells of no annotation, and opens no socket: the record goes.
    assert!(pod.run("DEL", "c").succeeded);
    operator.until_error("u-1-net1", Some("WaitingForPod"));
    assert_eq!(interfaces(&netns), Vec::<String>::new());
}

#[test]
fn a_pod_that_is_not_here_is_told_until_it_is() {
    let (cluster, operator) = node();
    operator.tell(|script| drop(attach(&mut script.instructions, "u-1", 1, 1)));
    operator.until_error("u-1-net1", Some("WaitingForPod"));
    let errors = status(&cluster)["errors"].to_string();
    assert!(errors.contains("restart the pod to attach it"), "{errors}");
    let metrics = metrics(&cluster.nodes[0].netns);
    assert!(metrics.contains("\nl2sm_attachments_waiting{node=\"n1\"} 1\n"), "{metrics}");
    let netns = netns();
    assert!(Pod::new(&cluster.nodes[0], "u-1", &netns).run("ADD", "c").succeeded);
    operator.until_error("u-1-net1", None);
    assert_eq!(interfaces(&netns), ["net1"]);
}

#[test]
fn an_agent_that_starts_again_leaves_interfaces_as_they_are_and_takes_note_of_what_ended() {
    let (mut cluster, operator) = node();
    let (stays, ends) = (netns(), netns());
    operator.tell(|script| {
        attach(&mut script.instructions, "u-1", 1, 1);
        attach(&mut script.instructions, "u-2", 1, 2);
    });
    let pods = [
        Pod::new(&cluster.nodes[0], "u-1", &stays).networks("blue"),
        Pod::new(&cluster.nodes[0], "u-2", &ends).networks("blue"),
    ];
    for pod in &pods {
        assert!(pod.run("ADD", "c").succeeded);
    }
    let before = (stays.ifindex("net1"), host_veths(&cluster.nodes[0]));
    cluster.nodes[0].kill_agent();
    // The runtime never says DEL, and the namespace is gone.
    drop(ends);
    let acks = operator.heard(|heard| heard.acks.len());
    cluster.nodes[0].start_agent();
    until_followed(&cluster);
    wait::until("an acknowledgement", || {
        operator.heard(|heard| heard.acks.len() > acks).then_some(())
    });
    operator.until_error("u-2-net1", Some("WaitingForPod"));
    operator.until_error("u-1-net1", None);
    assert_eq!(stays.ifindex("net1"), before.0, "the very same interface");
    assert_eq!(host_veths(&cluster.nodes[0]).len(), 1);
    wait::until_equal("the record of what ended", &None, || record(&cluster.nodes[0], "c-u-2"));
}

#[test]
fn a_pod_older_than_the_installation_is_found_by_its_control_group() {
    let (mut cluster, operator) = node();
    let netns = netns();
    let uid = format!("01234567-89ab-cdef-0123-{:012x}", std::process::id());
    let old = OldPod::start(&uid, &netns);
    operator.tell(|script| drop(attach(&mut script.instructions, &uid, 1, 1)));
    wait::until_equal("interfaces", &vec!["net1".to_owned()], || interfaces(&netns));
    operator.until_error(&format!("{uid}-net1"), None);
    let found = format!("found-{uid}");
    let record = wait::until("a record", || record(&cluster.nodes[0], &found));
    assert_eq!(record["netns"], netns.path(), "a path that outlives the process");

    let index = netns.ifindex("net1");
    cluster.nodes[0].kill_agent();
    let acks = operator.heard(|heard| heard.acks.len());
    cluster.nodes[0].start_agent();
    wait::until("an acknowledgement", || {
        operator.heard(|heard| heard.acks.len() > acks).then_some(())
    });
    operator.until_error(&format!("{uid}-net1"), None);
    assert_eq!(netns.ifindex("net1"), index);
    drop((old, netns));
    operator.until_error(&format!("{uid}-net1"), Some("WaitingForPod"));
}

/// The agent's metrics.
fn metrics(netns: &Netns) -> String {
    let mut stream = netns.run(|| TcpStream::connect("127.0.0.1:9477")).expect("it listens");
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// A process in a pod's control group and namespace.
struct OldPod {
    process: Child,
    groups: [PathBuf; 2],
}

impl OldPod {
    fn start(uid: &str, netns: &Netns) -> Self {
        // With cgroup v1 any controller does; with v2 the root is one.
        let root = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(PathBuf::from);
        let root = root.into_iter().find(|root| root.join("cgroup.procs").exists());
        let parent =
            root.expect("control groups").join(format!("l2sm-test-{}", std::process::id()));
        let group = parent.join(format!("pod{uid}"));
        fs::create_dir_all(&group).expect("root");
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", netns.path())).args(["sleep", "infinity"]);
        let process = command.spawn().expect("it runs");
        fs::write(group.join("cgroup.procs"), process.id().to_string()).expect("it lives");
        Self { process, groups: [group, parent] }
    }
}

impl Drop for OldPod {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        for group in &self.groups {
            // The kernel lets go of the process a moment after its end.
            wait::until("the control group is empty", || {
                (fs::remove_dir(group).is_ok() || !group.exists()).then_some(())
            });
        }
    }
}
