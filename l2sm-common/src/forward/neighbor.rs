//! ARP and IPv6 neighbour discovery, answered on the sender's node.

use crate::{
    frame::{Frame, OutOfReach, read},
    ids::{IfIndex, ip16_from_v4},
    mac::Mac,
    maps::{FdbKey, NeighKey, neigh_flags},
    tables::Tables,
    vni::Vni,
    wire::{
        arp::{self, Request},
        ethernet,
        nd::{SOLICITATION_LEN, Solicitation},
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

/// What becomes of a multicast frame that may be a neighbour solicitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solicited {
    /// It is for everybody.
    Everybody,
    /// It is answered in the owner's name.
    Answer {
        /// Who has the address.
        owner: Mac,
        /// It is a router.
        router: bool,
    },
    /// It is for the owner alone, who knows whether it is a router.
    Owner(Station),
}

/// What becomes of an IPv6 frame to a group that came from `port`.
///
/// As with ARP: answered only where the target is known and owned by another port. An advertisement
/// says whether its sender is a router, and hosts drop a default router that says no; so where that is
/// not known the owner itself must answer.
///
/// # Errors
///
/// [`OutOfReach`] when the packet must be pulled first.
#[inline(always)]
pub fn solicited<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    vni: Vni,
    port: IfIndex,
) -> Result<Solicited, OutOfReach> {
    if frame.has_tag() {
        return Ok(Solicited::Everybody);
    }
    let Some(packet) = read::<SOLICITATION_LEN, F>(frame, ethernet::LEN)? else {
        return Ok(Solicited::Everybody);
    };
    let Some(asked) = Solicitation::parse(&packet) else {
        return Ok(Solicited::Everybody);
    };
    let Some(entry) = tables.neighbor(&NeighKey::new(vni, asked.target)) else {
        return Ok(Solicited::Everybody);
    };
    let owner = Mac(entry.mac);
    let station = station::find(tables, &FdbKey::new(vni, owner));
    match station {
        Station::Unknown => Ok(Solicited::Everybody),
        Station::Port { port: at, .. } if at.0 == port.0 => Ok(Solicited::Everybody),
        _ if entry.flags & neigh_flags::ROLE_KNOWN == 0 => Ok(Solicited::Owner(station)),
        Station::Port { .. } | Station::Vtep { .. } => {
            let router = entry.flags & neigh_flags::ROUTER != 0;
            Ok(Solicited::Answer { owner, router })
        }
    }
}
