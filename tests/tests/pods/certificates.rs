//! The node's certificate by a token, and which operator is followed.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use l2sm_tests::{cluster::Cluster, wait};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    operator::{Operator, TOKEN},
    status, until_followed,
};

/// A node that has a token in place of a certificate.
fn with_token(token: &str) -> (Cluster, PathBuf) {
    let mut cluster = Cluster::unstarted(1);
    let file = cluster.pki().path("token");
    fs::write(&file, format!("{token}\n")).expect("can be written");
    let text = |path: PathBuf| path.to_str().expect("a name").to_owned();
    cluster.nodes[0].flags = vec![
        "--tls-ca".to_owned(),
        text(cluster.pki().path("ca.crt")),
        "--tls-bootstrap-token".to_owned(),
        text(file.clone()),
    ];
    (cluster, file)
}

fn until_error(cluster: &Cluster, words: &str) {
    wait::until(words, || status(cluster)["errors"].to_string().contains(words).then_some(()));
}

/// The certificate in the agent's file.
fn own(cluster: &Cluster) -> Vec<u8> {
    let text = fs::read(cluster.nodes[0].socket().with_file_name("node.pem")).expect("is there");
    let mut certificates = CertificateDer::pem_slice_iter(&text);
    certificates.next().expect("one").expect("whole").to_vec()
}

#[test]
fn a_token_is_exchanged_for_a_certificate_that_survives_a_restart() {
    let (mut cluster, token) = with_token("of nobody");
    let operator = Operator::start(&cluster);
    cluster.nodes[0].start_agent();
    until_error(&cluster, "no certificate for this node: the token is refused");
    fs::write(&token, TOKEN).expect("can be written");
    until_followed(&cluster);
    let file = cluster.nodes[0].socket().with_file_name("node.pem");
    let mode = fs::metadata(&file).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(operator.heard(|heard| heard.certificates.last().cloned()), Some(own(&cluster)));

    let signed = operator.heard(|heard| heard.tokens.len());
    cluster.nodes[0].kill_agent();
    cluster.nodes[0].start_agent();
    until_followed(&cluster);
    assert_eq!(operator.heard(|heard| heard.tokens.len()), signed, "the one that is there is good");
}

#[test]
fn a_certificate_is_renewed_at_two_thirds_and_the_stream_comes_back_with_it() {
    let (mut cluster, _token) = with_token(TOKEN);
    let operator = Operator::start_with(&cluster, 30808, Duration::from_secs(36), None);
    cluster.nodes[0].start_agent();
    until_followed(&cluster);
    let first = own(&cluster);
    // Twice the usual patience: two thirds of 36 s, and the pause after the first.
    wait::until_within(Duration::from_mins(1), "a stream with another certificate", || {
        let newest = operator.heard(|heard| heard.certificates.last().cloned());
        (newest.is_some() && newest.as_ref() != Some(&first)).then_some(())
    });
    assert_eq!(operator.heard(|heard| heard.certificates.last().cloned()), Some(own(&cluster)));
}

#[test]
fn a_certificate_that_the_operator_does_not_accept_is_replaced() {
    let (mut cluster, _token) = with_token(TOKEN);
    let operator = Operator::start(&cluster);
    // One of an authority that is gone, good for a while yet.
    let strangers = l2sm_tests::pki::Pki::new(&cluster.pki().path("strangers"), "192.0.2.254", 1);
    let read = |name: &str| fs::read_to_string(strangers.path(name)).expect("is there");
    let file = cluster.nodes[0].socket().with_file_name("node.pem");
    fs::write(&file, format!("{}{}", read("node-n1.crt"), read("node-n1.key"))).expect("written");
    let stranger = own(&cluster);
    cluster.nodes[0].start_agent();
    until_followed(&cluster);
    assert_ne!(own(&cluster), stranger);
    assert_eq!(operator.heard(|heard| heard.tokens.len()), 1);
}

#[test]
fn the_operators_name_may_be_another_than_its_address() {
    let (mut cluster, _token) = with_token(TOKEN);
    let _operator = Operator::start(&cluster);
    let plain = cluster.nodes[0].flags.clone();
    let name = |name: &str| ["--tls-server-name".to_owned(), name.to_owned()];
    cluster.nodes[0].flags.extend(name("nobody.example"));
    cluster.nodes[0].start_agent();
    until_error(&cluster, "no certificate for this node: ");
    until_error(&cluster, "nobody.example");
    cluster.nodes[0].kill_agent();
    cluster.nodes[0].flags = plain;
    cluster.nodes[0].flags.extend(name("localhost"));
    cluster.nodes[0].start_agent();
    until_followed(&cluster);
}

#[test]
fn a_standby_names_who_serves_and_streams_that_end_come_back_quietly() {
    let (mut cluster, _token) = with_token(TOKEN);
    let serving = Operator::start(&cluster);
    let address = "192.0.2.254:30808".to_owned();
    let day = Duration::from_hours(24);
    let _standby = Operator::start_with(&cluster, 30807, day, Some(address.clone()));
    cluster.nodes[0].controllers = vec!["https://192.0.2.254:30807".to_owned()];
    cluster.nodes[0].start_agent();
    until_followed(&cluster);
    assert_eq!(status(&cluster)["controller"], format!("https://{address}"));
    for streams in 1..4 {
        let come = || serving.heard(|heard| heard.certificates.len());
        wait::until_equal("streams", &streams, come);
        serving.end_streams();
    }
    let log = cluster.nodes[0].log();
    assert!(!log.contains("forwarding goes on without it"), "{log}");
}
