use super::*;
use crate::objects::{columns, parse_documents};

fn manifest(spec: &str) -> String {
    format!(
        "apiVersion: l2sm.l2sm.k8s.local/v1\nkind: ExternalVTEP\nmetadata: {{name: sw1}}\nspec: {{{spec}}}\n"
    )
}

fn errors(spec: &str) -> Vec<String> {
    let errors = parse_documents("f", &manifest(spec)).unwrap_err();
    errors.into_iter().map(|error| error.fault.to_string()).collect()
}

fn spec_of(spec: &str) -> ExternalVtepSpec {
    let document = parse_documents("f", &manifest(spec)).unwrap().remove(0);
    let Object::ExternalVtep(vtep) = document.object else { panic!("no external VTEP") };
    assert_eq!(vtep.metadata.namespace, "", "it is in no namespace");
    vtep.spec
}

#[test]
fn networks_are_in_namespace_default_unless_they_say_so() {
    let spec = spec_of(
        "address: 192.0.2.9, networks: [{name: blue}, {name: blue, namespace: team-a, hosts: [{mac: '02:00:00:00:00:09', ips: [10.0.0.9, 'fd00::9/64']}]}], udpChecksum: full",
    );
    let keys: Vec<_> = spec.networks.iter().map(|network| network.key().to_string()).collect();
    assert_eq!(keys, ["default/blue", "team-a/blue"]);
    assert_eq!(spec.udp_checksum, UdpChecksum::Full);
    assert_eq!(spec.vtep(), Some(IpAddr::from([192, 0, 2, 9])));
    let host = &spec.networks[1].hosts[0];
    assert_eq!(host.station(), Some(Mac([2, 0, 0, 0, 0, 9])));
    let ips: Vec<IpAddr> = ["10.0.0.9", "fd00::9"].map(|ip| ip.parse().unwrap()).into();
    assert_eq!(host.addresses(), ips);
    assert_eq!(spec_of("address: '2001:db8::9'").udp_checksum, UdpChecksum::Zero);
}

#[test]
fn an_address_that_no_vtep_can_have_is_refused() {
    for text in [
        "127.0.0.1",
        "'::1'",
        "0.0.0.0",
        "'::'",
        "224.0.0.5",
        "'ff02::1'",
        "255.255.255.255",
        "'fe80::1'",
        "'::ffff:192.0.2.9'",
    ] {
        let [error] = errors(&format!("address: {text}")).try_into().unwrap();
        assert!(
            error.starts_with("spec.address: ") && error.contains("is no tunnel endpoint's"),
            "{error}"
        );
    }
    for text in ["switch1", "192.0.2.9/24", "''"] {
        let [error] = errors(&format!("address: {text}")).try_into().unwrap();
        assert!(error.contains("is not an address; expected an IPv4 or IPv6 address"), "{error}");
    }
}

#[test]
fn mistakes_are_told_by_field() {
    let host =
        |hosts: &str| format!("address: 192.0.2.9, networks: [{{name: blue, hosts: [{hosts}]}}]");
    for (spec, expected) in [
        ("networks: []".to_owned(), "spec.address: is required"),
        (
            "address: 192.0.2.9, networks: [{name: blue}, {name: blue, namespace: default}]"
                .to_owned(),
            "spec.networks[1]: default/blue is given twice, first in networks[0]",
        ),
        (
            "address: 192.0.2.9, networks: [{namespace: a}]".to_owned(),
            "spec.networks[0].name: is required",
        ),
        (
            "address: 192.0.2.9, udpChecksum: some".to_owned(),
            "spec.udpChecksum: \"some\" is not one; expected zero or full",
        ),
        (
            host("{mac: '01:00:5e:00:00:01'}"),
            "spec.networks[0].hosts[0].mac: \"01:00:5e:00:00:01\" is no station's address; expected a unicast MAC, as in 02:00:5e:10:00:01",
        ),
        (
            host("{mac: '02:00:00:00:00:01'}, {mac: '02:00:00:00:00:01'}"),
            "spec.networks[0].hosts[1].mac: 02:00:00:00:00:01 is given twice, first in hosts[0]",
        ),
        (
            host(
                "{mac: '02:00:00:00:00:01', ips: [10.0.0.1]}, {mac: '02:00:00:00:00:02', ips: [10.0.0.1/24]}",
            ),
            "spec.networks[0].hosts[1].ips[0]: 10.0.0.1 is given twice, first in hosts[0]",
        ),
        (
            host("{mac: '02:00:00:00:00:01', ips: [224.0.0.1]}"),
            "spec.networks[0].hosts[0].ips[0]: \"224.0.0.1\" is no host's; expected a unicast address, as in 10.34.0.5",
        ),
    ] {
        assert_eq!(errors(&spec), [expected], "{spec}");
    }
}

#[test]
fn networks_and_their_numbers_are_listed() {
    let json = serde_json::json!({
        "metadata": {"name": "sw1"},
        "spec": {"address": "192.0.2.9", "networks": [{"name": "blue"}, {"name": "red", "namespace": "a"}], "udpChecksum": "zero"},
        "status": {"networks": [{"name": "blue", "namespace": "default", "vni": 100}, {"name": "red", "namespace": "a"}]},
    });
    let cell = |name: &str| {
        let column = columns(Kind::ExternalVtep).iter().find(|column| column.name == name).unwrap();
        column.cell(&json, jiff::Timestamp::UNIX_EPOCH)
    };
    assert_eq!((cell("NETWORKS"), cell("VNIS")), ("default/blue,a/red".into(), "100".into()));
    assert_eq!(cell("CHECKSUM"), "zero");
}
