use l2sm_api::grpc::address_bytes;
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::store::MemoryStore;

#[test]
fn streams_end_at_different_times_around_half_an_hour() {
    let lifetimes: std::collections::BTreeSet<_> =
        (0..100).map(|node| lifetime(&format!("node{node}"), 1).as_secs()).collect();
    assert!(lifetimes.len() > 50, "{lifetimes:?}");
    assert!(lifetimes.iter().all(|seconds| (1_440..=2_160).contains(seconds)), "{lifetimes:?}");
    assert_ne!(lifetime("node1", 1), lifetime("node1", 2), "each stream anew");
}

const PATIENCE: Duration = Duration::from_secs(20);

/// An agent that says hello; what it is sent. One message waits for it, and the next for that one.
struct Agent {
    sent: mpsc::Receiver<Result<v1::FromController, Status>>,
    _says: mpsc::Sender<Result<v1::FromAgent, Status>>,
}

impl Agent {
    fn follow(hub: &Arc<Hub>, number: u16) -> Self {
        let (says, from) = mpsc::channel(1);
        let (to, sent) = mpsc::channel(1);
        let vtep = std::net::Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(number));
        let hello = v1::Hello {
            node: format!("n{number}"),
            vtep_addresses: vec![address_bytes(vtep.into())],
            udp_port: 7000,
            underlay_mtu: 1500,
            ..v1::Hello::default()
        };
        let message = Some(v1::from_agent::Message::Hello(hello));
        says.try_send(Ok(v1::FromAgent { message })).unwrap();
        let stop = CancellationToken::new();
        let from = ReceiverStream::new(from);
        drop(tokio::spawn(serve_stream(Arc::clone(hub), from, to, None, stop)));
        Self { sent, _says: says }
    }

    /// What it reads next.
    async fn read(&mut self) -> v1::from_controller::Message {
        let message = tokio::time::timeout(PATIENCE, self.sent.recv()).await.unwrap();
        message.unwrap().unwrap().message.unwrap()
    }
}

/// As many agents as may have their snapshots at a time, none of which reads, and one more, which has
/// read its welcome.
async fn full(hub: &Arc<Hub>) -> (Vec<Agent>, Agent) {
    let last = u16::try_from(SNAPSHOTS).unwrap();
    let idle = (0..last).map(|number| Agent::follow(hub, number)).collect();
    let all_taken = async {
        while hub.snapshots_free() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all_taken).await.unwrap();
    let mut late = Agent::follow(hub, last);
    let welcome = late.read().await;
    assert!(matches!(welcome, v1::from_controller::Message::Welcome(_)), "{welcome:?}");
    (idle, late)
}

fn is_snapshot(message: &v1::from_controller::Message) -> bool {
    matches!(message, v1::from_controller::Message::Update(update) if update.snapshot)
}

#[tokio::test]
async fn an_agent_waits_for_its_snapshot_while_too_many_are_on_their_way() {
    let hub = Arc::new(Hub::open(Box::new(MemoryStore::new("s"))).unwrap());
    let (mut idle, mut late) = full(&hub).await;

    // On this one thread its stream has come to where it waits.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(late.sent.try_recv().is_err(), "it is not its turn");
    drop(idle[0].read().await);
    assert!(is_snapshot(&idle[0].read().await));
    assert!(is_snapshot(&late.read().await));
}

#[tokio::test]
async fn agents_that_do_not_read_lose_their_turn() {
    let hub = Hub::open(Box::new(MemoryStore::new("s"))).unwrap();
    let hub = Arc::new(hub.with_snapshot_timeout(Duration::from_secs(3)));
    let (idle, mut late) = full(&hub).await;

    assert!(is_snapshot(&late.read().await));
    drop(idle);
}
