//! Frames as bytes.

use l2sm_common::mac::Mac;

/// An Ethernet frame.
pub fn ethernet(destination: Mac, source: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination.0[..], &source.0, &ethertype.to_be_bytes(), payload].concat()
}

/// An IPv4 packet with a right checksum.
pub fn ipv4(
    source: [u8; 4],
    destination: [u8; 4],
    protocol: u8,
    tos: u8,
    payload: &[u8],
) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).expect("fits");
    let mut header = vec![0x45, tos, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header.extend(source);
    header.extend(destination);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header.extend(payload);
    header
}

/// A UDP datagram without checksum.
pub fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).expect("fits");
    let words = [source, destination, length, 0];
    [&words.map(u16::to_be_bytes).concat()[..], payload].concat()
}

/// An IPv6 packet.
pub fn ipv6(
    source: [u8; 16],
    destination: [u8; 16],
    next: u8,
    class: u8,
    payload: &[u8],
) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("fits").to_be_bytes();
    let start = [0x60 | (class >> 4), class << 4, 0, 0, length[0], length[1], next, 64];
    [&start[..], &source, &destination, payload].concat()
}

/// A VXLAN packet's UDP payload.
pub fn vxlan(flags: u8, vni: u32, inner: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = vni.to_be_bytes();
    [&[flags, 0, 0, 0, a, b, c, 0][..], inner].concat()
}

/// An ARP request as a frame to everybody.
pub fn arp_request(sender: Mac, sender_ip: [u8; 4], target_ip: [u8; 4]) -> Vec<u8> {
    let packet =
        [&[0, 1, 8, 0, 6, 4, 0, 1][..], &sender.0, &sender_ip, &[0; 6], &target_ip].concat();
    ethernet(Mac::BROADCAST, sender, 0x0806, &packet)
}

/// A neighbour solicitation as a frame to the target's group (RFC 4861 section 4.3), with the source
/// link-layer address unless the sender has no address.
pub fn solicitation(sender: Mac, source: [u8; 16], target: [u8; 16]) -> Vec<u8> {
    let [.., x, y, z] = target;
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z];
    let mut message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target].concat();
    if source != [0; 16] {
        message.extend([&[1, 1][..], &sender.0].concat());
    }
    let length = u8::try_from(message.len()).expect("fits");
    let pseudo = [&source[..], &group, &[0, 0, 0, length, 0, 0, 0, 58], &message].concat();
    let sum = checksum(&pseudo);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = ipv6(source, group, 58, 0, &message);
    packet[7] = 255;
    ethernet(Mac([0x33, 0x33, 0xff, x, y, z]), sender, 0x86dd, &packet)
}

/// The internet checksum (RFC 1071) of bytes whose checksum field is zero.
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| match *word {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}
