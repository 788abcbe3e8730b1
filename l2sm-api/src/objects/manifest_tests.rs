use super::{super::network::NetworkType, *};

const HEAD: &str = "apiVersion: l2sm.l2sm.k8s.local/v1\n";

/// "Example Inter-Cluster `L2Network` Configuration" of upstream's guide, unchanged.
const SEED: &str = r#"apiVersion: l2sm.l2sm.k8s.local/v1
kind: L2Network
metadata:
  name: ping-network
spec:
  type: vnet 
  provider: # Must be the same as the NED
    name: idco-controller 
    domain: "192.168.122.60" 
  # Optional: Specify additional parameters like networkCIDR or podAddressRange if required
"#;

fn network(spec: &str) -> String {
    format!("{HEAD}kind: L2Network\nmetadata: {{name: blue}}\nspec: {{{spec}}}\n")
}

fn errors(yaml: &str) -> Vec<String> {
    let errors = parse_documents("blue.yaml", yaml).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

fn spec_of(yaml: &str) -> super::super::L2NetworkSpec {
    let documents = parse_documents("blue.yaml", yaml).unwrap();
    let Object::L2Network(network) = documents.into_iter().next().unwrap().object else {
        panic!("no network");
    };
    network.spec
}

#[test]
fn upstreams_example_works_unchanged() {
    let spec = spec_of(SEED);
    let provider = spec.provider.as_ref().unwrap();
    assert_eq!(provider.domain, ["192.168.122.60"]);
    assert_eq!(spec.not_acting(), ["spec.provider"]);
    assert_eq!(spec.network_type, NetworkType::Vnet);
    assert!(spec.mac_spoof_check && !spec.learning);
}

#[test]
fn older_spellings_and_odd_ranges_of_upstream_are_accepted() {
    let spec = spec_of(&network(
        "type: ext-vnet, networkController: {name: a, domain: [10.0.0.1, b.org], ofPort: '30663'}",
    ));
    assert_eq!(spec.provider.unwrap().domain, ["10.0.0.1", "b.org"]);
    let spec =
        spec_of(&network("type: vnet, networkCIDR: 10.1.2.0/24, podAddressRange: 10.1.0.0/16"));
    assert_eq!(spec.pools().len(), 1);
    let spec = spec_of(&network(
        "type: vlink, config: '{}', ids: {profile: suricata, node: n1, ignorePorts: [22]}",
    ));
    assert_eq!(spec.not_acting(), ["spec.type vlink (acts as vnet)", "spec.config", "spec.ids"]);
}

#[test]
fn every_error_is_one_line_with_file_document_field_and_expectation() {
    let cases = [
        (
            "type: vnet, networkCIDR: 10.0.0.0/33",
            "spec.networkCIDR: \"10.0.0.0/33\" is not a CIDR; expected address/prefix, as in 10.34.0.0/16",
        ),
        ("type: vnet, vni: 1048576", "spec.vni: 1048576 is out of range; expected 1 to 1048575"),
        ("type: vnet, mtu: 100", "spec.mtu: 100 is out of range; expected 576 to 65535"),
        (
            "type: vnet, networkCIDR: 'fd00::/64', mtu: 1000",
            "spec.mtu: 1000 is out of range; expected 1280 to 65535 (IPv6 needs 1280)",
        ),
        ("networkCIDR: 10.0.0.0/8", "spec.type: is required"),
        ("type: vxnet", "spec.type: \"vxnet\" is not one; expected one of ext-vnet, vnet, vlink"),
        (
            "type: vnet, vni: blue",
            "spec.vni: found string \"blue\"; expected a whole number, 0 or more",
        ),
        (
            "type: vnet, podAddressRange: 10.0.0.0/8",
            "spec.podAddressRange: \"10.0.0.0/8\" needs a networkCIDR of its family; expected spec.networkCIDR with an IPv4 range",
        ),
        (
            "type: vnet, allowedNamespaces: Some",
            "spec.allowedNamespaces: \"Some\" is not one; expected Same, All or a label selector",
        ),
        (
            "type: vnet, provider: {name: a, domain: 7}",
            "spec.provider.domain: 7 is no address; expected an address or a list of them",
        ),
        (
            "type: vnet, provider: {name: a, domain: x}, networkController: {name: b, domain: y}",
            "spec.provider: is given twice (under two spellings)",
        ),
    ];
    for (spec, expected) in cases {
        let yaml = network(spec);
        assert_eq!(
            errors(&yaml),
            [format!("blue.yaml: document 1 (L2Network \"blue\"): {expected}")]
        );
    }
}

#[test]
fn an_unknown_field_is_named_with_the_known_ones() {
    let [error] = errors(&network("type: vnet, networkCidr: 10.0.0.0/8")).try_into().unwrap();
    let head = "blue.yaml: document 1 (L2Network \"blue\"): spec.networkCidr: is not a field; expected one of type, config,";
    assert!(error.starts_with(head), "{error}");
    let [error] = errors(&format!(
        "{HEAD}kind: L2Network\nmetadata: {{name: a, lables: {{}}}}\nspec: {{type: vnet}}"
    ))
    .try_into()
    .unwrap();
    assert!(error.contains("metadata.lables: is not a field; expected one of name,"), "{error}");
}

#[test]
fn all_documents_are_checked_and_empty_ones_skipped() {
    let good = network("type: vnet");
    let bad = network("type: vnet, vni: 0, mtu: 1");
    let yaml = format!(
        "# a comment\n---\n{good}---\n---\n{bad}---\nkind: QuarantinePodRequest\n---\n- 1\n"
    );
    let errors = errors(&yaml);
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(
        errors[0].starts_with("blue.yaml: document 2 (L2Network \"blue\"): spec.vni"),
        "{errors:?}"
    );
    assert!(
        errors[1].starts_with("blue.yaml: document 2 (L2Network \"blue\"): spec.mtu"),
        "{errors:?}"
    );
    assert_eq!(
        errors[2],
        "blue.yaml: document 3 (QuarantinePodRequest): kind QuarantinePodRequest is not supported yet"
    );
    assert!(errors[3].starts_with("blue.yaml: document 4: is not an object"), "{errors:?}");
    assert_eq!(parse_documents("blue.yaml", &format!("---\n{good}")).unwrap().len(), 1);
}

#[test]
fn what_is_no_manifest_is_refused() {
    assert_eq!(errors(""), ["blue.yaml: holds no object; expected at least one document"]);
    let [error] = errors("a: [1, 2").try_into().unwrap();
    assert!(error.starts_with("blue.yaml: document 1: is not YAML: "), "{error}");
    assert!(!error.contains('\n'));
    assert_eq!(
        errors("apiVersion: v1\nkind: L2Network\n"),
        [
            "blue.yaml: document 1 (L2Network): apiVersion: \"v1\" is not served here; expected l2sm.l2sm.k8s.local/v1"
        ]
    );
    assert_eq!(
        errors("apiVersion: v1\nkind: Pod\n"),
        [
            "blue.yaml: document 1 (Pod): kind: \"Pod\" is not a kind; expected one of L2Network, L2Attachment, L2Node, ExternalVTEP, Overlay, NetworkEdgeDevice"
        ]
    );
}

#[test]
fn namespaces_are_filled_in_and_a_status_is_ignored() {
    let yaml = format!("{}status: {{anything: 1}}\n", network("type: vnet"));
    let documents = parse_documents_in("f", &yaml, "team-a").unwrap();
    assert_eq!(documents[0].object.metadata().namespace, "team-a");
    let yaml = format!(
        "{HEAD}kind: L2Node\nmetadata: {{name: n1, namespace: x}}\nspec: {{vtepAddresses: [10.0.0.1], udpPort: 7000, underlayMTU: 1500}}"
    );
    let [error] = errors(&yaml).try_into().unwrap();
    assert!(
        error.ends_with("metadata.namespace: L2Node belongs to no namespace; expected none"),
        "{error}"
    );
}

#[test]
fn what_is_written_is_read_back() {
    for yaml in [
        SEED.to_owned(),
        network(
            "type: vnet, networkCIDR: '10.34.0.0/16,fd00::/64', vni: 100, flood: none, allowedNamespaces: All",
        ),
        network("type: vnet, allowedNamespaces: {matchLabels: {team: a}}"),
        format!(
            "{HEAD}kind: L2Attachment\nmetadata: {{name: a}}\nspec: {{network: blue, node: n1, ifname: net1, ips: [10.34.0.5], mac: '02:00:00:00:00:01', netns: /run/netns/a}}"
        ),
    ] {
        let document = parse_documents("f", &yaml).unwrap().remove(0);
        let json = serde_json::from_str(&document.object.to_json().unwrap()).unwrap();
        assert_eq!(read_object(json, DEFAULT_NAMESPACE), Ok(document.object), "{yaml}");
    }
}

#[test]
fn attachments_are_checked_field_by_field() {
    let yaml = format!(
        "{HEAD}kind: L2Attachment\nmetadata: {{name: a}}\nspec: {{network: Blue, node: '', ifname: 'a/b', ips: ['10.0.0.1', x], mac: zz, netns: run/a}}"
    );
    let fields: Vec<_> = parse_documents("f", &yaml)
        .unwrap_err()
        .into_iter()
        .map(|error| error.fault.field)
        .collect();
    let expected =
        ["spec.network", "spec.node", "spec.ifname", "spec.mac", "spec.ips[1]", "spec.netns"];
    assert_eq!(fields, expected);
}

#[test]
fn a_list_is_its_items() {
    let item = |name: &str| {
        format!(
            "- apiVersion: l2sm.l2sm.k8s.local/v1\n  kind: L2Network\n  metadata: {{name: {name}}}\n  \
             spec: {{type: vnet}}\n"
        )
    };
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{}{}", item("blue"), item("red"));
    let documents = parse_documents("all.yaml", &list).unwrap();
    assert_eq!(documents.iter().map(|document| document.number).collect::<Vec<_>>(), [1, 1]);

    let wrong = list.replace("name: red", "name: R_D");
    let errors = parse_documents("all.yaml", &wrong).unwrap_err();
    assert_eq!(errors.len(), 1);
    let line = errors[0].to_string();
    assert!(line.starts_with("all.yaml: document 1 (L2Network \"R_D\"): metadata.name"), "{line}");
}

#[test]
fn what_kubectl_prints_is_read() {
    let yaml = "apiVersion: l2sm.l2sm.k8s.local/v1\nkind: L2Network\nmetadata:\n  name: blue\n  \
                uid: 6a1e\n  generation: 2\n  finalizers: [a/b]\n  managedFields: [{manager: kubectl}]\n  \
                ownerReferences: []\nspec: {type: vnet}\nstatus: {vni: 1048576}\n";
    let documents = parse_documents("f", yaml).unwrap();
    assert_eq!(documents[0].object.metadata().uid, "6a1e");
}
