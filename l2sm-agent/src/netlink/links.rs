//! Links as the agent reads and writes them.

use l2sm_common::{abi, mac::Mac};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVxlan, LinkAttribute,
        LinkExtentMask, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
    },
};

use super::socket::{Conversation, NetlinkError};

/// A network device, as a dump of the kernel's links tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one device")]
pub struct Link {
    /// ifindex.
    pub index: u32,
    /// Name.
    pub name: String,
    /// `ifalias`.
    pub alias: Option<String>,
    /// Kind (`veth`, `vxlan`, ...); empty for physical devices.
    pub kind: String,
    /// Ethernet address; `None`: not Ethernet.
    pub mac: Option<Mac>,
    /// Bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// The loopback device.
    pub loopback: bool,
    /// ifindex of the bridge or bond that it belongs to.
    pub controller: Option<u32>,
    /// ifindex of its other half (`IFLA_LINK`; of a veth: the peer), in the peer's namespace.
    pub peer: Option<u32>,
    /// Group of links that can be named together; 0: as made.
    pub group: u32,
    /// The other half is in another namespace.
    pub peer_elsewhere: bool,
    /// The kernel makes no IPv6 link-local address on it: told not to, or there is no IPv6 on it.
    pub no_auto_address: bool,
    /// What a vxlan device does.
    pub vxlan: Option<Vxlan>,
    /// It belongs to a piece of hardware, or of a virtual machine's.
    pub has_parent: bool,
}

/// What a vxlan device does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vxlan {
    /// UDP port, host order.
    pub port: u16,
    /// In collect-metadata mode (`external`).
    pub external: bool,
    /// Takes IPv6 packets without checksum.
    pub zero_checksum6: bool,
}

impl Link {
    /// Whether the name and the alias both say that a host veth is ours. Neither alone does.
    pub fn is_our_veth(&self) -> bool {
        self.kind == "veth" && is_veth_name(&self.name) && self.is_aliased_ours()
    }

    /// Whether the alias says that it is ours.
    pub fn is_aliased_ours(&self) -> bool {
        self.alias.as_deref().is_some_and(|alias| alias.starts_with(abi::ALIAS_PREFIX))
    }
}

/// Whether a name is of the form of our host veths: `l2sm` and 11 hex digits.
pub fn is_veth_name(name: &str) -> bool {
    name.strip_prefix(abi::VETH_PREFIX).is_some_and(|rest| {
        rest.len() == 11 && rest.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Reads every link of the socket's namespace, in order of their ifindexes.
///
/// # Errors
/// As [`Conversation::dump`].
pub fn dump_links(kernel: &mut Conversation) -> Result<Vec<Link>, NetlinkError> {
    let mut all = LinkMessage::default();
    all.attributes = vec![without_statistics()];
    let dump = kernel.dump(&RouteNetlinkMessage::GetLink(all))?;
    let mut links: Vec<Link> = dump.into_iter().filter_map(as_link).collect();
    links.sort_unstable_by_key(|link| link.index);
    Ok(links)
}

/// Reads one link of the socket's namespace; `None`: there is none of that name.
///
/// # Errors
/// As [`Conversation::ask`].
pub fn read_link(kernel: &mut Conversation, name: &str) -> Result<Option<Link>, NetlinkError> {
    let mut one = LinkMessage::default();
    one.attributes = vec![LinkAttribute::IfName(name.to_owned()), without_statistics()];
    match kernel.ask(RouteNetlinkMessage::GetLink(one), 0) {
        Ok(answers) => Ok(answers.into_iter().find_map(as_link)),
        Err(why) if why.errno() == Some(nix::errno::Errno::ENODEV) => Ok(None),
        Err(why) => Err(why),
    }
}

/// Leaves out what is most of a link's description, and of no use here.
fn without_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

/// Changes a link: what `link` says, and nothing else.
///
/// # Errors
/// As [`Conversation::ask`].
pub fn set_link(kernel: &mut Conversation, link: LinkMessage) -> Result<(), NetlinkError> {
    kernel.ask(RouteNetlinkMessage::SetLink(link), 0).map(|_none| ())
}

/// Makes a link.
///
/// # Errors
/// As [`Conversation::ask`]; `EEXIST`: the name is taken.
pub fn make_link(kernel: &mut Conversation, link: LinkMessage) -> Result<(), NetlinkError> {
    kernel.ask(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL).map(|_none| ())
}

/// Deletes a link. One that is gone already is no error.
///
/// # Errors
/// As [`Conversation::ask`].
pub fn delete_link(kernel: &mut Conversation, index: u32) -> Result<(), NetlinkError> {
    match kernel.ask(RouteNetlinkMessage::DelLink(change(index)), 0) {
        Err(why) if why.errno() == Some(nix::errno::Errno::ENODEV) => Ok(()),
        outcome => outcome.map(|_none| ()),
    }
}

/// An empty change of the link `index`.
pub fn change(index: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link
}

/// An empty change of the link `index`, which also sets it up.
pub fn change_up(index: u32) -> LinkMessage {
    let mut link = change(index);
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link
}

/// The attribute that keeps the kernel from making an IPv6 link-local address. Refused
/// (`EAFNOSUPPORT`) on a device without IPv6, which needs none: see [`Link::no_auto_address`].
pub fn no_auto_address() -> LinkAttribute {
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(
        In6AddrGenMode::None,
    )])])
}

fn as_link(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let mut link = Link {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        loopback: message.header.flags.contains(LinkFlags::Loopback),
        no_auto_address: true,
        ..Link::default()
    };
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    for attribute in message.attributes {
        read_attribute(&mut link, attribute, ethernet);
    }
    Some(link)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a hundred attributes that do not matter here")]
fn read_attribute(link: &mut Link, attribute: LinkAttribute, ethernet: bool) {
    match attribute {
        LinkAttribute::IfName(name) => link.name = name,
        LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
        LinkAttribute::Mtu(mtu) => link.mtu = mtu,
        LinkAttribute::Controller(index) => link.controller = Some(index),
        LinkAttribute::Group(group) => link.group = group,
        LinkAttribute::Link(index) => link.peer = Some(index),
        LinkAttribute::LinkNetNsId(_id) => link.peer_elsewhere = true,
        LinkAttribute::ParentDevName(_name) => link.has_parent = true,
        LinkAttribute::Address(bytes) if ethernet => {
            link.mac = bytes.first_chunk::<6>().map(|mac| Mac(*mac));
        }
        LinkAttribute::LinkInfo(info) => info.into_iter().for_each(|info| read_info(link, info)),
        LinkAttribute::AfSpecUnspec(families) => {
            link.no_auto_address = !families.iter().any(makes_addresses);
        }
        _ => {}
    }
}

fn makes_addresses(family: &AfSpecUnspec) -> bool {
    let AfSpecUnspec::Inet6(specs) = family else { return false };
    specs
        .iter()
        .any(|spec| matches!(spec, AfSpecInet6::AddrGenMode(mode) if *mode != In6AddrGenMode::None))
}

fn read_info(link: &mut Link, info: LinkInfo) {
    if let LinkInfo::Kind(kind) = info {
        link.kind = kind.to_string();
    } else if let LinkInfo::Data(InfoData::Vxlan(data)) = info {
        let mut vxlan = Vxlan::default();
        for datum in data {
            if let InfoVxlan::Port(port) = datum {
                vxlan.port = port;
            } else if let InfoVxlan::CollectMetadata(external) = datum {
                vxlan.external = external;
            } else if let InfoVxlan::UDPZeroCsumRX(zero) = datum {
                vxlan.zero_checksum6 = zero;
            }
        }
        link.vxlan = Some(vxlan);
    }
}

/// `IFLA_LINKINFO` of a kind, with data.
pub fn link_info(kind: InfoKind, data: Option<InfoData>) -> LinkAttribute {
    let mut info = vec![LinkInfo::Kind(kind)];
    info.extend(data.map(LinkInfo::Data));
    LinkAttribute::LinkInfo(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn veth(name: &str, alias: Option<&str>) -> Link {
        Link {
            name: name.to_owned(),
            alias: alias.map(str::to_owned),
            kind: "veth".to_owned(),
            ..Link::default()
        }
    }

    #[test]
    fn only_name_and_alias_together_make_a_veth_ours() {
        assert!(veth("l2sm0123456789a", Some("l2sm:default/web/net1")).is_our_veth());
        assert!(!veth("l2sm0123456789a", None).is_our_veth());
        assert!(!veth("l2sm0123456789a", Some("calico")).is_our_veth());
        assert!(!veth("l2sm0123456789", Some("l2sm:default/web/net1")).is_our_veth());
        assert!(!veth("l2sm0123456789A", Some("l2sm:default/web/net1")).is_our_veth());
        assert!(!veth("cali0123456789a", Some("l2sm:default/web/net1")).is_our_veth());
    }

    #[test]
    fn a_look_alike_of_another_kind_is_not_ours() {
        let dummy = Link {
            kind: "dummy".to_owned(),
            ..veth("l2sm0123456789a", Some("l2sm:default/web/net1"))
        };
        assert!(!dummy.is_our_veth());
    }
}
