//! Upstream's manifests, as its guides show them and in every spelling that it has had.

use super::*;

const HEAD: &str = "apiVersion: l2sm.l2sm.k8s.local/v1\n";

/// "Example NED Configuration" of upstream's inter-cluster guide, unchanged.
const SEED_NED: &str = r#"apiVersion: l2sm.l2sm.k8s.local/v1
kind: NetworkEdgeDevice
metadata:
  name: example-ned
  labels:
    app: l2sm
spec:
  provider:
    name: idco-controller
    domain: 192.168.122.60  # Controller IP address
  nodeConfig:
    nodeName: <node-name>
    ipAddress: <node-ip-address>
  neighbors:
    - node: cluster-b
      domain: <cluster-b-ip-address>
    - node: cluster-c
      domain: <cluster-c-ip-address>
  switchTemplate:
    spec:
      hostNetwork: true
      containers:
        - name: l2sm-ned
          image: alexdecb/l2sm-switch:1.2.9
          command: ["./setup_ned.sh"]
          securityContext:
            capabilities:
              add: ["NET_ADMIN"]
"#;

/// The reference's Overlay and NED of upstream 2.8.7, with everything that they may have.
const FULL: &str = r#"apiVersion: l2sm.l2sm.k8s.local/v1
kind: Overlay
metadata: {name: ov1, namespace: default}
spec:
  provider:
    {name: l2sm-sdn, domain: ["l2sm-controller-service.l2sm-system.svc"], dnsPort: "30053", dnsGrpcPort: "30818"}
  interfaceNumber: 10
  topology:
    nodes: [n1, n2, n3]
    links:
      - {endpointA: n1, endpointB: n2}
      - {endpointA: n2, endpointB: n3}
  switchTemplate:
    metadata: {labels: {app: switch}}
    spec:
      containers: [{name: l2sm-switch, image: "alexdecb/talpa:1.3.8", args: ["sps-init", "--node_name=$(NODENAME)"]}]
  monitor:
    spreadFactor: "0.2"
    networkCIDR: 10.0.0.0/24
    metrics:
      - {name: rtt, interval: 10}
      - {name: own, scriptSource: {name: scripts, key: own.sh}}
    exportMetric: {method: codeco-swm, serviceAccount: lpm, config: {nt_namespace: network}}
---
apiVersion: l2sm.l2sm.k8s.local/v1
kind: NetworkEdgeDevice
metadata: {name: ned1, labels: {app: l2sm}}
spec:
  provider: {name: idco, domain: ["192.0.2.10"], ofPort: "30663", sdnPort: "30808"}
  nodeConfig: {nodeName: cluster-a-cp, ipAddress: 192.0.2.21}
  neighbors:
    - {node: cluster-b, domain: 192.0.2.22, lpmIp: 10.0.0.2}
    - {node: cluster-c, domain: ned.example.org}
  monitor: {ipCIDR: 10.0.0.1/24, metrics: [{name: throughput}]}
"#;

fn read(yaml: &str) -> Object {
    parse_documents("f", yaml).unwrap().remove(0).object
}

fn overlay(spec: &str) -> String {
    format!("{HEAD}kind: Overlay\nmetadata: {{name: ov}}\nspec: {{{spec}}}\n")
}

fn ned(spec: &str) -> String {
    format!("{HEAD}kind: NetworkEdgeDevice\nmetadata: {{name: ned}}\nspec: {{{spec}}}\n")
}

fn errors(yaml: &str) -> Vec<String> {
    let errors = parse_documents("f", yaml).unwrap_err();
    errors.into_iter().map(|error| error.fault.to_string()).collect()
}

#[test]
fn the_guides_ned_is_accepted_and_what_is_no_address_in_it_is_told() {
    let Object::NetworkEdgeDevice(device) = read(SEED_NED) else { panic!("no device") };
    assert_eq!(device.spec.provider.domain, ["192.168.122.60"]);
    let unusable: Vec<_> = device.spec.unusable().iter().map(ToString::to_string).collect();
    assert_eq!(unusable.len(), 3, "{unusable:?}");
    assert_eq!(
        unusable[0],
        "spec.nodeConfig.ipAddress: \"<node-ip-address>\" is not an IP address"
    );
    let filled = SEED_NED.replace("<node-ip-address>", "192.0.2.1");
    let filled = filled.replace("<cluster-b-ip-address>", "192.0.2.2");
    let filled = filled.replace("<cluster-c-ip-address>", "ned.example.org");
    let Object::NetworkEdgeDevice(device) = read(&filled) else { panic!("no device") };
    assert_eq!(device.spec.unusable(), []);
}

#[test]
fn every_field_of_upstream_is_read_and_written_back() {
    let documents = parse_documents("f", FULL).unwrap();
    assert_eq!(documents.len(), 2);
    for document in documents {
        let json = serde_json::from_str(&document.object.to_json().unwrap()).unwrap();
        assert_eq!(read_object(json, DEFAULT_NAMESPACE), Ok(document.object));
    }
}

#[test]
fn older_spellings_say_the_same() {
    let new = overlay(
        "provider: {name: a, domain: [b.org]}, interfaceNumber: 7, topology: {nodes: [n1]}",
    );
    let old = overlay(
        "networkController: {name: a, domain: b.org}, numberInterfaces: 7, topology: {nodes: [n1], links: null}",
    );
    assert_eq!(read(&new), read(&old));
    let new = ned("provider: {name: a, domain: [192.0.2.1]}");
    let old = ned("networkController: {name: a, domain: 192.0.2.1}, neighbors: null");
    assert_eq!(read(&new), read(&old));
}

#[test]
fn mistakes_in_an_overlay_are_told_by_field() {
    let provider = "provider: {name: a, domain: b}";
    let topology = |topology: &str| format!("{provider}, topology: {{{topology}}}");
    for (spec, expected) in [
        ("topology: {nodes: [n1]}".to_owned(), "spec.provider: is required"),
        (topology("links: []"), "spec.topology.nodes: is required"),
        (
            topology("nodes: [n1, n2, n1]"),
            "spec.topology.nodes[2]: \"n1\" is given twice, first in nodes[0]",
        ),
        (
            topology("nodes: [n1], links: [{endpointA: n1, endpointB: n9}]"),
            "spec.topology.links[0].endpointB: \"n9\" is not a node of the topology; expected one of spec.topology.nodes",
        ),
        (
            topology("nodes: [n1], links: [{endpointA: n1, endpointB: n1}]"),
            "spec.topology.links[0]: links \"n1\" to itself; expected two nodes",
        ),
        (
            topology(
                "nodes: [n1, n2], links: [{endpointA: n1, endpointB: n2}, {endpointA: n2, endpointB: n1}]",
            ),
            "spec.topology.links[1]: \"n2\" and \"n1\" are linked twice, first in links[0]",
        ),
        (
            topology("nodes: [n1], links: [{endpointA: n1}]"),
            "spec.topology.links[0].endpointB: is required",
        ),
        (
            "provider: {name: a, domain: b, ofPort: 6633}".to_owned(),
            "spec.provider.ofPort: found integer 6633; expected a string",
        ),
        (
            "provider: {name: a, domain: b, ofPort: '66330'}".to_owned(),
            "spec.provider.ofPort: \"66330\" is not a port; expected a number from 1 to 65535 as a string, as in \"30808\"",
        ),
        ("provider: {name: '', domain: []}".to_owned(), "spec.provider.name: is required"),
        (
            format!("{provider}, switchTemplate: 7"),
            "spec.switchTemplate: found integer 7; expected an object",
        ),
        (
            format!("{provider}, interfaceNumber: 5, numberInterfaces: 5"),
            "spec.interfaceNumber: is given twice (under two spellings)",
        ),
        (
            format!("{provider}, monitor: {{spreadFactor: wide}}"),
            "spec.monitor.spreadFactor: \"wide\" is not a number; expected one as a string, as in \"0.2\"",
        ),
        (
            format!("{provider}, monitor: {{metrics: [{{name: rtt}}, {{name: rtt}}]}}"),
            "spec.monitor.metrics[1].name: \"rtt\" is given twice",
        ),
    ] {
        assert_eq!(errors(&overlay(&spec))[0], expected, "{spec}");
    }
    let [unknown] = errors(&overlay(&format!("{provider}, toplogy: {{}}"))).try_into().unwrap();
    let head = "spec.toplogy: is not a field; expected one of ";
    assert!(unknown.starts_with(head) && unknown.contains(", topology, "), "{unknown}");
}

#[test]
fn mistakes_in_a_ned_are_told_by_field() {
    let provider = "provider: {name: a, domain: b}";
    for (spec, expected) in [
        ("nodeConfig: {nodeName: a, ipAddress: b}", "spec.provider: is required".to_owned()),
        (
            "nodeConfig: {nodeName: n1}, provider: {name: a, domain: b}",
            "spec.nodeConfig.ipAddress: is required".to_owned(),
        ),
        (
            "provider: {name: a, domain: b}, neighbors: [{node: c, domain: d}, {node: c, domain: e}]",
            "spec.neighbors[1].node: \"c\" is given twice, first in neighbors[0]".to_owned(),
        ),
        (
            "provider: {name: a, domain: b}, neighbors: [{node: c, domain: ''}]",
            "spec.neighbors[0].domain: is required".to_owned(),
        ),
        (
            "provider: {name: a, domain: b, sdnPort: http}",
            "spec.provider.sdnPort: \"http\" is not a port; expected a number from 1 to 65535 as a string, as in \"30808\"".to_owned(),
        ),
    ] {
        assert_eq!(errors(&ned(spec)), [expected], "{spec}");
    }
    assert_eq!(parse_documents("f", &ned(provider)).unwrap().len(), 1, "the rest is optional");
}

#[test]
fn upstreams_columns_are_listed_under_their_names() {
    let names = |kind| columns(kind).iter().map(|column| column.name).collect::<Vec<_>>();
    assert_eq!(names(Kind::NetworkEdgeDevice)[..2], ["NAME", "STATUS"]);
    assert!(names(Kind::NetworkEdgeDevice).contains(&"AGE"));
    let Object::Overlay(overlay) = read(FULL) else { panic!("no overlay") };
    let json = serde_json::to_value(&overlay).unwrap();
    let cells: Vec<_> = columns(Kind::Overlay)
        .iter()
        .take(4)
        .map(|column| column.cell(&json, jiff::Timestamp::UNIX_EPOCH))
        .collect();
    assert_eq!(cells, ["ov1", "3", "2", "l2sm-sdn"]);
}

#[test]
fn what_does_not_act_is_named() {
    let documents = parse_documents("f", FULL).unwrap();
    let (Object::Overlay(overlay), Object::NetworkEdgeDevice(device)) =
        (&documents[0].object, &documents[1].object)
    else {
        panic!("an Overlay and a NED");
    };
    let named = [overlay.spec.not_acting(), device.spec.not_acting()];
    let fields = ["switchTemplate", "interfaceNumber", "monitor", "topology.links"];
    let fields = fields.map(|field| format!("spec.{field}"));
    assert_eq!(named[0], fields, "two links of three nodes are no full mesh");
    assert_eq!(named[1], ["spec.monitor"]);
}
