//! A real Kubernetes in network namespaces: what `cargo xtask cluster` and the cluster tests run.
//!
//! One machine is the control plane (etcd, API server, controllers, scheduler), the others are nodes
//! (containerd, kubelet, kube-proxy). A [`machine`] has namespaces of its own for everything that
//! would clash with another or with this host: network, mounts, processes, host name. So a manifest
//! that names `/etc/cni/net.d` or `/sys/fs/bpf` means the node's, as on a machine of its own.

pub mod certificates;
pub mod cgroups;
pub mod control_plane;
pub mod init;
pub mod lab;
pub mod machine;
pub mod node;
pub mod places;
pub mod programs;
