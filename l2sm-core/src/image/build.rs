//! The image of one node, from what it is told and what it sees.

mod hosts;
mod receivers;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use l2sm_common::{
    abi,
    ids::{Group, VtepId, ip16},
    maps::{
        ConfigEntry, LocalEntry, MemberEntry, MemberKey, PortEntry, SegmentEntry, UplinkEntry,
        config_flags, member_flags, port_flags, segment_flags,
    },
    vni::Vni,
};

use super::{Hook, Image, Local, LocalPort, Problem, Program, ids::Slots, vteps};
use crate::instructions::{Instructions, Member, Port, Segment};

/// What the maps and hooks of this node should hold, and what had to be left out of it.
///
/// `previous` is what they hold now. It decides numbers only: a VTEP (by remote address), an
/// unchanged flood list and a segment's counter slot keep theirs, and no number that `previous`
/// holds is given to something else. A port that was seen to forward stays a forwarder, and so do
/// the other ports of its pod.
///
/// What waits for something is left out: ports without a device, stations at such a port, stations
/// and members behind a VTEP that is not there.
pub fn image(
    instructions: &Instructions,
    local: &Local,
    previous: &Image,
) -> (Image, Vec<Problem>) {
    let drawn = draw(Drawn::default(), instructions, local, previous);
    (drawn.image, drawn.problems)
}

/// An image, and what it follows from.
#[derive(Clone, Debug, Default)]
pub struct Drawn {
    /// What the maps and hooks should hold.
    pub image: Image,
    /// What had to be left out of it.
    pub problems: Vec<Problem>,
    /// VNIs of the segments whose stations are not as they were in the image before.
    pub redrawn: BTreeSet<u32>,
    /// What the stations of each segment were written from.
    segments: BTreeMap<Vni, hosts::Written>,
}

/// [`image`], in less time where much is as it was: the stations of a segment are written again only
/// where they, their VTEPs or their ports are others than `before`.
pub fn draw(before: Drawn, instructions: &Instructions, local: &Local, previous: &Image) -> Drawn {
    let Image { fdb, neigh, .. } = before.image;
    let mut image = Image { fdb, neigh, ..Image::default() };
    let mut problems = Vec::new();
    write_node(local, &mut image);
    let vteps = vteps::write_vteps(instructions, local, previous, &mut image, &mut problems);
    let mut builder = Builder { instructions, local, previous, vteps, image, problems };
    builder.write_segments();
    builder.write_ports();
    builder.write_members();
    let (segments, redrawn) = builder.write_hosts(before.segments);
    builder.write_flood();
    Drawn { image: builder.image, problems: builder.problems, redrawn, segments }
}

/// `port`, with the FORWARDER bit of `before` when both are the same port (segment and MAC; the
/// device is the key). The bit is set by the programs too, and never cleared while attached.
pub fn keep_forwarder(port: PortEntry, before: &PortEntry) -> PortEntry {
    let same = (before.vni, before.mac) == (port.vni, port.mac);
    let kept = if same { before.flags & port_flags::FORWARDER } else { 0 };
    PortEntry { flags: port.flags | kept, ..port }
}

/// Writes what does not depend on instructions.
fn write_node(local: &Local, image: &mut Image) {
    image.config = Some(ConfigEntry {
        abi: abi::ABI,
        port: u32::from(local.udp_port),
        mark: local.mark,
        vxlan_ifindex: local.vxlan.map_or(0, |device| device.0),
        flags: config_flags(local),
        local: local.addresses.first().map_or([0; 16], |address| ip16(*address)),
    });
    for (device, uplink) in &local.uplinks {
        image.uplinks.insert(device.0, UplinkEntry::new(uplink.mac));
        image.hooks.insert(Hook { device: *device, program: Program::UplinkRx });
        image.hooks.insert(Hook { device: *device, program: Program::UplinkTx });
        // What is no Ethernet has no destination to tell whose a frame is.
        if let Some(program) = uplink.mac.and(uplink.xdp.program()) {
            image.hooks.insert(Hook { device: *device, program });
        }
    }
    for address in &local.addresses {
        image.locals.insert(ip16(*address), LocalEntry { flags: 0 });
    }
    if let Some(device) = local.vxlan {
        image.hooks.insert(Hook { device, program: Program::TunnelRx });
    }
}

/// The bits of `CONFIG`.
fn config_flags(local: &Local) -> u32 {
    let blocked = if local.slow_path_blocked { config_flags::SLOW_PATH_BLOCKED } else { 0 };
    let ethernet = local.uplinks.values().all(|uplink| uplink.mac.is_some());
    blocked | if ethernet { config_flags::ETHERNET } else { 0 }
}

/// An image in the making.
struct Builder<'a> {
    instructions: &'a Instructions,
    local: &'a Local,
    previous: &'a Image,
    /// VTEPs that can be sent to, by name.
    vteps: BTreeMap<&'a str, VtepId>,
    image: Image,
    problems: Vec<Problem>,
}

impl<'a> Builder<'a> {
    /// Writes `SEGMENTS`, flood lists to follow.
    fn write_segments(&mut self) {
        let mut slots = Slots::read(self.previous);
        for (vni, segment) in &self.instructions.segments {
            let slot = slots.slot(vni.get()).unwrap_or_else(|| {
                let network = segment.network.clone();
                self.problems.push(Problem::NoSlot { network, vni: *vni });
                0
            });
            let flags = if segment.flood { segment_flags::FLOOD } else { 0 };
            let entry = SegmentEntry { flood_id: 0, flags, slot, mtu: segment.mtu };
            self.image.segments.insert(vni.get(), entry);
        }
    }

    /// The ports whose device and segment are there.
    fn ports(&self) -> impl Iterator<Item = (&'a Port, LocalPort, &'a Segment)> + use<'a> {
        let Self { instructions, local, .. } = *self;
        instructions.ports.iter().filter_map(|(key, port)| {
            let segment = instructions.segments.get(&port.vni)?;
            Some((port, *local.ports.get(key)?, segment))
        })
    }

    /// Writes `PORTS` and their hooks.
    fn write_ports(&mut self) {
        let forwarders = self.forwarders();
        for (port, LocalPort { device, peer }, _) in self.ports() {
            let mut flags = 0;
            let mut set = |bit: u32, on: bool| flags |= if on { bit } else { 0 };
            set(port_flags::MAC_CHECK, port.mac_check);
            set(port_flags::PEER, peer);
            set(port_flags::FORWARDER, forwarders.contains(&device.0));
            let slot = self.image.segments.get(&port.vni.get()).map_or(0, |entry| entry.slot);
            let entry = PortEntry {
                vni: port.vni.get(),
                flags,
                slot,
                ipv4: first(&port.addresses, ipv4),
                ipv6: first(&port.addresses, ipv6),
                mac: port.mac.0,
                group: Group::PORTS.0,
            };
            self.image.ports.insert(device.0, entry);
            self.image.hooks.insert(Hook { device, program: Program::PortRx });
        }
    }

    /// Devices of the ports that forward: said to, or free to send from other addresses, or seen
    /// doing it; and the other ports of such a pod.
    fn forwarders(&self) -> BTreeSet<u32> {
        let forwards = |port: &Port, device: u32, segment: &Segment| {
            port.forwarder || !port.mac_check || segment.learning || self.was_seen(port, device)
        };
        let pods: BTreeSet<u64> = self
            .ports()
            .filter(|(port, LocalPort { device, .. }, segment)| forwards(port, device.0, segment))
            .map(|(port, ..)| port.netns_inode)
            .filter(|inode| *inode != 0)
            .collect();
        self.ports()
            .filter(|(port, LocalPort { device, .. }, segment)| {
                pods.contains(&port.netns_inode) || forwards(port, device.0, segment)
            })
            .map(|(_, LocalPort { device, .. }, _)| device.0)
            .collect()
    }

    /// Whether the same port was a forwarder in the previous image.
    fn was_seen(&self, port: &Port, device: u32) -> bool {
        self.previous.ports.get(&device).is_some_and(|before| {
            before.vni == port.vni.get()
                && before.mac == port.mac.0
                && before.flags & port_flags::FORWARDER != 0
        })
    }

    /// The members whose VTEP and segment are there.
    fn members(&self) -> impl Iterator<Item = (Vni, &'a str, VtepId, Member)> {
        self.instructions.members.iter().filter_map(|((vni, name), member)| {
            self.instructions.segments.get(vni)?;
            Some((*vni, name.as_str(), *self.vteps.get(name.as_str())?, *member))
        })
    }

    /// Writes `MEMBERS`, for every address that a VTEP may send from.
    fn write_members(&mut self) {
        let mut members = BTreeMap::new();
        for (vni, name, id, member) in self.members() {
            let external = if member.external { member_flags::EXTERNAL } else { 0 };
            let learn = if member.learn { member_flags::LEARN } else { 0 };
            let slot = self.image.segments.get(&vni.get()).map_or(0, |entry| entry.slot);
            let (group, flags) = (member.group.0, external | learn);
            let entry = MemberEntry { vtep: id.0, group, flags, slot };
            let vtep = self.instructions.vteps.get(name);
            for address in vtep.map_or(&[][..], |vtep| vtep.addresses.as_slice()) {
                members.insert(MemberKey::new(vni, ip16(*address)), entry);
            }
        }
        self.image.members = members;
    }
}

/// The first of some addresses that `family` takes; zero bytes without one.
fn first<const N: usize>(addresses: &[IpNet], family: fn(&IpNet) -> Option<[u8; N]>) -> [u8; N] {
    addresses.iter().find_map(family).unwrap_or([0; N])
}

/// The bytes of an IPv4 address.
fn ipv4(net: &IpNet) -> Option<[u8; 4]> {
    if let IpNet::V4(net) = net { Some(net.addr().octets()) } else { None }
}

/// The bytes of an IPv6 address.
fn ipv6(net: &IpNet) -> Option<[u8; 16]> {
    if let IpNet::V6(net) = net { Some(net.addr().octets()) } else { None }
}
