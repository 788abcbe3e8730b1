//! The definitions of our kinds, as the API server takes them.

use l2sm_tests::k8s::{Kubernetes, network};

const ACCEPTED: &str = include_str!("../../../l2sm-api/tests/manifests/accepted.yaml");
const UPSTREAM: &str = include_str!("../../../l2sm-api/tests/manifests/upstream.yaml");
const REFUSED: &str = include_str!("../../../l2sm-api/tests/manifests/refused.yaml");

/// Nothing is made by it. As the operator, for attachments are its own; with all rights, for the
/// others are not.
const TRY: &str = "create --dry-run=server --validate=strict -n default -f - \
                   --as=system:serviceaccount:l2sm-system:l2sm-operator --as-group=system:masters";

/// Documents of a file.
fn count(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("kind: ")).count()
}

/// The table that l2sm-api is tested with.
pub(crate) fn same_verdicts(cluster: &Kubernetes) {
    for text in [ACCEPTED, UPSTREAM] {
        let output = cluster.with_input(TRY, text);
        let refused = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "refused: {refused}");
        let created = String::from_utf8_lossy(&output.stdout).lines().count();
        assert_eq!(created, count(text));
    }

    let output = cluster.with_input(TRY, REFUSED);
    let accepted = String::from_utf8_lossy(&output.stdout);
    assert_eq!(accepted, "", "accepted");
    let said = String::from_utf8_lossy(&output.stderr);
    let is_verdict = |line: &&str| line.contains("\" is invalid:") || line.contains("(BadRequest)");
    assert_eq!(said.lines().filter(is_verdict).count(), count(REFUSED), "{said}");
}

/// What a network's number is stays.
pub(crate) fn a_number_is_fixed(cluster: &Kubernetes) {
    cluster.namespace("numbers");
    cluster.apply("numbers", &network("chosen", r#"{"type": "vnet", "vni": 7}"#));
    cluster.apply("numbers", &network("allocated", r#"{"type": "vnet"}"#));
    let patch = "patch -n numbers --type merge";
    for (name, spec) in [("chosen", "8"), ("chosen", "null"), ("allocated", "8")] {
        let change = format!(r#"{{"spec":{{"vni":{spec}}}}}"#);
        let said = cluster.refused(&format!("{patch} l2net {name} -p {change}"));
        assert!(
            said.contains("spec.vni: Invalid value: is fixed once the network is made"),
            "{said}"
        );
    }
    cluster.kubectl(&format!(r#"{patch} l2net chosen -p {{"spec":{{"mtu":1400}}}}"#));
    cluster.until_succeeds("delete namespace numbers");
}

/// What users of kubectl look at.
pub(crate) fn kubectl_knows_our_kinds(cluster: &Kubernetes) {
    let kinds = cluster.kubectl("api-resources --categories l2sm --no-headers");
    for short in ["l2net", "ovl", "ned", "l2att", "l2node", "xvtep"] {
        let is_there = |line: &str| line.split_whitespace().nth(1) == Some(short);
        assert!(kinds.lines().any(is_there), "{short}: {kinds}");
    }
    let explained = cluster.kubectl("explain l2net.spec.networkCIDR");
    assert!(explained.contains("Addresses of the network: a CIDR"), "{explained}");
    let explained = cluster.kubectl("explain ovl.spec.networkController");
    assert!(explained.contains("Older spelling of `provider`."), "{explained}");
    for name in cluster.kubectl("get crd -o name").lines().filter(|name| name.contains(".l2sm.")) {
        let annotation = r"jsonpath={.metadata.annotations.l2sm\.l2sm\.k8s\.local/schema-version}";
        let version = cluster.kubectl(&format!("get {name} -o {annotation}"));
        assert_eq!(version, "1", "{name}");
    }
}
