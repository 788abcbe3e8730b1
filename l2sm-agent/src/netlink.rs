//! Everything that the agent reads and writes over routing netlink: its devices, the pods' veths,
//! routes and next hops.
//!
//! Never `/sys/class/net`: sysfs shows the namespace that it was mounted in, and the agent may run
//! in another.

pub mod devices;
mod kernel;
pub mod links;
mod memory;
pub mod monitor;
pub mod neighbors;
pub mod netns;
mod remove;
pub mod routes;
pub mod socket;
pub mod underlay;
pub mod veths;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use l2sm_common::ids::IfIndex;
use l2sm_core::{
    image::{Local, LocalPort},
    instructions::Port,
    model::ObjectKey,
};
use thiserror::Error;

pub use self::{
    kernel::{KernelLinks, Settings},
    memory::MemoryLinks,
};
use self::{netns::NetnsError, socket::NetlinkError};

/// The node's links, routes and neighbours, as a pass needs them.
pub trait Links {
    /// Reads which devices there are. All that follows goes by it, and by what was changed since, until
    /// this is called again.
    ///
    /// # Errors
    /// The kernel refused.
    fn look(&mut self) -> Result<(), LinksError>;

    /// Makes or corrects `l2sm-br` and `l2sm-vxlan`.
    ///
    /// # Errors
    /// A foreign device has a name or the UDP port of ours; the kernel refused.
    fn ensure_devices(&mut self) -> Result<(), LinksError>;

    /// What the node knows by itself, but for ports. `remotes`: addresses of remote VTEPs; for each
    /// entry, the first address whose family the node has is looked up. `settled`: they are complete,
    /// so next hops of others may be let go of.
    ///
    /// # Errors
    /// The kernel refused.
    fn observe(&mut self, remotes: &[&[IpAddr]], settled: bool) -> Result<Local, LinksError>;

    /// What the last [`Links::observe`] missed of the underlay, one line each: devices, addresses.
    fn underlay_faults(&self) -> Vec<String>;

    /// Makes the veths that are missing and corrects those that differ; an outcome for each.
    ///
    /// # Errors
    /// Nothing could be tried: the kernel refused to tell what is there.
    fn ensure_ports(
        &mut self,
        ports: &BTreeMap<ObjectKey, Port>,
    ) -> Result<PortOutcomes, LinksError>;

    /// Host veths that are ours, by name.
    fn own_ports(&self) -> BTreeMap<String, IfIndex>;

    /// Removes some of [`Links::own_ports`]; what could not be removed. One that is gone already is no
    /// error.
    fn remove_ports(&mut self, ports: &BTreeMap<String, IfIndex>) -> BTreeMap<String, LinksError>;
}

/// What became of each attachment.
pub type PortOutcomes = BTreeMap<ObjectKey, Result<LocalPort, LinksError>>;

/// Why a device is not as it should be.
#[derive(Debug, Error)]
pub enum LinksError {
    /// The kernel refused, or did not answer.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The pod's namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// Somebody else's device has a name of ours.
    #[error("the device {name} exists and is not ours: its alias does not say so")]
    NotOurs {
        /// Its name.
        name: String,
    },
    /// Somebody else's vxlan device has our UDP port.
    #[error(
        "UDP port {port} is used by the vxlan device {device}: choose another with --vxlan-port"
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// The device.
        device: String,
    },
    /// The interface name is taken in the pod.
    #[error("interface {ifname} in {netns}: the name is taken")]
    NameTaken {
        /// Name in the pod.
        ifname: String,
        /// Path of its namespace.
        netns: String,
    },
    /// Nobody said where the pod's namespace is.
    #[error("the attachment names no network namespace")]
    NoNetns,
    /// An address was refused.
    #[error("address {address}: {why}")]
    Address {
        /// The address.
        address: IpNet,
        /// Why.
        why: NetlinkError,
    },
    /// Somebody removed a device while we worked on it.
    #[error("the device {name} vanished while it was being made")]
    Vanished {
        /// Its name.
        name: String,
    },
    /// An underlay device does not exist.
    #[error("underlay device {name}: no such device")]
    NoUnderlay {
        /// Its name.
        name: String,
    },
}

impl LinksError {
    /// The reason of a condition, in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Netlink(_) | Self::Vanished { .. } => "NetlinkFailed",
            Self::Netns(_) | Self::NoNetns => "NetworkNamespaceGone",
            Self::NotOurs { .. } => "DeviceNotOurs",
            Self::PortTaken { .. } => "PortTaken",
            Self::NameTaken { .. } => "InterfaceNameTaken",
            Self::Address { .. } => "AddressRefused",
            Self::NoUnderlay { .. } => "NoUnderlayDevice",
        }
    }
}

impl LinksError {
    /// Whether a port that was made before may still work: the kernel did not answer, or not all of it
    /// could be set. Its namespace is not known to be gone, nor its device to be another's.
    pub fn leaves_port(&self) -> bool {
        match self {
            Self::Netlink(_) | Self::Address { .. } => true,
            Self::Netns(why) => why.may_pass(),
            Self::NotOurs { .. }
            | Self::PortTaken { .. }
            | Self::NameTaken { .. }
            | Self::NoNetns
            | Self::Vanished { .. }
            | Self::NoUnderlay { .. } => false,
        }
    }
}

/// Whether a device of ours is there.
///
/// # Errors
/// The kernel does not tell.
pub fn has_own() -> Result<bool, LinksError> {
    let links = links::dump_links(&mut socket::Conversation::open()?)?;
    let veths = links.iter().any(links::Link::is_our_veth);
    Ok(veths || !devices::own_devices(&links).is_empty())
}

/// Removes every device and neighbour entry that is ours from the calling thread's namespace, and
/// only those; one line each. Running it again finds nothing.
///
/// # Errors
/// The kernel refused.
pub fn remove_all() -> Result<Vec<String>, LinksError> {
    let mut kernel = socket::Conversation::open()?;
    let mut removed = Vec::new();
    let links = links::dump_links(&mut kernel)?;
    for link in links.iter().filter(|link| link.is_our_veth()).chain(devices::own_devices(&links)) {
        links::delete_link(&mut kernel, link.index)?;
        removed.push(format!("device {}", link.name));
    }
    let managed: BTreeSet<_> = neighbors::dump_neighbors(&mut kernel)?
        .into_iter()
        .filter(|(_hop, neighbor)| neighbor.ours)
        .map(|(hop, _neighbor)| hop)
        .collect();
    for hop in managed {
        neighbors::release(&mut kernel, hop)?;
        removed.push(format!("managed neighbour {}", hop.1));
    }
    Ok(removed)
}
