//! Who may do what.

use l2sm_tests::k8s::Kubernetes;

/// May the operator, agents, and users with Kubernetes' own roles do this?
const RIGHTS: &[(&str, &str, bool)] = &[
    // The operator writes what is its own, and reads the rest.
    (OPERATOR, "create l2attachments -A", true),
    (OPERATOR, "delete l2attachments -A", true),
    (OPERATOR, "create l2nodes", true),
    (OPERATOR, "patch l2networks --subresource=status -A", true),
    (OPERATOR, "list pods -A", true),
    (OPERATOR, "patch pods -A", true),
    (OPERATOR, "create tokenreviews", true),
    (OPERATOR, "get leases -n l2sm-system", true),
    (OPERATOR, "update leases/l2sm-operator -n l2sm-system", true),
    (OPERATOR, "update leases/another -n l2sm-system", false),
    (OPERATOR, "update l2attachments -A", false),
    (OPERATOR, "patch l2attachments -A", false),
    (OPERATOR, "update l2nodes", false),
    (OPERATOR, "update l2networks --subresource=finalizers -A", false),
    (OPERATOR, "delete l2networks -A", false),
    (OPERATOR, "create l2networks -A", false),
    (OPERATOR, "create pods -A", false),
    (OPERATOR, "delete pods -A", false),
    (OPERATOR, "get secrets -A", false),
    (OPERATOR, "get secrets -n default", false),
    (OPERATOR, "get leases -n default", false),
    (OPERATOR, "create pods --subresource=exec -A", false),
    (OPERATOR, "patch nodes", false),
    (OPERATOR, "create clusterrolebindings", false),
    // Agents nothing.
    (AGENT, "get pods -A", false),
    (AGENT, "get l2networks -A", false),
    (AGENT, "list l2attachments -A", false),
    (AGENT, "get nodes", false),
    (AGENT, "get secrets -n l2sm-system", false),
    (AGENT, "create tokenreviews", false),
    // Of the cluster's roles, edit and admin have networks, and those alone.
    (EDITOR, "create l2networks -n default", true),
    (EDITOR, "delete l2networks -n default", true),
    (EDITOR, "create l2attachments -n default", false),
    (EDITOR, "create overlays -n default", false),
    (EDITOR, "create networkedgedevices -n default", false),
    (EDITOR, "create externalvteps", false),
    (EDITOR, "create l2networks -n kube-system", false),
    (VIEWER, "get l2networks -n default", true),
    (VIEWER, "create l2networks -n default", false),
];
const OPERATOR: &str = "system:serviceaccount:l2sm-system:l2sm-operator";
const AGENT: &str = "system:serviceaccount:l2sm-system:l2sm-agent";
const EDITOR: &str = "editor";
const VIEWER: &str = "viewer";

pub(crate) fn rights(cluster: &Kubernetes) {
    for (user, role) in [(EDITOR, "edit"), (VIEWER, "view")] {
        let binding = format!("rolebinding {user} --clusterrole={role} --user={user} -n default");
        let manifest = cluster.kubectl(&format!("create {binding} --dry-run=client -o yaml"));
        cluster.apply("default", &manifest);
    }

    let ask = |user: &str, right: &str| {
        let output = cluster.output(&format!("auth can-i --as={user} {right}"));
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // It answers for what does not exist as well.
        assert!(!said.contains("doesn't have a resource type"), "{right}: {said}");
        match (String::from_utf8_lossy(&output.stdout).trim(), output.status.code()) {
            ("yes", Some(0)) => true,
            ("no", Some(1)) => false,
            (answer, code) => panic!("{user}: {right}: {answer} ({code:?}): {said}"),
        }
    };
    let wrong: Vec<_> =
        RIGHTS.iter().filter(|(user, right, may)| ask(user, right) != *may).collect();

    assert!(wrong.is_empty(), "not as in the table: {wrong:#?}");
}

pub(crate) fn attachments_are_the_operators(cluster: &Kubernetes) {
    let manifest = r"
apiVersion: l2sm.l2sm.k8s.local/v1
kind: L2Attachment
metadata: {name: mine, namespace: default}
spec: {network: blue, node: node1, ifname: net1}
";

    // The administrator may do everything, but for this.
    let output = cluster.with_input("apply -f -", manifest);

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("only the l2sm operator"), "{said}");
}
