//! Instructions as protobuf and back. What comes in is checked: an error names the field.

use core::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use l2sm_common::{ids::Group, mac::Mac, vni::Vni};
use l2sm_core::{
    instructions::{Delta, Host, Instructions, Member, Place, Port, Removed, Segment, Vtep},
    model::ObjectKey,
};

use super::v1;

/// A field of a message that does not hold what it must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    /// Path of the field, as in `ports.mac`.
    pub field: String,
    /// What was expected.
    pub expected: &'static str,
}

impl FieldFault {
    fn new(field: impl Into<String>, expected: &'static str) -> Self {
        Self { field: field.into(), expected }
    }
}

impl fmt::Display for FieldFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}", self.field, self.expected)
    }
}

impl core::error::Error for FieldFault {}

/// An address in network order: 4 or 16 bytes.
pub fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The address in `field`.
///
/// # Errors
/// It is neither 4 nor 16 bytes long.
pub fn read_address(field: &str, bytes: &[u8]) -> Result<IpAddr, FieldFault> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(v4));
    }
    let v6 = <[u8; 16]>::try_from(bytes);
    v6.map(IpAddr::from).map_err(|_length| FieldFault::new(field, "an address of 4 or 16 bytes"))
}

/// The MAC address in `field`.
///
/// # Errors
/// It is not 6 bytes long.
pub fn read_mac(field: &str, bytes: &[u8]) -> Result<Mac, FieldFault> {
    let bytes = <[u8; 6]>::try_from(bytes);
    bytes.map(Mac).map_err(|_length| FieldFault::new(field, "a MAC address of 6 bytes"))
}

/// The address with prefix length in `field`.
///
/// # Errors
/// The address is none, or the length does not fit its family.
pub fn read_net(field: &str, address: &v1::Address) -> Result<IpNet, FieldFault> {
    let ip = read_address(field, &address.ip)?;
    let fault = |_out_of_range| FieldFault::new(field, "a prefix length that fits the address");
    let prefix_len = u8::try_from(address.prefix_len).map_err(fault)?;
    IpNet::new(ip, prefix_len)
        .map_err(|_too_long| FieldFault::new(field, "a prefix length that fits the address"))
}

/// An address with its prefix length.
pub fn write_net(net: &IpNet) -> v1::Address {
    v1::Address { ip: address_bytes(net.addr()), prefix_len: u32::from(net.prefix_len()) }
}

/// The key in `field`.
///
/// # Errors
/// It is absent.
pub fn read_key(field: &str, key: Option<v1::ObjectKey>) -> Result<ObjectKey, FieldFault> {
    key.map(ObjectKey::from).ok_or_else(|| FieldFault::new(field, "an object's key"))
}

impl From<v1::ObjectKey> for ObjectKey {
    fn from(key: v1::ObjectKey) -> Self {
        Self { namespace: key.namespace, name: key.name }
    }
}

impl From<ObjectKey> for v1::ObjectKey {
    fn from(key: ObjectKey) -> Self {
        Self { namespace: key.namespace, name: key.name }
    }
}

impl From<&Instructions> for v1::Instructions {
    fn from(all: &Instructions) -> Self {
        Self {
            segments: all
                .segments
                .iter()
                .map(|(vni, segment)| write_segment(*vni, segment))
                .collect(),
            vteps: all.vteps.iter().map(|(name, vtep)| write_vtep(name, vtep)).collect(),
            members: all
                .members
                .iter()
                .map(|((vni, name), member)| write_member(*vni, name, *member))
                .collect(),
            hosts: all.hosts.iter().map(|((vni, mac), host)| write_host(vni, mac, host)).collect(),
            ports: all.ports.iter().map(|(key, port)| write_port(key, port)).collect(),
        }
    }
}

impl TryFrom<v1::Instructions> for Instructions {
    type Error = FieldFault;

    fn try_from(message: v1::Instructions) -> Result<Self, FieldFault> {
        Ok(Self {
            segments: message.segments.into_iter().map(read_segment).collect::<Result<_, _>>()?,
            vteps: message.vteps.into_iter().map(read_vtep).collect::<Result<_, _>>()?,
            members: message.members.into_iter().map(read_member).collect::<Result<_, _>>()?,
            hosts: message.hosts.into_iter().map(read_host).collect::<Result<_, _>>()?,
            ports: message.ports.into_iter().map(read_port).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Removed> for v1::InstructionKeys {
    fn from(keys: &Removed) -> Self {
        let member =
            |(vni, vtep): &(Vni, String)| v1::MemberKey { vni: vni.get(), vtep: vtep.clone() };
        let host = |(vni, mac): &(Vni, Mac)| v1::HostKey { vni: vni.get(), mac: mac.0.to_vec() };
        Self {
            segments: keys.segments.iter().map(|vni| vni.get()).collect(),
            vteps: keys.vteps.clone(),
            members: keys.members.iter().map(member).collect(),
            hosts: keys.hosts.iter().map(host).collect(),
            ports: keys.ports.iter().cloned().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::InstructionKeys> for Removed {
    type Error = FieldFault;

    fn try_from(message: v1::InstructionKeys) -> Result<Self, FieldFault> {
        let segments = message.segments.into_iter().map(|vni| read_vni("remove.segments", vni));
        let members = message
            .members
            .into_iter()
            .map(|key| Ok((read_vni("remove.members.vni", key.vni)?, key.vtep)));
        let hosts = message.hosts.into_iter().map(|key| {
            Ok((read_vni("remove.hosts.vni", key.vni)?, read_mac("remove.hosts.mac", &key.mac)?))
        });
        Ok(Self {
            segments: segments.collect::<Result<_, _>>()?,
            vteps: message.vteps,
            members: members.collect::<Result<_, FieldFault>>()?,
            hosts: hosts.collect::<Result<_, FieldFault>>()?,
            ports: message.ports.into_iter().map(Into::into).collect(),
        })
    }
}

/// The change that an update which is no snapshot asks for.
impl TryFrom<v1::Update> for Delta {
    type Error = FieldFault;

    fn try_from(message: v1::Update) -> Result<Self, FieldFault> {
        Ok(Self {
            put: message.put.unwrap_or_default().try_into()?,
            remove: message.remove.unwrap_or_default().try_into()?,
        })
    }
}

fn read_vni(field: &str, vni: u32) -> Result<Vni, FieldFault> {
    Vni::new(vni).ok_or_else(|| FieldFault::new(field, "a VNI, 1 to 16777215"))
}

fn write_segment(vni: Vni, segment: &Segment) -> v1::Segment {
    v1::Segment {
        vni: vni.get(),
        network: Some(segment.network.clone().into()),
        mtu: segment.mtu,
        flood: segment.flood,
        learning: segment.learning,
    }
}

fn read_segment(message: v1::Segment) -> Result<(Vni, Segment), FieldFault> {
    let segment = Segment {
        network: read_key("segments.network", message.network)?,
        mtu: message.mtu,
        flood: message.flood,
        learning: message.learning,
    };
    Ok((read_vni("segments.vni", message.vni)?, segment))
}

fn write_vtep(name: &str, vtep: &Vtep) -> v1::Vtep {
    v1::Vtep {
        name: name.to_owned(),
        addresses: vtep.addresses.iter().copied().map(address_bytes).collect(),
        udp_checksum: vtep.udp_checksum,
    }
}

fn read_vtep(message: v1::Vtep) -> Result<(String, Vtep), FieldFault> {
    let addresses = message.addresses.iter().map(|bytes| read_address("vteps.addresses", bytes));
    let addresses = addresses.collect::<Result<_, _>>()?;
    Ok((message.name, Vtep { addresses, udp_checksum: message.udp_checksum }))
}

fn write_member(vni: Vni, vtep: &str, member: Member) -> v1::Member {
    v1::Member {
        key: Some(v1::MemberKey { vni: vni.get(), vtep: vtep.to_owned() }),
        group: u32::from(member.group.0),
        unknown: member.unknown,
        external: member.external,
        learn: member.learn,
    }
}

fn read_member(message: v1::Member) -> Result<((Vni, String), Member), FieldFault> {
    let key = message.key.ok_or_else(|| FieldFault::new("members.key", "a member's key"))?;
    let group = u16::try_from(message.group)
        .map_err(|_too_large| FieldFault::new("members.group", "a group, 0 to 65535"))?;
    let member = Member {
        group: Group(group),
        unknown: message.unknown,
        external: message.external,
        learn: message.learn,
    };
    Ok(((read_vni("members.key.vni", key.vni)?, key.vtep), member))
}

fn write_host(vni: Vni, mac: Mac, host: &Host) -> v1::Host {
    let place = match &host.place {
        Place::Port(key) => v1::host::Place::Port(key.clone().into()),
        Place::Vtep(name) => v1::host::Place::Vtep(name.clone()),
    };
    let role = match host.router {
        None => v1::host::Role::Unknown,
        Some(false) => v1::host::Role::Host,
        Some(true) => v1::host::Role::Router,
    };
    v1::Host {
        key: Some(v1::HostKey { vni: vni.get(), mac: mac.0.to_vec() }),
        ips: host.ips.iter().copied().map(address_bytes).collect(),
        place: Some(place),
        role: role.into(),
    }
}

fn read_host(message: v1::Host) -> Result<((Vni, Mac), Host), FieldFault> {
    let router = match message.role() {
        v1::host::Role::Unknown => None,
        v1::host::Role::Host => Some(false),
        v1::host::Role::Router => Some(true),
    };
    let key = message.key.ok_or_else(|| FieldFault::new("hosts.key", "a host's key"))?;
    let place = match message.place {
        Some(v1::host::Place::Port(key)) => Place::Port(key.into()),
        Some(v1::host::Place::Vtep(name)) => Place::Vtep(name),
        None => return Err(FieldFault::new("hosts.place", "a port or a VTEP")),
    };
    let ips = message.ips.iter().map(|bytes| read_address("hosts.ips", bytes));
    let host = Host { ips: ips.collect::<Result<_, _>>()?, place, router };
    let key = (read_vni("hosts.key.vni", key.vni)?, read_mac("hosts.key.mac", &key.mac)?);
    Ok((key, host))
}

fn write_port(key: &ObjectKey, port: &Port) -> v1::Port {
    v1::Port {
        key: Some(key.clone().into()),
        vni: port.vni.get(),
        ifname: port.ifname.clone(),
        netns: port.netns.clone().unwrap_or_default(),
        netns_inode: port.netns_inode,
        pod: port.pod.clone().unwrap_or_default(),
        mac: port.mac.0.to_vec(),
        addresses: port.addresses.iter().map(write_net).collect(),
        mtu: port.mtu,
        mac_check: port.mac_check,
        forwarder: port.forwarder,
        pod_uid: port.pod_uid.clone().unwrap_or_default(),
    }
}

fn read_port(message: v1::Port) -> Result<(ObjectKey, Port), FieldFault> {
    let addresses = message.addresses.iter().map(|address| read_net("ports.addresses", address));
    let port = Port {
        vni: read_vni("ports.vni", message.vni)?,
        ifname: message.ifname,
        netns: Some(message.netns).filter(|path| !path.is_empty()),
        netns_inode: message.netns_inode,
        pod: Some(message.pod).filter(|pod| !pod.is_empty()),
        pod_uid: Some(message.pod_uid).filter(|uid| !uid.is_empty()),
        mac: read_mac("ports.mac", &message.mac)?,
        addresses: addresses.collect::<Result<_, _>>()?,
        mtu: message.mtu,
        mac_check: message.mac_check,
        forwarder: message.forwarder,
    };
    Ok((read_key("ports.key", message.key)?, port))
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
