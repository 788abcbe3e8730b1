//! What a person wants to know of a frame's first bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use l2sm_common::{
    ids::Ip16,
    mac::Mac,
    wire::{ethernet, ip},
};

/// Headers, as far as there are bytes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Headers {
    /// Source of the outer packet; `None`: this is no tunnel packet.
    pub(super) outer_source: Option<IpAddr>,
    /// VNI of a tunnel packet.
    pub(super) vni: Option<u32>,
    /// Source of the inner, or only, Ethernet header.
    pub(super) source: Option<Mac>,
    /// Destination of it.
    pub(super) destination: Option<Mac>,
    /// EtherType of it.
    pub(super) ethertype: Option<u16>,
}

impl Headers {
    /// Reads them from the Ethernet header on. `tunnel_port`: UDP port of tunnel packets, where the
    /// frame may be one.
    pub(super) fn read(bytes: &[u8], tunnel_port: Option<u16>) -> Self {
        let bare = Self::default().with_ethernet(bytes);
        tunnel_port.and_then(|port| bare.inside(bytes, port)).unwrap_or(bare)
    }

    fn with_ethernet(self, bytes: &[u8]) -> Self {
        let Some(header) = bytes.first_chunk().copied().map(ethernet::Header::parse) else {
            return self;
        };
        Self {
            source: Some(header.source),
            destination: Some(header.destination),
            ethertype: Some(header.ethertype),
            ..self
        }
    }

    /// The headers inside, if this is the outer Ethernet header of a tunnel packet.
    fn inside(self, bytes: &[u8], port: u16) -> Option<Self> {
        const UDP: u8 = 17;
        let packet = bytes.get(ethernet::LEN..)?;
        let (source, length, protocol): (IpAddr, _, _) = match self.ethertype? {
            ethernet::IPV4 => {
                let header: &[u8; ip::V4_LEN] = packet.first_chunk()?;
                let words = usize::from(header[0] & 0xf);
                let source: [u8; 4] = header[12..16].try_into().ok()?;
                (Ipv4Addr::from(source).into(), 4 * words, header[9])
            }
            ethernet::IPV6 => {
                let header: &[u8; ip::V6_LEN] = packet.first_chunk()?;
                let source: Ip16 = header[8..24].try_into().ok()?;
                (Ipv6Addr::from(source).into(), ip::V6_LEN, header[6])
            }
            _ => return None,
        };
        let udp = packet.get(length..).filter(|_| protocol == UDP)?;
        let to = udp.get(2..4)?.try_into().ok().map(u16::from_be_bytes)?;
        let vxlan = udp.get(ip::UDP_LEN..).filter(|_| to == port)?;
        let vni = vxlan.get(4..7).and_then(|vni| match *vni {
            [a, b, c] => Some(u32::from_be_bytes([0, a, b, c])),
            _ => None,
        });
        let outer = Self { outer_source: Some(source), vni, ..Self::default() };
        Some(outer.with_ethernet(vxlan.get(l2sm_common::wire::vxlan::LEN..).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use l2sm_common::{encap::outer_header, ids::ip16_from_v4};

    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn bare() -> Vec<u8> {
        [&B.0[..], &A.0, &[0x88, 0xb5], &[0; 46]].concat()
    }

    fn tunnel() -> Vec<u8> {
        let (local, remote) = (ip16_from_v4([192, 0, 2, 1]), ip16_from_v4([192, 0, 2, 2]));
        let mut bytes = Vec::from(&outer_header(B, A, local, remote, 7000)[..50]);
        bytes[46..49].copy_from_slice(&[0, 0, 100]);
        bytes.extend(bare());
        bytes
    }

    #[test]
    fn a_bare_frame_has_its_own_addresses() {
        let headers = Headers::read(&bare(), Some(7000));
        let expected = Headers {
            source: Some(A),
            destination: Some(B),
            ethertype: Some(0x88b5),
            ..Headers::default()
        };
        assert_eq!(headers, expected);
    }

    #[test]
    fn a_tunnel_packet_shows_what_is_inside_and_who_sent_it() {
        let headers = Headers::read(&tunnel(), Some(7000));
        assert_eq!(headers.outer_source, Some("192.0.2.1".parse().unwrap()));
        assert_eq!((headers.vni, headers.ethertype), (Some(100), Some(0x88b5)));
        assert_eq!((headers.source, headers.destination), (Some(A), Some(B)));
        let of_pod = Headers::read(&tunnel(), None);
        assert_eq!((of_pod.outer_source, of_pod.ethertype), (None, Some(0x0800)));
        assert_eq!(Headers::read(&tunnel(), Some(7001)).outer_source, None);
    }

    #[test]
    fn bytes_that_end_early_show_what_they_have() {
        let tunnel = tunnel();
        for length in 0..tunnel.len() {
            let headers = Headers::read(&tunnel[..length], Some(7000));
            assert_eq!(headers.outer_source.is_some(), length >= 42, "{length}");
            assert_eq!(headers.vni.is_some(), length >= 49, "{length}");
        }
    }
}
