mod containers;

use l2sm_api::{
    grpc::{Revision, v1},
    socket::{Attach, Detach, Fault},
};
use l2sm_common::{ids::IfIndex, mac::Mac, vni::Vni};
use l2sm_core::{
    image::LocalPort,
    instructions::{Instructions, Port, Segment},
    model::ObjectKey,
};
use tonic::Code;

use super::*;
use crate::state::{Kind, ObjectError};

const INODE: u64 = 77;

/// A controller in memory, whose attachments reach `desired` at once, as its stream would bring them.
struct Fake {
    desired: watch::Sender<Desired>,
    away: Arc<Blocking<bool>>,
    calls: Arc<Blocking<Vec<String>>>,
    number: Blocking<u64>,
}

impl Fake {
    fn revision(&self) -> Revision {
        let mut number = self.number.lock().unwrap();
        *number += 1;
        Revision { source: "a".to_owned(), epoch: 1, number: *number }
    }

    fn change(&self, change: impl FnOnce(&mut Instructions)) -> Revision {
        let revision = self.revision();
        let mut instructions = (*self.desired.borrow().instructions).clone();
        change(&mut instructions);
        let accepted = revision.clone();
        self.desired.send_modify(|desired| desired.accept(Arc::new(instructions), accepted));
        revision
    }

    fn check(&self, call: String) -> Result<(), Status> {
        if *self.away.lock().unwrap() {
            return Err(Status::unavailable("no controller is connected"));
        }
        self.calls.lock().unwrap().push(call);
        Ok(())
    }
}

impl Controller for Fake {
    fn url(&self) -> Option<String> {
        Some("http://[::1]:30808".to_owned())
    }

    fn troubles(&self) -> Vec<String> {
        Vec::new()
    }

    fn attaches_by_request(&self) -> Option<bool> {
        (!*self.away.lock().unwrap()).then_some(true)
    }

    async fn attach(&self, request: AttachRequest) -> Result<AttachReply, Status> {
        let network: ObjectKey = request.network.clone().unwrap_or_default().into();
        self.check(format!("attach {network} {}", request.ifname))?;
        if network.name == "mute" {
            *self.away.lock().unwrap() = true;
            return Err(Status::unknown("transport error"));
        }
        if network.name == "missing" {
            return Err(Status::not_found(format!("no network {network}")));
        }
        let key = ObjectKey::new("default", format!("{}-{}", request.netns_inode, request.ifname));
        let vni = Vni::new(7).unwrap();
        let port = Port {
            vni,
            ifname: request.ifname.clone(),
            netns: Some(request.netns),
            netns_inode: request.netns_inode,
            pod: None,
            pod_uid: None,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            addresses: vec!["10.0.0.1/24".parse().unwrap()],
            mtu: 1450,
            mac_check: true,
            forwarder: false,
        };
        let mut only = Instructions::default();
        only.ports.insert(key.clone(), port.clone());
        let wire = v1::Instructions::from(&only).ports.pop();
        let revision = self.change(|all| {
            let segment = Segment { network, mtu: 1450, flood: true, learning: false };
            all.segments.insert(vni, segment);
            all.ports.insert(key.clone(), port);
        });
        Ok(AttachReply {
            attachment: Some(key.into()),
            revision: Some(revision.into()),
            port: wire,
        })
    }

    async fn detach(&self, request: DetachRequest) -> Result<DetachReply, Status> {
        let key = request.attachment.map(ObjectKey::from);
        self.check(format!("detach {}", key.as_ref().map_or("unseen", |key| key.name.as_str())))?;
        let revision = self.change(|all| {
            if let Some(key) = &key {
                all.ports.remove(key);
            }
        });
        Ok(DetachReply { removed: Vec::new(), revision: Some(revision.into()) })
    }

    async fn wait(&self) -> bool {
        true
    }
}

/// A node where the only namespace is `/run/netns/pod`.
struct FakeNode {
    names: Vec<String>,
    gone: Arc<Blocking<bool>>,
}

impl Node for FakeNode {
    fn look(&self, path: &str) -> Result<Inside, Unseen> {
        if path != "/run/netns/pod" || *self.gone.lock().unwrap() {
            return Err(Unseen::Gone(format!("network namespace {path}: no such file")));
        }
        Ok(Inside { inode: INODE, names: self.names.clone() })
    }

    fn inode(&self, path: &str) -> Result<u64, Unseen> {
        self.look(path).map(|inside| inside.inode)
    }

    fn find_pods(&self, _uids: &BTreeSet<String>) -> BTreeMap<String, (String, u64)> {
        BTreeMap::new()
    }

    async fn find(&self, _key: &ObjectKey, port: &Port) -> Result<Found, String> {
        let end = PodEnd { joined: true, mac: Some(port.mac), mtu: port.mtu, ..PodEnd::default() };
        Ok(Found { pod_end: Some(end), host_name: "l2sm0".to_owned(), ..Found::default() })
    }

    async fn counters(&self) -> Result<Counters, String> {
        Ok(Counters::default())
    }
}

struct Bench {
    service: Arc<Service<Fake, FakeNode>>,
    desired: watch::Sender<Desired>,
    away: Arc<Blocking<bool>>,
    gone: Arc<Blocking<bool>>,
    calls: Arc<Blocking<Vec<String>>>,
    /// Attachments that the reconciler cannot program.
    broken: Arc<Blocking<BTreeSet<ObjectKey>>>,
    directory: tempfile::TempDir,
}

/// A service, with a reconciler behind it that programs everything that is not broken.
fn bench(names: &[&str]) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let (desired, mut seen) = watch::channel(Desired::default());
    let (outcome, outcomes) = watch::channel(Outcome::default());
    let (wake, mut woken) = mpsc::unbounded_channel();
    let broken = Arc::new(Blocking::new(BTreeSet::<ObjectKey>::new()));
    let breaks = Arc::clone(&broken);
    tokio::spawn(async move {
        let mut pass = 0;
        loop {
            tokio::select! {
                changed = seen.changed() => if changed.is_err() { return },
                woken = woken.recv() => if woken.is_none() { return },
            }
            pass += 1;
            let now = seen.borrow_and_update().clone();
            outcome.send_replace(programmed(pass, &now, &breaks.lock().unwrap()));
        }
    });
    let (away, gone) = (Arc::<Blocking<bool>>::default(), Arc::<Blocking<bool>>::default());
    let calls = Arc::<Blocking<Vec<String>>>::default();
    let controller = Fake {
        desired: desired.clone(),
        away: Arc::clone(&away),
        calls: Arc::clone(&calls),
        number: Blocking::new(0),
    };
    let names = names.iter().map(ToString::to_string).collect();
    let node = FakeNode { names, gone: Arc::clone(&gone) };
    let channels = Channels { desired: desired.clone(), outcomes, wake };
    let journal = Journal::open(directory.path()).unwrap();
    let service = Service::new(controller, node, Identity::default(), channels, journal);
    Bench { service: Arc::new(service), desired, away, gone, calls, broken, directory }
}

fn programmed(pass: u64, desired: &Desired, broken: &BTreeSet<ObjectKey>) -> Outcome {
    let effective = desired.effective();
    let (bad, good): (Vec<_>, Vec<_>) =
        effective.ports.keys().cloned().partition(|key| broken.contains(key));
    let local = LocalPort { device: IfIndex(9), peer: true };
    let ports: BTreeMap<_, _> = good.into_iter().map(|key| (key, local)).collect();
    let errors = bad.into_iter().map(|key| ObjectError {
        kind: Kind::Attachment,
        key,
        reason: "MapFull",
        message: "map PORTS is full".to_owned(),
    });
    Outcome {
        pass,
        revision: desired.revision.clone(),
        errors: errors.collect(),
        ports,
        ..Outcome::default()
    }
}

fn attach(network: &str, ifname: Option<&str>) -> Request {
    Request::Attach(Attach {
        network: network.to_owned(),
        netns: "/run/netns/pod".to_owned(),
        ifname: ifname.map(str::to_owned),
        ..Attach::default()
    })
}

fn detach() -> Request {
    Request::Detach(Detach { netns: "/run/netns/pod".to_owned(), ..Detach::default() })
}

fn faulty(reply: Reply) -> Fault {
    let Reply::Error(fault) = reply else { panic!("expected a fault: {reply:?}") };
    fault
}

async fn attached(bench: &Bench, request: Request) -> String {
    let reply = bench.service.answer(request).await;
    let Reply::Ok(Answer::Attached(attached)) = reply else { panic!("not attached: {reply:?}") };
    attached.ifname
}

#[tokio::test]
async fn the_first_free_name_is_taken_and_asking_again_gives_the_same() {
    let bench = bench(&["lo", "eth0", "net1"]);
    assert_eq!(attached(&bench, attach("blue", None)).await, "net2");
    assert_eq!(attached(&bench, attach("blue", None)).await, "net2");
}

#[tokio::test]
async fn a_taken_name_is_refused_before_the_controller_is_asked() {
    let bench = bench(&["lo", "net1"]);
    let fault = faulty(bench.service.answer(attach("blue", Some("net1"))).await);
    assert_eq!(fault.code, 7);
    assert_eq!(fault.message, "interface net1 in /run/netns/pod: the name is taken");
    assert_eq!(*bench.calls.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_network_that_does_not_exist_can_be_asked_for_again() {
    let bench = bench(&["lo"]);
    let fault = faulty(bench.service.answer(attach("missing", None)).await);
    assert_eq!((fault.code, fault.message.as_str()), (11, "no network default/missing"));
}

#[tokio::test]
async fn a_namespace_that_is_gone_is_an_invalid_environment() {
    let bench = bench(&["lo"]);
    *bench.gone.lock().unwrap() = true;
    assert_eq!(faulty(bench.service.answer(attach("blue", None)).await).code, 4);
}

#[tokio::test]
async fn what_cannot_be_programmed_leaves_nothing_behind() {
    let bench = bench(&["lo"]);
    let key = ObjectKey::new("default", format!("{INODE}-net1"));
    bench.broken.lock().unwrap().insert(key);
    let fault = faulty(bench.service.answer(attach("blue", None)).await);
    assert_eq!(fault.code, 11);
    assert!(fault.message.ends_with("map PORTS is full"), "{}", fault.message);
    assert_eq!(*bench.calls.lock().unwrap(), ["attach default/blue net1", "detach 77-net1"]);
    assert!(bench.desired.borrow().instructions.ports.is_empty());
}

#[tokio::test]
async fn detach_succeeds_without_a_controller_and_tells_it_later() {
    let bench = bench(&["lo"]);
    attached(&bench, attach("blue", None)).await;
    *bench.away.lock().unwrap() = true;
    let reply = bench.service.answer(detach()).await;
    assert_eq!(reply, Reply::Ok(Answer::Detached(vec!["net1".to_owned()])));
    assert!(bench.desired.borrow().effective().ports.is_empty());
    let kept = Journal::open(bench.directory.path()).unwrap();
    assert_eq!(kept.keys().count(), 1, "kept on disk");
    *bench.away.lock().unwrap() = false;
    bench.service.tell_releases().await;
    assert!(bench.desired.borrow().instructions.ports.is_empty());
    assert!(bench.desired.borrow().released.is_empty());
    assert_eq!(Journal::open(bench.directory.path()).unwrap().keys().count(), 0);
}

#[tokio::test]
async fn detach_succeeds_when_there_is_nothing() {
    let bench = bench(&["lo"]);
    assert_eq!(bench.service.answer(detach()).await, Reply::Ok(Answer::Detached(Vec::new())));
    *bench.gone.lock().unwrap() = true;
    assert_eq!(bench.service.answer(detach()).await, Reply::Ok(Answer::Detached(Vec::new())));
}

#[tokio::test]
async fn an_attachment_whose_namespace_is_gone_is_released() {
    let bench = bench(&["lo"]);
    attached(&bench, attach("blue", None)).await;
    bench.service.release_gone().await;
    assert_eq!(bench.desired.borrow().effective().ports.len(), 1, "it is still there");
    *bench.gone.lock().unwrap() = true;
    bench.service.release_gone().await;
    assert!(bench.desired.borrow().instructions.ports.is_empty());
}

#[tokio::test]
async fn bad_addresses_are_named() {
    let bench = bench(&["lo"]);
    let mut asked = Attach {
        network: "blue".to_owned(),
        netns: "/run/netns/pod".to_owned(),
        ips: vec!["10.0.0.300".to_owned()],
        ..Attach::default()
    };
    let fault = faulty(bench.service.answer(Request::Attach(asked.clone())).await);
    assert_eq!(fault.code, 7);
    assert!(fault.message.starts_with("address 10.0.0.300: "), "{}", fault.message);
    asked.ips.clear();
    asked.mac = Some("01:00:5e:00:00:01".to_owned());
    let fault = faulty(bench.service.answer(Request::Attach(asked)).await);
    assert_eq!(fault.message, "MAC 01:00:5e:00:00:01: a group or zero address");
}

#[test]
fn what_can_go_away_is_told_from_what_cannot() {
    assert_eq!(fault::refusal(&Status::new(Code::AlreadyExists, "taken")).code, 11);
    assert_eq!(fault::refusal(&Status::new(Code::ResourceExhausted, "full")).code, 11);
    assert_eq!(fault::refusal(&Status::new(Code::InvalidArgument, "outside")).code, 7);
}
