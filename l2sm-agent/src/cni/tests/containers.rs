//! What container runtimes ask for: by container id, also of what is gone.

use l2sm_api::socket::{Check, ContainerInterface, Gc, release_note};

use super::*;

const NETNS: &str = "/run/netns/pod";

fn add(container: &str, network: &str) -> Request {
    Request::Attach(Attach {
        network: network.to_owned(),
        netns: NETNS.to_owned(),
        ifname: Some("net1".to_owned()),
        container_id: Some(container.to_owned()),
        config: Some("of-cni".to_owned()),
        ..Attach::default()
    })
}

fn del(container: &str, netns: &str) -> Detach {
    Detach {
        network: Some("blue".to_owned()),
        netns: netns.to_owned(),
        ifname: Some("net1".to_owned()),
        container_id: Some(container.to_owned()),
        ..Detach::default()
    }
}

async fn detached(bench: &Bench, request: Detach) -> Vec<String> {
    let reply = bench.service.answer(Request::Detach(request)).await;
    let Reply::Ok(Answer::Detached(names)) = reply else { panic!("not detached: {reply:?}") };
    names
}

fn plug(container: &str) -> ContainerInterface {
    ContainerInterface { container_id: container.to_owned(), ifname: "net1".to_owned() }
}

/// Gives the service a directory for notes, as serving the socket does.
fn with_notes(bench: &Bench) -> std::path::PathBuf {
    let socket = bench.directory.path().join("agent.sock");
    bench.service.notes.set(Notes::beside(&socket)).unwrap();
    socket
}

#[tokio::test]
async fn a_container_is_enough_to_detach_when_its_namespace_is_gone() {
    let bench = bench(&["lo"]);
    attached(&bench, add("a", "blue")).await;
    *bench.gone.lock().unwrap() = true;
    assert_eq!(detached(&bench, del("a", "")).await, ["net1"]);
    assert!(bench.desired.borrow().instructions.ports.is_empty());
    assert_eq!(detached(&bench, del("a", "")).await, Vec::<String>::new(), "a second time");
}

#[tokio::test]
async fn what_another_container_has_stays() {
    let bench = bench(&["lo"]);
    attached(&bench, add("a", "blue")).await;
    assert_eq!(detached(&bench, del("b", NETNS)).await, Vec::<String>::new());
    assert_eq!(bench.desired.borrow().effective().ports.len(), 1);
    assert_eq!(*bench.calls.lock().unwrap(), ["attach default/blue net1"]);
}

#[tokio::test]
async fn gc_removes_what_the_runtime_does_not_know_of_its_own_configuration() {
    let bench = bench(&["lo"]);
    attached(&bench, add("a", "blue")).await;
    let collect = |config: &str, valid: Vec<ContainerInterface>| {
        bench.service.answer(Request::Gc(Gc { config: config.to_owned(), valid }))
    };
    let nothing = Reply::Ok(Answer::Collected(Vec::new()));
    assert_eq!(collect("another", Vec::new()).await, nothing);
    assert_eq!(collect("of-cni", vec![plug("a")]).await, nothing);
    assert_eq!(bench.desired.borrow().effective().ports.len(), 1);
    let gone = Reply::Ok(Answer::Collected(vec![plug("a")]));
    assert_eq!(collect("of-cni", vec![plug("b")]).await, gone);
    assert!(bench.desired.borrow().effective().ports.is_empty());
}

#[tokio::test]
async fn a_note_is_done_and_gone() {
    let bench = bench(&["lo"]);
    attached(&bench, add("a", "blue")).await;
    let socket = with_notes(&bench);
    bench.service.note_release(&plug("a"), &del("a", NETNS));
    assert!(release_note(&socket, &plug("a")).exists());
    bench.service.take_notes().await;
    assert!(bench.desired.borrow().effective().ports.is_empty());
    assert!(!release_note(&socket, &plug("a")).exists());
}

#[tokio::test]
async fn what_may_have_been_made_unheard_is_undone_when_the_controller_is_back() {
    let bench = bench(&["lo"]);
    let socket = with_notes(&bench);
    let fault = faulty(bench.service.answer(add("a", "mute")).await);
    assert_eq!(fault.code, 11);
    assert!(release_note(&socket, &plug("a")).exists(), "kept on disk");
    bench.service.take_notes().await;
    assert!(release_note(&socket, &plug("a")).exists(), "the controller is away");
    *bench.away.lock().unwrap() = false;
    bench.service.take_notes().await;
    assert!(!release_note(&socket, &plug("a")).exists());
    assert_eq!(*bench.calls.lock().unwrap(), ["attach default/mute net1", "detach unseen"]);
}

#[tokio::test]
async fn nothing_is_noted_where_no_controller_was_asked() {
    let bench = bench(&["lo"]);
    let socket = with_notes(&bench);
    *bench.away.lock().unwrap() = true;
    assert_eq!(faulty(bench.service.answer(add("a", "blue")).await).code, 11);
    assert!(!release_note(&socket, &plug("a")).exists());
}

#[tokio::test]
async fn an_attachment_that_nobody_heard_of_is_undone() {
    let bench = bench(&["lo"]);
    let reply = bench.service.answer(add("a", "blue")).await;
    let (Reply::Ok(Answer::Attached(attached)), Request::Attach(request)) =
        (reply, add("a", "blue"))
    else {
        panic!("not attached")
    };
    bench.service.undo_unheard(&request, &attached).await;
    assert!(bench.desired.borrow().instructions.ports.is_empty());
}

#[tokio::test]
async fn check_names_damage_and_what_is_not_there() {
    let bench = bench(&["lo"]);
    attached(&bench, add("a", "blue")).await;
    let mut request = Check {
        network: "blue".to_owned(),
        netns: NETNS.to_owned(),
        ifname: "net1".to_owned(),
        ..Check::default()
    };
    let reply = bench.service.answer(Request::Check(request.clone())).await;
    let Reply::Ok(Answer::Checked(damage)) = reply else { panic!("not checked: {reply:?}") };
    let expected = [
        "interface net1 lacks address 10.0.0.1/24",
        "interface net1 is down",
        "host end l2sm0 is missing",
    ];
    assert_eq!(damage, expected);
    request.network = "red".to_owned();
    let fault = faulty(bench.service.answer(Request::Check(request)).await);
    assert_eq!(fault.code, 3);
    assert_eq!(fault.message, "interface net1 in /run/netns/pod: not attached to default/red");
}
