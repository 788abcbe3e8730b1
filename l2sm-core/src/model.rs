//! The objects that the world consists of, checked and complete.

use core::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use l2sm_common::{mac::Mac, vni::Vni};

/// Namespace and name of an object. Prints as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// An `L2Network` that has its VNI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
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
    /// VTEP addresses, preferred first; never empty for a node that takes part.
    pub vteps: Vec<IpAddr>,
    /// MTU of its underlay, bytes.
    pub underlay_mtu: u32,
}
