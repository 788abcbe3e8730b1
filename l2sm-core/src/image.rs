//! What the maps, links and programs of one node should hold.

mod build;
mod flood;
mod ids;
mod problem;
mod segment;
mod vteps;

use core::fmt;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use l2sm_common::{
    abi,
    ids::{IfIndex, Ip16},
    mac::Mac,
    maps::{
        ConfigEntry, FdbEntry, FdbKey, FloodChunk, FloodKey, LocalEntry, MemberEntry, MemberKey,
        NeighEntry, NeighKey, PortEntry, SegmentEntry, UplinkEntry, VtepEntry,
    },
};

/// Version of the maps' layout.
pub use l2sm_common::abi::ABI;

pub(crate) use self::segment::InSegment;
pub use self::{
    build::{Drawn, draw, image, keep_forwarder},
    problem::Problem,
};
use crate::model::ObjectKey;

/// The contents of every map that the agent writes, and the hooks that carry programs. Desired and
/// actual state are both one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// `CONFIG`, once written.
    pub config: Option<ConfigEntry>,
    /// `UPLINKS` by ifindex.
    pub uplinks: BTreeMap<u32, UplinkEntry>,
    /// `LOCALS`.
    pub locals: BTreeMap<Ip16, LocalEntry>,
    /// `VTEPS` by id.
    pub vteps: BTreeMap<u32, VtepEntry>,
    /// `SOURCES`: outer source to VTEP id.
    pub sources: BTreeMap<Ip16, u32>,
    /// `FLOOD`.
    pub flood: BTreeMap<FloodKey, FloodChunk>,
    /// `SEGMENTS` by VNI.
    pub segments: BTreeMap<u32, SegmentEntry>,
    /// `MEMBERS`.
    pub members: BTreeMap<MemberKey, MemberEntry>,
    /// `FDB`.
    pub fdb: BTreeMap<FdbKey, FdbEntry>,
    /// `NEIGH`.
    pub neigh: BTreeMap<NeighKey, NeighEntry>,
    /// `PORTS` by ifindex.
    pub ports: BTreeMap<u32, PortEntry>,
    /// Devices with a program of ours, and which.
    pub hooks: BTreeSet<Hook>,
}

/// One of our programs on one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hook {
    /// The device.
    pub device: IfIndex,
    /// The program.
    pub program: Program,
}

/// Programs that are attached to devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// `l2sm_port_rx`, tc ingress of a host veth.
    PortRx,
    /// `l2sm_uplink_rx`, tc ingress of an underlay device.
    UplinkRx,
    /// `l2sm_tunnel_rx`, tc ingress of `l2sm-vxlan`.
    TunnelRx,
    /// `l2sm_uplink_tx`, tc egress of an underlay device.
    UplinkTx,
    /// `l2sm_uplink_xdp`, run by the driver of an underlay device.
    UplinkXdp,
    /// `l2sm_uplink_xdp`, run by the kernel for an underlay device whose driver cannot.
    UplinkXdpGeneric,
}

impl Program {
    /// Every program that is attached to devices.
    pub const ALL: [Self; 6] = [
        Self::PortRx,
        Self::UplinkRx,
        Self::TunnelRx,
        Self::UplinkTx,
        Self::UplinkXdp,
        Self::UplinkXdpGeneric,
    ];

    /// Its name in the object, of which the kernel keeps 15 bytes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PortRx => abi::PORT_RX,
            Self::UplinkRx => abi::UPLINK_RX,
            Self::TunnelRx => abi::TUNNEL_RX,
            Self::UplinkTx => abi::UPLINK_TX,
            Self::UplinkXdp => abi::UPLINK_XDP,
            Self::UplinkXdpGeneric => abi::UPLINK_XDP_GENERIC,
        }
    }

    /// Whether it sees what leaves the device; else what comes in.
    pub const fn is_egress(self) -> bool {
        matches!(self, Self::UplinkTx)
    }

    /// Whether it runs before the kernel has an skb. The node works without, only dearer.
    pub const fn is_xdp(self) -> bool {
        matches!(self, Self::UplinkXdp | Self::UplinkXdpGeneric)
    }

    /// The program of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.name() == name)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on device {}", self.program.name(), self.device.0)
    }
}

/// What the node itself knows: devices, addresses, routes. Observed by the agent over netlink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// Host ends of attachments that exist.
    pub ports: BTreeMap<ObjectKey, LocalPort>,
    /// Underlay devices.
    pub uplinks: BTreeMap<IfIndex, Uplink>,
    /// Own VTEP addresses.
    pub addresses: Vec<IpAddr>,
    /// The ways to remote VTEP addresses, as the kernel routes them now.
    pub paths: BTreeMap<IpAddr, Vec<Path>>,
    /// `l2sm-vxlan`.
    pub vxlan: Option<IfIndex>,
    /// UDP port of tunnels.
    pub udp_port: u16,
    /// Mark bit of the slow path.
    pub mark: u32,
    /// The host drops what is handed up ([`is_avoided`](crate::slow_path::SlowPathWatch::is_avoided)).
    pub slow_path_blocked: bool,
}

/// A port's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalPort {
    /// Host end.
    pub device: IfIndex,
    /// The other end is in another namespace (`bpf_redirect_peer` works).
    pub peer: bool,
}

/// An underlay device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// Its MAC; `None`: not Ethernet.
    pub mac: Option<Mac>,
    /// MTU, bytes.
    pub mtu: u32,
    /// Whether it drops by XDP.
    pub xdp: Xdp,
}

/// Whether an underlay device runs `l2sm_uplink_xdp`, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Xdp {
    /// It does not.
    #[default]
    Off,
    /// By its driver, if that can.
    IfTaken,
    /// By its driver.
    Native,
    /// By the kernel.
    Generic,
}

impl Xdp {
    /// The program to attach.
    pub const fn program(self) -> Option<Program> {
        match self {
            Self::Off => None,
            Self::IfTaken | Self::Native => Some(Program::UplinkXdp),
            Self::Generic => Some(Program::UplinkXdpGeneric),
        }
    }
}

/// One way to a remote address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Device.
    pub device: IfIndex,
    /// Source address that the kernel picks.
    pub source: IpAddr,
    /// Path MTU, bytes.
    pub mtu: u32,
    /// MAC of the device; `None`: not Ethernet.
    pub source_mac: Option<Mac>,
    /// MAC of the next hop; `None`: not resolved.
    pub next_hop: Option<Mac>,
}

#[cfg(test)]
mod redraw_tests;
#[cfg(test)]
mod tests;
