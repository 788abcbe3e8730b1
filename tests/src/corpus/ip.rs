//! IP inside.

use l2sm_common::mac::Mac;

use super::{
    Class, LISTED_V6, Policy, RECEIVER, RECEIVER_V6, SENDER, SENDER_V6, To, filler, station, tcp,
    v4,
};
use crate::frames::{self, checksum, udp};

/// IPv4: protocols, options, fragments, wrong lengths and checksums, TTL, TOS.
pub(super) fn ipv4() -> Vec<Class> {
    let datagram = udp(4000, 5000, &filler(64));
    let mut wrong_udp = datagram.clone();
    wrong_udp[6..8].copy_from_slice(&[0xde, 0xad]);
    let options = |bytes: [u8; 4]| {
        v4(17, &datagram, |packet| {
            packet[0] = 0x46;
            packet.splice(20..20, bytes);
            packet[3] += 4;
        })
    };
    let fragment = |field: u16| {
        v4(17, &filler(64), |packet| packet[6..8].copy_from_slice(&field.to_be_bytes()))
    };
    let mut wrong_sum = v4(17, &datagram, |_| {});
    wrong_sum[10] ^= 0xff;
    let packets = [
        ("tcp", v4(6, &tcp(&filler(64)), |_| {})),
        ("tcp without payload", v4(6, &tcp(&[]), |_| {})),
        ("tcp with a data offset of 0", v4(6, &[0; 20], |_| {})),
        ("tcp cut in its header", v4(6, &tcp(&[])[..10], |_| {})),
        ("udp", v4(17, &datagram, |_| {})),
        ("udp with a wrong checksum", v4(17, &wrong_udp, |_| {})),
        ("udp cut in its header", v4(17, &datagram[..4], |_| {})),
        ("icmp echo", v4(1, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0], |_| {})),
        ("icmp fragmentation needed", v4(1, &[3, 4, 0, 0, 0, 0, 5, 0xaa], |_| {})),
        ("igmp", v4(2, &[0x16, 0, 0, 0, 239, 1, 1, 1], |_| {})),
        ("sctp", v4(132, &filler(40), |_| {})),
        ("dccp", v4(33, &filler(40), |_| {})),
        ("esp", v4(50, &filler(60), |_| {})),
        ("ah", v4(51, &filler(60), |_| {})),
        ("protocol 255", v4(255, &filler(60), |_| {})),
        ("empty", v4(17, &[], |_| {})),
        ("option: router alert", options([0x94, 4, 0, 0])),
        ("option: no operation", options([1, 1, 1, 0])),
        ("option: cut", options([0x83, 40, 4, 0])),
        ("first fragment", fragment(0x2000)),
        ("middle fragment", fragment(0x2010)),
        ("last fragment", fragment(0x0020)),
        ("fragment with DF", fragment(0x6000)),
        ("the evil bit", fragment(0x8000)),
        ("TTL 0", v4(17, &datagram, |packet| packet[8] = 0)),
        ("TTL 1", v4(17, &datagram, |packet| packet[8] = 1)),
        ("TTL 255", v4(17, &datagram, |packet| packet[8] = 255)),
        ("wrong header checksum", wrong_sum),
        ("total length too long", v4(17, &datagram, |packet| packet[2] = 0xff)),
        ("total length too short", v4(17, &datagram, |packet| packet[3] = 24)),
        ("total length 0", v4(17, &datagram, |packet| packet[3] = 0)),
        ("trailer after the packet", v4(17, &datagram, |packet| packet.extend([0; 30]))),
        ("header length 0", v4(17, &datagram, |packet| packet[0] = 0x40)),
        ("header length 60, cut", v4(17, &datagram[..8], |packet| packet[0] = 0x4f)),
        ("version 6 in the header", v4(17, &datagram, |packet| packet[0] = 0x65)),
        ("version 0 in the header", v4(17, &datagram, |packet| packet[0] = 0x05)),
        ("from loopback", v4(17, &datagram, |packet| packet[12..16].fill(127))),
        ("from a multicast address", v4(17, &datagram, |packet| packet[12] = 239)),
        ("to itself (land)", v4(6, &tcp(&[]), |packet| packet[12..16].copy_from_slice(&RECEIVER))),
        ("to 255.255.255.255", v4(17, &datagram, |packet| packet[16..20].fill(255))),
    ];
    let named = packets.map(|(name, packet)| station(format!("IPv4 {name}"), 0x0800, &packet));
    let tos = [0x01, 0x02, 0x03, 0xb8, 0xbb, 0xfc].map(|tos| {
        let packet = frames::ipv4(SENDER, RECEIVER, 17, tos, &datagram);
        station(format!("IPv4 TOS {tos:#04x}"), 0x0800, &packet)
    });
    named.into_iter().chain(tos).collect()
}

/// IPv6: protocols, extension headers, hop limits, traffic classes.
pub(super) fn ipv6() -> Vec<Class> {
    let datagram = udp(4000, 5000, &filler(64));
    let v6 = |next: u8, payload: &[u8]| frames::ipv6(SENDER_V6, RECEIVER_V6, next, 0, payload);
    // An extension header of 8 bytes before a datagram.
    let extended = |header: u8, bytes: [u8; 8]| v6(header, &[&bytes[..], &datagram].concat());
    let hops = |limit: u8| {
        let mut packet = v6(17, &datagram);
        packet[7] = limit;
        packet
    };
    let mut long = v6(17, &datagram);
    long[4] = 0xff;
    let mut flow = v6(17, &datagram);
    flow[1..4].copy_from_slice(&[0x0f, 0xff, 0xff]);
    let packets = [
        ("tcp", v6(6, &tcp(&filler(64)))),
        ("udp", v6(17, &datagram)),
        ("icmp echo", v6(58, &[128, 0, 0, 0, 0, 1, 0, 1])),
        ("icmp packet too big", v6(58, &[2, 0, 0, 0, 0, 0, 5, 0])),
        ("sctp", v6(132, &filler(40))),
        ("esp", v6(50, &filler(60))),
        ("no next header", v6(59, &[])),
        ("hop-by-hop options", extended(0, [17, 0, 1, 4, 0, 0, 0, 0])),
        ("hop-by-hop router alert", extended(0, [17, 0, 5, 2, 0, 0, 1, 0])),
        ("routing header", extended(43, [17, 0, 0, 0, 0, 0, 0, 0])),
        ("destination options", extended(60, [17, 0, 1, 4, 0, 0, 0, 0])),
        ("first fragment", extended(44, [17, 0, 0, 1, 0, 0, 0, 9])),
        ("last fragment", extended(44, [17, 0, 0, 0x40, 0, 0, 0, 9])),
        ("hop limit 0", hops(0)),
        ("hop limit 1", hops(1)),
        ("payload length too long", long),
        ("flow label", flow),
        ("from ::", frames::ipv6([0; 16], RECEIVER_V6, 17, 0, &datagram)),
        ("within IPv6", v6(41, &v6(17, &datagram))),
    ];
    let named = packets.map(|(name, packet)| station(format!("IPv6 {name}"), 0x86dd, &packet));
    let classes = [0x01, 0x02, 0x03, 0xb8, 0xbb].map(|class| {
        let packet = frames::ipv6(SENDER_V6, RECEIVER_V6, 17, class, &datagram);
        station(format!("IPv6 class {class:#04x}"), 0x86dd, &packet)
    });
    named.into_iter().chain(classes).collect()
}

/// Neighbour discovery (RFC 4861).
pub(super) fn neighbors() -> Vec<Class> {
    let nodes = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    // Type 135 or 136, flags, target.
    let message = |kind: u8, flags: u8, target: [u8; 16], hops: u8, source: [u8; 16]| {
        let body = [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &target].concat();
        let pseudo = [&source[..], &nodes, &[0, 0, 0, 24, 0, 0, 0, 58], &body].concat();
        let mut packet = frames::ipv6(source, nodes, 58, 0, &body);
        packet[7] = hops;
        packet[42..44].copy_from_slice(&checksum(&pseudo).to_be_bytes());
        packet
    };
    let group = To::Address(Mac([0x33, 0x33, 0, 0, 0, 1]));
    let free = RECEIVER_V6;
    let class = |name: &str, to: To, packet: &[u8]| Class::new(name, to, 0x86dd, packet);
    let mut owned = class(
        "ND solicitation for a listed host",
        group,
        &message(135, 0, LISTED_V6, 255, SENDER_V6),
    );
    owned.policy = Policy::ToOwner;
    vec![
        owned,
        class("ND solicitation, free", group, &message(135, 0, free, 255, SENDER_V6)),
        class("ND duplicate detection, free", group, &message(135, 0, free, 255, [0; 16])),
        class("ND solicitation, hop limit 64", group, &message(135, 0, LISTED_V6, 64, SENDER_V6)),
        class(
            "ND unsolicited advertisement",
            group,
            &message(136, 0x20, SENDER_V6, 255, SENDER_V6),
        ),
        station("ND solicitation", 0x86dd, &message(135, 0, LISTED_V6, 255, SENDER_V6)),
        station("ND advertisement", 0x86dd, &message(136, 0x60, SENDER_V6, 255, SENDER_V6)),
        station("ND router solicitation", 0x86dd, &message(133, 0, [0; 16], 255, SENDER_V6)),
    ]
}
