//! The two devices of the agent itself: `l2sm-br` and `l2sm-vxlan`.

use l2sm_common::{
    abi::{BRIDGE_DEVICE, VXLAN_DEVICE},
    ids::IfIndex,
};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkMessage,
};

use super::{
    LinksError,
    links::{self, Link},
    socket::Conversation,
};

/// `ifalias` of the bridge.
const BRIDGE_ALIAS: &str = "l2sm:bridge";
/// `ifalias` of the vxlan device.
const VXLAN_ALIAS: &str = "l2sm:vxlan";
/// Largest MTU of a vxlan device without a lower device (`ETH_MAX_MTU`), bytes.
const VXLAN_MTU: u32 = 65_535;

/// The devices, once they are as they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Devices {
    /// `l2sm-br`.
    pub bridge: IfIndex,
    /// `l2sm-vxlan`.
    pub vxlan: IfIndex,
}

/// Makes or corrects both devices; `links`: what there is, read again where it was changed.
///
/// # Errors
/// A device of somebody else has one of the names, or our UDP port; the kernel refused.
pub fn ensure_devices(
    kernel: &mut Conversation,
    links: &mut Vec<Link>,
    port: u16,
) -> Result<Devices, LinksError> {
    refuse_foreign_vxlan(links, port)?;
    if let Some(devices) = as_they_should_be(links, port) {
        return Ok(devices);
    }
    let bridge = ensure_bridge(kernel, links)?;
    let vxlan = ensure_vxlan(kernel, links, port, bridge)?;
    *links = links::dump_links(kernel)?;
    Ok(Devices { bridge, vxlan })
}

/// Both devices, where nothing is to be made or corrected.
fn as_they_should_be(links: &[Link], port: u16) -> Option<Devices> {
    let bridge = named(links, BRIDGE_DEVICE).filter(|link| is_bridge_finished(link))?;
    let vxlan = named(links, VXLAN_DEVICE);
    let vxlan = vxlan.filter(|link| {
        link.alias.as_deref() == Some(VXLAN_ALIAS)
            && is_as_made(link, port)
            && is_vxlan_finished(link, IfIndex(bridge.index))
    })?;
    let ours = bridge.alias.as_deref() == Some(BRIDGE_ALIAS);
    ours.then_some(Devices { bridge: IfIndex(bridge.index), vxlan: IfIndex(vxlan.index) })
}

/// The devices of ours that exist, for removal: `l2sm-vxlan` before the bridge that it is in.
pub fn own_devices(links: &[Link]) -> Vec<&Link> {
    [(VXLAN_DEVICE, VXLAN_ALIAS), (BRIDGE_DEVICE, BRIDGE_ALIAS)]
        .into_iter()
        .filter_map(|(name, alias)| {
            named(links, name).filter(|link| link.alias.as_deref() == Some(alias))
        })
        .collect()
}

fn named<'a>(links: &'a [Link], name: &str) -> Option<&'a Link> {
    links.iter().find(|link| link.name == name)
}

fn refuse_foreign_vxlan(links: &[Link], port: u16) -> Result<(), LinksError> {
    let clash = links.iter().find(|link| {
        link.name != VXLAN_DEVICE && link.vxlan.is_some_and(|vxlan| vxlan.port == port)
    });
    clash.map_or(Ok(()), |link| Err(LinksError::PortTaken { port, device: link.name.clone() }))
}

fn ensure_bridge(kernel: &mut Conversation, links: &[Link]) -> Result<IfIndex, LinksError> {
    if let Some(link) = named(links, BRIDGE_DEVICE) {
        if link.alias.as_deref() != Some(BRIDGE_ALIAS) && !is_unfinished(link, "bridge") {
            return Err(LinksError::NotOurs { name: link.name.clone() });
        }
        if !is_bridge_finished(link) {
            links::set_link(kernel, bridge_settings(link))?;
        }
        return Ok(IfIndex(link.index));
    }
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(BRIDGE_DEVICE.to_owned()),
        links::link_info(InfoKind::Bridge, None),
    ];
    links::make_link(kernel, link)?;
    let made = find(kernel, BRIDGE_DEVICE)?;
    links::set_link(kernel, bridge_settings(&made))?;
    Ok(IfIndex(made.index))
}

fn is_bridge_finished(bridge: &Link) -> bool {
    bridge.alias.is_some() && bridge.no_auto_address && !bridge.up
}

/// What the bridge must be: ours, without addresses, and down. A DOWN bridge's ports drop everything.
fn bridge_settings(bridge: &Link) -> LinkMessage {
    let mut link = links::change(bridge.index);
    link.header.change_mask = LinkFlags::Up;
    link.attributes = vec![LinkAttribute::IfAlias(BRIDGE_ALIAS.to_owned())];
    link.attributes.extend((!bridge.no_auto_address).then(links::no_auto_address));
    link
}

fn ensure_vxlan(
    kernel: &mut Conversation,
    links: &[Link],
    port: u16,
    bridge: IfIndex,
) -> Result<IfIndex, LinksError> {
    let existing = named(links, VXLAN_DEVICE);
    if let Some(link) = existing {
        if link.alias.as_deref() != Some(VXLAN_ALIAS) && !is_unfinished(link, "vxlan") {
            return Err(LinksError::NotOurs { name: link.name.clone() });
        }
        if is_as_made(link, port) {
            if !is_vxlan_finished(link, bridge) {
                finish_vxlan(kernel, link, bridge)?;
            }
            return Ok(IfIndex(link.index));
        }
        tracing::info!(device = VXLAN_DEVICE, port, "made again: its settings are others now");
        links::delete_link(kernel, link.index)?;
    }
    links::make_link(kernel, vxlan_device(port))?;
    let made = find(kernel, VXLAN_DEVICE)?;
    finish_vxlan(kernel, &made, bridge)?;
    Ok(IfIndex(made.index))
}

/// Whether it was made as it would be made now.
fn is_as_made(vxlan: &Link, port: u16) -> bool {
    vxlan.vxlan.is_some_and(|of| of.port == port && of.external && of.zero_checksum6)
}

fn is_vxlan_finished(vxlan: &Link, bridge: IfIndex) -> bool {
    vxlan.alias.is_some() && vxlan.no_auto_address && vxlan.up && vxlan.controller == Some(bridge.0)
}

fn vxlan_device(port: u16) -> LinkMessage {
    let data = vec![
        InfoVxlan::CollectMetadata(true),
        InfoVxlan::Port(port),
        InfoVxlan::Learning(false),
        InfoVxlan::UDPZeroCsumTX(true),
        InfoVxlan::UDPZeroCsumRX(true),
    ];
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(VXLAN_DEVICE.to_owned()),
        LinkAttribute::Mtu(VXLAN_MTU),
        links::link_info(InfoKind::Vxlan, Some(InfoData::Vxlan(data))),
    ];
    link
}

/// The bridge first: up outside it, the device would hand frames to the host.
fn finish_vxlan(
    kernel: &mut Conversation,
    vxlan: &Link,
    bridge: IfIndex,
) -> Result<(), LinksError> {
    let mut link = links::change(vxlan.index);
    link.attributes =
        vec![LinkAttribute::IfAlias(VXLAN_ALIAS.to_owned()), LinkAttribute::Controller(bridge.0)];
    link.attributes.extend((!vxlan.no_auto_address).then(links::no_auto_address));
    links::set_link(kernel, link)?;
    links::set_link(kernel, links::change_up(vxlan.index))?;
    Ok(())
}

/// A device of our kind and name that nobody has finished: no alias, down, in no bridge. An agent
/// that was killed between making it and naming it leaves one.
fn is_unfinished(link: &Link, kind: &str) -> bool {
    link.kind == kind && link.alias.is_none() && !link.up && link.controller.is_none()
}

fn find(kernel: &mut Conversation, name: &str) -> Result<Link, LinksError> {
    let links = links::dump_links(kernel)?;
    links
        .into_iter()
        .find(|link| link.name == name)
        .ok_or_else(|| LinksError::Vanished { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use links::Vxlan;

    fn vxlan(name: &str, port: u16) -> Link {
        Link {
            name: name.to_owned(),
            kind: "vxlan".to_owned(),
            vxlan: Some(Vxlan { port, ..Vxlan::default() }),
            ..Link::default()
        }
    }

    #[test]
    fn a_foreign_device_on_our_port_is_named() {
        let links = [vxlan("flannel.1", 7000)];
        let why = refuse_foreign_vxlan(&links, 7000).unwrap_err().to_string();
        assert_eq!(
            why,
            "UDP port 7000 is used by the vxlan device flannel.1: choose another with --vxlan-port"
        );
        assert!(refuse_foreign_vxlan(&links, 7001).is_ok());
        assert!(refuse_foreign_vxlan(&[vxlan(VXLAN_DEVICE, 7000)], 7000).is_ok());
    }

    #[test]
    fn devices_without_our_alias_are_never_removed() {
        let mut ours = vxlan(VXLAN_DEVICE, 7000);
        ours.alias = Some(VXLAN_ALIAS.to_owned());
        let links = [vxlan(VXLAN_DEVICE, 7000)];
        assert!(own_devices(&links).is_empty());
        assert_eq!(own_devices(std::slice::from_ref(&ours)), [&ours]);
    }
}
