//! The agent as an operator meets it: what it notices of its node, says and does about it.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::{Command, Output},
    time::{Duration, Instant},
};

use l2sm_tests::{
    cluster::{Cluster, ClusterNode, program},
    counter::Counter,
    flow::send_segmented,
    netns::Netns,
    stream::transfer,
    wait,
};
use serde_json::Value;

/// A condition of an object.
fn condition(object: &Value, kind: &str) -> Option<Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind).cloned()
}

/// Asks the agent over HTTP: the status line and the body.
fn get(netns: &Netns, path: &str) -> Option<(String, String)> {
    let mut stream = netns.run(|| TcpStream::connect("127.0.0.1:9477")).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.lines().next()?.to_owned(), body.to_owned()))
}

/// A sample of `/metrics`.
fn metric(netns: &Netns, sample: &str) -> Option<f64> {
    let (_status, page) = get(netns, "/metrics")?;
    page.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok())
}

/// Waits until a node has a condition with this status.
fn until_condition(cluster: &Cluster, node: &str, kind: &str, status: &str) -> Value {
    wait::until(&format!("{kind} of {node} is {status}"), || {
        let nodes = cluster.get("nodes");
        let object = nodes.into_iter().find(|object| object["metadata"]["name"] == node)?;
        condition(&object, kind).filter(|condition| condition["status"] == status)
    })
}

/// Whether the agent's own status tells of it.
fn tells(cluster: &Cluster, node: usize, words: &str) -> bool {
    let status = cluster.nodes[node].status();
    let errors = status["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().any(|error| error.as_str().is_some_and(|error| error.contains(words)))
}

#[test]
fn a_firewall_that_drops_our_packets_is_noticed_and_bulk_goes_on() {
    let cluster = Cluster::new(2);
    // Free to send from any MAC, so the pods may forward: aggregated TCP for them is handed up.
    cluster.apply(
        "apiVersion: l2sm.l2sm.k8s.local/v1\nkind: L2Network\nmetadata: {name: blue}\n\
         spec: {type: vnet, networkCIDR: \"10.10.0.0/24\", macSpoofCheck: false}\n",
    );
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    let target = format!("{}:4000", pods[1].address());
    transfer(&pods[0].netns, &pods[1].netns, pods[1].address(), 1 << 26);
    until_condition(&cluster, "n2", "SlowPathBlocked", "False");

    let nft = |rules: &str| {
        let output = cluster.nodes[1].netns.output("nft", &[rules]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    nft(
        "add table inet theirs; add chain inet theirs input { type filter hook input priority 0; }; \
         add rule inet theirs input udp dport 7000 drop",
    );
    let blocked = wait::until("the agent notices", || {
        pods[0].netns.run(|| send_segmented(&target, 1000, 20));
        tells(&cluster, 1, "SlowPathBlocked").then_some(Instant::now())
    });

    let said = until_condition(&cluster, "n2", "SlowPathBlocked", "True");
    assert!(said["message"].as_str().is_some_and(|text| text.contains("UDP port 7000")), "{said}");
    transfer(&pods[0].netns, &pods[1].netns, pods[1].address(), 1 << 26);
    assert!(blocked.elapsed() < Duration::from_secs(50), "still before it is tried again");
    assert!(!tells(&cluster, 0, "SlowPathBlocked"), "the other node is fine");

    nft("delete table inet theirs");
    wait::until("the agent notices that it is open", || {
        pods[0].netns.run(|| send_segmented(&target, 1000, 20));
        (!tells(&cluster, 1, "SlowPathBlocked")).then_some(())
    });
    until_condition(&cluster, "n2", "SlowPathBlocked", "False");
    transfer(&pods[0].netns, &pods[1].netns, pods[1].address(), 1 << 26);
}

#[test]
fn an_underlay_device_that_vanishes_and_comes_back_is_taken_up_again() {
    let cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    cluster.until_ready("blue");
    assert_eq!(pods[0].netns.ping(pods[1].address(), 3), 3);
    let before = cluster.nodes[1].netns.ifindex("eth0");

    cluster.unplug(1);
    wait::until("the agent misses it", || {
        tells(&cluster, 1, "underlay device eth0: no such device").then_some(())
    });
    cluster.plug(1);

    assert_ne!(cluster.nodes[1].netns.ifindex("eth0"), before);
    wait::until("pods reach one another", || {
        (pods[0].netns.ping(pods[1].address(), 1) == 1).then_some(())
    });
    transfer(&pods[0].netns, &pods[1].netns, pods[1].address(), 1 << 26);
    transfer(&pods[1].netns, &pods[0].netns, pods[0].address(), 1 << 26);
    until_condition(&cluster, "n2", "UnderlayMissing", "False");
    assert!(!tells(&cluster, 1, "UnderlayMissing"));
}

#[test]
fn an_address_that_changes_is_announced_and_used() {
    let cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    cluster.until_ready("blue");
    assert_eq!(pods[0].netns.ping(pods[1].address(), 3), 3);

    cluster.nodes[1].netns.ip("address del 192.0.2.2/24 dev eth0");
    cluster.nodes[1].netns.ip("address add 192.0.2.77/24 dev eth0");

    wait::until_equal("n2's VTEP address", &serde_json::json!(["192.0.2.77"]), || {
        let nodes = cluster.get("nodes");
        let node = nodes.iter().find(|node| node["metadata"]["name"] == "n2");
        node.map_or(Value::Null, |node| node["spec"]["vtepAddresses"].clone())
    });
    wait::until("pods reach one another", || {
        (pods[0].netns.ping(pods[1].address(), 1) == 1).then_some(())
    });
    transfer(&pods[0].netns, &pods[1].netns, pods[1].address(), 1 << 26);
    assert_eq!(cluster.nodes[1].status()["vteps"], serde_json::json!(["192.0.2.77"]));
}

#[test]
fn a_next_hop_that_changes_its_mac_silently_is_found_again() {
    let mut cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    cluster.until_ready("blue");
    assert_eq!(pods[0].netns.ping(pods[1].address(), 3), 3);
    // Silent: nobody on it asks for anything.
    cluster.nodes[1].kill_agent();
    // The worst moment: the kernel has just heard from it, and will not ask again for long.
    wait::until("the next hop is fresh", || {
        let shown = cluster.nodes[0].netns.ip("neighbour show 192.0.2.2 dev eth0");
        shown.contains("REACHABLE").then_some(())
    });

    let changed = Instant::now();
    cluster.nodes[1].netns.ip("link set eth0 address 02:00:00:00:77:77");

    wait::until_within(Duration::from_mins(1), "pods reach one another", || {
        (pods[0].netns.ping(pods[1].address(), 1) == 1).then_some(())
    });
    println!("found again after {:?}", changed.elapsed());
    // The kernel alone takes a minute.
    assert!(changed.elapsed() < Duration::from_secs(30), "{:?}", changed.elapsed());
}

#[test]
fn metrics_count_and_readiness_outlasts_the_controller() {
    let mut cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    let blue = |family: &str, direction: &str| {
        format!("{family}{{node=\"n1\",network=\"default/blue\",direction=\"{direction}\"}}")
    };
    cluster.until_ready("blue");
    assert_eq!(pods[0].netns.ping(pods[1].address(), 3), 3);
    let node = &cluster.nodes[0].netns;
    let packets = blue("l2sm_network_packets_total", "to_vtep");
    let before = metric(node, &packets).expect("counted");

    assert_eq!(pods[0].netns.ping(pods[1].address(), 20), 20);

    assert!(metric(node, &packets).expect("counted") >= before + 20.0);
    assert!(metric(node, &blue("l2sm_network_bytes_total", "to_vtep")).expect("counted") > 2000.0);
    assert_eq!(metric(node, "l2sm_network_ports{node=\"n1\",network=\"default/blue\"}"), Some(1.0));
    assert_eq!(metric(node, "l2sm_map_entries{node=\"n1\",map=\"FDB\"}"), Some(2.0));
    assert_eq!(metric(node, "l2sm_map_capacity_entries{node=\"n1\",map=\"FDB\"}"), Some(262_144.0));
    assert_eq!(metric(node, "l2sm_attach_duration_seconds_count{node=\"n1\"}"), Some(1.0));
    assert!(
        metric(node, "l2sm_reconcile_duration_seconds_sum{node=\"n1\"}").expect("measured") > 0.0
    );
    assert_eq!(metric(node, "l2sm_node_condition{node=\"n1\",condition=\"MapFull\"}"), Some(0.0));
    assert_eq!(metric(node, "l2sm_controller_connected{node=\"n1\"}"), Some(1.0));

    cluster.kill_controller();
    let node = &cluster.nodes[0].netns;
    wait::until("the stream's end is seen", || {
        (metric(node, "l2sm_controller_connected{node=\"n1\"}") == Some(0.0)).then_some(())
    });
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(node, path).expect("an answer").0, "HTTP/1.1 200 OK", "{path}");
    }
    assert_eq!(get(node, "/nothing").expect("an answer").0, "HTTP/1.1 404 Not Found");
    // The image of the last run is in the kernel.
    cluster.nodes[0].kill_agent();
    cluster.nodes[0].start_agent();
    wait::until("a restarted agent is ready without a controller", || {
        get(&cluster.nodes[0].netns, "/readyz").filter(|(status, _)| status == "HTTP/1.1 200 OK")
    });
}

#[test]
fn an_agent_that_nobody_has_told_anything_is_not_ready() {
    let mut cluster = Cluster::new(1);
    cluster.nodes[0].kill_agent();
    assert!(cluster.nodes[0].cleanup().status.success());
    cluster.kill_controller();
    cluster.nodes[0].start_agent();
    let (status, why) = wait::until("it answers", || get(&cluster.nodes[0].netns, "/readyz"));
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(why, "not ready: no controller has told yet what this node is to do\n");
    assert_eq!(get(&cluster.nodes[0].netns, "/healthz").expect("an answer").0, "HTTP/1.1 200 OK");
}

#[test]
fn a_metrics_port_that_is_taken_is_named() {
    let mut cluster = Cluster::new(1);
    cluster.nodes[0].kill_agent();
    let node = &cluster.nodes[0];
    let _theirs = node.netns.run(|| TcpListener::bind("127.0.0.1:9477")).expect("free");
    let output = node.agent_command().output().expect("the agent is built");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    let expected = "l2sm-agent: --metrics-addr 127.0.0.1:9477: Address already in use";
    assert!(error.starts_with(expected) && error.lines().count() == 1, "{error}");
}

#[test]
fn a_full_map_is_a_condition_and_what_fits_forwards_on() {
    let mut cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    cluster.nodes[0].kill_agent();
    assert!(cluster.nodes[0].cleanup().status.success());
    cluster.nodes[0].start_agent_with(&["--map-capacity", "FDB=2"]);
    cluster.until_connected();
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    cluster.until_ready("blue");
    assert_eq!(pods[0].netns.ping(pods[1].address(), 5), 5);
    let node = |cluster: &Cluster, sample: &str| metric(&cluster.nodes[0].netns, sample);
    assert_eq!(node(&cluster, "l2sm_map_pressure_ratio{node=\"n1\",map=\"FDB\"}"), Some(1.0));
    until_condition(&cluster, "n1", "MapFull", "False");

    let third = cluster.pod(1, "blue", &[]);

    let said = until_condition(&cluster, "n1", "MapFull", "True");
    let message = said["message"].as_str().expect("a message");
    assert!(message.starts_with("map FDB is full: it holds 2 entries"), "{message}");
    assert_eq!(node(&cluster, "l2sm_node_condition{node=\"n1\",condition=\"MapFull\"}"), Some(1.0));
    assert!(tells(&cluster, 0, "map FDB is full"));
    assert_eq!(pods[0].netns.ping(pods[1].address(), 5), 5, "what fits forwards on");

    let detached = cluster.nodes[1].ctl(&["detach", "blue", "--netns", &third.netns.path()]);
    assert!(detached.status.success(), "{}", String::from_utf8_lossy(&detached.stderr));
    until_condition(&cluster, "n1", "MapFull", "False");
}

/// Runs `l2sm-agent check` in a namespace; its exit code, and what it found by name.
fn check(netns: &Netns, more: &[&str]) -> (i32, Value) {
    let agent = program("l2sm-agent");
    let mut arguments = vec!["check", "-o", "json"];
    arguments.extend(more);
    let output = netns.output(agent.to_str().expect("a path"), &arguments);
    let found = serde_json::from_slice(&output.stdout).expect("JSON alone on standard output");
    (output.status.code().expect("an exit code"), found)
}

/// What `check` found under a name: verdict and words.
fn found(list: &Value, name: &str) -> (String, String) {
    let findings = list.as_array().expect("a list");
    let one = findings.iter().find(|one| one["name"] == name).expect("it was looked at");
    let text = |field: &str| one[field].as_str().expect("a text").to_owned();
    (text("verdict"), text("what"))
}

#[test]
fn a_check_tells_what_stands_in_the_way_and_changes_nothing() {
    let netns = Netns::new("check");
    netns.ip("link add eth0 type veth peer name peer0");
    netns.ip("link set peer0 up");
    netns.ip("address add 192.0.2.1/24 dev eth0");
    netns.ip("link set eth0 up");
    let bpffs = PathBuf::from(format!("/sys/fs/bpf/{}", netns.name()));
    let directory = bpffs.to_str().expect("a path");
    let uplink = ["--underlay-device", "eth0", "--bpffs", directory];
    let state = || {
        let nft = netns.output("nft", &["list", "ruleset"]).stdout;
        let attached = netns.output("bpftool", &["net", "show"]).stdout;
        let filters = netns.output("tc", &["filter", "show", "dev", "eth0", "ingress"]).stdout;
        let devices = (netns.ip("-details link show"), netns.ip("neighbour show"));
        (devices, nft, attached, filters, bpffs.exists())
    };
    let before = state();

    let (code, all) = check(&netns, &uplink);
    assert_eq!(code, 0, "{all}");
    for name in ["fast path", "decapsulation", "redirect_peer", "locked memory", "order"] {
        assert_eq!(found(&all, name).0, "ok", "{all}");
    }
    assert_eq!(found(&all, "port"), ("ok".into(), "UDP 7000 is free".into()));
    assert_eq!(state(), before);

    let theirs = Counter::attach(&netns, "eth0");
    let filter = "qdisc add dev eth0 clsact";
    assert!(netns.output("tc", &filter.split(' ').collect::<Vec<_>>()).status.success());
    let filter = "filter add dev eth0 ingress prio 1 u32 match u32 0 0 classid 1:1";
    assert!(netns.output("tc", &filter.split(' ').collect::<Vec<_>>()).status.success());
    let (_code, all) = check(&netns, &uplink);
    let (verdict, what) = found(&all, "order");
    assert_eq!(verdict, "ok", "{all}");
    assert!(
        what.starts_with("l2sm_uplink_rx will go before ") && what.contains("u32 (priority 1)"),
        "{what}"
    );
    drop(theirs);

    let socket = netns.run(|| UdpSocket::bind("0.0.0.0:7000")).expect("free");
    let (code, all) = check(&netns, &uplink);
    assert_eq!((code, found(&all, "port").0.as_str()), (1, "fail"), "{all}");
    drop(socket);

    netns.ip("link add theirs type vxlan id 5 dstport 7000 local 192.0.2.1");
    let (code, all) = check(&netns, &uplink);
    let (verdict, what) = found(&all, "port");
    assert_eq!((code, verdict.as_str()), (1, "fail"), "{all}");
    assert!(what.contains("theirs"), "{what}");
    netns.ip("link delete theirs");

    let rules =
        "add table inet t; add chain inet t in { type filter hook input priority 0; policy drop; }";
    assert!(netns.output("nft", &[rules]).status.success());
    let (code, all) = check(&netns, &uplink);
    let (verdict, what) = found(&all, "firewall");
    assert_eq!((code, verdict.as_str()), (0, "warn"), "{all}");
    assert_eq!(what, "chain t in drops by default and no rule accepts UDP 7000");
    let cure = all.as_array().expect("a list").iter().find(|one| one["name"] == "firewall");
    let cure = cure.map(|one| one["cure"].clone());
    assert_eq!(cure, Some("let it accept UDP 7000 from the other nodes".into()));

    let (code, all) = check(&netns, &["--underlay-device", "nosuch0"]);
    assert_eq!(code, 1);
    assert_eq!(found(&all, "underlay").1, "underlay device nosuch0: no such device");
}

/// A command with only these capabilities.
fn with_capabilities(command: &Command, capabilities: &str) -> Command {
    let mut limited = Command::new("setpriv");
    limited.arg(format!("--bounding-set=-all,{capabilities}"));
    limited.arg(command.get_program()).args(command.get_args());
    limited
}

#[test]
fn four_capabilities_are_enough_and_a_missing_one_is_named() {
    let mut cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let away = cluster.pod(1, "blue", &[]);
    cluster.nodes[0].kill_agent();
    assert!(cluster.nodes[0].cleanup().status.success());
    let command = cluster.nodes[0].agent_command();
    let refused = |capabilities: &str| -> Output {
        with_capabilities(&command, capabilities).output().expect("setpriv is there")
    };
    // nsenter itself needs CAP_SYS_ADMIN, which stands for the two others.
    let output = refused("+sys_admin,+bpf,+perfmon");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("lacks: CAP_NET_ADMIN") && error.lines().count() == 1, "{error}");

    let mut agent = with_capabilities(&command, "+sys_admin,+net_admin,+bpf,+perfmon")
        .spawn()
        .expect("setpriv is there");
    cluster.until_connected();
    let here = cluster.pod(0, "blue", &[]);
    cluster.until_ready("blue");
    assert_eq!(here.netns.ping(away.address(), 5), 5);
    transfer(&here.netns, &away.netns, away.address(), 1 << 26);
    agent.kill().expect("it runs");
    agent.wait().expect("it ends");
}

/// How the program of a node's only port is attached: by a filter, by a link.
fn attached(node: &ClusterNode) -> (bool, bool) {
    let veths = node.netns.ip("-brief link show type veth");
    let mut names = veths.lines().filter_map(|line| line.split(['@', ' ']).next());
    let port = names.rfind(|name| name.starts_with("l2sm")).expect("a port");
    let shown = node.netns.output("tc", &["filter", "show", "dev", port, "ingress"]).stdout;
    let links = node.bpffs().join("links").read_dir().expect("links are pinned");
    let mut links = links.map(|link| link.expect("can be read").file_name());
    (
        String::from_utf8_lossy(&shown).contains("l2sm_port_rx"),
        links.any(|link| link.to_string_lossy().ends_with("-l2sm_port_rx")),
    )
}

#[test]
fn a_port_works_at_once_and_has_its_link_soon_also_when_the_agent_ends_in_between() {
    let mut cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let peer = cluster.pod(1, "blue", &[]);
    let pod = cluster.pod(0, "blue", &[]);
    cluster.nodes[0].kill_agent();
    assert_ne!(attached(&cluster.nodes[0]), (false, false));
    wait::until("the other node knows of it", || {
        (pod.netns.ping(peer.address(), 1) == 1).then_some(())
    });
    assert_eq!(pod.netns.ping(peer.address(), 3), 3, "without an agent too");
    cluster.nodes[0].start_agent();
    for node in &cluster.nodes {
        wait::until("the port has its link alone", || {
            (attached(node) == (false, true)).then_some(())
        });
    }
    assert_eq!(pod.netns.ping(peer.address(), 3), 3);
    cluster.nodes[0].kill_agent();
    let output = cluster.nodes[0].cleanup();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!cluster.nodes[0].netns.ip("link show").contains("l2sm:"), "nothing is left");
    assert!(!cluster.nodes[0].bpffs().exists());
}
