//! The agent's socket: what `l2sm-cni` and `l2smctl` say to the agent of their node.
//!
//! A stream socket (`/run/l2sm/agent.sock`, mode 0600). One request a line, one reply a line, both
//! JSON without line breaks; a connection may carry many. No gRPC: the CNI plugin stays small.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use l2sm_common::reason::DropReason;
use serde::{Deserialize, Serialize};

/// A request: `{"verb": "attach", ...}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Joins a namespace to a network; answered when it is programmed.
    Attach(Attach),
    /// Undoes [`Request::Attach`]. Succeeds when there is nothing to undo.
    Detach(Detach),
    /// The agent's state: [`Status`].
    Status,
    /// What is wrong with an attachment, if anything.
    Check(Check),
    /// Removes the attachments of one CNI configuration that its runtime does not know.
    Gc(Gc),
    /// Attaches a pod to what its annotation names; answered when all of it is programmed. On
    /// Kubernetes alone.
    AttachPod(PodPlug),
    /// What is wrong with the attachments of a pod, if anything.
    CheckPod(PodPlug),
}

/// The namespace `netns` joins `network`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Attach {
    /// Network, in `namespace`.
    pub network: String,
    /// Namespace of the network.
    pub namespace: String,
    /// Path of the network namespace, as the agent sees it.
    pub netns: String,
    /// Interface name; `None`: the first free `netN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ifname: Option<String>,
    /// Wanted addresses, with or without prefix length; empty: the network's choice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// Wanted MAC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Name for listings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The runtime's container id. The attachment is then known by it and its interface name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// Name of the CNI configuration, for [`Gc`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Namespace of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_namespace: Option<String>,
    /// UID of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
}

/// A pod in its sandbox, as the runtime knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodPlug {
    /// The runtime's id of the sandbox.
    pub container_id: String,
    /// Path of its network namespace.
    pub netns: String,
    /// UID of the pod.
    pub pod_uid: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// The pod's annotation `l2sm/networks`, as it is.
    pub networks: String,
}

/// What is written down of each pod when it starts: the file [`pod_record`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodRecord {
    /// Path of its network namespace.
    pub netns: String,
    /// UID.
    pub pod_uid: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub pod: String,
}

/// The directory beside the agent's socket in which the CNI plugin writes down each pod that starts.
pub fn pods_directory(socket: &Path) -> PathBuf {
    socket.parent().unwrap_or(Path::new("")).join("pods")
}

/// The file of a pod in [`pods_directory`]: its sandbox's id. It goes when the sandbox does. Names
/// that begin with a dot are of files in the making.
pub fn pod_record(socket: &Path, container_id: &str) -> PathBuf {
    pods_directory(socket).join(container_id)
}

/// The namespace `netns` leaves `network`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Detach {
    /// Network, in `namespace`; `None`: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Namespace of the network.
    pub namespace: String,
    /// Path of the network namespace; may be empty, or gone, where there is a container id.
    pub netns: String,
    /// Interface name; `None`: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ifname: Option<String>,
    /// The runtime's container id. What another container has is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
}

/// Is the attachment `ifname` of the namespace `netns` whole?
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Check {
    /// Network, in `namespace`.
    pub network: String,
    /// Namespace of the network.
    pub namespace: String,
    /// Path of the network namespace.
    pub netns: String,
    /// Interface name.
    pub ifname: String,
    /// MAC that the runtime was told; `None`: not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Addresses that the runtime was told; empty: not compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
}

/// Of the attachments that were made for the CNI configuration `config`, only `valid` ones stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Gc {
    /// Name of the CNI configuration.
    pub config: String,
    /// What the runtime knows.
    pub valid: Vec<ContainerInterface>,
}

/// An interface of a container, as CNI identifies attachments.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContainerInterface {
    /// The runtime's container id.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// Interface name in the container.
    pub ifname: String,
}

/// The directory beside the agent's socket in which whoever finds no agent leaves its [`Detach`]
/// requests, a JSON file each. The agent does what they say, and removes them.
pub fn releases_directory(socket: &Path) -> PathBuf {
    socket.parent().unwrap_or(Path::new("")).join("releases")
}

/// The file of an attachment in [`releases_directory`].
pub fn release_note(socket: &Path, of: &ContainerInterface) -> PathBuf {
    releases_directory(socket).join(format!("{}-{}.json", of.container_id, of.ifname))
}

/// A reply: `{"ok": ...}` or `{"error": ...}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// Done.
    Ok(Answer),
    /// Not done, and nothing left behind.
    Error(Fault),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Of [`Request::Attach`].
    Attached(Attached),
    /// Of [`Request::Detach`]: names of the interfaces removed.
    Detached(Vec<String>),
    /// Of [`Request::Status`].
    Status(Status),
    /// Of [`Request::Check`] and [`Request::CheckPod`]: what is wrong, one line each; empty: nothing.
    Checked(Vec<String>),
    /// Of [`Request::Gc`]: what was removed.
    Collected(Vec<ContainerInterface>),
    /// Of [`Request::AttachPod`].
    PodAttached(Vec<Attached>),
}

/// What an attachment got. `l2smctl attach -o json` prints just this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Interface name in the namespace.
    pub ifname: String,
    /// MAC address.
    pub mac: String,
    /// Addresses with prefix length.
    pub ips: Vec<String>,
    /// Segment.
    pub vni: u32,
    /// MTU, bytes.
    pub mtu: u32,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// CNI error code (CNI 1.1 "Error": 4 invalid environment, 7 invalid configuration, 11 try
    /// again later, 100 and up ours).
    pub code: u32,
    /// One line: what, and after a colon why.
    pub message: String,
}

/// The agent's state, for `l2smctl status` on a node and for `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Name of the node.
    pub node: String,
    /// Version of the agent.
    pub version: String,
    /// Own VTEP addresses.
    pub vteps: Vec<IpAddr>,
    /// UDP port of tunnels.
    pub udp_port: u16,
    /// Underlay devices.
    pub uplinks: Vec<String>,
    /// URL of the controller followed now; `None`: none.
    pub controller: Option<String>,
    /// Number of the revision in the kernel.
    pub revision: u64,
    /// Objects that could not be programmed.
    pub errors: Vec<String>,
    /// Networks with a port here, and their counters.
    pub networks: Vec<NetworkStatus>,
    /// Frames dropped, by network and reason.
    pub drops: Vec<Drops>,
    /// Features in use.
    pub features: Vec<String>,
}

/// One network on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// `namespace/name`.
    pub network: String,
    /// Segment.
    pub vni: u32,
    /// Ports here.
    pub ports: u32,
    /// Remote VTEPs in it.
    pub vteps: u32,
    /// Packets from pods, to pods, from VTEPs, to VTEPs, and of the last two by the slow path.
    pub from_port: u64,
    /// See `from_port`.
    pub to_port: u64,
    /// See `from_port`.
    pub from_vtep: u64,
    /// See `from_port`.
    pub to_vtep: u64,
    /// Of `to_vtep`.
    pub slow_sent: u64,
    /// Of `from_vtep`.
    pub slow_received: u64,
}

/// Frames dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drops {
    /// `namespace/name`; empty: no network known.
    pub network: String,
    /// [`DropReason::label`].
    pub reason: String,
    /// Packets.
    pub packets: u64,
}

impl Drops {
    /// What the reason means, in one sentence; `None` for one that only a newer version knows.
    pub fn help(&self) -> Option<&'static str> {
        DropReason::ALL
            .iter()
            .find(|reason| reason.label() == self.reason)
            .map(|known| known.help())
    }
}
