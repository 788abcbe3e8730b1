//! TLS between real programs: who is let in, who is kept out, and that forwarding never minds.

use std::{fs, process::Output};

use l2sm_tests::{
    cluster::{Cluster, ClusterPod},
    flow::{Account, Flow},
    wait,
};

/// Datagrams a second, while controllers come and go.
const RATE: u32 = 5_000;

/// A cluster of two nodes with TLS, a network, and a pod on each node.
fn two_nodes() -> (Cluster, [ClusterPod; 2]) {
    let cluster = Cluster::with_tls(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    cluster.until_ready("blue");
    (cluster, pods)
}

/// Waits until the agent of a node logs a line with all of `words`, after `from` bytes.
fn until_logged(cluster: &Cluster, node: usize, from: usize, words: &[&str]) -> String {
    wait::until(&format!("a line with {words:?}"), || {
        let log = cluster.nodes[node].log();
        let lines = log.get(from..).unwrap_or_default();
        let line = lines.lines().find(|line| words.iter().all(|word| line.contains(word)));
        line.map(str::to_owned)
    })
}

fn assert_refused(output: &Output, words: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    for word in words {
        assert!(error.contains(word), "does not name {word:?}: {error}");
    }
}

#[test]
fn nodes_follow_with_tls_and_a_nodes_certificate_is_good_for_that_node_only() {
    let (mut cluster, pods) = two_nodes();
    assert_eq!(pods[0].netns.ping(pods[1].address(), 10), 10);
    let flow = Flow::start(&pods[0].netns, &pods[1].netns, pods[1].address(), RATE);

    // Node n1 with the certificate of n2.
    let own = cluster.nodes[0].flags.clone();
    let foreign = cluster.pki().client_flags("node-n2");
    cluster.nodes[0].kill_agent();
    cluster.nodes[0].flags = foreign;
    let from = cluster.nodes[0].log().len();
    cluster.nodes[0].start_agent();
    let words = ["node \"n1\" is not the certificate's", "node n2's", "forwarding goes on"];
    until_logged(&cluster, 0, from, &words);
    wait::until("the status says it too", || {
        let status = cluster.nodes[0].status();
        let errors = status["errors"].as_array().cloned().unwrap_or_default();
        let says = |error: &serde_json::Value| error.to_string().contains("not the certificate's");
        errors.iter().any(says).then_some(())
    });
    let nodes = cluster.get("nodes");
    let n1 = nodes.iter().find(|node| node["metadata"]["name"] == "n1").unwrap();
    assert_ne!(n1["status"]["connected"], true, "{n1}");
    assert!(cluster.log().contains("denied: node \"n1\""), "{}", cluster.log());
    assert_eq!(pods[0].netns.ping(pods[1].address(), 10), 10);

    cluster.nodes[0].kill_agent();
    cluster.nodes[0].flags = own;
    cluster.nodes[0].start_agent();
    cluster.until_connected();
    let account = flow.finish();
    assert_eq!(account, Account { sent: account.sent, lost: 0, doubled: 0 });
}

#[test]
fn objects_are_for_admins_and_nothing_is_for_strangers() {
    let cluster = Cluster::with_tls(1);
    let others = cluster.pki().path("others");
    let stranger = l2sm_tests::pki::Pki::new(&others, "192.0.2.254", 1);
    for name in ["admin.crt", "admin.key"] {
        let to = cluster.pki().path(&name.replace("admin", "stranger"));
        fs::copy(stranger.path(name), to).unwrap();
    }

    let denied = cluster.ctl_as("node-n1", &["get", "networks"]);
    assert_refused(&denied, &["objects are for admins", "l2sm://node/n1"]);
    let stranger = cluster.ctl_as("stranger", &["get", "networks"]);
    assert_refused(&stranger, &["stranger.crt", "not signed by the controller's --client-ca"]);
    let server = cluster.ctl_as("server", &["get", "networks"]);
    assert_refused(&server, &["server.crt", "not a client's"]);
    cluster.pki().expire("admin", "l2sm://admin/admin");
    let expired = cluster.ctl_as("admin", &["get", "networks"]);
    assert_refused(&expired, &["admin.crt", "expired", "l2sm-controller certs"]);
    let plain = cluster.underlay().run(|| {
        let mut stream = std::net::TcpStream::connect("192.0.2.254:30808").unwrap();
        std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut answer).map(|_length| answer.len())
    });
    assert!(plain.is_ok_and(|length| length < 64), "an alert, and the end");

    cluster.pki().certs(&["--admin", "admin"]);
    assert!(cluster.ctl_ok(&["get", "nodes"]).contains("n1"), "renewed, and the server is well");
    for words in ["objects are for admins", "it has expired", "does not speak TLS", "--client-ca"] {
        let said = words.replace("it has expired", "its certificate has expired");
        assert!(cluster.log().contains(&said), "{said}: {}", cluster.log());
    }
}

#[test]
fn http_to_a_port_with_tls_is_told_in_one_line() {
    let mut cluster = Cluster::with_tls(1);
    let plain = cluster.url().replace("https", "http");
    let l2smctl = l2sm_tests::cluster::program("l2smctl");
    let arguments = ["--server", &plain, "get", "networks"];
    let output = cluster.underlay().output(l2smctl.to_str().unwrap(), &arguments);
    assert_refused(&output, &["the server wants TLS", "https://", "--tls-ca"]);

    cluster.nodes[0].kill_agent();
    cluster.nodes[0].flags = vec!["--insecure".into()];
    cluster.nodes[0].controllers = vec![plain];
    let from = cluster.nodes[0].log().len();
    cluster.nodes[0].start_agent();
    let line = until_logged(&cluster, 0, from, &["the controller wants TLS", "https://"]);
    assert!(line.contains("forwarding goes on without it"), "{line}");
}

#[test]
fn https_to_a_port_without_tls_is_told_in_one_line() {
    let cluster = Cluster::new(1);
    let pki = tempfile::tempdir().unwrap();
    let pki = l2sm_tests::pki::Pki::new(&pki.path().join("pki"), "192.0.2.254", 1);
    let l2smctl = l2sm_tests::cluster::program("l2smctl");
    let url = cluster.url().replace("http", "https");
    let flags = pki.client_flags("admin");
    let mut arguments = vec!["--server", &url];
    arguments.extend(flags.iter().map(String::as_str));
    arguments.extend(["get", "networks"]);
    let output = cluster.underlay().output(l2smctl.to_str().unwrap(), &arguments);
    assert_refused(&output, &["does not speak TLS", "--insecure"]);
}

#[test]
fn certificates_replaced_while_running_are_used_from_the_next_connection_on() {
    let (mut cluster, pods) = two_nodes();
    let flow = Flow::start(&pods[0].netns, &pods[1].netns, pods[1].address(), RATE);

    // The agent's expires, which matters once it must connect again; then it is renewed.
    cluster.pki().expire("node-n1", "l2sm://node/n1");
    let from = cluster.nodes[0].log().len();
    cluster.kill_controller();
    cluster.start_controller();
    until_logged(&cluster, 0, from, &["node-n1.crt", "it has expired", "l2sm-controller certs"]);
    cluster.pki().certs(&["--node", "n1"]);
    cluster.until_connected();

    // The server's is replaced by a stranger's, then put back.
    let strangers = cluster.pki().path("strangers");
    let stranger = l2sm_tests::pki::Pki::new(&strangers, "192.0.2.254", 0);
    let names = ["server.crt", "server.key"];
    let kept = names.map(|name| fs::read(cluster.pki().path(name)).unwrap());
    for name in names {
        fs::copy(stranger.path(name), cluster.pki().path(name)).unwrap();
    }
    let refused = cluster.ctl(&["get", "nodes"]);
    assert_refused(&refused, &["ca.crt", "certificate is not signed by --tls-ca"]);
    // Half replaced: the old pair stays in use, and the log says why.
    fs::write(cluster.pki().path(names[0]), &kept[0]).unwrap();
    let refused = cluster.ctl(&["get", "nodes"]);
    assert_refused(&refused, &["certificate is not signed by --tls-ca"]);
    assert!(
        cluster.log().contains("going on with the TLS files as they were"),
        "{}",
        cluster.log()
    );
    fs::write(cluster.pki().path(names[1]), &kept[1]).unwrap();
    cluster.ctl_ok(&["get", "nodes"]);

    cluster.until_connected();
    let account = flow.finish();
    assert_eq!(account, Account { sent: account.sent, lost: 0, doubled: 0 });
}

#[test]
fn controllers_are_tried_in_order_and_one_with_another_store_is_not_followed() {
    let (mut cluster, pods) = two_nodes();
    let at = |port: u16| format!("https://192.0.2.254:{port}");
    for node in &mut cluster.nodes {
        node.kill_agent();
        node.controllers = vec![at(30_807), at(30_808), at(30_809)];
        node.start_agent();
    }
    cluster.until_connected();
    let followed = |cluster: &Cluster| cluster.nodes[0].status()["controller"].clone();
    wait::until_equal("the second is followed", &at(30_808).into(), || followed(&cluster));

    let flow = Flow::start(&pods[0].netns, &pods[1].netns, pods[1].address(), RATE);
    cluster.start_other(30_809, "other.redb");
    let from = cluster.nodes[0].log().len();
    cluster.kill_controller();
    until_logged(&cluster, 0, from, &["30809", "another store", "keeping the present state"]);
    assert!(followed(&cluster).is_null());
    assert_eq!(pods[0].netns.ping(pods[1].address(), 10), 10);

    cluster.start_controller();
    cluster.until_connected();
    wait::until_equal("the second is followed", &at(30_808).into(), || followed(&cluster));
    let account = flow.finish();
    assert_eq!(account, Account { sent: account.sent, lost: 0, doubled: 0 });
}
