//! Next hops: their MAC addresses, and keeping them known.
//!
//! The fast path's packets refresh no neighbour entry: they never pass the kernel's own output. So
//! each next hop of a VTEP is marked `NTF_MANAGED` (kernel 5.16, commit 7482e3841d52), which has the
//! kernel resolve and probe it for as long as it is there; older kernels are asked to probe it every
//! time the agent looks (`NTF_USE`). The kernel asks a next hop that it holds for reachable only after
//! its reachable time (15 to 45 s); one that changes its MAC silently would be a black hole until then
//! (35 s measured). So the agent has each asked more often: by unicast, and it stays in use meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use l2sm_common::mac::Mac;
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
        NeighbourState,
    },
    route::RouteProtocol,
};
use nix::errno::Errno;

use super::socket::{Conversation, NetlinkError};

/// `NDA_PROTOCOL` of the entries that we manage: what proves them ours. Not in use by anyone in
/// iproute2's `rt_protos`.
pub const OUR_PROTOCOL: u8 = 213;

/// A next hop: ifindex and address.
pub type NextHop = (u32, IpAddr);

/// What the kernel knows of a next hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one entry")]
pub struct Neighbor {
    /// MAC; `None`: not resolved.
    pub mac: Option<Mac>,
    /// The kernel keeps it resolved.
    pub managed: bool,
    /// Set by hand, or needing no resolution.
    pub fixed: bool,
    /// We asked the kernel to keep it.
    pub ours: bool,
    /// Known, and not being asked: reachable or stale.
    pub quiet: bool,
}

/// Reads every neighbour entry.
///
/// # Errors
/// As [`Conversation::dump`].
pub fn dump_neighbors(
    kernel: &mut Conversation,
) -> Result<BTreeMap<NextHop, Neighbor>, NetlinkError> {
    let mut neighbors = BTreeMap::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = NeighbourMessage::default();
        message.header.family = family;
        let dump = kernel.dump(&RouteNetlinkMessage::GetNeighbour(message))?;
        neighbors.extend(dump.iter().filter_map(as_neighbor));
    }
    Ok(neighbors)
}

/// Has the kernel keep each of `hops` resolved.
///
/// # Errors
/// The last refusal; the others were tried all the same.
pub fn keep_resolved(
    kernel: &mut Conversation,
    hops: &BTreeSet<NextHop>,
    known: &BTreeMap<NextHop, Neighbor>,
) -> Result<(), NetlinkError> {
    let mut outcome = Ok(());
    for hop in hops {
        let entry = known.get(hop).copied().unwrap_or_default();
        if entry.fixed || (entry.managed && entry.ours) {
            continue;
        }
        let message = RouteNetlinkMessage::NewNeighbour(managed(*hop));
        if let Err(why) = kernel.ask(message, NLM_F_CREATE) {
            outcome = Err(why);
        }
    }
    outcome
}

/// Has the kernel ask each of `hops` that it holds for reachable whether it still is. One that does
/// not answer is resolved anew after three seconds (`ucast_solicit`, `retrans_time_ms`).
///
/// # Errors
/// The last refusal; the others were tried all the same.
pub fn probe(
    kernel: &mut Conversation,
    hops: &BTreeSet<NextHop>,
    known: &BTreeMap<NextHop, Neighbor>,
) -> Result<(), NetlinkError> {
    let mut outcome = Ok(());
    let quiet = |hop: &&NextHop| known.get(*hop).is_some_and(|entry| entry.ours && entry.quiet);
    for hop in hops.iter().filter(quiet) {
        // The kernel takes no state together with the flag (`__neigh_update`), so it is given again.
        for message in [asked(*hop), managed(*hop)] {
            if let Err(why) = kernel.ask(RouteNetlinkMessage::NewNeighbour(message), 0) {
                outcome = Err(why);
            }
        }
    }
    outcome
}

/// Lets go of an entry that we manage: the kernel makes a plain one when it needs it.
///
/// # Errors
/// As [`Conversation::ask`]; one that is gone already is no error.
pub fn release(kernel: &mut Conversation, hop: NextHop) -> Result<(), NetlinkError> {
    match kernel.ask(RouteNetlinkMessage::DelNeighbour(entry(hop)), 0) {
        Err(why) if matches!(why.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => Ok(()),
        outcome => outcome.map(|_none| ()),
    }
}

fn managed(hop: NextHop) -> NeighbourMessage {
    let mut message = entry(hop);
    message.header.flags = NeighbourFlags::ExtLearned | NeighbourFlags::Use;
    message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::Other(OUR_PROTOCOL)));
    message
}

/// Without a MAC: the kernel asks the one that it knows now.
fn asked(hop: NextHop) -> NeighbourMessage {
    let mut message = entry(hop);
    message.header.flags = NeighbourFlags::ExtLearned;
    message.header.state = NeighbourState::Probe;
    message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::Other(OUR_PROTOCOL)));
    message
}

fn entry((device, address): NextHop) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = device;
    message.header.state = NeighbourState::None;
    let (family, destination) = match address {
        IpAddr::V4(v4) => (AddressFamily::Inet, NeighbourAddress::Inet(v4)),
        IpAddr::V6(v6) => (AddressFamily::Inet6, NeighbourAddress::Inet6(v6)),
    };
    message.header.family = family;
    message.attributes = vec![NeighbourAttribute::Destination(destination)];
    message
}

fn as_neighbor(message: &RouteNetlinkMessage) -> Option<(NextHop, Neighbor)> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else { return None };
    let state = message.header.state;
    let fixed = matches!(state, NeighbourState::Permanent | NeighbourState::Noarp);
    let valid = fixed
        || matches!(
            state,
            NeighbourState::Reachable
                | NeighbourState::Stale
                | NeighbourState::Delay
                | NeighbourState::Probe
        );
    let quiet = matches!(state, NeighbourState::Reachable | NeighbourState::Stale);
    let mut neighbor = Neighbor { fixed, quiet, ..Neighbor::default() };
    let mut address = None;
    for attribute in &message.attributes {
        if let NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) = attribute {
            address = Some(IpAddr::V4(*v4));
        } else if let NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) = attribute {
            address = Some(IpAddr::V6(*v6));
        } else if let NeighbourAttribute::LinkLayerAddress(bytes) = attribute {
            neighbor.mac = bytes.first_chunk().map(|mac| Mac(*mac)).filter(|mac| mac.is_station());
        } else if let NeighbourAttribute::ExtFlags(flags) = attribute {
            neighbor.managed = flags.contains(NeighbourExtFlags::Managed);
        } else if let NeighbourAttribute::Protocol(protocol) = attribute {
            neighbor.ours = u8::from(*protocol) == OUR_PROTOCOL;
        }
    }
    neighbor.mac = neighbor.mac.filter(|_mac| valid);
    Some(((message.header.ifindex, address?), neighbor))
}
