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
    // What pods of ours send is most of it: asked first, so that it costs one look-up.
    if tables.port(ingress).is_some() {
        return pass;
    }
    if !tables.is_local(&source) || tables.uplink(ingress).is_some() {
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
            if next != ip::UDP {
                return Ok(None);
            }
            (source, ethernet::LEN + ip::V6_LEN)
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
