//! The CNI plugin against a real agent and controller, as a container runtime runs it.

#[path = "cni/check.rs"]
mod check;
#[path = "cni/cnitool.rs"]
mod cnitool;
#[path = "cni/plugin.rs"]
mod plugin;

use std::{collections::BTreeSet, thread, time::Instant};

use l2sm_tests::{
    cluster::Cluster,
    netns::{Netns, pod_netns},
    wait,
};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use self::plugin::{Plugin, VERSIONS, agent_pid, assert_nothing_left, host_veths, notes, run};

/// A cluster of one node with the network `blue`, 10.9.0.0/24.
fn cluster() -> (Cluster, Plugin) {
    let cluster = Cluster::new(1);
    cluster.network("blue", "10.9.0.0/24");
    let plugin = Plugin::new(&cluster.nodes[0]);
    (cluster, plugin)
}

fn pod() -> Netns {
    pod_netns("cni", &[])
}

fn address(result: &Value) -> &str {
    let address = result["ips"][0]["address"].as_str().expect("an address");
    address.split('/').next().expect("an address")
}

#[test]
fn every_version_has_its_verbs_and_its_form_of_a_result() {
    let (cluster, plugin) = cluster();
    for version in VERSIONS {
        let (plugin, pod) = (plugin.with("cniVersion", version), pod());

        let result = plugin.add("c1", &pod);

        assert_eq!(result["cniVersion"], version);
        let interface = &result["interfaces"][0];
        let mac = pod.mac("net1").to_string();
        assert_eq!(interface["name"], "net1");
        assert_eq!(interface["mac"], mac.as_str());
        assert_eq!(interface["sandbox"], pod.path().as_str());
        let mtu = if version == "1.1.0" { json!(1550) } else { Value::Null };
        assert_eq!(interface["mtu"], mtu, "1600 of the underlay, less 50");
        let ip = &result["ips"][0];
        let old = version.starts_with("0.");
        assert_eq!(ip["version"], if old { json!("4") } else { Value::Null });
        assert_eq!(ip["interface"], 0);
        let there = pod.ip("-4 -oneline address show dev net1");
        assert!(there.contains(ip["address"].as_str().expect("an address")), "{there}");
        assert_eq!(plugin.add("c1", &pod), result, "the same again");
        if version == "0.3.1" {
            assert_eq!(plugin.run("CHECK", "c1", &pod.path()).code(), 1);
        } else {
            assert_eq!(plugin.check("c1", &pod, &result), None);
        }
        plugin.del("c1", &pod.path());
        assert_nothing_left(&cluster);
        plugin.del("c1", &pod.path());
        plugin.del("c1", "");
        let versions = plugin.run("VERSION", "", "");
        assert_eq!(versions.output["supportedVersions"], json!(VERSIONS));
    }
    for verb in ["GC", "STATUS"] {
        let old = plugin.with("cniVersion", "1.0.0").run(verb, "", "");
        assert_eq!(old.code(), 1, "{verb} came with 1.1.0");
    }
}

#[test]
fn what_the_runtime_asks_for_is_what_the_pod_gets() {
    let (cluster, plugin) = cluster();
    let pod = pod();
    let wish = json!({"ips": ["10.9.0.77/24"], "mac": "02:00:00:00:00:77"});
    let plugin = plugin.with("runtimeConfig", wish).with("namespace", "default");
    let arguments = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=1-2";
    let variables = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", &pod.path()),
        ("CNI_IFNAME", "eth7"),
        ("CNI_ARGS", arguments),
    ];
    let ran = run(&variables, plugin.config.to_string().as_bytes());
    assert!(ran.succeeded, "{}", ran.output);
    assert_eq!(ran.output["ips"][0]["address"], "10.9.0.77/24");
    assert_eq!(ran.output["interfaces"][0]["mac"], "02:00:00:00:00:77");
    assert_eq!(pod.mac("eth7").to_string(), "02:00:00:00:00:77");
    let attachments = cluster.get("attachments");
    let name = attachments[0]["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("web-0-eth7-"), "{name}");
}

#[test]
fn without_a_namespace_of_its_own_a_network_is_looked_for_beside_the_pod() {
    let (cluster, plugin) = cluster();
    cluster.apply(
        "apiVersion: l2sm.l2sm.k8s.local/v1\nkind: L2Network\n\
         metadata: {name: blue, namespace: shop}\n\
         spec: {type: vnet, networkCIDR: \"10.8.0.0/24\"}\n",
    );
    let pod = pod();
    let run = |verb: &str, config: &Value| {
        let variables = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", &pod.path()),
            ("CNI_IFNAME", "net1"),
            ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0"),
        ];
        run(&variables, config.to_string().as_bytes())
    };

    let added = run("ADD", &plugin.config);

    assert!(added.succeeded, "{}", added.output);
    assert!(address(&added.output).starts_with("10.8.0."), "{}", added.output);
    let checked = run("CHECK", &plugin.with("prevResult", added.output).config);
    assert!(checked.succeeded, "{}", checked.output);
    assert!(run("DEL", &plugin.config).succeeded);
    assert_nothing_left(&cluster);
}

#[test]
fn results_of_the_plugins_before_are_passed_on() {
    let (_cluster, plugin) = cluster();
    let pod = pod();
    let before = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": pod.path()}],
        "ips": [{"interface": 0, "address": "10.1.0.5/24", "gateway": "10.1.0.1"}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}],
        "dns": {"nameservers": ["10.1.0.1"]},
    });
    let result = plugin.with("prevResult", before.clone()).add("c1", &pod);
    assert_eq!((&result["routes"], &result["dns"]), (&before["routes"], &before["dns"]));
    assert_eq!(result["interfaces"][0], before["interfaces"][0]);
    assert_eq!(result["ips"][0], before["ips"][0]);
    assert_eq!(result["interfaces"][1]["name"], "net1");
    assert_eq!(result["ips"][1]["interface"], 1);
    assert_eq!(plugin.check("c1", &pod, &result), None);
}

#[test]
fn bad_input_is_named_with_its_code_and_makes_nothing() {
    let (cluster, plugin) = cluster();
    let pod = pod();
    let add = |plugin: Plugin| plugin.run("ADD", "c1", &pod.path());
    let table = [
        (add(plugin.with("cniVersion", "0.2.0")), 1, "cniVersion: \"0.2.0\" is not supported"),
        (add(plugin.with("cniVersion", Value::Null)), 1, "cniVersion: null is not supported"),
        (add(plugin.with("network", "")), 7, "network: is required"),
        (add(plugin.with("network", 5)), 7, "network configuration: "),
        (add(plugin.with("name", "")), 7, "name: is required"),
        (add(plugin.with("network", "none")), 11, "there is no network default/none"),
        (add(plugin.with("runtimeConfig", json!({"ips": ["10.8.0.1/24"]}))), 7, ""),
        (add(plugin.with("runtimeConfig", json!({"ips": ["x"]}))), 7, "address x: "),
        (add(plugin.with("runtimeConfig", json!({"mac": "ff:ff:ff:ff:ff:ff"}))), 7, "MAC ff:"),
        (plugin.run("ADD", "c1", ""), 4, "CNI_NETNS: "),
        (plugin.run("ADD", "../c1", &pod.path()), 4, "CNI_CONTAINERID: "),
        (plugin.run("ADD", "c1", "/run/netns/none-such"), 4, "network namespace /run/netns/none"),
        (plugin.run("PLAY", "c1", &pod.path()), 4, "CNI_COMMAND: PLAY is unknown"),
        (run(&[], b"{}"), 4, "CNI_COMMAND: is required"),
        (run(&[("CNI_COMMAND", "GC")], b"nonsense"), 6, "standard input: not JSON"),
        (run(&[("CNI_COMMAND", "GC")], b""), 6, "standard input: empty"),
    ];
    for (ran, code, begin) in table {
        assert_eq!(ran.code(), code, "{}", ran.output);
        assert!(ran.message().starts_with(begin), "{}", ran.output);
    }
    let supported = add(plugin.with("cniVersion", "9.0.0"));
    assert_eq!(supported.output["details"], "supported: 0.3.1, 0.4.0, 1.0.0, 1.1.0");
    assert_nothing_left(&cluster);
}

#[test]
fn a_failed_add_leaves_nothing_behind() {
    let (mut cluster, plugin) = cluster();
    cluster.network("six", "fd00:9::/64");
    let (first, second, no_ipv6) = (pod(), pod(), pod());
    let wish = plugin.with("runtimeConfig", json!({"ips": ["10.9.0.50/24"]}));
    wish.add("c1", &first);
    let taken = wish.run("ADD", "c2", &second.path());
    assert_eq!(taken.code(), 11, "{}", taken.output);
    second.ip("link add net1 type bridge");
    assert_eq!(plugin.run("ADD", "c2", &second.path()).code(), 7, "the name is taken");
    second.ip("link delete net1");
    let refused = plugin.with("network", "six").run("ADD", "c3", &no_ipv6.path());
    assert_eq!(refused.code(), 11, "the kernel refuses the address: {}", refused.output);
    assert_eq!(no_ipv6.ip("-brief link show").lines().count(), 1, "loopback alone");
    wish.del("c1", &first.path());
    assert_nothing_left(&cluster);

    cluster.kill_controller();
    wait::until("the agent sees that the controller is gone", || {
        cluster.nodes[0].status()["controller"].is_null().then_some(())
    });
    assert_eq!(wish.run("ADD", "c2", &second.path()).code(), 11);
    cluster.nodes[0].kill_agent();
    let started = Instant::now();
    assert_eq!(wish.run("ADD", "c2", &second.path()).code(), 11);
    assert!(started.elapsed() < wait::PATIENCE / 4, "nobody to wait for");
    cluster.start_controller();
    cluster.nodes[0].start_agent();
    cluster.until_connected();
    assert_nothing_left(&cluster);
    assert_eq!(address(&wish.add("c2", &second)), "10.9.0.50", "the address is free");
}

#[test]
fn an_agent_that_hangs_is_given_up_and_leaves_nothing() {
    let (cluster, plugin) = cluster();
    let pod = pod();
    let agent = agent_pid(&cluster.nodes[0]);
    kill(agent, Signal::SIGSTOP).expect("it runs");
    let started = Instant::now();
    let ran = plugin.run("ADD", "c1", &pod.path());
    let waited = started.elapsed();
    kill(agent, Signal::SIGCONT).expect("it runs");
    assert_eq!(ran.code(), 11, "{}", ran.output);
    assert!(waited < wait::PATIENCE * 3 / 2, "{waited:?}");
    // The request waited in the socket all the time, and the agent did take it.
    let node = &cluster.nodes[0];
    wait::until("the controller is followed", || {
        (!node.status()["controller"].is_null()).then_some(())
    });
    wait::until("what nobody waits for is undone", || {
        let left = cluster.get("attachments").len() + host_veths(node).len() + notes(node).len();
        (left == 0).then_some(())
    });
    let result = plugin.add("c1", &pod);
    assert_eq!(plugin.check("c1", &pod, &result), None);
    plugin.del("c1", &pod.path());
    assert_nothing_left(&cluster);
}

#[test]
fn twenty_at_once_all_get_their_own() {
    let (cluster, plugin) = cluster();
    let pods: Vec<Netns> = (0..20).map(|_number| pod()).collect();
    let names: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    let results: Vec<Value> = thread::scope(|scope| {
        let runs = names.iter().zip(&pods);
        let runs: Vec<_> = runs.map(|(name, pod)| scope.spawn(|| plugin.add(name, pod))).collect();
        runs.into_iter().map(|run| run.join().expect("it succeeds")).collect()
    });
    let addresses: BTreeSet<&str> = results.iter().map(address).collect();
    assert_eq!(addresses.len(), 20, "{addresses:?}");
    assert_eq!(host_veths(&cluster.nodes[0]).len(), 20);
    for neighbor in [1, 10, 19] {
        assert_eq!(pods[0].ping(address(&results[neighbor]), 3), 3);
    }
    thread::scope(|scope| {
        for (name, pod) in names.iter().zip(&pods) {
            scope.spawn(|| plugin.del(name, &pod.path()));
        }
    });
    assert_nothing_left(&cluster);
}

#[test]
fn del_succeeds_while_the_agent_is_away_and_is_done_when_it_is_back() {
    let (mut cluster, plugin) = cluster();
    let (first, second) = (pod(), pod());
    plugin.add("c1", &first);
    plugin.add("c2", &second);
    cluster.nodes[0].kill_agent();
    plugin.del("c1", &first.path());
    drop(first);
    // Its namespace is still there, and nothing is known of its container id but the agent's record.
    plugin.del("c2", "");
    assert_eq!(notes(&cluster.nodes[0]).len(), 2);
    assert_eq!(cluster.get("attachments").len(), 2);

    cluster.nodes[0].start_agent();

    wait::until_equal("attachments", &0, || cluster.get("attachments").len());
    wait::until_equal("host veths", &0, || host_veths(&cluster.nodes[0]).len());
    wait::until_equal("notes", &0, || notes(&cluster.nodes[0]).len());
    assert_eq!(second.ip("-brief link show").lines().count(), 1, "loopback alone");
}

#[test]
fn del_succeeds_while_the_controller_is_away_and_it_is_told_later() {
    let (mut cluster, plugin) = cluster();
    let wish = plugin.with("runtimeConfig", json!({"ips": ["10.9.0.50/24"]}));
    let (first, second) = (pod(), pod());
    wish.add("c1", &first);
    cluster.kill_controller();
    wish.del("c1", &first.path());
    assert_eq!(host_veths(&cluster.nodes[0]), Vec::<String>::new());
    wish.del("c1", &first.path());
    cluster.start_controller();
    cluster.until_connected();
    wait::until_equal("attachments", &0, || cluster.get("attachments").len());
    assert_eq!(address(&wish.add("c2", &second)), "10.9.0.50", "the address is free");
}

#[test]
fn del_of_another_container_leaves_the_namespace_alone() {
    let (cluster, plugin) = cluster();
    let pod = pod();
    let result = plugin.add("c1", &pod);
    plugin.del("c0", &pod.path());
    assert_eq!(plugin.check("c1", &pod, &result), None);
    assert_eq!(cluster.get("attachments").len(), 1);
}

#[test]
fn gc_removes_what_the_runtime_does_not_know() {
    let (cluster, plugin) = cluster();
    let other = plugin.with("name", "another");
    let pods = [pod(), pod(), pod(), pod()];
    let results = [
        plugin.add("c0", &pods[0]),
        plugin.add("c1", &pods[1]),
        plugin.add("c2", &pods[2]),
        other.add("c3", &pods[3]),
    ];
    let by_hand = cluster.pod(0, "blue", &[]);
    let gc = |valid: Value| {
        let ran = plugin.with("cni.dev/valid-attachments", valid).run("GC", "", "");
        assert!(ran.succeeded && ran.output.is_null(), "{}", ran.output);
    };
    assert!(plugin.run("GC", "", "").succeeded, "nothing is said to be valid or not");
    gc(json!([
        {"containerID": "c0", "ifname": "net1"},
        {"containerID": "c1", "ifname": "net1"},
        {"containerID": "c2", "ifname": "net1"},
    ]));
    assert_eq!(cluster.get("attachments").len(), 5);
    gc(json!([{"containerID": "c1", "ifname": "net1"}, {"containerID": "c2", "ifname": "net9"}]));
    let left: BTreeSet<String> = cluster
        .get("attachments")
        .iter()
        .filter_map(|attachment| attachment["spec"]["ips"][0].as_str().map(str::to_owned))
        .collect();
    let by_hand = by_hand.attached["ips"][0].as_str().expect("an address").to_owned();
    let with_length = |result: &Value| result["ips"][0]["address"].as_str().unwrap().to_owned();
    assert_eq!(left, [with_length(&results[1]), with_length(&results[3]), by_hand].into());
    assert_eq!(pods[0].ip("-brief link show").lines().count(), 1, "loopback alone");
    gc(Value::Null);
    assert_eq!(cluster.get("attachments").len(), 2, "null is an empty list");
}

#[test]
fn status_tells_who_is_away() {
    let (mut cluster, plugin) = cluster();
    let status = || plugin.run("STATUS", "", "");
    assert!(status().succeeded);
    cluster.kill_controller();
    let code = || (!status().succeeded).then(|| status().code());
    wait::until_equal("code without a controller", &Some(51), code);
    cluster.nodes[0].kill_agent();
    assert_eq!(status().code(), 50);
    let mut chained = plugin.clone();
    chained.config.as_object_mut().expect("an object").remove("network");
    assert!(chained.run("STATUS", "", "").succeeded, "the node is not broken by us");
    assert!(plugin.run("VERSION", "", "").succeeded);
}
