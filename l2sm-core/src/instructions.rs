//! What the controller tells one node.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use l2sm_common::{ids::Group, mac::Mac, vni::Vni};

use crate::{model::ObjectKey, plan::Plan, world::World};

mod delta;
mod hosts;
pub use self::{
    delta::{apply_delta, delta},
    hosts::{Hosts, SegmentHosts},
};

/// What `node` must know of `world`.
///
/// This is the specification that every quicker way is compared with:
/// - the segments in which the node has a port;
/// - as members of each, the other nodes that have a port in it, all in one split-horizon group
///   ([`Group::MESH`]), and their VTEPs; unknown unicast goes to those where a port's MAC is not
///   checked;
/// - as members too, the external VTEPs that name its network: they get unknown unicast;
/// - as hosts of each, every attachment in it, and the listed hosts of external VTEPs;
/// - as ports, the node's own attachments.
///
/// Left out: an attachment whose network is missing or whose node has no VTEP, and the younger of
/// two that clash ([`crate::conflict`]). A node that the world does not know gets nothing.
pub fn instructions(world: &World, node: &str) -> Instructions {
    Plan::new(world).instructions(node)
}

/// Everything one node must know: the segments with a port on it, who takes part in them, who is
/// where, and the ports to make. A plain value; the same world gives the same instructions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instructions {
    /// Networks with a port on the node.
    pub segments: BTreeMap<Vni, Segment>,
    /// Remote VTEPs of those segments, by name (of the node, or of the external VTEP).
    pub vteps: BTreeMap<String, Vtep>,
    /// Which VTEP takes part in which segment.
    pub members: BTreeMap<(Vni, String), Member>,
    /// Known stations of those segments, local and remote.
    pub hosts: Hosts,
    /// Attachments to make on the node, by their object's key.
    pub ports: BTreeMap<ObjectKey, Port>,
}

/// A network, for one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The user's object.
    pub network: ObjectKey,
    /// Largest inner IP packet, bytes; the same on every node.
    pub mtu: u32,
    /// Broadcast and multicast are flooded.
    pub flood: bool,
    /// MAC addresses are learned.
    pub learning: bool,
}

/// A remote tunnel endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vtep {
    /// Its addresses; the first whose family the node has is used.
    pub addresses: Vec<IpAddr>,
    /// It wants outer UDP checksums.
    pub udp_checksum: bool,
}

/// A remote VTEP's part in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Split-horizon group.
    pub group: Group,
    /// Unlisted stations may be behind it: it gets unknown unicast.
    pub unknown: bool,
    /// No agent of ours.
    pub external: bool,
    /// What it sends is learned.
    pub learn: bool,
}

/// A known station.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Where it is.
    pub place: Place,
    /// Whether it is an IPv6 router, where that is known.
    pub router: Option<bool>,
}

/// Where a station is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a port of this node: the attachment's key.
    Port(ObjectKey),
    /// Behind a remote VTEP: its name.
    Vtep(String),
}

/// An attachment that the node makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Segment.
    pub vni: Vni,
    /// Interface name in the pod.
    pub ifname: String,
    /// Path of the pod's network namespace; `None`: known from the runtime.
    pub netns: Option<String>,
    /// Inode of that namespace; 0: not known.
    pub netns_inode: u64,
    /// The pod's name.
    pub pod: Option<String>,
    /// The pod's UID, as its container runtime knows it.
    pub pod_uid: Option<String>,
    /// MAC address.
    pub mac: Mac,
    /// Addresses with prefix lengths.
    pub addresses: Vec<IpNet>,
    /// MTU of the interface, bytes.
    pub mtu: u32,
    /// Frames from other MACs are dropped.
    pub mac_check: bool,
    /// The pod is known to forward traffic of others.
    pub forwarder: bool,
}

/// The difference between two instructions. Keys in `remove` are in the old and not in the new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// New and changed ones.
    pub put: Instructions,
    /// Keys of those gone.
    pub remove: Removed,
}

/// Keys of instructions that are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Segments.
    pub segments: Vec<Vni>,
    /// VTEPs.
    pub vteps: Vec<String>,
    /// Members.
    pub members: Vec<(Vni, String)>,
    /// Hosts.
    pub hosts: Vec<(Vni, Mac)>,
    /// Ports.
    pub ports: Vec<ObjectKey>,
}

impl Instructions {
    /// How many things they name.
    pub fn len(&self) -> usize {
        self.segments.len()
            + self.vteps.len()
            + self.members.len()
            + self.hosts.len()
            + self.ports.len()
    }

    /// Whether they name nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Removed {
    /// How many keys are gone.
    pub const fn len(&self) -> usize {
        self.segments.len()
            + self.vteps.len()
            + self.members.len()
            + self.hosts.len()
            + self.ports.len()
    }

    /// Whether nothing is gone.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Delta {
    /// How many things change.
    pub fn len(&self) -> usize {
        self.put.len() + self.remove.len()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
