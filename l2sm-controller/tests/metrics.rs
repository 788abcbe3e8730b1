//! `--metrics-addr` of `serve`, asked over HTTP.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is a failure"
)]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

/// A running controller; it ends with the test.
struct Controller(Child);

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a controller on free ports; with the address of its pages.
fn start(directory: &std::path::Path) -> (Controller, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_l2sm-controller"))
        .args(["--log-format", "json", "serve", "--insecure", "--listen", "127.0.0.1:0"])
        .args(["--metrics-addr", "127.0.0.1:0", "--store"])
        .arg(directory.join("store.redb"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let controller = Controller(child);
    let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
    let address = said["fields"]["metrics"].as_str().unwrap_or_else(|| panic!("{line}"));
    (controller, address.to_owned())
}

fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn a_controller_tells_its_figures_and_that_it_is_ready() {
    let directory = tempfile::tempdir().unwrap();
    let (_controller, address) = start(directory.path());
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(&address, path).0, "HTTP/1.1 200 OK", "{path}");
    }
    let (status, page) = get(&address, "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    for line in ["l2sm_store_epoch 1", "l2sm_store_networks 0", "l2sm_store_connected_nodes 0"] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
    assert_eq!(get(&address, "/other").0, "HTTP/1.1 404 Not Found");
}

#[test]
fn a_metrics_address_that_is_taken_is_one_line_and_makes_no_store() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store.redb");
    let output = Command::new(env!("CARGO_BIN_EXE_l2sm-controller"))
        .args(["serve", "--insecure", "--listen", "127.0.0.1:0", "--metrics-addr", &address])
        .arg("--store")
        .arg(&store)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    let start = format!("l2sm-controller: --metrics-addr {address}: Address already in use");
    assert!(error.starts_with(&start) && error.lines().count() == 1, "{error}");
    assert!(!store.exists());
}
