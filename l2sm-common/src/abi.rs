//! Names, capacities and version of what is pinned.
//!
//! `/sys/fs/bpf/l2sm/v<ABI>/maps/<NAME>` and `/sys/fs/bpf/l2sm/links/<ifindex>-<hook>`.

/// Version of the map layouts ([`crate::maps`]). It rises with every change that an older program
/// or agent would misread; maps of different versions live side by side.
pub const ABI: u32 = 2;

/// Ports of one node.
pub const PORTS_CAPACITY: usize = 4_096;
/// Segments of one node.
pub const SEGMENTS_CAPACITY: usize = 4_096;
/// Counter slots of one node: one a segment, and slot 0.
pub const SLOTS_CAPACITY: usize = SEGMENTS_CAPACITY + 1;
/// Known MAC addresses.
pub const FDB_CAPACITY: usize = 262_144;
/// Known IP addresses.
pub const NEIGH_CAPACITY: usize = 262_144;
/// Remote VTEPs.
pub const VTEPS_CAPACITY: usize = 8_192;
/// (segment, remote VTEP) pairs.
pub const MEMBERS_CAPACITY: usize = 65_536;
/// Own VTEP addresses.
pub const LOCALS_CAPACITY: usize = 64;
/// Underlay devices.
pub const UPLINKS_CAPACITY: usize = 64;
/// Chunks of flood lists.
pub const FLOOD_CAPACITY: usize = 16_384;
/// (slot, reason) pairs.
pub const DROPS_CAPACITY: usize = 65_536;
/// Bytes of the ring of drop records: about 1,900 of them.
pub const EVENTS_CAPACITY: usize = 262_144;
/// Numbers of drop reasons lie below this.
pub const REASONS_CAPACITY: usize = 64;

/// Entries in one chunk of a flood list.
pub const FLOOD_CHUNK: usize = 32;
/// Chunks in one flood list at most, so 1,024 entries.
pub const FLOOD_CHUNKS_MAX: usize = 32;
/// Chunks that one run of the flood program copies to. A list is walked twice, for bare and for
/// encapsulated copies, and the kernel allows 33 tail calls (`MAX_TAIL_CALL_CNT`).
pub const FLOOD_CHUNKS_PER_RUN: usize = 2;
const _: () = assert!(2 * FLOOD_CHUNKS_MAX / FLOOD_CHUNKS_PER_RUN <= 33);

/// UDP port where nothing else is said: upstream L2S-M's.
pub const UDP_PORT: u16 = 7000;
/// Bit of `skb->mark` that tells our slow path's packets where nothing else is said.
pub const MARK: u32 = 0x2000;

/// The kernel vxlan device of the slow path.
pub const VXLAN_DEVICE: &str = "l2sm-vxlan";
/// The bridge, never up, that gives the host veths their headroom.
pub const BRIDGE_DEVICE: &str = "l2sm-br";
/// Host ends of veths: this, then 11 hex digits.
pub const VETH_PREFIX: &str = "l2sm";
/// `ifalias` of every device of ours begins so.
pub const ALIAS_PREFIX: &str = "l2sm:";

/// The program on the host end of each pod's veth, tc ingress.
pub const PORT_RX: &str = "l2sm_port_rx";
/// The program on each underlay device, tc ingress.
pub const UPLINK_RX: &str = "l2sm_uplink_rx";
/// The program on each underlay device, tc egress.
pub const UPLINK_TX: &str = "l2sm_uplink_tx";
/// The program on underlay devices that drops before the kernel has an skb, XDP run by the driver.
pub const UPLINK_XDP: &str = "l2sm_uplink_xdp";
/// The same for generic XDP. The kernel keeps 15 bytes of a name, so it has the other's.
pub const UPLINK_XDP_GENERIC: &str = "l2sm_uplink_xdp_generic";
/// The program on `l2sm-vxlan`, tc ingress.
pub const TUNNEL_RX: &str = "l2sm_tunnel_rx";
/// The program that copies a frame along a flood list; reached by tail call only.
pub const FLOOD_TX: &str = "l2sm_flood_tx";

/// Index of [`FLOOD_TX`] in `PROGS`.
pub const PROGS_FLOOD_TX: u32 = 0;
/// Index of [`PORT_RX`] in `PROGS`: a program calls itself again once it has pulled a frame's headers
/// into reach.
pub const PROGS_PORT_RX: u32 = 1;
/// Index of [`UPLINK_RX`] in `PROGS`.
pub const PROGS_UPLINK_RX: u32 = 2;
/// Index of [`TUNNEL_RX`] in `PROGS`.
pub const PROGS_TUNNEL_RX: u32 = 3;
/// Index of [`UPLINK_TX`] in `PROGS`.
pub const PROGS_UPLINK_TX: u32 = 4;
/// Entries of `PROGS`.
pub const PROGS_CAPACITY: usize = 8;
/// Programs that are reached by tail call, with their index in `PROGS`.
pub const PROGS: [(u32, &str); 5] = [
    (PROGS_FLOOD_TX, FLOOD_TX),
    (PROGS_PORT_RX, PORT_RX),
    (PROGS_UPLINK_RX, UPLINK_RX),
    (PROGS_TUNNEL_RX, TUNNEL_RX),
    (PROGS_UPLINK_TX, UPLINK_TX),
];
