//! ARP, answered on the sender's node.

use crate::{
    frame::{Frame, OutOfReach, read},
    ids::{IfIndex, ip16_from_v4},
    mac::Mac,
    maps::{FdbKey, NeighKey},
    tables::Tables,
    vni::Vni,
    wire::{
        arp::{self, Request},
        ethernet,
    },
};

use super::station::{self, Station};

/// Who owns the address that a broadcast ARP request from `port` asks for, if the answer is ours to
/// give.
///
/// Answered only: an untagged request whose target is known and owned by *another* port; so a
/// duplicate is found and a probe (RFC 5227) is answered. Announcements, and requests for the
/// asker's own address, are for everybody: `None`, and they are flooded.
///
/// # Errors
///
/// [`OutOfReach`] when the packet must be pulled first.
#[inline(always)]
pub fn answer_arp<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    vni: Vni,
    port: IfIndex,
) -> Result<Option<Mac>, OutOfReach> {
    if frame.has_tag() {
        return Ok(None);
    }
    let Some(packet) = read::<{ arp::LEN }, F>(frame, ethernet::LEN)? else {
        return Ok(None);
    };
    let Some(request) = Request::parse(&packet) else {
        return Ok(None);
    };
    if request.is_announcement() {
        return Ok(None);
    }
    let Some(owner) = tables.neighbor(&NeighKey::new(vni, ip16_from_v4(request.target_ip))) else {
        return Ok(None);
    };
    let owner = Mac(owner.mac);
    match station::find(tables, &FdbKey::new(vni, owner)) {
        Station::Unknown => Ok(None),
        Station::Port { port: at, .. } if at.0 == port.0 => Ok(None),
        Station::Port { .. } | Station::Vtep { .. } => Ok(Some(owner)),
    }
}
