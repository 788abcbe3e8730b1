//! A node's services: containerd, kubelet, kube-proxy.

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    certificates::{Certificates, Subject, installed},
    cgroups,
    control_plane::{kubeconfig, write},
    machine::{Machine, Service},
    places, programs,
};

/// Where containerd answers.
const CONTAINERD: &str = "unix:///run/containerd/containerd.sock";

/// Plugins of the main network, which are in the node's directory of plugins as in any cluster.
const PLUGINS: [&str; 5] = ["host-local", "loopback", "portmap", "ptp", "static"];

/// A node of the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its machine.
    pub machine: Machine,
    number: u8,
}

impl Node {
    /// The node of that number, from 1, which need not be there.
    pub fn number(number: u8) -> Self {
        Self { machine: Machine::named(&places::node_name(number)), number }
    }

    /// Its address in the underlay.
    pub fn address(&self) -> String {
        places::node_address(self.number)
    }

    /// Addresses of its pods.
    pub fn pod_cidr(&self) -> String {
        places::node_pod_cidr(self.number)
    }

    /// Writes all files that its services read, before the machine is there.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn configure(&self, certificates: &Certificates) -> Result<()> {
        let name = self.machine.name();
        let user = format!("system:node:{name}");
        let subject = Subject { user: &user, group: "system:nodes", server: &[&self.address()] };
        let kubelet = certificates.kubeconfig(name, subject)?;
        let proxy = Subject { user: "system:kube-proxy", group: "", server: &[] };
        let proxy = certificates.kubeconfig(&format!("{name}-kube-proxy"), proxy)?;
        let own = |path: &str, text: &str| write(&self.machine.own_file(path), text);
        own(&kubeconfig("kubelet"), &kubelet)?;
        own(&kubeconfig("kube-proxy"), &proxy)?;
        own("/etc/kubernetes/kubelet.yaml", &self.kubelet_config().to_string())?;
        own("/etc/containerd/config.toml", &containerd_config())?;
        own("/etc/cni/net.d/10-ptp.conflist", &self.main_network().to_string())?;
        // Nothing of this host's resolver is a pod's business.
        own("/etc/resolv.conf", "")?;
        let files = ["ca.crt", &format!("{name}.crt"), &format!("{name}.key")];
        certificates.give(&self.machine, &files)?;
        self.link_plugins()
    }

    /// containerd.
    pub fn containerd(&self) -> Service {
        Service::new("containerd", &["--config=/etc/containerd/config.toml"])
    }

    /// The kubelet.
    pub fn kubelet(&self) -> Service {
        Service::new(
            "kubelet",
            &[
                "--config=/etc/kubernetes/kubelet.yaml",
                &format!("--kubeconfig={}", kubeconfig("kubelet")),
                &format!("--hostname-override={}", self.machine.name()),
                &format!("--node-ip={}", self.address()),
            ],
        )
    }

    /// kube-proxy.
    pub fn kube_proxy(&self) -> Service {
        Service::new(
            "kube-proxy",
            &[
                &format!("--kubeconfig={}", kubeconfig("kube-proxy")),
                &format!("--cluster-cidr={}", places::POD_CIDR),
                &format!("--hostname-override={}", self.machine.name()),
                "--proxy-mode=iptables",
                // They belong to the whole host.
                "--conntrack-max-per-core=0",
                "--iptables-min-sync-period=100ms",
            ],
        )
    }

    fn kubelet_config(&self) -> serde_json::Value {
        let name = self.machine.name();
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.address(),
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": true},
                "x509": {"clientCAFile": installed("ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": installed(&format!("{name}.crt")),
            "tlsPrivateKeyFile": installed(&format!("{name}.key")),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}", cgroups::name(name)),
            "failCgroupV1": false,
            "failSwapOn": false,
            "containerRuntimeEndpoint": CONTAINERD,
            "resolvConf": "/etc/resolv.conf",
            // What this host has left is not the lab's to judge.
            "evictionHard": {"memory.available": "0%", "nodefs.available": "0%",
                             "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "kubeAPIQPS": 100,
            "kubeAPIBurst": 200,
            "serializeImagePulls": false,
        })
    }

    /// The cluster's main network: any will do, this one needs no agent and no bridge of its own.
    fn main_network(&self) -> serde_json::Value {
        json!({
            "cniVersion": "1.0.0",
            "name": "main",
            "plugins": [
                {
                    "type": "ptp",
                    "ipMasq": false,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": self.pod_cidr()}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        })
    }

    fn link_plugins(&self) -> Result<()> {
        let directory = self.machine.own_file("/opt/cni/bin");
        std::fs::create_dir_all(&directory).context("cannot make the directory of plugins")?;
        for plugin in PLUGINS {
            let from = format!("{}/{plugin}", programs::CNI_PLUGINS);
            std::os::unix::fs::symlink(&from, directory.join(plugin))
                .with_context(|| format!("cannot link {from}"))?;
        }
        Ok(())
    }
}

/// containerd's configuration, version 2: what Debian's 1.6 reads, and later ones too.
fn containerd_config() -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{}"
  # Without CAP_SYS_RESOURCE, runc cannot lower a score and every pod fails.
  restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/opt/cni/bin"
  conf_dir = "/etc/cni/net.d"
"#,
        places::PAUSE_IMAGE
    )
}
