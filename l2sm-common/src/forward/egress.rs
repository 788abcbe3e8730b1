//! What leaves by an underlay device: nobody else may send tunnel packets in the node's name.

use crate::{
    decision::Decision,
    frame::{Frame, OutOfReach},
    ids::{IfIndex, Slot},
    reason::DropReason,
    tables::Tables,
    verdict::Verdict,
};

use super::ends;

/// Decides about a frame that leaves by the underlay device `by`, having come in by `ingress` (0: made
/// on the node itself). With a CNI that masquerades, any pod could forge a VTEP: its packets leave with
/// the node's address. What came in by a port of ours or by an underlay device is ours, or relayed.
#[inline(always)]
pub fn leaves<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    by: IfIndex,
    ingress: IfIndex,
) -> Decision {
    let pass = Decision::new(Slot(0), Verdict::Pass);
    if ingress.0 == 0 || frame.has_tag() {
        return pass;
    }
    let Some(config) = tables.config() else {
        return pass;
    };
    let at = ends::packet_offset(tables, &config, by);
    let source = match ends::to_our_port(frame, &config, at) {
        Ok(Some(ends)) => ends.source,
        Ok(None) => return pass,
        Err(OutOfReach) => return Decision::new(Slot(0), Verdict::Pull),
    };
    // Our own sends first: they are most of what comes here.
    if tables.port(ingress).is_some() || tables.uplink(ingress).is_some() {
        return pass;
    }
    if !tables.is_local(&source) {
        return pass;
    }
    Decision::drop(Slot(0), DropReason::ForgedVtep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        forward::memory::MemoryTables,
        frame::Bytes,
        ids::{Ip16, ip16_from_v4},
        mac::Mac,
        maps::{ConfigEntry, PortEntry, UplinkEntry},
        wire::ip,
    };

    const OURS: Ip16 = [0xfd; 16];
    const PORT: IfIndex = IfIndex(5);
    const UPLINK: IfIndex = IfIndex(6);
    /// Without a link-layer header.
    const BARE: IfIndex = IfIndex(8);
    const FOREIGN: IfIndex = IfIndex(7);

    #[test]
    fn what_others_send_to_our_port_in_our_name_is_dropped() {
        let tables = tables();
        let first = [&[ip::UDP, 0, 0, 1][..], &[0; 4], &udp(7000)].concat();
        let later = [&[ip::UDP, 0, 0, 8][..], &[0; 4], &udp(7000)].concat();
        let cases: [(&str, Vec<u8>, bool); 8] = [
            ("a tunnel packet", v6(OURS, ip::UDP, &udp(7000)), true),
            ("the first fragment of one", v6(OURS, ip::V6_FRAGMENT, &first), true),
            ("a later fragment", v6(OURS, ip::V6_FRAGMENT, &later), false),
            ("another port", v6(OURS, ip::UDP, &udp(7001)), false),
            ("another source", v6([0xfc; 16], ip::UDP, &udp(7000)), false),
            ("a tunnel packet over IPv4", v4([192, 0, 2, 1], 0, &udp(7000)), true),
            ("the first fragment of one over IPv4", v4([192, 0, 2, 1], 0x2000, &udp(7000)), true),
            ("a later fragment over IPv4", v4([192, 0, 2, 1], 0x2001, &udp(7000)), false),
        ];
        for (what, bytes, dropped) in cases {
            let verdict = |from| {
                let whole = leaves(&Bytes::new(&bytes), &tables, UPLINK, from).verdict();
                let bare = leaves(&Bytes::new(&bytes[14..]), &tables, BARE, from).verdict();
                assert_eq!(whole, bare, "{what} without its Ethernet header");
                whole
            };
            let forged = Verdict::Drop(DropReason::ForgedVtep);
            let expected = if dropped { forged } else { Verdict::Pass };
            assert_eq!(verdict(FOREIGN), expected, "{what} of somebody else");
            for ours in [IfIndex(0), PORT, UPLINK] {
                assert_eq!(verdict(ours), Verdict::Pass, "{what} that came in by {ours:?}");
            }
        }
    }

    fn tables() -> MemoryTables {
        let config =
            ConfigEntry { abi: 0, port: 7000, mark: 0, vxlan_ifindex: 0, flags: 0, local: [0; 16] };
        let port = PortEntry {
            vni: 1,
            flags: 0,
            slot: 1,
            ipv4: [0; 4],
            ipv6: [0; 16],
            mac: [2; 6],
            group: 0,
        };
        MemoryTables {
            config: Some(config),
            locals: [OURS, ip16_from_v4([192, 0, 2, 1])].into(),
            ports: [(PORT.0, port)].into(),
            uplinks: [
                (UPLINK.0, UplinkEntry::new(Some(Mac([2; 6])))),
                (BARE.0, UplinkEntry::new(None)),
            ]
            .into(),
            ..MemoryTables::default()
        }
    }

    fn v6(source: Ip16, next: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, next, 64]);
        frame.extend(source);
        frame.extend([0xee; 16]);
        frame.extend(payload);
        frame
    }

    fn v4(source: [u8; 4], fragment: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 0, 0, 0]);
        frame.extend(fragment.to_be_bytes());
        frame.extend([64, ip::UDP, 0, 0]);
        frame.extend(source);
        frame.extend([192, 0, 2, 9]);
        frame.extend(payload);
        frame
    }

    fn udp(port: u16) -> Vec<u8> {
        let [a, b] = port.to_be_bytes();
        vec![0xc0, 0, a, b, 0, 8, 0, 0]
    }
}
