//! Agents, users and a controller over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_stack_frames,
    reason = "tests: a panic is a failure"
)]

#[path = "support/agent.rs"]
mod agent;
#[path = "support/server.rs"]
mod server;

use agent::{Agent, DEADLINE, hello, hello_again};
use l2sm_api::grpc::v1::{self, dataplane_client::DataplaneClient};
use l2sm_core::instructions::{Instructions, Place};
use server::Server;
use tonic::Code;

const BLUE: &str = "
apiVersion: l2sm.l2sm.k8s.local/v1
kind: L2Network
metadata: {name: blue}
spec: {type: vnet, networkCIDR: 10.34.0.0/16, vni: 100}
";

fn store() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l2sm.redb");
    (dir, path)
}

fn request(node: &str, inode: u64) -> v1::AttachRequest {
    v1::AttachRequest {
        node: node.into(),
        network: Some(v1::ObjectKey { namespace: String::new(), name: "blue".into() }),
        netns: format!("/run/netns/{node}-{inode}"),
        netns_inode: inode,
        ..v1::AttachRequest::default()
    }
}

async fn attach(server: &Server, request: v1::AttachRequest) -> v1::AttachReply {
    DataplaneClient::new(server.channel()).attach(request).await.unwrap().into_inner()
}

/// Waits until `holds`, asking every few milliseconds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = std::time::Instant::now() + DEADLINE;
    while !holds().await {
        assert!(std::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn ready(object: &serde_json::Value) -> &str {
    object.pointer("/status/conditions/0/status").unwrap().as_str().unwrap()
}

#[tokio::test]
async fn two_agents_learn_of_each_others_pods_and_the_user_sees_them_ready() {
    let (_dir, path) = store();
    let server = Server::start(&path);
    server.apply(BLUE).await.unwrap();
    let mut one = Agent::follow(server.channel(), hello("n1", "192.0.2.1")).await.unwrap();
    assert!(one.welcome.attach_by_request);
    assert_eq!(one.held, Instructions::default());
    let mut two = Agent::follow(server.channel(), hello("n2", "192.0.2.2")).await.unwrap();

    let first = attach(&server, request("n1", 1)).await;
    let second = attach(&server, request("n2", 2)).await;
    let number = second.revision.unwrap().number;
    one.update_to(number).await;
    two.update_to(number).await;
    for agent in [&one, &two] {
        assert_eq!(agent.held, server.hub.instructions(&agent.node));
        assert_eq!(
            (agent.held.ports.len(), agent.held.hosts.len(), agent.held.vteps.len()),
            (1, 2, 1)
        );
        let remote = agent.held.hosts.values().filter(|host| matches!(host.place, Place::Vtep(_)));
        assert_eq!(remote.count(), 1);
    }
    let port = first.port.unwrap();
    assert_eq!((port.ifname.as_str(), port.mtu, port.vni), ("net1", 1450, 100));
    until("both attachments and the network are ready", async || {
        let attachments = server.list("l2att").await;
        let networks = server.list("networks").await;
        attachments.len() == 2
            && attachments.iter().chain(&networks).all(|object| ready(object) == "True")
    })
    .await;
    assert_eq!(server.list("nodes").await.len(), 2);

    let detach =
        v1::DetachRequest { node: "n1".into(), netns_inode: 1, ..v1::DetachRequest::default() };
    let reply =
        DataplaneClient::new(server.channel()).detach(detach.clone()).await.unwrap().into_inner();
    assert_eq!(reply.removed, [first.attachment.unwrap()]);
    let number = reply.revision.unwrap().number;
    one.update_to(number).await;
    two.update_to(number).await;
    assert_eq!(one.held, Instructions::default());
    assert_eq!((two.held.hosts.len(), two.held.vteps.len(), two.held.members.len()), (1, 0, 0));
    let again = DataplaneClient::new(server.channel()).detach(detach).await.unwrap().into_inner();
    assert_eq!(again.removed, [], "nothing is there any more");
    server.stop().await;
}

#[tokio::test]
async fn an_agent_that_has_it_all_is_told_so_after_a_restart() {
    let (_dir, path) = store();
    let server = Server::start(&path);
    server.apply(BLUE).await.unwrap();
    attach(&server, request("n1", 1)).await;
    let agent = Agent::follow(server.channel(), hello("n1", "192.0.2.1")).await.unwrap();
    assert_eq!(agent.held.ports.len(), 1);
    server.stop().await;

    let server = Server::start(&path);
    let again = hello_again(&agent, "192.0.2.1");
    let back =
        Agent::follow_with(server.channel(), again.clone(), agent.held.clone()).await.unwrap();
    assert!(back.unchanged);
    assert_eq!(back.welcome.epoch, agent.welcome.epoch + 1);
    assert!(back.revision > agent.revision);
    drop(back);
    until("the stream has ended", async || {
        server.list("nodes").await[0].pointer("/status/connected").unwrap() == false
    })
    .await;
    let mut foreign = again;
    foreign.have.as_mut().unwrap().source = "another".into();
    let told = Agent::follow(server.channel(), foreign).await.unwrap();
    assert!(!told.unchanged);
    assert_eq!(told.held, agent.held);
    server.stop().await;
}

#[tokio::test]
async fn a_revision_that_changes_nothing_for_a_node_is_acked_too() {
    let (_dir, path) = store();
    let server = Server::start(&path);
    let mut agent = Agent::follow(server.channel(), hello("n1", "192.0.2.1")).await.unwrap();
    server.apply(BLUE).await.unwrap();
    let number = server.hub.status().revision;
    agent.update_to(number).await;
    assert_eq!(agent.held, Instructions::default());
    until("the ack has come", async || server.hub.status().nodes[0].acked == number).await;
    server.stop().await;
}

#[tokio::test]
async fn a_large_snapshot_comes_in_parts() {
    let (_dir, path) = store();
    let server = Server::start(&path);
    let pods = (1..=2_100u32).map(|pod| {
        format!(
            "---\napiVersion: l2sm.l2sm.k8s.local/v1\nkind: L2Attachment\nmetadata: {{name: p{pod}}}\nspec: {{network: blue, node: n2, ifname: net1, netns: /run/netns/p{pod}, ips: [10.34.{}.{}], mac: '02:00:00:00:{:02x}:{:02x}'}}\n",
            pod / 250 + 1, pod % 250 + 1, pod / 250, pod % 250
        )
    });
    server.apply(&(BLUE.to_owned() + &pods.collect::<String>())).await.unwrap();
    attach(&server, request("n1", 1)).await;
    drop(Agent::follow(server.channel(), hello("n2", "192.0.2.2")).await.unwrap());
    let agent = Agent::follow(server.channel(), hello("n1", "192.0.2.1")).await.unwrap();
    assert_eq!(agent.parts, 2);
    assert_eq!(agent.held.hosts.len(), 2_101);
    assert_eq!(agent.held, server.hub.instructions("n1"));
    server.stop().await;
}

#[tokio::test]
async fn agents_that_cannot_be_are_refused() {
    let (_dir, path) = store();
    let server = Server::start(&path);
    let _first = Agent::follow(server.channel(), hello("n1", "192.0.2.1")).await.unwrap();
    let refused =
        |hello| async { Agent::follow(server.channel(), hello).await.map(|_| ()).unwrap_err() };
    let status = refused(hello("n1", "192.0.2.1")).await;
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(
        status.message().starts_with("node n1 is served already: its agent at 127.0.0.1:"),
        "{status}"
    );
    let status = refused(hello("n2", "192.0.2.1")).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "VTEP address 192.0.2.1 of node n2 belongs to node n1");
    let mut odd = hello("n3", "192.0.2.3");
    odd.vtep_addresses = vec![vec![1, 2, 3]];
    let status = refused(odd).await;
    assert_eq!(
        status.message(),
        "hello of node n3: vtep_addresses: expected an address of 4 or 16 bytes"
    );
    server.stop().await;
}

#[tokio::test]
async fn users_mistakes_are_answered_in_words_and_change_nothing() {
    let (_dir, path) = store();
    let server = Server::start(&path);
    server.apply(BLUE).await.unwrap();
    let before = server.hub.status();

    let clash = server.apply(&BLUE.replace("blue", "red")).await.unwrap_err();
    assert_eq!(clash.code(), Code::AlreadyExists);
    assert_eq!(
        clash.message(),
        "document 1 (L2Network \"red\"): spec.vni: 100 is taken by network default/blue"
    );
    let objects = vec![
        "{}".into(),
        r#"{"apiVersion": "l2sm.l2sm.k8s.local/v1", "kind": "QuarantinePodRequest"}"#.into(),
    ];
    let wrong =
        server.objects().apply(v1::ApplyRequest { objects, dry_run: false }).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    let lines: Vec<_> = wrong.message().lines().collect();
    assert_eq!(
        lines[0],
        "document 1: kind: is required; expected one of L2Network, L2Attachment, L2Node, ExternalVTEP, Overlay, NetworkEdgeDevice"
    );
    assert_eq!(
        lines[1],
        "document 2 (QuarantinePodRequest): kind QuarantinePodRequest is not supported yet"
    );

    let mut dataplane = DataplaneClient::new(server.channel());
    let mut missing = request("n1", 1);
    missing.network = Some(v1::ObjectKey { namespace: "default".into(), name: "green".into() });
    assert_eq!(dataplane.attach(missing).await.unwrap_err().code(), Code::NotFound);
    let mut outside = request("n1", 1);
    outside.addresses = vec![v1::Address { ip: vec![192, 0, 2, 1], prefix_len: 0 }];
    assert_eq!(dataplane.attach(outside).await.unwrap_err().code(), Code::InvalidArgument);
    let nothing = v1::DetachRequest { node: "n1".into(), ..v1::DetachRequest::default() };
    assert_eq!(dataplane.detach(nothing).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(server.hub.status(), before);

    let kind = v1::ListRequest { kind: "pods".into(), ..v1::ListRequest::default() };
    assert_eq!(server.objects().list(kind).await.unwrap_err().code(), Code::InvalidArgument);
    let key = v1::ObjectRef { kind: "l2net".into(), namespace: String::new(), name: "red".into() };
    let delete = v1::DeleteRequest { objects: vec![key], ..v1::DeleteRequest::default() };
    let absent = server.objects().delete(delete).await.unwrap_err();
    assert_eq!(
        (absent.code(), absent.message()),
        (Code::NotFound, "there is no L2Network default/red")
    );
    server.stop().await;
}

#[tokio::test]
async fn an_external_vtep_reaches_the_nodes_of_its_network_and_survives_a_restart() {
    let (_dir, path) = store();
    let server = Server::start(&path);
    let switch = "
apiVersion: l2sm.l2sm.k8s.local/v1
kind: ExternalVTEP
metadata: {name: switch}
spec: {address: 192.0.2.9, networks: [{name: blue, hosts: [{mac: '02:00:00:00:00:09', ips: [10.34.0.1]}]}]}
";
    server.apply(switch).await.unwrap();
    let mut agent = Agent::follow(server.channel(), hello("n1", "192.0.2.1")).await.unwrap();
    server.apply(BLUE).await.unwrap();
    let reply = attach(&server, request("n1", 1)).await;
    agent.update_to(reply.revision.unwrap().number).await;
    assert_eq!(agent.held.vteps.keys().collect::<Vec<_>>(), ["ExternalVTEP/switch"]);
    let member = agent.held.members.values().next().unwrap();
    assert!(member.external && member.unknown);
    let address = &reply.port.unwrap().addresses[0].ip;
    assert_eq!(address, &[10, 34, 0, 2], "the listed host has the first one");
    until("the switch is ready", async || ready(&server.list("extvtep").await[0]) == "True").await;
    drop(agent);
    server.stop().await;

    let server = Server::start(&path);
    let mut agent = Agent::follow(server.channel(), hello("n1", "192.0.2.1")).await.unwrap();
    assert_eq!(agent.held.members.len(), 1, "the store has it");
    let key =
        v1::ObjectRef { kind: "extvtep".into(), name: "switch".into(), ..v1::ObjectRef::default() };
    let delete = v1::DeleteRequest { objects: vec![key], ..v1::DeleteRequest::default() };
    server.objects().delete(delete).await.unwrap();
    agent.update_to(server.hub.status().revision).await;
    assert_eq!(
        (agent.held.vteps.len(), agent.held.members.len(), agent.held.hosts.len()),
        (0, 0, 1)
    );
    server.stop().await;
}
