//! Keys and values of the BPF maps, laid out for both sides.
//!
//! Rules: `#[repr(C)]`, explicit padding that is always zero (a hash map compares padding too),
//! integers in host order, addresses as byte arrays in network order, every bit pattern valid, size
//! and alignment pinned by a `const` assertion. A change here is a change of [`crate::abi::ABI`].

use crate::{
    abi::FLOOD_CHUNK,
    ids::{FloodId, Group, IfIndex, Ip16, Slot, VtepId},
    mac::Mac,
    vni::Vni,
};

/// Declares a map key or value: asserts its size and alignment, and makes it plain data for aya.
macro_rules! map_type {
    ($type:ty, size $size:literal, align $align:literal) => {
        const _: () = assert!(size_of::<$type>() == $size && align_of::<$type>() == $align);
        // SAFETY: `repr(C)`, `Copy`, no implicit padding (the size asserted above is the sum of the
        // fields), and every bit pattern is a valid value of every field.
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $type {}
    };
}
pub(crate) use map_type;

/// Value of `PORTS` (key: ifindex of the host end, `u32`): one pod's plug into a segment.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortEntry {
    /// Segment.
    pub vni: u32,
    /// Bits of [`port_flags`].
    pub flags: u32,
    /// Counters of the port's network.
    pub slot: u32,
    /// The pod's own IPv4 address, network order; zero: none, or not known.
    pub ipv4: [u8; 4],
    /// The pod's own IPv6 address, network order; zero: none, or not known.
    pub ipv6: [u8; 16],
    /// The pod's MAC address.
    pub mac: [u8; 6],
    /// Split-horizon group.
    pub group: u16,
}
map_type!(PortEntry, size 40, align 4);

/// Bits of [`PortEntry::flags`].
pub mod port_flags {
    /// Frames from another source MAC than the port's are dropped.
    pub const MAC_CHECK: u32 = 1 << 0;
    /// Deliver with `bpf_redirect_peer` where the frame's family allows: the other end of the veth
    /// is in another namespace.
    pub const PEER: u32 = 1 << 1;
    /// The pod forwards: aggregated TCP for it is decapsulated by the kernel, which cleans its GSO
    /// state. Set by the agent, or by `l2sm_port_rx` at the first frame that is not the pod's own;
    /// never cleared while attached.
    pub const FORWARDER: u32 = 1 << 2;
}

/// Value of `SEGMENTS` (key: VNI, `u32`): one network on this node.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEntry {
    /// Flood list, half of the key of `FLOOD`; zero: none.
    pub flood_id: u32,
    /// Bits of [`segment_flags`].
    pub flags: u32,
    /// Index into `TRAFFIC`.
    pub slot: u32,
    /// Largest inner IP packet, bytes.
    pub mtu: u32,
}
map_type!(SegmentEntry, size 16, align 4);

/// Bits of [`SegmentEntry::flags`].
pub mod segment_flags {
    /// Broadcast and multicast are flooded (`flood: all`).
    pub const FLOOD: u32 = 1 << 0;
    /// Some entry of the flood list has [`flood_flags::UNKNOWN`](super::flood_flags::UNKNOWN).
    pub const UNKNOWN: u32 = 1 << 1;
}

/// Key of `FDB`: one MAC address in one segment.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FdbKey {
    /// Segment.
    pub vni: u32,
    /// MAC address.
    pub mac: [u8; 6],
    /// Zero.
    pub pad: [u8; 2],
}
map_type!(FdbKey, size 12, align 4);

/// Value of `FDB`: where a MAC address is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdbEntry {
    /// [`target_kind`].
    pub kind: u8,
    /// Bits of [`port_flags`] that delivery needs (only `PEER`), for a port.
    pub flags: u8,
    /// Split-horizon group of the target.
    pub group: u16,
    /// ifindex of a port, or id of a VTEP.
    pub target: u32,
}
map_type!(FdbEntry, size 8, align 4);

/// What [`FdbEntry::target`] and [`FloodEntry::target`] are.
pub mod target_kind {
    /// Unused; what zeroed memory says.
    pub const NONE: u8 = 0;
    /// A port of this node, by ifindex.
    pub const PORT: u8 = 1;
    /// A remote VTEP, by its id in `VTEPS`.
    pub const VTEP: u8 = 2;
}

/// Key of `NEIGH`: one IP address in one segment.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NeighKey {
    /// Segment.
    pub vni: u32,
    /// Address; IPv4 mapped.
    pub ip: Ip16,
}
map_type!(NeighKey, size 20, align 4);

/// Value of `NEIGH`: who has the address.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighEntry {
    /// Owner's MAC address.
    pub mac: [u8; 6],
    /// Bits of [`neigh_flags`].
    pub flags: u16,
}
map_type!(NeighEntry, size 8, align 2);

/// Bits of [`NeighEntry::flags`].
pub mod neigh_flags {
    /// Whether the owner is an IPv6 router is known.
    pub const ROLE_KNOWN: u16 = 1 << 0;
    /// The owner is an IPv6 router (the R flag of its neighbour advertisements).
    pub const ROUTER: u16 = 1 << 1;
}

/// Outer header bytes kept ready: Ethernet 14 + IPv6 40 + UDP 8 + VXLAN 8 = 70, rounded up. An IPv4
/// header takes the first 50.
pub const HEADER_CAPACITY: usize = 72;
/// Paths to one VTEP at most.
pub const PATHS_MAX: usize = 4;

/// Value of `VTEPS` (key: VTEP id, `u32`): a remote tunnel endpoint and the ways to it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VtepEntry {
    /// Bits of [`vtep_flags`].
    pub flags: u32,
    /// Used entries of `paths`, a power of two or fewer; zero: slow path only.
    pub n_paths: u32,
    /// Its address; IPv4 mapped.
    pub remote: Ip16,
    /// Our address towards it, same family; zero: the kernel chooses.
    pub local: Ip16,
    /// The ways to it; a frame takes the one that its flow hash picks.
    pub paths: [PathEntry; PATHS_MAX],
}
map_type!(VtepEntry, size 376, align 4);

/// Bits of [`VtepEntry::flags`].
pub mod vtep_flags {
    /// The outer header is IPv6.
    pub const IPV6: u32 = 1 << 0;
    /// It wants outer UDP checksums: always the slow path.
    pub const CHECKSUM: u32 = 1 << 1;
}

/// One way to a VTEP, with its outer header ready.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathEntry {
    /// Underlay device.
    pub ifindex: u32,
    /// Path MTU: the largest outer IP packet, bytes.
    pub mtu: u32,
    /// [`path_state`].
    pub state: u32,
    /// Ethernet, IP, UDP and VXLAN headers; see [`crate::encap`] for what is patched in.
    pub header: [u8; HEADER_CAPACITY],
}
map_type!(PathEntry, size 84, align 4);

/// Values of [`PathEntry::state`].
pub mod path_state {
    /// Next hop not known: the slow path, whose kernel resolves it.
    pub const UNRESOLVED: u32 = 0;
    /// `header` is complete and the device is Ethernet.
    pub const RESOLVED: u32 = 1;
}

/// Key of `MEMBERS`: a remote VTEP that may send into a segment.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberKey {
    /// Segment.
    pub vni: u32,
    /// Outer source address; IPv4 mapped.
    pub source: Ip16,
}
map_type!(MemberKey, size 20, align 4);

/// Value of `MEMBERS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberEntry {
    /// Its id in `VTEPS`.
    pub vtep: u32,
    /// Split-horizon group of what it sends.
    pub group: u16,
    /// Bits of [`member_flags`].
    pub flags: u16,
    /// Counters of the segment: without it each packet would look its segment up too.
    pub slot: u32,
}
map_type!(MemberEntry, size 12, align 4);

/// Bits of [`MemberEntry::flags`].
pub mod member_flags {
    /// No agent of ours: source MACs that `FDB` holds elsewhere are dropped.
    pub const EXTERNAL: u16 = 1 << 0;
    /// Source MACs are learned.
    pub const LEARN: u16 = 1 << 1;
}

/// Value of `LOCALS` (key: own VTEP address, 16 bytes).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalEntry {
    /// No bits yet.
    pub flags: u32,
}
map_type!(LocalEntry, size 4, align 4);

/// Value of `UPLINKS` (key: ifindex, `u32`): an underlay device.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkEntry {
    /// Length of its link-layer header, bytes: 14 on Ethernet, 0 on a tunnel device.
    pub l2_len: u32,
    /// No bits yet.
    pub flags: u32,
    /// Its MAC address, which a frame for this host has as destination; zero: not Ethernet.
    pub mac: [u8; 6],
    /// Zero.
    pub pad: [u8; 2],
}
map_type!(UplinkEntry, size 16, align 4);

/// Key of `FLOOD`: one chunk of a flood list.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FloodKey {
    /// The list.
    pub flood_id: u32,
    /// The chunk, from zero.
    pub chunk: u32,
}
map_type!(FloodKey, size 8, align 4);

/// Value of `FLOOD`: up to [`FLOOD_CHUNK`] receivers of a copy.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloodChunk {
    /// Used entries.
    pub count: u32,
    /// Non-zero: another chunk follows.
    pub more: u32,
    /// The receivers, ports before VTEPs.
    pub entries: [FloodEntry; FLOOD_CHUNK],
}
map_type!(FloodChunk, size 264, align 4);

/// One receiver of a copy.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FloodEntry {
    /// [`target_kind`].
    pub kind: u8,
    /// Bits of [`flood_flags`].
    pub flags: u8,
    /// Split-horizon group.
    pub group: u16,
    /// ifindex of a port, or id of a VTEP.
    pub target: u32,
}
map_type!(FloodEntry, size 8, align 4);

/// Bits of [`FloodEntry::flags`].
pub mod flood_flags {
    /// Stations that nobody listed may be behind it: it gets unknown unicast too.
    pub const UNKNOWN: u8 = 1 << 0;
}

/// Key of `DROPS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DropKey {
    /// The network's slot; 0 where no network is known.
    pub slot: u32,
    /// [`crate::reason::DropReason`] as a number.
    pub reason: u32,
}
map_type!(DropKey, size 8, align 4);

/// Packets and their bytes. An aggregated frame counts as its segments.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets: `max(gso_segs, 1)` for each frame.
    pub packets: u64,
    /// Bytes of inner frames, from the Ethernet header on.
    pub bytes: u64,
}
map_type!(Tally, size 16, align 8);

/// Value of `TRAFFIC` (key: slot, `u32`), per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Received from pods of this node.
    pub from_port: Tally,
    /// Delivered to pods of this node, flood copies included.
    pub to_port: Tally,
    /// Received from VTEPs and accepted, fast and slow path.
    pub from_vtep: Tally,
    /// Sent to VTEPs, fast and slow path, flood copies included.
    pub to_vtep: Tally,
    /// Of `to_vtep`: sent by the slow path.
    pub slow_sent: Tally,
    /// Tunnel packets that `l2sm_uplink_rx` handed up to `l2sm-vxlan`.
    pub slow_handed_up: Tally,
    /// Of those, frames that `l2sm_tunnel_rx` saw come back.
    pub slow_received: Tally,
    /// ARP requests and neighbour solicitations answered on this node.
    pub answered: Tally,
}
map_type!(Traffic, size 128, align 8);

/// Value of `CONFIG` (one entry, key 0).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// [`crate::abi::ABI`].
    pub abi: u32,
    /// UDP port of our tunnels, host order.
    pub port: u32,
    /// Bit of `skb->mark` of our slow path.
    pub mark: u32,
    /// ifindex of `l2sm-vxlan`.
    pub vxlan_ifindex: u32,
    /// Bits of [`config_flags`].
    pub flags: u32,
    /// The first of `LOCALS`; zero: none.
    pub local: Ip16,
}
map_type!(ConfigEntry, size 36, align 4);

/// Bits of [`ConfigEntry::flags`].
pub mod config_flags {
    /// The host drops what is handed up: aggregated TCP is decapsulated in BPF everywhere.
    pub const SLOW_PATH_BLOCKED: u32 = 1 << 0;
    /// Every underlay device's frames begin with an Ethernet header.
    pub const ETHERNET: u32 = 1 << 1;
}

impl UplinkEntry {
    /// A device with this MAC address; `None`: it is not Ethernet.
    pub const fn new(mac: Option<Mac>) -> Self {
        match mac {
            Some(Mac(mac)) => Self { l2_len: ETHERNET_LEN, flags: 0, mac, pad: [0; 2] },
            None => Self { l2_len: 0, flags: 0, mac: [0; 6], pad: [0; 2] },
        }
    }
}

/// Length of an Ethernet header without tags, bytes.
const ETHERNET_LEN: u32 = 14;

impl FdbKey {
    /// The key of `mac` in `vni`.
    #[inline(always)]
    pub const fn new(vni: Vni, mac: Mac) -> Self {
        Self { vni: vni.get(), mac: mac.0, pad: [0; 2] }
    }
}

impl FdbEntry {
    /// A port of this node. `peer`: see [`port_flags::PEER`].
    pub const fn port(port: IfIndex, group: Group, peer: bool) -> Self {
        let flags = if peer { PEER_BIT } else { 0 };
        Self { kind: target_kind::PORT, flags, group: group.0, target: port.0 }
    }

    /// A station behind a remote VTEP.
    pub const fn vtep(vtep: VtepId, group: Group) -> Self {
        Self { kind: target_kind::VTEP, flags: 0, group: group.0, target: vtep.0 }
    }
}

/// [`port_flags::PEER`] in the byte of [`FdbEntry::flags`].
const PEER_BIT: u8 = 1 << 1;
const _: () = assert!(port_flags::PEER == 1 << 1);

impl NeighKey {
    /// The key of `ip` in `vni`.
    #[inline(always)]
    pub const fn new(vni: Vni, ip: Ip16) -> Self {
        Self { vni: vni.get(), ip }
    }
}

impl MemberKey {
    /// The key of what `source` sends into `vni`.
    #[inline(always)]
    pub const fn new(vni: Vni, source: Ip16) -> Self {
        Self { vni: vni.get(), source }
    }
}

impl FloodKey {
    /// The key of one chunk of a list.
    #[inline(always)]
    pub const fn new(list: FloodId, chunk: u32) -> Self {
        Self { flood_id: list.0, chunk }
    }
}

impl DropKey {
    /// The key of one reason in one slot.
    #[inline(always)]
    pub const fn new(slot: Slot, reason: crate::reason::DropReason) -> Self {
        Self { slot: slot.0, reason: reason.number() }
    }
}
