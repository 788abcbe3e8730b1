//! The control plane's services: etcd, the API server, controllers, the scheduler.

use std::path::Path;

use anyhow::{Context, Result};

use crate::{
    certificates::{Certificates, Subject, installed},
    machine::{Machine, Service},
    places::{self, API_PORT, API_SERVICE, CONTROL_PLANE_ADDRESS, SERVICE_CIDR},
};

/// Where etcd answers, in the control plane's own loopback.
const ETCD: &str = "http://127.0.0.1:2379";

/// What l2sm's own accounts ask of the API server, a line each.
pub const AUDIT_LOG: &str = "/var/log/audit.log";

/// Which requests are in it.
const AUDIT_POLICY: &str = "/etc/kubernetes/audit.yaml";

/// Signs what the services show each other and writes their kubeconfigs into the machine.
///
/// # Errors
/// When files cannot be written.
pub fn configure(machine: &Machine, certificates: &Certificates) -> Result<()> {
    let server = [
        CONTROL_PLANE_ADDRESS,
        API_SERVICE,
        "127.0.0.1",
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    let server = Subject { user: "kube-apiserver", group: "", server: &server };
    certificates.sign("apiserver", server)?;
    let kubelets = Subject { user: "kube-apiserver", group: "system:masters", server: &[] };
    certificates.sign("apiserver-kubelet", kubelets)?;
    certificates.give(
        machine,
        &[
            "apiserver.crt",
            "apiserver.key",
            "apiserver-kubelet.crt",
            "apiserver-kubelet.key",
            "ca.crt",
            "ca.key",
            "tokens.key",
            "tokens.pub",
        ],
    )?;
    write(&machine.own_file(AUDIT_POLICY), &audit_policy())?;
    for name in ["kube-controller-manager", "kube-scheduler"] {
        let user = format!("system:{name}");
        let subject = Subject { user: &user, group: "", server: &[] };
        let config = certificates.kubeconfig(name, subject)?;
        write(&machine.own_file(&kubeconfig(name)), &config)?;
    }
    Ok(())
}

fn audit_policy() -> String {
    let policy = serde_json::json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "Metadata", "userGroups": ["system:serviceaccounts:l2sm-system"]},
            {"level": "None"},
        ],
    });
    policy.to_string()
}

/// Writes a file whose directory need not exist.
///
/// # Errors
/// When it cannot.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let directory = path.parent().with_context(failed)?;
    std::fs::create_dir_all(directory).with_context(failed)?;
    std::fs::write(path, text).with_context(failed)
}

/// Where a service's kubeconfig is on its machine.
pub(crate) fn kubeconfig(name: &str) -> String {
    format!("/etc/kubernetes/{name}.conf")
}

/// etcd, which answers the API server alone, and writes for this lab's life only.
pub fn etcd() -> Service {
    Service::new(
        "etcd",
        &[
            "--name=l2sm",
            "--data-dir=/var/lib/l2sm-etcd",
            "--unsafe-no-fsync",
            &format!("--listen-client-urls={ETCD}"),
            &format!("--advertise-client-urls={ETCD}"),
            "--listen-peer-urls=http://127.0.0.1:2380",
        ],
    )
}

/// The API server.
pub fn api_server() -> Service {
    let file = |flag: &str, name: &str| format!("--{flag}={}", installed(name));
    Service::new(
        "kube-apiserver",
        &[
            &format!("--etcd-servers={ETCD}"),
            &format!("--bind-address={CONTROL_PLANE_ADDRESS}"),
            &format!("--advertise-address={CONTROL_PLANE_ADDRESS}"),
            &format!("--secure-port={API_PORT}"),
            &format!("--service-cluster-ip-range={SERVICE_CIDR}"),
            &file("tls-cert-file", "apiserver.crt"),
            &file("tls-private-key-file", "apiserver.key"),
            &file("client-ca-file", "ca.crt"),
            &file("service-account-key-file", "tokens.pub"),
            &file("service-account-signing-key-file", "tokens.key"),
            "--service-account-issuer=https://kubernetes.default.svc",
            &file("kubelet-certificate-authority", "ca.crt"),
            &file("kubelet-client-certificate", "apiserver-kubelet.crt"),
            &file("kubelet-client-key", "apiserver-kubelet.key"),
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged",
            &format!("--audit-policy-file={AUDIT_POLICY}"),
            &format!("--audit-log-path={AUDIT_LOG}"),
        ],
    )
}

/// The controllers of Kubernetes' own kinds.
pub fn controller_manager() -> Service {
    let file = |flag: &str, name: &str| format!("--{flag}={}", installed(name));
    Service::new(
        "kube-controller-manager",
        &[
            &format!("--kubeconfig={}", kubeconfig("kube-controller-manager")),
            &file("root-ca-file", "ca.crt"),
            &file("service-account-private-key-file", "tokens.key"),
            &file("cluster-signing-cert-file", "ca.crt"),
            &file("cluster-signing-key-file", "ca.key"),
            &format!("--cluster-cidr={}", places::POD_CIDR),
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ],
    )
}

/// The scheduler.
pub fn scheduler() -> Service {
    Service::new(
        "kube-scheduler",
        &[
            &format!("--kubeconfig={}", kubeconfig("kube-scheduler")),
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ],
    )
}
