use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use x509_parser::{parse_x509_certificate, pem::parse_x509_pem};

use super::*;
use crate::tls::subject;

fn order(directory: &Path, nodes: &[&str], servers: &[&str]) -> CertsOrder {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    CertsOrder {
        directory: directory.to_owned(),
        nodes: set(nodes),
        admins: set(&["admin"]),
        servers: set(servers),
        days: 365,
    }
}

fn at(days: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000 + days)
}

fn der(path: &Path) -> Vec<u8> {
    parse_x509_pem(&fs::read(path).unwrap()).unwrap().1.contents
}

#[test]
fn every_node_gets_a_certificate_that_names_it_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/certs");
    let written = make(&order(&path, &["n1", "n2"], &["10.0.0.1", "ctl.example"]), at(0)).unwrap();

    assert_eq!(written.len(), 10, "authority, server, two nodes, admin; a key each");
    assert!(written.iter().all(|file| !file.kept && file.path.exists()));
    for file in &written {
        let mode = fs::metadata(&file.path).unwrap().permissions().mode() & 0o777;
        let is_key = file.path.extension().is_some_and(|ending| ending == "key");
        assert_eq!(mode, if is_key { 0o600 } else { 0o644 }, "{}", file.path.display());
    }
    for uri in ["l2sm://node/n1", "l2sm://node/n2", "l2sm://admin/admin"] {
        let identity: Identity = uri.parse().unwrap();
        let certificate = stem(&path, &identity).with_extension("crt");
        assert_eq!(subject(&der(&certificate)), Ok(identity));
    }
    let server = der(&path.join("server.crt"));
    assert!(subject(&server).is_err(), "a server's certificate is no client's");
    let (_, server) = parse_x509_certificate(&server).unwrap();
    let names = server.subject_alternative_name().unwrap().unwrap().value.general_names.len();
    assert_eq!(names, 5, "two given, three of its own machine");
}

#[test]
fn what_is_there_is_used_again_and_no_key_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    make(&order(directory.path(), &["n1"], &["10.0.0.1"]), at(0)).unwrap();
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    let names = ["ca.crt", "ca.key", "server.crt", "server.key", "node-n1.key", "admin.key"];
    let before = names.map(read);
    let certificate = read("node-n1.crt");

    let written = make(&order(directory.path(), &["n1", "n2"], &[]), at(100)).unwrap();

    assert_eq!(names.map(read), before);
    assert_ne!(read("node-n1.crt"), certificate, "renewed");
    let kept: Vec<_> = written.iter().filter(|file| file.kept).map(|file| &file.path).collect();
    assert_eq!(kept.len(), 4, "{kept:?}");
    let ends = parse_x509_certificate(&der(&directory.path().join("node-n1.crt")))
        .unwrap()
        .1
        .validity()
        .not_after
        .to_datetime();
    assert_eq!(ends, at(465));
}

#[test]
fn no_certificate_outlives_its_authority() {
    let directory = tempfile::tempdir().unwrap();
    make(&order(directory.path(), &["n1"], &[]), at(0)).unwrap();
    make(&order(directory.path(), &["n1"], &[]), at(3600)).unwrap();
    let ends = |name: &str| {
        let der = der(&directory.path().join(name));
        parse_x509_certificate(&der).unwrap().1.validity().not_after.to_datetime()
    };
    assert_eq!(ends("node-n1.crt"), ends("ca.crt"));
    let late = make(&order(directory.path(), &["n1"], &[]), at(3651));
    assert!(matches!(late, Err(CertsError::Expired(_))), "{late:?}");
}

#[test]
fn a_damaged_or_halved_authority_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let order = order(directory.path(), &["n1"], &[]);
    make(&order, at(0)).unwrap();
    let (certificate, key) = (directory.path().join("ca.crt"), directory.path().join("ca.key"));
    let said = || make(&order, at(0)).unwrap_err().to_string();

    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    fs::write(&key, other).unwrap();
    assert!(said().contains("ca.key is not its key"), "{}", said());
    fs::write(&key, "hello").unwrap();
    assert!(said().contains("ca.key: is no private key"), "{}", said());
    fs::remove_file(&key).unwrap();
    assert!(said().contains("ca.key: is missing"), "{}", said());
    fs::remove_file(&certificate).unwrap();
    fs::write(&key, "hello").unwrap();
    assert!(said().contains("ca.crt: is missing"), "{}", said());
}

#[test]
fn a_server_is_reached_by_host_names_and_addresses() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["https://x", "a b", "10.0.0.1:30808", ""] {
        let refused = make(&order(directory.path(), &[], &[name]), at(0));
        assert!(matches!(refused, Err(CertsError::NotAHost(_))), "{name}");
    }
}
