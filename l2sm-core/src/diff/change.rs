//! One change of one map entry or hook.

use core::fmt;

use l2sm_common::{
    ids::{Ip16, ip_from_16},
    mac::Mac,
    maps::{
        ConfigEntry, FdbEntry, FdbKey, FloodChunk, FloodKey, LocalEntry, MemberEntry, MemberKey,
        NeighEntry, NeighKey, PortEntry, SegmentEntry, UplinkEntry, VtepEntry, target_kind,
    },
};

use crate::image::{Hook, Image};

/// One step from an image to another. Each is one system call for whoever applies it, so it happens
/// whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes `CONFIG`.
    PutConfig(ConfigEntry),
    /// Clears `CONFIG` (an array: its entry stays, zeroed).
    ClearConfig,
    /// Writes an underlay device.
    PutUplink(u32, UplinkEntry),
    /// Removes an underlay device.
    DeleteUplink(u32),
    /// Writes an own address.
    PutLocal(Ip16, LocalEntry),
    /// Removes an own address.
    DeleteLocal(Ip16),
    /// Writes a VTEP, by id.
    PutVtep(u32, Box<VtepEntry>),
    /// Removes a VTEP.
    DeleteVtep(u32),
    /// Writes an outer source address: whose it is.
    PutSource(Ip16, u32),
    /// Removes an outer source address.
    DeleteSource(Ip16),
    /// Writes one chunk of a flood list.
    PutFlood(FloodKey, Box<FloodChunk>),
    /// Removes one chunk of a flood list. See [`Change::retires_flood_list`].
    DeleteFlood(FloodKey),
    /// Writes a segment, by VNI.
    PutSegment(u32, SegmentEntry),
    /// Removes a segment.
    DeleteSegment(u32),
    /// Writes a VTEP's part in a segment.
    PutMember(MemberKey, MemberEntry),
    /// Removes a VTEP's part in a segment.
    DeleteMember(MemberKey),
    /// Writes where a MAC address is.
    PutFdb(FdbKey, FdbEntry),
    /// Removes a MAC address.
    DeleteFdb(FdbKey),
    /// Writes who has an IP address.
    PutNeigh(NeighKey, NeighEntry),
    /// Removes an IP address.
    DeleteNeigh(NeighKey),
    /// Writes a port, by ifindex.
    PutPort(u32, PortEntry),
    /// Removes a port.
    DeletePort(u32),
    /// Attaches a program to a device.
    Attach(Hook),
    /// Detaches a program from a device.
    Detach(Hook),
}

impl Change {
    /// The flood list that this removes a chunk of. A frame may be on its way along the list when
    /// `SEGMENTS` already names another one: whoever applies the plan waits before this.
    pub const fn retires_flood_list(&self) -> Option<u32> {
        if let Self::DeleteFlood(key) = self { Some(key.flood_id) } else { None }
    }

    /// The map that this changes; `None` for attaching and detaching.
    pub const fn map(&self) -> Option<&'static str> {
        match self {
            Self::PutConfig(_) | Self::ClearConfig => Some("CONFIG"),
            Self::PutUplink(..) | Self::DeleteUplink(_) => Some("UPLINKS"),
            Self::PutLocal(..) | Self::DeleteLocal(_) => Some("LOCALS"),
            Self::PutVtep(..) | Self::DeleteVtep(_) => Some("VTEPS"),
            Self::PutSource(..) | Self::DeleteSource(_) => Some("SOURCES"),
            Self::PutFlood(..) | Self::DeleteFlood(_) => Some("FLOOD"),
            Self::PutSegment(..) | Self::DeleteSegment(_) => Some("SEGMENTS"),
            Self::PutMember(..) | Self::DeleteMember(_) => Some("MEMBERS"),
            Self::PutFdb(..) | Self::DeleteFdb(_) => Some("FDB"),
            Self::PutNeigh(..) | Self::DeleteNeigh(_) => Some("NEIGH"),
            Self::PutPort(..) | Self::DeletePort(_) => Some("PORTS"),
            Self::Attach(_) | Self::Detach(_) => None,
        }
    }

    /// The VNI of the network that this concerns, where it concerns just one. `before`: the image
    /// that the change is applied to (a port's VNI is in its value, which a removal does not carry).
    pub fn vni(&self, before: &Image) -> Option<u32> {
        match self {
            Self::PutSegment(vni, _) | Self::DeleteSegment(vni) => Some(*vni),
            Self::PutMember(key, _) | Self::DeleteMember(key) => Some(key.vni),
            Self::PutFdb(key, _) | Self::DeleteFdb(key) => Some(key.vni),
            Self::PutNeigh(key, _) | Self::DeleteNeigh(key) => Some(key.vni),
            Self::PutPort(_, port) => Some(port.vni),
            Self::DeletePort(device) => before.ports.get(device).map(|port| port.vni),
            Self::PutConfig(_)
            | Self::ClearConfig
            | Self::PutUplink(..)
            | Self::DeleteUplink(_)
            | Self::PutLocal(..)
            | Self::DeleteLocal(_)
            | Self::PutVtep(..)
            | Self::DeleteVtep(_)
            | Self::PutSource(..)
            | Self::DeleteSource(_)
            | Self::PutFlood(..)
            | Self::DeleteFlood(_)
            | Self::Attach(_)
            | Self::Detach(_) => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutConfig(config) => write!(
                f,
                "put CONFIG udp port {}, mark {:#x}, l2sm-vxlan {}, flags {:#x}",
                config.port, config.mark, config.vxlan_ifindex, config.flags
            ),
            Self::ClearConfig => f.write_str("clear CONFIG"),
            Self::PutUplink(device, uplink) => {
                let (length, mac) = (uplink.l2_len, Mac(uplink.mac));
                write!(f, "put UPLINKS device {device}: link-layer header {length}, {mac}")
            }
            Self::DeleteUplink(device) => write!(f, "delete UPLINKS device {device}"),
            Self::PutLocal(address, _) => write!(f, "put LOCALS {}", ip_from_16(*address)),
            Self::DeleteLocal(address) => write!(f, "delete LOCALS {}", ip_from_16(*address)),
            Self::PutVtep(id, vtep) => {
                let remote = ip_from_16(vtep.remote);
                write!(f, "put VTEPS {id}: {remote}, paths {}", vtep.n_paths)
            }
            Self::DeleteVtep(id) => write!(f, "delete VTEPS {id}"),
            Self::PutSource(address, vtep) => {
                write!(f, "put SOURCES {}: vtep {vtep}", ip_from_16(*address))
            }
            Self::DeleteSource(address) => write!(f, "delete SOURCES {}", ip_from_16(*address)),
            Self::PutFlood(key, chunk) => {
                write!(f, "put FLOOD {}: receivers {}", FloodName(key), chunk.count)
            }
            Self::DeleteFlood(key) => write!(f, "delete FLOOD {}", FloodName(key)),
            Self::PutSegment(vni, segment) => write!(
                f,
                "put SEGMENTS vni {vni}: flood list {}, slot {}, mtu {}",
                segment.flood_id, segment.slot, segment.mtu
            ),
            Self::DeleteSegment(vni) => write!(f, "delete SEGMENTS vni {vni}"),
            Self::PutMember(key, MemberEntry { vtep, group, .. }) => {
                write!(f, "put MEMBERS {}: vtep {vtep}, group {group}", MemberName(key))
            }
            Self::DeleteMember(key) => write!(f, "delete MEMBERS {}", MemberName(key)),
            Self::PutFdb(key, entry) => {
                let kind = if entry.kind == target_kind::PORT { "port" } else { "vtep" };
                write!(f, "put FDB {}: {kind} {}", FdbName(key), entry.target)
            }
            Self::DeleteFdb(key) => write!(f, "delete FDB {}", FdbName(key)),
            Self::PutNeigh(key, entry) => {
                write!(f, "put NEIGH {}: {}", NeighName(key), Mac(entry.mac))
            }
            Self::DeleteNeigh(key) => write!(f, "delete NEIGH {}", NeighName(key)),
            Self::PutPort(device, port) => {
                write!(f, "put PORTS device {device}: vni {}, {}", port.vni, Mac(port.mac))
            }
            Self::DeletePort(device) => write!(f, "delete PORTS device {device}"),
            Self::Attach(hook) => write!(f, "attach {hook}"),
            Self::Detach(hook) => write!(f, "detach {hook}"),
        }
    }
}

/// Prints the key of `FLOOD`.
struct FloodName<'a>(&'a FloodKey);

impl fmt::Display for FloodName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "list {} chunk {}", self.0.flood_id, self.0.chunk)
    }
}

/// Prints the key of `MEMBERS`.
struct MemberName<'a>(&'a MemberKey);

impl fmt::Display for MemberName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vni {} {}", self.0.vni, ip_from_16(self.0.source))
    }
}

/// Prints the key of `FDB`.
struct FdbName<'a>(&'a FdbKey);

impl fmt::Display for FdbName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vni {} {}", self.0.vni, Mac(self.0.mac))
    }
}

/// Prints the key of `NEIGH`.
struct NeighName<'a>(&'a NeighKey);

impl fmt::Display for NeighName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vni {} {}", self.0.vni, ip_from_16(self.0.ip))
    }
}
