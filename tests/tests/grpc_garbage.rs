//! What no agent and no `l2smctl` sends to a controller: one clean refusal each, and the server goes
//! on.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use l2sm_api::grpc::v1::{
    self, dataplane_client::DataplaneClient, from_agent::Message, objects_client::ObjectsClient,
};
use l2sm_tests::cluster::Cluster;
use tonic::{Code, Status, transport::Channel};

const ADDRESS: &str = "192.0.2.254:30808";

/// Does `work` with a connection to the controller.
fn with_channel<T: Send>(cluster: &Cluster, work: impl AsyncFnOnce(Channel) -> T + Send) -> T {
    cluster.underlay().run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let endpoint = Channel::from_shared(format!("http://{ADDRESS}")).unwrap();
            work(endpoint.connect().await.unwrap()).await
        })
    })
}

/// A refusal of the request itself, in one line that has `words`.
fn assert_refused(status: &Status, words: &str) {
    let codes = [Code::InvalidArgument, Code::FailedPrecondition, Code::Unimplemented];
    assert!(codes.contains(&status.code()), "{words}: {status}");
    assert_eq!(status.message().lines().count(), 1, "{status}");
    assert!(status.message().contains(words), "does not say {words:?}: {status}");
}

#[test]
fn bytes_that_are_no_grpc_end_their_connection_and_nothing_else() {
    let cluster = Cluster::new(0);
    let mut random = vec![0; 4096];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for byte in &mut random {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_be_bytes()[0];
    }
    let mut half = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    half.extend(&random[..64]);
    for garbage in [&random[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &half, b"\0"] {
        let ended = cluster.underlay().run(|| {
            let mut stream = TcpStream::connect(ADDRESS).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            // It may be closed before all of it is written.
            drop(stream.write_all(garbage));
            drop(stream.shutdown(std::net::Shutdown::Write));
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).err().map(|why| why.kind())
        });
        let timeout = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
        assert!(!ended.is_some_and(|kind| timeout.contains(&kind)), "{garbage:?}: stays open");
        assert!(cluster.ctl(&["status"]).status.success(), "the server goes on");
    }
    assert!(!cluster.log().contains("panicked"), "{}", cluster.log());
}

#[test]
fn a_stream_that_does_not_begin_as_it_must_is_told_why() {
    let cluster = Cluster::new(0);
    let hello = |node: &str| v1::Hello {
        node: node.into(),
        vtep_addresses: vec![vec![192, 0, 2, 77]],
        udp_port: 7000,
        abi: 1,
        underlay_mtu: 1500,
        ..v1::Hello::default()
    };
    let cases = [
        (Message::Ack(v1::Ack::default()), "must be a hello"),
        (Message::Report(v1::Report::default()), "must be a hello"),
        (Message::Hello(hello("")), "node name is required"),
        (Message::Hello(hello("N 1")), "is not a name"),
        (
            Message::Hello(v1::Hello { vtep_addresses: vec![vec![1; 5]], ..hello("n1") }),
            "4 or 16 bytes",
        ),
        (Message::Hello(v1::Hello { udp_port: 70_000, ..hello("n1") }), "70000"),
    ];
    with_channel(&cluster, async |channel| {
        for (message, words) in cases {
            let first = v1::FromAgent { message: Some(message) };
            let open = tokio_stream::StreamExt::chain(
                tokio_stream::once(first),
                tokio_stream::pending::<v1::FromAgent>(),
            );
            let answer = DataplaneClient::new(channel.clone()).follow(open).await.unwrap();
            assert_refused(&answer.into_inner().message().await.unwrap_err(), words);
        }
    });
    assert!(cluster.get("nodes").is_empty(), "none of them is a node");
    assert!(!cluster.log().contains("panicked"), "{}", cluster.log());
}

#[test]
fn requests_with_values_out_of_range_are_refused_and_change_nothing() {
    let cluster = Cluster::new(0);
    cluster.network("blue", "10.10.0.0/24");
    let order = || v1::AttachRequest {
        node: "n1".into(),
        network: Some(v1::ObjectKey { namespace: "default".into(), name: "blue".into() }),
        netns: "/run/netns/x".into(),
        netns_inode: 7,
        ..v1::AttachRequest::default()
    };
    let address = |ip: &[u8], prefix_len| vec![v1::Address { ip: ip.to_vec(), prefix_len }];
    let attaches = [
        (v1::AttachRequest { node: String::new(), ..order() }, "node: is required"),
        (v1::AttachRequest { mac: vec![2; 5], ..order() }, "mac"),
        (v1::AttachRequest { mac: vec![0xff; 6], ..order() }, "mac"),
        (v1::AttachRequest { network: None, ..order() }, "network: is required"),
        (v1::AttachRequest { netns: String::new(), netns_inode: 0, ..order() }, "netns"),
        (v1::AttachRequest { ifname: "a/b".into(), ..order() }, "ifname"),
        (v1::AttachRequest { addresses: address(&[10, 10, 0], 24), ..order() }, "addresses"),
        (v1::AttachRequest { addresses: address(&[10, 10, 0, 5], 200), ..order() }, "200"),
        (v1::AttachRequest { addresses: address(&[10, 10, 0, 5], 1 << 24), ..order() }, "16777216"),
    ];
    let manifest = |vni: u32| {
        format!(
            r#"{{"apiVersion": "l2sm.l2sm.k8s.local/v1", "kind": "L2Network",
                "metadata": {{"name": "red"}}, "spec": {{"type": "vnet", "vni": {vni}}}}}"#
        )
    };
    let applies = [
        (manifest(1 << 24), "spec.vni"),
        (manifest(0), "spec.vni"),
        ("\u{0}".to_owned(), "is not JSON"),
        ("[]".to_owned(), ""),
        (r#"{"kind": "Pod", "apiVersion": "v1"}"#.to_owned(), ""),
    ];
    with_channel(&cluster, async |channel| {
        let mut dataplane = DataplaneClient::new(channel.clone());
        for (request, words) in attaches {
            assert_refused(&dataplane.attach(request).await.unwrap_err(), words);
        }
        let nobody = v1::DetachRequest { netns_inode: 7, ..v1::DetachRequest::default() };
        assert_refused(&dataplane.detach(nobody).await.unwrap_err(), "node: is required");
        let nothing = v1::DetachRequest { node: "n1".into(), ..v1::DetachRequest::default() };
        assert_refused(&dataplane.detach(nothing).await.unwrap_err(), "netns_inode");
        let mut objects = ObjectsClient::new(channel);
        for (object, words) in applies {
            let request = v1::ApplyRequest { objects: vec![object], dry_run: false };
            assert_refused(&objects.apply(request).await.unwrap_err(), words);
        }
        let kind = v1::ListRequest { kind: "ghosts".into(), ..v1::ListRequest::default() };
        assert_refused(&objects.list(kind).await.unwrap_err(), "ghosts");
    });
    assert!(cluster.get("attachments").is_empty());
    assert_eq!(cluster.get("networks").len(), 1);
    assert!(!cluster.log().contains("panicked"), "{}", cluster.log());
}
