//! The objects that the world consists of, checked and complete.

use core::fmt;
use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use l2sm_common::{mac::Mac, vni::Vni};

/// Namespace and name of an object. Prints as `namespace/name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Kubernetes namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// The key of `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// Who of two objects that claim the same thing has it: the older one, then the lower UID.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seniority {
    /// When the object was made, seconds since 1970.
    pub created: i64,
    /// Its UID.
    pub uid: String,
}

/// Who has something that only one can have. Prints as users call it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A network.
    Network(ObjectKey),
    /// An attachment.
    Attachment(ObjectKey),
    /// A node, by name.
    Node(String),
    /// An external VTEP, by name.
    ExternalVtep(String),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(key) | Self::Attachment(key) => key.fmt(f),
            Self::Node(name) => write!(f, "node {name}"),
            Self::ExternalVtep(name) => write!(f, "ExternalVTEP {name}"),
        }
    }
}

/// An `L2Network` that has its VNI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its place among those that claim the same.
    pub seniority: Seniority,
    /// Its number on the wire.
    pub vni: Vni,
    /// `spec.mtu`: largest inner IP packet, bytes; `None`: from the underlay.
    pub mtu: Option<u32>,
    /// `spec.macSpoofCheck`: pods send from their own MAC only.
    pub mac_check: bool,
    /// `spec.flood` is `all`: broadcast and multicast are flooded.
    pub flood: bool,
    /// `spec.learning`.
    pub learning: bool,
}

/// An `L2Attachment` that has its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its place among those that claim the same.
    pub seniority: Seniority,
    /// The network joined.
    pub network: ObjectKey,
    /// The node it is on.
    pub node: String,
    /// Path of the pod's network namespace on the node, where no runtime tells it.
    pub netns: Option<String>,
    /// Inode of that namespace.
    pub netns_inode: u64,
    /// The pod's name, for listings and `ifalias`.
    pub pod: Option<String>,
    /// The pod's UID, as its container runtime knows it.
    pub pod_uid: Option<String>,
    /// Interface name in the pod.
    pub ifname: String,
    /// MAC address.
    pub mac: Mac,
    /// Addresses with their prefix lengths; empty: plain Layer 2.
    pub ips: Vec<IpNet>,
}

/// A node with an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its place among those that claim the same.
    pub seniority: Seniority,
    /// VTEP addresses, preferred first; never empty for a node that takes part.
    pub vteps: Vec<IpAddr>,
    /// MTU of its underlay, bytes.
    pub underlay_mtu: u32,
}

/// A tunnel endpoint that is no agent of ours: a switch, a kernel vxlan device, OVS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalVtep {
    /// Its place among those that claim the same.
    pub seniority: Seniority,
    /// Where it is reached, and what it sends from.
    pub address: IpAddr,
    /// It wants outer UDP checksums.
    pub udp_checksum: bool,
    /// The networks that it takes part in, with the stations known to be behind it there.
    pub networks: BTreeMap<ObjectKey, Vec<ExternalHost>>,
}

/// A station behind an external VTEP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalHost {
    /// MAC address.
    pub mac: Mac,
    /// Its addresses; may be none.
    pub ips: Vec<IpAddr>,
}

/// What an external VTEP is called among the VTEPs of instructions, where nodes go by their names:
/// `ExternalVTEP/<name>`, which no node can be called.
pub fn external_vtep_name(name: &str) -> String {
    format!("ExternalVTEP/{name}")
}
