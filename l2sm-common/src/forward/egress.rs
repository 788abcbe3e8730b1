//! What leaves by an underlay device: nobody else may send tunnel packets in the node's name.

use crate::{
    decision::Decision,
    frame::{Frame, OutOfReach, read},
    ids::{IfIndex, Ip16, Slot, ip16_from_v4},
    reason::DropReason,
    tables::Tables,
    verdict::Verdict,
    wire::{ethernet, ip},
};

/// Decides about a frame that leaves by an underlay device, having come in by `ingress` (0: made on
/// the node itself). With a CNI that masquerades, any pod could forge a VTEP: its packets leave with
/// the node's address. What came in by a port of ours or by an underlay device is ours, or relayed.
#[inline(always)]
pub fn leaves<F: Frame + ?Sized, T: Tables>(frame: &F, tables: &T, ingress: IfIndex) -> Decision {
    let pass = Decision::new(Slot(0), Verdict::Pass);
    if ingress.0 == 0 || frame.has_tag() {
        return pass;
    }
    let source = match tunnel_source(frame, tables) {
        Ok(Some(source)) => source,
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

/// The source of a packet to our UDP port. Only a first fragment has the port; without it the rest
/// is nothing.
#[inline(always)]
fn tunnel_source<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
) -> Result<Option<Ip16>, OutOfReach> {
    let Some(ethertype) = read::<2, F>(frame, ethernet::TYPE_OFFSET)? else {
        return Ok(None);
    };
    let (source, udp) = match u16::from_be_bytes(ethertype) {
        ethernet::IPV4 => {
            let Some(packet) = read::<{ ip::V4_LEN }, F>(frame, ethernet::LEN)? else {
                return Ok(None);
            };
            let [first, _, _, _, _, _, f0, f1, _, protocol, _, _, a, b, c, d, ..] = packet;
            let offset = u16::from_be_bytes([f0, f1]) & 0x1fff;
            if protocol != ip::UDP || offset != 0 {
                return Ok(None);
            }
            (ip16_from_v4([a, b, c, d]), ethernet::LEN + usize::from(first & 0x0f) * 4)
        }
        ethernet::IPV6 => {
            let Some([next]) = read::<1, F>(frame, ethernet::LEN + 6)? else {
                return Ok(None);
            };
            let Some(source) = read::<16, F>(frame, ethernet::LEN + 8)? else {
                return Ok(None);
            };
            let Some(udp) = udp_offset_v6(frame, next)? else {
                return Ok(None);
            };
            (source, udp)
        }
        _ => return Ok(None),
    };
    let Some([p0, p1]) = read::<2, F>(frame, udp + 2)? else {
        return Ok(None);
    };
    let ours = tables
        .config()
        .is_some_and(|config| config.port == u32::from(u16::from_be_bytes([p0, p1])));
    Ok(ours.then_some(source))
}

/// Where UDP begins in an IPv6 packet with this next header: at once, or behind the header of a first
/// fragment, which the far end would put together and take.
#[inline(always)]
fn udp_offset_v6<F: Frame + ?Sized>(frame: &F, next: u8) -> Result<Option<usize>, OutOfReach> {
    let at = ethernet::LEN + ip::V6_LEN;
    if next == ip::UDP {
        return Ok(Some(at));
    }
    if next != ip::V6_FRAGMENT {
        return Ok(None);
    }
    let Some([next, _, o0, o1]) = read::<4, F>(frame, at)? else {
        return Ok(None);
    };
    let first = u16::from_be_bytes([o0, o1]) & 0xfff8 == 0;
    Ok((next == ip::UDP && first).then_some(at + 8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        forward::memory::MemoryTables,
        frame::Bytes,
        maps::{ConfigEntry, PortEntry, UplinkEntry},
    };

    const OURS: Ip16 = [0xfd; 16];
    const PORT: IfIndex = IfIndex(5);
    const UPLINK: IfIndex = IfIndex(6);
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
            let verdict = |from| leaves(&Bytes::new(&bytes), &tables, from).verdict();
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
            uplinks: [(UPLINK.0, UplinkEntry::new(None))].into(),
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
