//! Routes to remote VTEPs, as the kernel would take them now.

use std::net::IpAddr;

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHop,
        RouteNextHopFlags, RouteType, RouteVia,
    },
};

use super::socket::{Conversation, NetlinkError};

/// Ways to one address at most: as many as `VTEPS` holds.
const HOPS_MAX: usize = 4;

/// How the kernel sends to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Source address that it picks; `None`: it did not say.
    pub source: Option<IpAddr>,
    /// MTU of the route (configured, or learned by path MTU discovery), bytes.
    pub mtu: Option<u32>,
    /// The next hops.
    pub hops: Vec<Hop>,
}

/// One next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// ifindex.
    pub device: u32,
    /// Gateway; `None`: the destination itself is on the link.
    pub gateway: Option<IpAddr>,
}

/// Asks for the way to `to`; from `from`, if given. `None`: no route, or the address is this node's
/// own, or the route drops.
///
/// # Errors
/// As [`Conversation::ask`], but for "no route".
pub fn route_to(
    kernel: &mut Conversation,
    to: IpAddr,
    from: Option<IpAddr>,
) -> Result<Option<Route>, NetlinkError> {
    let Some(chosen) = ask(kernel, to, from, RouteFlags::empty())? else { return Ok(None) };
    let Some(mut route) = as_route(&chosen) else { return Ok(None) };
    // The first answer is one way, with the path MTU; the second is the entry, with every way.
    let entry = ask(kernel, to, from, RouteFlags::FibMatch)?;
    if let Some(ways) = entry.as_ref().and_then(as_route).filter(|entry| entry.hops.len() > 1) {
        route.hops = ways.hops;
    }
    Ok(Some(route))
}

fn ask(
    kernel: &mut Conversation,
    to: IpAddr,
    from: Option<IpAddr>,
    flags: RouteFlags,
) -> Result<Option<RouteMessage>, NetlinkError> {
    let mut message = RouteMessage::default();
    let (family, length) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.header.flags = flags;
    message.attributes = vec![RouteAttribute::Destination(to.into())];
    if let Some(from) = from {
        message.header.source_prefix_length = length;
        message.attributes.push(RouteAttribute::Source(from.into()));
    }
    match kernel.ask(RouteNetlinkMessage::GetRoute(message), 0) {
        Ok(answers) => Ok(answers.into_iter().find_map(|answer| {
            if let RouteNetlinkMessage::NewRoute(route) = answer { Some(route) } else { None }
        })),
        Err(NetlinkError::Refused { .. }) => Ok(None),
        Err(why) => Err(why),
    }
}

fn as_route(message: &RouteMessage) -> Option<Route> {
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let mut route = Route { source: None, mtu: None, hops: Vec::new() };
    for attribute in &message.attributes {
        if let RouteAttribute::PrefSource(source) = attribute {
            route.source = as_ip(source);
        } else if let RouteAttribute::Metrics(metrics) = attribute {
            route.mtu = metrics.iter().find_map(as_mtu);
        } else if let RouteAttribute::MultiPath(hops) = attribute {
            route.hops = hops.iter().filter_map(as_hop).take(HOPS_MAX).collect();
        }
    }
    if route.hops.is_empty() {
        let device = message.attributes.iter().find_map(as_device)?;
        route.hops.push(Hop { device, gateway: gateway(&message.attributes) });
    }
    Some(route)
}

fn as_mtu(metric: &RouteMetric) -> Option<u32> {
    if let RouteMetric::Mtu(mtu) = metric { Some(*mtu) } else { None }
}

fn as_hop(hop: &RouteNextHop) -> Option<Hop> {
    let usable = !hop.flags.intersects(RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown);
    usable.then(|| Hop { device: hop.interface_index, gateway: gateway(&hop.attributes) })
}

fn as_device(attribute: &RouteAttribute) -> Option<u32> {
    if let RouteAttribute::Oif(index) = attribute { Some(*index) } else { None }
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| {
        if let RouteAttribute::Gateway(address) = attribute {
            return as_ip(address);
        }
        // An IPv4 route by an IPv6 next hop (RFC 5549).
        let RouteAttribute::Via(via) = attribute else { return None };
        if let RouteVia::Inet6(address) = via {
            Some(IpAddr::V6(*address))
        } else if let RouteVia::Inet(address) = via {
            Some(IpAddr::V4(*address))
        } else {
            None
        }
    })
}

fn as_ip(address: &RouteAddress) -> Option<IpAddr> {
    if let RouteAddress::Inet(address) = address {
        Some(IpAddr::V4(*address))
    } else if let RouteAddress::Inet6(address) = address {
        Some(IpAddr::V6(*address))
    } else {
        None
    }
}

/// ifindex of the first default route of the main table, IPv4 before IPv6.
///
/// # Errors
/// As [`Conversation::dump`].
pub fn default_device(kernel: &mut Conversation) -> Result<Option<(u32, bool)>, NetlinkError> {
    for (family, is_v4) in [(AddressFamily::Inet, true), (AddressFamily::Inet6, false)] {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        let dump = kernel.dump(&RouteNetlinkMessage::GetRoute(message))?;
        let found = dump.iter().find_map(|answer| {
            let RouteNetlinkMessage::NewRoute(route) = answer else { return None };
            let default = route.header.destination_prefix_length == 0
                && route.header.table == netlink_packet_route::route::RouteHeader::RT_TABLE_MAIN;
            default.then(|| as_route(route)).flatten()?.hops.first().map(|hop| hop.device)
        });
        if let Some(device) = found {
            return Ok(Some((device, is_v4)));
        }
    }
    Ok(None)
}
