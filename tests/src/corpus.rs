//! Frames of every class that a network may carry, as plain data: what a class is called, whom it is
//! for, its bytes, and what our policy does about it where a kernel bridge has none.

mod ip;

use l2sm_common::{mac::Mac, reason::DropReason};

use crate::frames::{checksum, ipv4, ipv6, udp, vxlan};

/// MTU of the network that the corpus is made for, bytes.
pub const MTU: usize = 1450;
/// Address of the sender; no pod answers for any of them.
const SENDER: [u8; 4] = [10, 0, 0, 1];
/// Address of the receiver.
const RECEIVER: [u8; 4] = [10, 0, 0, 3];
/// The only IPv4 address that is listed, with the far station.
pub const LISTED: [u8; 4] = [10, 0, 0, 77];
/// The only IPv6 address that is listed, with the far station.
pub const LISTED_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x77];
const SENDER_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const RECEIVER_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];

/// A class of frames.
#[derive(Clone, Debug)]
pub struct Class {
    /// What it is.
    pub name: String,
    /// Whom it is for.
    pub to: To,
    /// Source MAC, where it is not the sender's own.
    pub from: Option<Mac>,
    /// The bytes after both addresses.
    pub rest: Vec<u8>,
    /// What ours does besides delivering like a kernel bridge.
    pub policy: Policy,
}

/// Whom a class is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// A station: once on the sender's node, once on the other.
    Station,
    /// This address.
    Address(Mac),
    /// The sender itself.
    Oneself,
}

/// What ours does about a class, documented in `datapath.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// What a kernel bridge does.
    None,
    /// The sender's node answers instead of delivering.
    Answered,
    /// The sender's node sends it to the node of the address's owner alone: whether that is a router
    /// is not known.
    ToOwner,
    /// The sender's node drops it under this reason.
    DroppedAtPort(DropReason),
    /// The first node of ours drops it under this reason.
    Dropped(DropReason),
}

/// All classes.
pub fn classes() -> Vec<Class> {
    let ip = [ip::ipv4(), ip::ipv6(), ip::neighbors()];
    let groups = [ethertypes(), tags(), tunnels(), sizes(), arp(), group()];
    ip.into_iter().chain(groups).flatten().chain(policies()).collect()
}

impl Class {
    fn new(name: impl Into<String>, to: To, ethertype: u16, payload: &[u8]) -> Self {
        let rest = [&ethertype.to_be_bytes()[..], payload].concat();
        Self { name: name.into(), to, from: None, rest, policy: Policy::None }
    }

    /// The frame from `sender` (unless the class says otherwise) to `to`.
    pub fn frame(&self, to: Mac, sender: Mac) -> Vec<u8> {
        [&to.0[..], &self.from.unwrap_or(sender).0, &self.rest].concat()
    }

    /// Whether the EtherType is a VLAN tag's, which the kernel keeps beside the bytes.
    pub fn is_tagged(&self) -> bool {
        matches!(self.rest[..2], [0x81, 0x00] | [0x88, 0xa8])
    }

    /// Whether nothing follows a tag: the kernel drops that on receipt, before any program.
    pub fn is_cut_tag(&self) -> bool {
        self.is_tagged() && self.rest.len() <= 6
    }
}

fn station(name: impl Into<String>, ethertype: u16, payload: &[u8]) -> Class {
    Class::new(name, To::Station, ethertype, payload)
}

/// An IPv4 packet, changed, with its checksum made right again.
fn v4(protocol: u8, payload: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = ipv4(SENDER, RECEIVER, protocol, 0, payload);
    change(&mut packet);
    packet[10..12].fill(0);
    let header = usize::from(packet[0] & 0x0f) * 4;
    let sum = checksum(&packet[..header.clamp(20, packet.len())]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// A TCP segment without checksum.
fn tcp(payload: &[u8]) -> Vec<u8> {
    let header = [0xc3, 0x50, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0];
    [&header[..], payload].concat()
}

/// Bytes that repeat late.
fn filler(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).expect("small")).collect()
}

fn ethertypes() -> Vec<Class> {
    // No classes: ARP, IP and VLAN tags have their own.
    let types = [
        (0x0600, "XNS"),
        (0x0842, "wake on LAN"),
        (0x22f0, "AVTP"),
        (0x8137, "IPX"),
        (0x8847, "MPLS"),
        (0x8848, "MPLS multicast"),
        (0x8863, "PPPoE discovery"),
        (0x8864, "PPPoE session"),
        (0x888e, "EAPOL"),
        (0x88cc, "LLDP to a station"),
        (0x88e5, "MACsec"),
        (0x88e7, "PBB"),
        (0x88f7, "PTP"),
        (0x8906, "FCoE"),
        (0x9100, "old QinQ"),
        (0xffff, "reserved"),
    ];
    let named = types.map(|(number, name)| {
        station(format!("EtherType {number:#06x} {name}"), number, &filler(60))
    });
    let llc = [0x42, 0x42, 0x03];
    let snap = [0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x20, 0x00];
    let lengths = [
        station("802.3 LLC", 38, &[&llc[..], &filler(43)].concat()),
        station("802.3 SNAP", 46, &[&snap[..], &filler(38)].concat()),
        station("802.3 raw IPX", 46, &[0xff; 46]),
        station("802.3 length too long", 1500, &filler(46)),
        station("802.3 length 0", 0, &filler(46)),
        station("802.3 length 1535", 1535, &filler(46)),
    ];
    named.into_iter().chain(lengths).collect()
}

fn tags() -> Vec<Class> {
    let inner = [&[0x08, 0x00][..], &v4(17, &udp(4000, 5000, &filler(64)), |_| {})].concat();
    let tag = |tci: u16, rest: &[u8]| [&tci.to_be_bytes()[..], rest].concat();
    let below = |tpid: u16, tci: u16| [&tpid.to_be_bytes()[..], &tag(tci, &inner)].concat();
    vec![
        station("802.1Q tag", 0x8100, &tag(100, &inner)),
        station("802.1Q tag with priority and DEI", 0x8100, &tag(0xf064, &inner)),
        station("802.1Q priority tag", 0x8100, &tag(0xe000, &inner)),
        station("802.1Q VLAN 4095", 0x8100, &tag(4095, &inner)),
        station("802.1ad tag", 0x88a8, &tag(200, &inner)),
        station("QinQ", 0x88a8, &tag(200, &below(0x8100, 100))),
        station("802.1Q in 802.1Q", 0x8100, &tag(200, &below(0x8100, 100))),
        station("tagged ARP", 0x8100, &tag(100, &arp_packet(1, SENDER, LISTED))),
        station("a tag and nothing after it", 0x8100, &tag(100, &[0x08, 0x00])),
        station(
            "tagged, of the MTU",
            0x8100,
            &tag(100, &[&[0x88, 0xb5], &filler(MTU)[..]].concat()),
        ),
    ]
}

fn tunnels() -> Vec<Class> {
    let inner = v4(17, &udp(4000, 5000, &filler(64)), |_| {});
    let frame = [&[2, 0, 0, 0, 9, 9, 2, 0, 0, 0, 8, 8, 8, 0][..], &inner].concat();
    let vxlan_4789 = udp(50_000, 4789, &vxlan(8, 100, &frame));
    let vxlan_ours = udp(50_000, 7000, &vxlan(8, 200, &frame));
    let geneve = udp(50_000, 6081, &[&[0, 0, 0x65, 0x58, 0, 0, 1, 0][..], &frame].concat());
    let gre = [&[0, 0, 0x08, 0x00][..], &inner].concat();
    let gretap = [&[0, 0, 0x65, 0x58][..], &frame].concat();
    let to_vtep = |source: [u8; 4]| ipv4(source, [192, 0, 2, 2], 17, 0, &vxlan_ours);
    let v6 = |next: u8, payload: &[u8]| ipv6(SENDER_V6, RECEIVER_V6, next, 0, payload);
    vec![
        station("VXLAN in IPv4", 0x0800, &v4(17, &vxlan_4789, |_| {})),
        station("VXLAN on our port in IPv4", 0x0800, &v4(17, &vxlan_ours, |_| {})),
        station("VXLAN to the node's address", 0x0800, &to_vtep(SENDER)),
        station("VXLAN from a VTEP's address", 0x0800, &to_vtep([192, 0, 2, 1])),
        station("VXLAN in IPv6", 0x86dd, &v6(17, &vxlan_4789)),
        station("Geneve in IPv4", 0x0800, &v4(17, &geneve, |_| {})),
        station("GRE in IPv4", 0x0800, &v4(47, &gre, |_| {})),
        station("Ethernet in GRE", 0x0800, &v4(47, &gretap, |_| {})),
        station("IPIP", 0x0800, &v4(4, &inner, |_| {})),
        station("IPIP twice", 0x0800, &v4(4, &v4(4, &inner, |_| {}), |_| {})),
        station("6in4", 0x0800, &v4(41, &v6(17, &udp(1, 2, &filler(20))), |_| {})),
        station("4in6", 0x86dd, &v6(4, &inner)),
    ]
}

fn sizes() -> Vec<Class> {
    let ip = |length: usize| v4(17, &udp(4000, 5000, &filler(length - 28)), |_| {});
    let v6 = |length: usize| ipv6(SENDER_V6, RECEIVER_V6, 17, 0, &udp(1, 2, &filler(length - 48)));
    let big = [MTU, MTU - 1].into_iter().flat_map(|length| {
        [
            station(format!("IPv4 of {length} bytes"), 0x0800, &ip(length)),
            station(format!("IPv6 of {length} bytes"), 0x86dd, &v6(length)),
            station(format!("EtherType 0x88b5 of {length} bytes"), 0x88b5, &filler(length)),
        ]
    });
    let tiny = [0, 1, 2, 6, 19, 20, 27, 39, 45, 46].into_iter().flat_map(|length| {
        [(0x0800, "IPv4"), (0x86dd, "IPv6"), (0x0806, "ARP"), (0x88b5, "0x88b5")].map(
            |(ethertype, name)| {
                station(format!("{name}, {length} bytes"), ethertype, &vec![0x45; length])
            },
        )
    });
    big.chain(tiny).collect()
}

/// An ARP packet with its EtherType, from the sender of the corpus.
fn arp_packet(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let start = [8, 6, 0, 1, 8, 0, 6, 4, 0, operation, 2, 0, 0, 0, 0, 1];
    [&start[..], &sender, &[0; 6], &target].concat()
}

fn arp() -> Vec<Class> {
    let class = |name: &str, to: To, change: fn(&mut Vec<u8>), operation, sender, target| {
        let mut packet = arp_packet(operation, sender, target);
        change(&mut packet);
        Class::new(name, to, 0x0806, &packet[2..])
    };
    let all = To::Address(Mac::BROADCAST);
    let keep = |_: &mut Vec<u8>| {};
    let unlisted = [10, 0, 0, 99];
    let mut classes = vec![
        class("ARP request for nobody listed", all, keep, 1, SENDER, unlisted),
        class("ARP request to a station", To::Station, keep, 1, SENDER, LISTED),
        class("ARP reply", To::Station, keep, 2, SENDER, RECEIVER),
        class("ARP reply to everybody", all, keep, 2, SENDER, RECEIVER),
        class("gratuitous ARP", all, keep, 1, SENDER, SENDER),
        class("gratuitous ARP reply", all, keep, 2, SENDER, SENDER),
        class("ARP probe of a free address", all, keep, 1, [0; 4], unlisted),
        class("ARP with hardware type 6", all, |packet| packet[3] = 6, 1, SENDER, LISTED),
        class("ARP with an address length of 8", all, |packet| packet[6] = 8, 1, SENDER, LISTED),
        class("ARP with operation 9", all, keep, 9, SENDER, LISTED),
        class("ARP cut", all, |packet| packet.truncate(20), 1, SENDER, LISTED),
    ];
    let mut rarp = class("RARP request", all, keep, 3, [0; 4], [0; 4]);
    rarp.rest[..2].copy_from_slice(&[0x80, 0x35]);
    classes.push(rarp);
    let mut tagged = class("tagged ARP request", all, keep, 1, SENDER, LISTED);
    tagged.rest.splice(0..0, [0x81, 0x00, 0, 100]);
    classes.push(tagged);
    for (name, sender) in [("ARP request for a listed host", SENDER), ("ARP probe of one", [0; 4])]
    {
        let mut answered = class(name, all, keep, 1, sender, LISTED);
        answered.policy = Policy::Answered;
        classes.push(answered);
    }
    classes
}

fn group() -> Vec<Class> {
    let payload = v4(17, &udp(4000, 5000, &filler(64)), |_| {});
    let groups = [
        ("broadcast", Mac::BROADCAST),
        ("IPv4 multicast", Mac([0x01, 0x00, 0x5e, 1, 1, 1])),
        ("IPv4 all hosts", Mac([0x01, 0x00, 0x5e, 0, 0, 1])),
        ("IPv6 multicast", Mac([0x33, 0x33, 0, 0, 0, 0xfb])),
        ("IPv6 all nodes", Mac([0x33, 0x33, 0, 0, 0, 1])),
        ("Cisco", Mac([0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcc])),
        ("PTP", Mac([0x01, 0x1b, 0x19, 0, 0, 0])),
        ("GMRP", Mac([0x01, 0x80, 0xc2, 0, 0, 0x20])),
        ("STP, which a bridge without it floods", Mac([0x01, 0x80, 0xc2, 0, 0, 0])),
        ("above the link-local groups", Mac([0x01, 0x80, 0xc2, 0, 0, 0x10])),
    ];
    let named = groups.into_iter().flat_map(|(name, to)| {
        [(0x0800, &payload[..]), (0x88b5, &[0x5a; 46])].map(|(ethertype, bytes)| {
            Class::new(format!("{name} {ethertype:#06x}"), To::Address(to), ethertype, bytes)
        })
    });
    let tagged = [&[0, 100, 0x08, 0x00][..], &payload].concat();
    let tagged = Class::new("tagged broadcast", To::Address(Mac::BROADCAST), 0x8100, &tagged);
    named.chain([tagged]).collect()
}

/// Classes that our policy names.
fn policies() -> Vec<Class> {
    let to = |name: &str, to: To, from: Option<Mac>, policy: Policy| {
        let class = Class::new(name, to, 0x88b5, &filler(46));
        Class { from, policy, ..class }
    };
    let nobody = To::Address(Mac([2, 9, 9, 9, 9, 9]));
    let invalid = Policy::DroppedAtPort(DropReason::InvalidSourceMac);
    let spoofed = Policy::DroppedAtPort(DropReason::SpoofedMac);
    let mut classes = vec![
        to("unknown unicast", nobody, None, Policy::Dropped(DropReason::UnknownUnicast)),
        to("from another MAC", To::Station, Some(Mac([2, 7, 7, 7, 7, 7])), spoofed),
        to("from a group", To::Station, Some(Mac([1, 0, 0x5e, 0, 0, 1])), invalid),
        to("from no MAC", To::Station, Some(Mac([0; 6])), invalid),
        to("to oneself", To::Oneself, None, Policy::DroppedAtPort(DropReason::Hairpin)),
    ];
    classes.extend((1..16).map(|last| {
        let address = Mac([0x01, 0x80, 0xc2, 0, 0, last]);
        let policy = Policy::DroppedAtPort(DropReason::LinkLocal);
        to(&format!("link-local group {address}"), To::Address(address), None, policy)
    }));
    classes
}
