//! Veths of pods: the host end here, the other end made directly in the pod's namespace.

use std::{collections::BTreeSet, net::IpAddr, os::fd::AsRawFd};

use ipnet::IpNet;
use l2sm_common::{
    abi::{ALIAS_PREFIX, VETH_PREFIX},
    ids::IfIndex,
    mac::Mac,
};
use l2sm_core::{image::LocalPort, instructions::Port, model::ObjectKey};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage},
};
use nix::errno::Errno;
use sha2::{Digest, Sha256};

use super::{
    LinksError,
    links::{self, Link},
    netns::Netns,
    socket::{Conversation, NetlinkError},
};

/// Longest `ifalias` that the kernel takes (`IFALIASZ` is 256, its end included), bytes.
const ALIAS_MAX: usize = 255;

/// Name of the host end of an attachment's veth: `l2sm` and 11 hex digits of SHA-256 over
/// `namespace/name`. Whoever has the key finds the device, and 44 bits keep keys apart.
pub fn host_name(key: &ObjectKey) -> String {
    let digest: [u8; 32] = Sha256::digest(key.to_string().as_bytes()).into();
    let [b0, b1, b2, b3, b4, b5, ..] = digest;
    let number = u64::from_be_bytes([0, 0, b0, b1, b2, b3, b4, b5]) >> 4;
    format!("{VETH_PREFIX}{number:011x}")
}

/// `ifalias` of the host end: `l2sm:<namespace>/<pod>/<ifname>`.
pub fn host_alias(key: &ObjectKey, port: &Port) -> String {
    let pod = port.pod.as_deref().unwrap_or(&key.name);
    let mut alias = format!("{ALIAS_PREFIX}{}/{pod}/{}", key.namespace, port.ifname);
    while alias.len() > ALIAS_MAX {
        alias.pop();
    }
    alias
}

/// Makes the veth of an attachment, or corrects `existing`, the link that has its name. All or nothing: a
/// veth that could not be finished is removed again.
///
/// # Errors
/// The namespace is gone or none, the interface name is taken in it, a foreign link has the host
/// name, an address or the MTU is refused.
pub fn ensure_veth(
    kernel: &mut Conversation,
    existing: Option<&Link>,
    bridge: IfIndex,
    wanted: &Wanted<'_>,
) -> Result<LocalPort, LinksError> {
    let path = wanted.port.netns.as_deref().ok_or(LinksError::NoNetns)?;
    let netns = Netns::open(path, wanted.port.netns_inode)?;
    let peer = netns.inode() != Netns::own()?.inode();
    let name = host_name(wanted.key);
    if let Some(link) = existing {
        if adopt(kernel, &netns, link, bridge, wanted)? {
            return Ok(LocalPort { device: IfIndex(link.index), peer });
        }
        links::delete_link(kernel, link.index)?;
    }
    let device = make_veth(kernel, &netns, &name, bridge, wanted)?;
    Ok(LocalPort { device, peer })
}

/// An attachment, as it is asked for now and as it was before.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its object.
    pub key: &'a ObjectKey,
    /// What it must be.
    pub port: &'a Port,
    /// What it was asked to be when last made or corrected by this process.
    pub before: Option<&'a Port>,
}

/// Takes an existing link over and corrects it; false: it is ours, but must be made again.
fn adopt(
    kernel: &mut Conversation,
    netns: &Netns,
    link: &Link,
    bridge: IfIndex,
    wanted: &Wanted<'_>,
) -> Result<bool, LinksError> {
    let inside = netns.run(|pod| links::dump_links(pod).map_err(LinksError::from))?;
    let other_end = inside
        .iter()
        .find(|end| Some(end.index) == link.peer && end.name == wanted.port.ifname)
        .filter(|end| end.kind == "veth" && end.peer == Some(link.index));
    let made_by_us = || other_end.is_some_and(|end| end.mac == Some(wanted.port.mac));
    let unfinished = link.kind == "veth" && link.alias.is_none() && made_by_us();
    if !link.is_our_veth() && !unfinished {
        return Err(LinksError::NotOurs { name: link.name.clone() });
    }
    let Some(end) = other_end else { return Ok(false) };
    finish_host_end(kernel, link, bridge, wanted)?;
    netns.run(|pod| finish_pod_end(pod, end, wanted))?;
    Ok(true)
}

fn make_veth(
    kernel: &mut Conversation,
    netns: &Netns,
    name: &str,
    bridge: IfIndex,
    wanted: &Wanted<'_>,
) -> Result<IfIndex, LinksError> {
    if let Err(why) = links::make_link(kernel, veth(name, netns, wanted.port)) {
        let ifname = &wanted.port.ifname;
        let exists = why.errno() == Some(Errno::EEXIST);
        // Looked at only then: each look into a namespace is a thread of its own.
        if exists && names_in(netns)?.iter().any(|(taken, _mac)| taken == ifname) {
            let (ifname, netns) = (ifname.clone(), netns.path().to_owned());
            return Err(LinksError::NameTaken { ifname, netns });
        }
        return Err(why.into());
    }
    let made = finish_veth(kernel, netns, name, bridge, wanted);
    if made.is_err() {
        remove_named(kernel, name);
    }
    made
}

fn finish_veth(
    kernel: &mut Conversation,
    netns: &Netns,
    name: &str,
    bridge: IfIndex,
    wanted: &Wanted<'_>,
) -> Result<IfIndex, LinksError> {
    let vanished = || LinksError::Vanished { name: name.to_owned() };
    let host = links::read_link(kernel, name)?.ok_or_else(vanished)?;
    finish_host_end(kernel, &host, bridge, wanted)?;
    netns.run(|pod| {
        let inside = links::dump_links(pod)?;
        let end = inside.iter().find(|link| Some(link.index) == host.peer).ok_or_else(vanished)?;
        finish_pod_end(pod, end, wanted)
    })?;
    Ok(IfIndex(host.index))
}

/// What failed is told already; that the half-made veth cannot be removed is only logged.
fn remove_named(kernel: &mut Conversation, name: &str) {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    match kernel.ask(RouteNetlinkMessage::DelLink(link), 0) {
        Ok(_none) => {}
        Err(why) if why.errno() == Some(Errno::ENODEV) => {}
        Err(why) => tracing::warn!(device = name, %why, "a half-made veth could not be removed"),
    }
}

fn veth(name: &str, netns: &Netns, port: &Port) -> LinkMessage {
    let mut pod_end = LinkMessage::default();
    pod_end.attributes = vec![
        LinkAttribute::IfName(port.ifname.clone()),
        LinkAttribute::Address(port.mac.0.to_vec()),
        LinkAttribute::Mtu(port.mtu),
        LinkAttribute::NetNsFd(netns.file().as_raw_fd()),
    ];
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(port.mtu),
        links::link_info(InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(pod_end)))),
    ];
    link
}

/// The bridge before "up": outside it, the host itself would hear the pod.
fn finish_host_end(
    kernel: &mut Conversation,
    host: &Link,
    bridge: IfIndex,
    wanted: &Wanted<'_>,
) -> Result<(), LinksError> {
    let alias = host_alias(wanted.key, wanted.port);
    let mut link = links::change(host.index);
    if host.alias.as_deref() != Some(&alias) {
        link.attributes.push(LinkAttribute::IfAlias(alias));
    }
    if !host.no_auto_address {
        link.attributes.push(links::no_auto_address());
    }
    if host.mtu != wanted.port.mtu {
        link.attributes.push(LinkAttribute::Mtu(wanted.port.mtu));
    }
    if host.controller != Some(bridge.0) {
        link.attributes.push(LinkAttribute::Controller(bridge.0));
    }
    if !link.attributes.is_empty() {
        links::set_link(kernel, link)?;
    }
    if !host.up {
        links::set_link(kernel, links::change_up(host.index))?;
    }
    Ok(())
}

/// `pod`: a conversation in the pod's namespace.
fn finish_pod_end(
    pod: &mut Conversation,
    end: &Link,
    wanted: &Wanted<'_>,
) -> Result<(), LinksError> {
    let mut link = links::change(end.index);
    if end.mac != Some(wanted.port.mac) {
        link.attributes.push(LinkAttribute::Address(wanted.port.mac.0.to_vec()));
    }
    if end.mtu != wanted.port.mtu {
        link.attributes.push(LinkAttribute::Mtu(wanted.port.mtu));
    }
    if !link.attributes.is_empty() {
        links::set_link(pod, link)?;
    }
    correct_addresses(pod, end.index, wanted)?;
    if !end.up {
        links::set_link(pod, links::change_up(end.index))?;
    }
    Ok(())
}

/// Adds what is missing. What the pod has added itself stays; of the rest, only what an earlier
/// instruction asked for is removed.
fn correct_addresses(
    pod: &mut Conversation,
    index: u32,
    wanted: &Wanted<'_>,
) -> Result<(), LinksError> {
    let present = addresses_of(pod, index)?;
    let asked = wanted.before.map(|before| before.addresses.as_slice()).unwrap_or_default();
    let stale: Vec<IpNet> = asked
        .iter()
        .filter(|address| present.contains(address) && !wanted.port.addresses.contains(address))
        .copied()
        .collect();
    for address in &stale {
        pod.ask(RouteNetlinkMessage::DelAddress(address_message(index, *address)), 0)?;
    }
    // With the first address of a subnet, the kernel removes the others of it, the pod's own too
    // (`promote_secondaries` is off by default).
    let left = if stale.is_empty() { present.clone() } else { addresses_of(pod, index)? };
    let kept = present.iter().filter(|address| !stale.contains(address));
    for address in wanted.port.addresses.iter().chain(kept) {
        if !left.contains(address) {
            let message = RouteNetlinkMessage::NewAddress(address_message(index, *address));
            pod.ask(message, NLM_F_CREATE | NLM_F_REPLACE)
                .map_err(|why| LinksError::Address { address: *address, why })?;
        }
    }
    Ok(())
}

fn addresses_of(pod: &mut Conversation, index: u32) -> Result<BTreeSet<IpNet>, NetlinkError> {
    let dump = pod.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    Ok(dump.into_iter().filter_map(as_address).filter(|of| of.0 == index).map(|of| of.1).collect())
}

/// ifindex and address of one entry of an address dump.
pub(super) fn as_address(message: RouteNetlinkMessage) -> Option<(u32, IpNet)> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    // Of a point-to-point address, `IFA_LOCAL` is ours and `IFA_ADDRESS` the other end.
    let local = message.attributes.iter().find_map(|attribute| {
        if let AddressAttribute::Local(local) = attribute { Some(*local) } else { None }
    });
    let plain = message.attributes.iter().find_map(|attribute| {
        if let AddressAttribute::Address(plain) = attribute { Some(*plain) } else { None }
    });
    let address = IpNet::new(local.or(plain)?, message.header.prefix_len).ok()?;
    Some((message.header.index, address))
}

fn address_message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = address.prefix_len();
    message.attributes =
        vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
    match address {
        IpNet::V4(v4) => {
            message.header.family = AddressFamily::Inet;
            if v4.prefix_len() < 31 {
                message.attributes.push(AddressAttribute::Broadcast(v4.broadcast()));
            }
        }
        IpNet::V6(_) => {
            message.header.family = AddressFamily::Inet6;
            // The controller gave it to nobody else: usable at once.
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
    }
    message
}

/// Interface names and MACs in a namespace.
///
/// # Errors
/// It cannot be entered or read.
pub fn names_in(netns: &Netns) -> Result<Vec<(String, Option<Mac>)>, LinksError> {
    let links = netns.run(|pod| links::dump_links(pod).map_err(LinksError::from))?;
    Ok(links.into_iter().map(|link| (link.name, link.mac)).collect())
}

/// The interface of that name in a namespace, and its addresses.
///
/// # Errors
/// The namespace cannot be entered or read.
pub fn interface_in(
    netns: &Netns,
    name: &str,
) -> Result<Option<(Link, BTreeSet<IpNet>)>, LinksError> {
    netns.run(|pod| {
        let links = links::dump_links(pod)?;
        let Some(link) = links.into_iter().find(|link| link.name == name) else {
            return Ok(None);
        };
        let addresses = addresses_of(pod, link.index)?;
        Ok(Some((link, addresses)))
    })
}

/// Own global addresses, by ifindex.
///
/// # Errors
/// As [`Conversation::dump`].
pub fn dump_addresses(kernel: &mut Conversation) -> Result<Vec<(u32, IpAddr)>, NetlinkError> {
    let dump = kernel.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    Ok(dump.into_iter().filter_map(as_address).map(|(index, net)| (index, net.addr())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use l2sm_common::vni::Vni;

    fn port(pod: Option<&str>) -> Port {
        Port {
            vni: Vni::new(7).unwrap(),
            ifname: "net1".to_owned(),
            netns: None,
            netns_inode: 0,
            pod: pod.map(str::to_owned),
            pod_uid: None,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            addresses: Vec::new(),
            mtu: 1450,
            mac_check: true,
            forwarder: false,
        }
    }

    #[test]
    fn a_host_name_fits_and_follows_from_the_key() {
        let name = host_name(&ObjectKey::new("default", "web-net1"));
        assert!(links::is_veth_name(&name), "{name}");
        assert_eq!(name.len(), 15);
        assert_eq!(name, host_name(&ObjectKey::new("default", "web-net1")));
        assert_ne!(name, host_name(&ObjectKey::new("default", "web-net2")));
    }

    #[test]
    fn an_alias_tells_namespace_pod_and_interface() {
        let key = ObjectKey::new("default", "web-net1");
        assert_eq!(host_alias(&key, &port(Some("web"))), "l2sm:default/web/net1");
        assert_eq!(host_alias(&key, &port(None)), "l2sm:default/web-net1/net1");
    }

    #[test]
    fn an_alias_is_cut_to_what_the_kernel_takes() {
        let key = ObjectKey::new("default", "web-net1");
        assert_eq!(host_alias(&key, &port(Some(&"x".repeat(400)))).len(), ALIAS_MAX);
    }
}
