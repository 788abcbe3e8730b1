//! Pods of Kubernetes on a node: the plugin at the end of the cluster's CNI list, the agent that waits
//! for what the operator makes, and how both are installed. The operator is played by the test; the
//! plugin, the agent and the kernel are real.

#[path = "pods/certificates.rs"]
mod certificates;
#[path = "pods/installed.rs"]
mod installed;
#[path = "pods/operator.rs"]
mod operator;
#[path = "pods/plugin.rs"]
mod plugin;
#[path = "pods/running.rs"]
mod running;

use std::{
    thread,
    time::{Duration, Instant},
};

use l2sm_api::grpc::v1::EntryProblem;
use l2sm_common::{mac::Mac, vni::Vni};
use l2sm_core::{
    instructions::{Host, Instructions, Place, Port, Segment},
    model::ObjectKey,
};
use l2sm_tests::{
    cluster::Cluster,
    netns::{Netns, pod_netns},
    wait,
};
use nix::sys::signal::{Signal, kill};

use self::{
    operator::Operator,
    plugin::{Pod, agent_pid, host_veths, notes, record},
};

/// A node whose agent follows an operator.
fn node() -> (Cluster, Operator) {
    let mut cluster = Cluster::unstarted(1);
    let operator = Operator::start(&cluster);
    cluster.nodes[0].start_agent();
    until_followed(&cluster);
    (cluster, operator)
}

fn until_followed(cluster: &Cluster) {
    wait::until("the operator is followed", || {
        status(cluster)["controller"].is_string().then_some(())
    });
}

/// What the agent says of itself; null: it does not answer yet.
fn status(cluster: &Cluster) -> serde_json::Value {
    let output = cluster.nodes[0].ctl(&["status", "-o", "json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn netns() -> Netns {
    pod_netns("pods", &[])
}

/// Attaches the pod `uid` to network `blue`: interface `net<number>`, 10.9.0.`host`.
fn attach(instructions: &mut Instructions, uid: &str, number: u8, host: u8) -> ObjectKey {
    let (vni, mac) = (Vni::new(7).expect("a VNI"), Mac([2, 0, 0, 0, 0, host]));
    let network = ObjectKey::new("shop", "blue");
    let segment = Segment { network, mtu: 1450, flood: true, learning: false };
    instructions.segments.insert(vni, segment);
    let key = ObjectKey::new("shop", format!("{uid}-net{number}"));
    let address: ipnet::IpNet = format!("10.9.0.{host}/24").parse().expect("an address");
    let port = Port {
        vni,
        ifname: format!("net{number}"),
        netns: None,
        netns_inode: 0,
        pod: Some(uid.to_owned()),
        pod_uid: Some(uid.to_owned()),
        mac,
        addresses: vec![address],
        mtu: 1450,
        mac_check: true,
        forwarder: false,
    };
    instructions.ports.insert(key.clone(), port);
    let place = Place::Port(key.clone());
    instructions.hosts.insert((vni, mac), Host { ips: vec![address.addr()], place, router: None });
    key
}

fn problem(message: &str) -> EntryProblem {
    EntryProblem { message: message.to_owned(), ..EntryProblem::default() }
}

/// Names of a namespace's interfaces, but for loopback.
fn interfaces(netns: &Netns) -> Vec<String> {
    let links = netns.ip("-json link show");
    let links: serde_json::Value = serde_json::from_str(&links).expect("JSON");
    let names = links.as_array().into_iter().flatten();
    let names = names.filter_map(|link| link["ifname"].as_str());
    names.filter(|name| *name != "lo").map(str::to_owned).collect()
}

#[test]
fn a_pod_waits_for_what_the_operator_makes_and_gets_the_result_of_the_plugin_before() {
    let (cluster, operator) = node();
    let (first, second) = (netns(), netns());
    let pods = [
        Pod::new(&cluster.nodes[0], "u-1", &first).networks("blue"),
        Pod::new(&cluster.nodes[0], "u-2", &second).networks(r#"[{"name": "blue"}]"#),
    ];
    thread::scope(|scope| {
        let adding: Vec<_> = pods.iter().map(|pod| scope.spawn(|| pod.run("ADD", "c"))).collect();
        // The first is known to be here before anything is made for it.
        wait::until("a record", || record(&cluster.nodes[0], "c-u-1"));
        operator.tell(|script| {
            attach(&mut script.instructions, "u-1", 1, 1);
            attach(&mut script.instructions, "u-2", 1, 2);
        });
        for (adding, pod) in adding.into_iter().zip(&pods) {
            let ran = adding.join().expect("it ends");
            assert!(ran.succeeded, "{}", ran.output);
            assert_eq!(ran.output, pod.previous, "as it came");
        }
    });
    assert_eq!(interfaces(&first), ["net1"]);
    assert_eq!(first.mac("net1"), Mac([2, 0, 0, 0, 0, 1]));
    assert_eq!(first.ping("10.9.0.2", 3), 3);
    operator.until_error("u-1-net1", None);
    assert_eq!(pods[0].run("CHECK", "c").output, serde_json::Value::Null);
    first.ip("link set net1 down");
    let damaged = pods[0].run("CHECK", "c");
    assert_eq!(damaged.code(), 100);
    assert!(damaged.message().contains("net1"), "{}", damaged.message());

    assert!(pods[0].run("DEL", "c").succeeded);
    assert_eq!(interfaces(&first), Vec::<String>::new());
    operator.until_error("u-1-net1", Some("WaitingForPod"));
    assert_eq!(record(&cluster.nodes[0], "c-u-1"), None);
    assert_eq!(interfaces(&second), ["net1"], "the other stays");
}

#[test]
fn a_new_sandbox_of_the_same_pod_takes_its_interface_along() {
    let (cluster, operator) = node();
    let (old, new) = (netns(), netns());
    operator.tell(|script| drop(attach(&mut script.instructions, "u-1", 1, 1)));
    let before = Pod::new(&cluster.nodes[0], "u-1", &old).networks("blue");
    let after = Pod::new(&cluster.nodes[0], "u-1", &new).networks("blue");
    assert!(before.run("ADD", "c1").succeeded);
    assert_eq!(interfaces(&old), ["net1"]);
    let ran = after.run("ADD", "c2");
    assert!(ran.succeeded, "{}", ran.output);
    assert_eq!((interfaces(&old), interfaces(&new)), (Vec::new(), vec!["net1".to_owned()]));
    assert_eq!(new.mac("net1"), Mac([2, 0, 0, 0, 0, 1]), "the same");
    assert!(before.run("DEL", "c1").succeeded);
    assert_eq!(interfaces(&new), ["net1"], "another container's DEL");
    operator.until_error("u-1-net1", None);
    assert!(after.run("DEL", "c2").succeeded);
    assert_eq!(host_veths(&cluster.nodes[0]), Vec::<String>::new());
}

#[test]
fn what_stands_in_the_way_is_said_in_words_with_code_11() {
    let (cluster, operator) = node();
    let netns = netns();
    let pod = Pod::new(&cluster.nodes[0], "u-1", &netns);
    let malformed = pod.networks(r#"[{"name": "blue""#).run("ADD", "c");
    assert_eq!(malformed.code(), 11);
    let says = malformed.message();
    assert!(says.starts_with("annotation l2sm/networks: ") && !says.contains('\n'), "{says}");

    let says = "network 'blue' does not exist in namespace 'shop'";
    operator.tell(|script| drop(script.problems.insert("u-1".to_owned(), vec![problem(says)])));
    let started = Instant::now();
    let refused = pod.networks("blue").run("ADD", "c");
    assert_eq!((refused.code(), refused.message()), (11, says));
    assert!(started.elapsed() < Duration::from_secs(10), "not the whole patience");
    assert_eq!(record(&cluster.nodes[0], "c-u-1"), None, "nothing is left behind");

    // A cause that goes away while the pod waits is none. It does not wait for long: one that goes away
    // too late is there anew for the next ADD.
    wait::until("an ADD whose cause goes away in time", || {
        operator.tell(|script| {
            script.instructions = Instructions::default();
            script.problems.insert("u-1".to_owned(), vec![problem(says)]);
        });
        let ran = thread::scope(|scope| {
            let adding = scope.spawn(|| pod.networks("blue").run("ADD", "c"));
            wait::until("a record", || record(&cluster.nodes[0], "c-u-1"));
            operator.tell(|script| {
                script.problems.clear();
                attach(&mut script.instructions, "u-1", 1, 1);
            });
            adding.join().expect("it ends")
        });
        assert!(ran.succeeded || ran.code() == 11, "{}", ran.output);
        ran.succeeded.then_some(())
    });

    // The network of a configuration of its own, of a namespace that does not allow it.
    let says = "network 'blue' of namespace 'other' does not allow pods of namespace 'shop'";
    let refused = EntryProblem { annotation: 1, ifname: "net2".to_owned(), ..problem(says) };
    operator.tell(|script| drop(script.problems.insert("u-1".to_owned(), vec![refused])));
    let refused = pod.network("blue", "other").interface("net2").run("ADD", "c");
    assert_eq!((refused.code(), refused.message()), (11, says));
    assert_eq!(interfaces(&netns), ["net1"], "the other entry stays");
}

#[test]
fn optional_entries_hold_no_pod_and_come_later() {
    let (cluster, operator) = node();
    let netns = netns();
    let text = r#"[{"name": "blue"}, {"name": "later", "optional": true}]"#;
    let pod = Pod::new(&cluster.nodes[0], "u-1", &netns).networks(text);
    operator.tell(|script| drop(attach(&mut script.instructions, "u-1", 1, 1)));
    let ran = pod.run("ADD", "c");
    assert!(ran.succeeded, "{}", ran.output);
    operator.tell(|script| drop(attach(&mut script.instructions, "u-1", 2, 2)));
    wait::until_equal("interfaces", &vec!["net1".to_owned(), "net2".to_owned()], || {
        interfaces(&netns)
    });
}

#[test]
fn multus_interfaces_are_made_by_the_operator_too() {
    let (cluster, operator) = node();
    let netns = netns();
    let multus = Pod::new(&cluster.nodes[0], "u-1", &netns).network("blue", "shop");
    let multus = multus.interface("net3");
    operator.tell(|script| drop(attach(&mut script.instructions, "u-1", 3, 3)));
    let ran = multus.run("ADD", "c");
    assert!(ran.succeeded, "{}", ran.output);
    assert_eq!(ran.output["ips"][0]["address"], "10.9.0.3/24");
    assert_eq!(ran.output["interfaces"][0]["name"], "net3");
    let other = multus.network("green", "shop").run("ADD", "c");
    assert!(other.message().contains("interface net3 is network shop/blue's"), "{}", other.output);
    assert!(multus.run("DEL", "c").succeeded);
    assert_eq!(interfaces(&netns), Vec::<String>::new());
    let nameless = multus.without_uid().run("ADD", "c");
    assert_eq!(nameless.code(), 4);
    assert!(nameless.message().contains("K8S_POD_UID"), "{}", nameless.output);
}

#[test]
fn a_pod_that_loses_an_interface_of_multus_keeps_the_others() {
    let (cluster, operator) = node();
    let netns = netns();
    let pod = Pod::new(&cluster.nodes[0], "u-1", &netns).networks("blue");
    let multus = pod.network("blue", "shop").interface("net1");
    operator.tell(|script| {
        attach(&mut script.instructions, "u-1", 1, 1);
        attach(&mut script.instructions, "u-1", 2, 2);
    });
    for added in [pod.run("ADD", "c"), multus.run("ADD", "c")] {
        assert!(added.succeeded, "{}", added.output);
    }
    let both = vec!["net1".to_owned(), "net2".to_owned()];
    wait::until_equal("interfaces", &both, || interfaces(&netns));
    let index = netns.ifindex("net2");

    assert!(multus.run("DEL", "c").succeeded);
    assert_eq!(interfaces(&netns), ["net2"]);
    assert!(record(&cluster.nodes[0], "c-u-1").is_some(), "the pod goes on");
    operator.until_error("u-1-net2", None);
    assert_eq!(netns.ifindex("net2"), index, "the very same interface");

    drop(netns);
    wait::until_equal("the record", &None, || record(&cluster.nodes[0], "c-u-1"));
}

#[test]
fn pods_without_the_annotation_never_wait_for_an_agent_and_the_others_are_told_at_once() {
    let (mut cluster, operator) = node();
    let (plain, annotated) = (netns(), netns());
    let plain = Pod::new(&cluster.nodes[0], "u-1", &plain);
    let annotated_pod = Pod::new(&cluster.nodes[0], "u-2", &annotated).networks("blue");
    operator.tell(|script| drop(attach(&mut script.instructions, "u-2", 1, 2)));
    assert!(annotated_pod.run("ADD", "c").succeeded);

    // An agent that hangs: whoever opened the socket would wait.
    let agent = agent_pid(&cluster.nodes[0]);
    kill(agent, Signal::SIGSTOP).expect("it runs");
    for verb in ["ADD", "CHECK", "DEL", "STATUS", "GC"] {
        let started = Instant::now();
        let ran = plain.run(verb, "c");
        assert!(ran.succeeded, "{verb}: {}", ran.output);
        // The least patient, DEL, would wait for 5 s.
        assert!(started.elapsed() < Duration::from_millis(4500), "{verb}: {:?}", started.elapsed());
    }
    kill(agent, Signal::SIGCONT).expect("it runs");

    cluster.nodes[0].kill_agent();
    assert!(plain.run("ADD", "c").succeeded);
    let started = Instant::now();
    assert_eq!(
        Pod::new(&cluster.nodes[0], "u-3", &annotated).networks("blue").run("ADD", "d").code(),
        11
    );
    assert!(started.elapsed() < Duration::from_secs(10), "at once");
    assert!(annotated_pod.run("DEL", "c").succeeded);
    assert_eq!(notes(&cluster.nodes[0]).len(), 1);
    assert_eq!(interfaces(&annotated), ["net1"], "nobody is there to remove it");

    cluster.nodes[0].start_agent();
    wait::until_equal("interfaces", &Vec::<String>::new(), || interfaces(&annotated));
    wait::until_equal("notes", &0, || notes(&cluster.nodes[0]).len());
}
