//! What there is of an attachment's veth, for the socket's `check`.

use l2sm_common::{abi::BRIDGE_DEVICE, ids::IfIndex};
use l2sm_core::{instructions::Port, model::ObjectKey};

use crate::{
    cni::{Found, HostEnd, PodEnd},
    netlink::{
        LinksError,
        links::{Link, dump_links},
        netns::Netns,
        socket::Conversation,
        veths::{host_name, interface_in},
    },
};

/// Both ends of a veth, and the host end's device. Blocks.
pub(super) fn find_ends(
    key: &ObjectKey,
    port: &Port,
) -> Result<(Found, Option<IfIndex>), LinksError> {
    let links = dump_links(&mut Conversation::open()?)?;
    let host_name = host_name(key);
    let host = links.iter().find(|link| link.name == host_name);
    let path = port.netns.as_deref().ok_or(LinksError::NoNetns)?;
    let inside = interface_in(&Netns::open(path, port.netns_inode)?, &port.ifname)?;
    let pod_end = inside.map(|(end, addresses)| PodEnd {
        joined: host.is_some_and(|host| are_joined(host, &end)),
        mac: end.mac,
        mtu: end.mtu,
        up: end.up,
        addresses,
    });
    let bridge = links.iter().find(|link| link.name == BRIDGE_DEVICE).map(|bridge| bridge.index);
    let host_end = host.map(|host| HostEnd {
        ours: host.is_our_veth(),
        up: host.up,
        bridged: bridge.is_some() && host.controller == bridge,
        mtu: host.mtu,
    });
    let device = host.map(|host| IfIndex(host.index));
    Ok((Found { pod_end, host_name, host_end, ..Found::default() }, device))
}

fn are_joined(host: &Link, pod: &Link) -> bool {
    host.peer == Some(pod.index) && pod.peer == Some(host.index)
}
