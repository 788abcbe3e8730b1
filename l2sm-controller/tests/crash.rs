//! The binary: killed at any moment, stopped, and started wrongly.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests: a panic is a failure")]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use l2sm_api::grpc::v1::{self, objects_client::ObjectsClient};
use tonic::transport::{Channel, Endpoint};

const DEADLINE: Duration = Duration::from_secs(20);

/// A running controller, ended with the test.
struct Controller {
    child: Child,
    address: SocketAddr,
}

impl Drop for Controller {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_l2sm-controller"));
    command
        .env_clear()
        .args(["serve", "--insecure", "--listen", "127.0.0.1:0", "--store"])
        .arg(store);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(store: &Path) -> Controller {
    let mut child = command(store).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = lines.find_map(|line| {
        let line = line.unwrap();
        line.split_whitespace().find_map(|word| word.strip_prefix("address=")?.parse().ok())
    });
    // Keeps reading, so that the child never waits for the pipe.
    drop(std::thread::spawn(move || lines.for_each(drop)));
    Controller { child, address: address.expect("it says where it listens") }
}

fn objects(controller: &Controller) -> ObjectsClient<Channel> {
    let url = format!("http://{}", controller.address);
    ObjectsClient::new(Endpoint::from_shared(url).unwrap().connect_lazy())
}

fn network(name: &str) -> v1::ApplyRequest {
    let json = format!(
        r#"{{"apiVersion": "l2sm.l2sm.k8s.local/v1", "kind": "L2Network", "metadata": {{"name": "{name}"}}, "spec": {{"type": "vnet"}}}}"#
    );
    v1::ApplyRequest { objects: vec![json], dry_run: false }
}

async fn names(controller: &Controller) -> Vec<(String, u64)> {
    let request = v1::ListRequest { kind: "l2networks".into(), ..v1::ListRequest::default() };
    let reply = objects(controller).list(request).await.unwrap().into_inner();
    reply
        .objects
        .iter()
        .map(|json| {
            let object: serde_json::Value = serde_json::from_str(json).unwrap();
            let name = object.pointer("/metadata/name").unwrap().as_str().unwrap().to_owned();
            (name, object.pointer("/status/vni").unwrap().as_u64().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn killed_at_any_moment_it_has_lost_nothing_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("l2sm.redb");
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..5u64 {
        let mut controller = start(&store);
        let held = names(&controller).await;
        for name in &acknowledged {
            assert!(held.iter().any(|(there, _)| there == name), "{name} is lost in round {round}");
        }
        let mut vnis: Vec<_> = held.iter().map(|(_, vni)| *vni).collect();
        vnis.sort_unstable();
        vnis.dedup();
        assert_eq!(vnis.len(), held.len(), "two networks share a VNI");
        let status = objects(&controller).status(v1::StatusRequest {}).await.unwrap().into_inner();
        assert_eq!(status.epoch, round + 1);

        let (told, mut answers) = tokio::sync::mpsc::unbounded_channel();
        let mut client = objects(&controller);
        let writer = tokio::spawn(async move {
            for number in 0.. {
                let name = format!("r{round}-{number}");
                if client.apply(network(&name)).await.is_err() {
                    return;
                }
                told.send(name).unwrap();
            }
        });
        // At another moment each round, while requests are under way.
        for _ in 0..10 + 7 * round {
            acknowledged.push(answers.recv().await.unwrap());
        }
        controller.child.kill().unwrap();
        controller.child.wait().unwrap();
        while let Some(name) = answers.recv().await {
            acknowledged.push(name);
        }
        writer.await.unwrap();
    }
    assert!(acknowledged.len() >= 120, "{}", acknowledged.len());
}

fn finish(mut child: Child) -> Output {
    let deadline = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    Output { status, stdout, stderr }
}

/// The exit code and the one line of a run that fails.
fn failure(mut command: Command) -> (i32, String) {
    let output = finish(command.spawn().unwrap());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(output.stdout.is_empty());
    (output.status.code().unwrap(), stderr.trim_end().to_owned())
}

#[test]
fn a_signal_ends_it_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    for signal in ["-TERM", "-INT"] {
        let mut controller = start(&dir.path().join("l2sm.redb"));
        let pid = controller.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let deadline = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = controller.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "{signal} does not end it");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(status.code(), Some(0), "{signal}");
    }
}

#[test]
fn what_stands_in_its_way_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("l2sm.redb");
    let running = start(&store);
    let (code, line) = failure(command(&store));
    assert_eq!(code, 1);
    assert!(line.ends_with("l2sm.redb is in use: another controller has it open"), "{line}");

    let other = dir.path().join("other.redb");
    let mut taken = command(&other);
    taken.args(["--listen", &running.address.to_string()]);
    let (code, line) = failure(taken);
    // clap refuses a flag given twice: the address is set by the environment instead.
    assert_eq!((code, line.contains("cannot be used multiple times")), (2, true), "{line}");
    let mut taken = Command::new(env!("CARGO_BIN_EXE_l2sm-controller"));
    taken.env_clear().env("L2SM_LISTEN", running.address.to_string()).env("L2SM_INSECURE", "true");
    taken.args(["serve", "--store"]).arg(&other).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (code, line) = failure(taken);
    assert_eq!(code, 1);
    assert!(line.contains(&format!("cannot listen on {}: ", running.address)), "{line}");

    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "notes").unwrap();
    let (code, line) = failure(command(&text));
    assert_eq!(code, 1);
    assert!(line.contains("notes.txt is not a store of l2sm: "), "{line}");
    assert_eq!(std::fs::read_to_string(&text).unwrap(), "notes");
}

#[test]
fn without_tls_it_serves_only_where_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("l2sm.redb");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_l2sm-controller"));
        command.env_clear().args(["serve", "--store"]).arg(&store).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        failure(command)
    };
    let (code, line) = run(&[]);
    assert_eq!(code, 2);
    assert!(line.contains("--tls-cert") && line.contains("--insecure"), "{line}");
    let (code, line) = run(&["--tls-cert", "c.crt", "--tls-key", "c.key"]);
    assert_eq!(code, 2);
    assert!(line.contains("--client-ca is missing"), "{line}");
    let (code, line) = run(&["--insecure", "--client-ca", "ca.crt"]);
    assert_eq!(code, 2);
    assert!(line.contains("--insecure serves without TLS"), "{line}");
    let (code, line) =
        run(&["--tls-cert", "no.crt", "--tls-key", "no.key", "--client-ca", "/no/ca.crt"]);
    assert_eq!(code, 1);
    assert!(line.contains("--client-ca /no/ca.crt: No such file"), "{line}");
    let (code, line) = run(&["--insecure", "--listen", "0.0.0.0:0"]);
    assert_eq!(code, 2);
    assert!(line.contains("--insecure-allow-remote"), "{line}");
    assert!(!store.exists(), "nothing was made");
}

#[test]
fn its_version_names_the_git_revision() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_l2sm-controller")).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(
        text.starts_with(concat!("l2sm-controller ", env!("CARGO_PKG_VERSION"), " (git ")),
        "{text}"
    );
}
