//! Which devices and addresses tunnels use.

use std::{collections::BTreeMap, net::IpAddr};

use clap::ValueEnum;
use l2sm_common::ids::IfIndex;
use l2sm_core::image::{Uplink, Xdp};
use thiserror::Error;

use super::{
    LinksError,
    links::{self, Link},
    routes,
    socket::{Conversation, NetlinkError},
    veths,
};

/// Underlay devices by name, and own VTEP addresses, preferred first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Underlay {
    /// Names; looked up in each pass, for a device may come and go.
    pub devices: Vec<String>,
    /// Own addresses; never empty.
    pub addresses: Vec<IpAddr>,
    /// The addresses are those that were named (`--vtep-ip`). Else each device has the one at the same
    /// place, and brings another when that one goes.
    pub named: bool,
}

/// Where `l2sm_uplink_xdp` runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum XdpMode {
    /// Native on devices of hardware whose driver takes it, else nowhere
    #[default]
    Auto,
    /// By the driver of every underlay device
    Native,
    /// By the kernel, on every underlay device
    Generic,
    /// Nowhere
    Off,
}

impl XdpMode {
    /// How a device runs it. One without hardware behind it (a veth, a bridge, a tunnel) would lose
    /// its offloads, or has no driver that could.
    pub fn on(self, link: &Link) -> Xdp {
        match self {
            Self::Auto if link.has_parent => Xdp::IfTaken,
            Self::Auto | Self::Off => Xdp::Off,
            Self::Native => Xdp::Native,
            Self::Generic => Xdp::Generic,
        }
    }
}

/// Why there is no underlay.
#[derive(Debug, Error)]
pub enum UnderlayError {
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A device that was named is not there.
    #[error(transparent)]
    Links(#[from] LinksError),
    /// A device without addresses.
    #[error("underlay device {device}: it has no address that others could send to")]
    NoAddress {
        /// Its name.
        device: String,
    },
    /// An address that no device has.
    #[error("VTEP address {address}: no device of this node has it")]
    NotOwn {
        /// The address.
        address: IpAddr,
    },
    /// Nothing was named, and nothing is there.
    #[error(
        "no underlay device: the controller is not reached by one and there is no default route; \
         name it with --underlay-device"
    )]
    None,
}

impl Underlay {
    /// What the flags say; where they are silent, the device of the route to the first reachable of
    /// `controllers`, or else of the default route. Loopback is never an underlay.
    ///
    /// # Errors
    /// A device or address that is not there; nothing to choose.
    pub fn choose(
        kernel: &mut Conversation,
        devices: &[String],
        addresses: &[IpAddr],
        controllers: &[IpAddr],
    ) -> Result<Self, UnderlayError> {
        let present = Present {
            links: links::dump_links(kernel)?,
            addresses: veths::dump_addresses(kernel)?,
        };
        if !addresses.is_empty() {
            return present.with_addresses(devices, addresses);
        }
        if !devices.is_empty() {
            return present.with_devices(devices);
        }
        for controller in controllers {
            if let Some(found) = present.towards(kernel, *controller)? {
                return Ok(found);
            }
        }
        let (index, _is_v4) = routes::default_device(kernel)?.ok_or(UnderlayError::None)?;
        let device = present.by_index(index).ok_or(UnderlayError::None)?;
        present.with_devices(std::slice::from_ref(&device.name))
    }

    /// Follows what the node has now; what is missing of it, one line each. A device or address that is
    /// gone keeps its place: it may come back, and what is programmed forwards on.
    pub fn follow(&mut self, present: &[Link], addresses: &[(u32, IpAddr)]) -> Vec<String> {
        let mut faults = Vec::new();
        for (place, name) in self.devices.iter().enumerate() {
            let Some(link) = present.iter().find(|link| link.name == *name) else {
                faults.push(LinksError::NoUnderlay { name: name.clone() }.to_string());
                continue;
            };
            let Some(own) = self.addresses.get_mut(place).filter(|_own| !self.named) else {
                continue;
            };
            if addresses.contains(&(link.index, *own)) {
                continue;
            }
            match best_address(addresses, link.index) {
                Some(other) => {
                    tracing::info!(device = name, from = %own, to = %other, "VTEP address changed");
                    *own = other;
                }
                None => {
                    faults.push(UnderlayError::NoAddress { device: name.clone() }.to_string());
                }
            }
        }
        let is_missing = |own: &&IpAddr| addresses.iter().all(|(_index, address)| address != *own);
        let missing = self.addresses.iter().filter(|_own| self.named).filter(is_missing);
        faults.extend(missing.map(|own| UnderlayError::NotOwn { address: *own }.to_string()));
        faults
    }

    /// The devices that exist now.
    pub fn uplinks(&self, present: &[Link], mode: XdpMode) -> BTreeMap<IfIndex, Uplink> {
        let uplink = |link: &Link| Uplink { mac: link.mac, mtu: link.mtu, xdp: mode.on(link) };
        present
            .iter()
            .filter(|link| self.devices.contains(&link.name))
            .map(|link| (IfIndex(link.index), uplink(link)))
            .collect()
    }
}

/// Links and addresses of the node.
struct Present {
    links: Vec<Link>,
    addresses: Vec<(u32, IpAddr)>,
}

impl Present {
    fn by_index(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index).filter(|link| !link.loopback)
    }

    fn by_name(&self, name: &str) -> Result<&Link, LinksError> {
        self.links
            .iter()
            .find(|link| link.name == name)
            .ok_or_else(|| LinksError::NoUnderlay { name: name.to_owned() })
    }

    fn with_addresses(
        &self,
        devices: &[String],
        addresses: &[IpAddr],
    ) -> Result<Underlay, UnderlayError> {
        let mut names = devices.to_vec();
        for name in devices {
            self.by_name(name)?;
        }
        for address in addresses {
            let (index, _own) = self
                .addresses
                .iter()
                .find(|(_index, own)| own == address)
                .ok_or(UnderlayError::NotOwn { address: *address })?;
            // An address of the loopback device (a router's) is fine where the devices are named.
            if let Some(device) = self.by_index(*index).filter(|_link| devices.is_empty())
                && !names.contains(&device.name)
            {
                names.push(device.name.clone());
            }
        }
        if names.is_empty() {
            return Err(UnderlayError::None);
        }
        Ok(Underlay { devices: names, addresses: addresses.to_vec(), named: true })
    }

    fn with_devices(&self, devices: &[String]) -> Result<Underlay, UnderlayError> {
        let mut addresses = Vec::new();
        for name in devices {
            let link = self.by_name(name)?;
            let own = best_address(&self.addresses, link.index);
            addresses.push(own.ok_or_else(|| UnderlayError::NoAddress { device: name.clone() })?);
        }
        Ok(Underlay { devices: devices.to_vec(), addresses, named: false })
    }

    fn towards(
        &self,
        kernel: &mut Conversation,
        controller: IpAddr,
    ) -> Result<Option<Underlay>, NetlinkError> {
        let Some(route) = routes::route_to(kernel, controller, None)? else { return Ok(None) };
        let device = route.hops.first().and_then(|hop| self.by_index(hop.device));
        let Some((device, source)) = device.zip(route.source) else { return Ok(None) };
        let (devices, addresses) = (vec![device.name.clone()], vec![source]);
        Ok(Some(Underlay { devices, addresses, named: false }))
    }
}

/// The first address of a device that others can send to, IPv4 before IPv6.
fn best_address(addresses: &[(u32, IpAddr)], index: u32) -> Option<IpAddr> {
    let usable = |want_v4: bool| {
        addresses
            .iter()
            .filter(|(on, own)| *on == index && own.is_ipv4() == want_v4 && is_reachable(*own))
            .map(|(_on, own)| *own)
            .next()
    };
    usable(true).or_else(|| usable(false))
}

fn is_reachable(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !link_local && !address.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Present {
        let link = |index, name: &str, loopback| Link {
            index,
            name: name.to_owned(),
            loopback,
            ..Link::default()
        };
        Present {
            links: vec![link(1, "lo", true), link(2, "eth0", false), link(3, "eth1", false)],
            addresses: vec![
                (1, "127.0.0.1".parse().unwrap()),
                (2, "fe80::1".parse().unwrap()),
                (2, "2001:db8::1".parse().unwrap()),
                (2, "192.0.2.1".parse().unwrap()),
                (3, "fe80::2".parse().unwrap()),
            ],
        }
    }

    #[test]
    fn a_device_brings_its_first_routable_address() {
        let chosen = node().with_devices(&["eth0".to_owned()]).unwrap();
        assert_eq!(chosen.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_missing_device_is_named() {
        let why = node().with_devices(&["eth9".to_owned()]).unwrap_err().to_string();
        assert_eq!(why, "underlay device eth9: no such device");
    }

    #[test]
    fn a_device_with_link_local_addresses_only_is_no_underlay() {
        let why = node().with_devices(&["eth1".to_owned()]).unwrap_err();
        assert!(matches!(why, UnderlayError::NoAddress { .. }), "{why}");
    }

    #[test]
    fn an_address_leads_to_its_device() {
        let address = "2001:db8::1".parse().unwrap();
        let chosen = node().with_addresses(&[], &[address]).unwrap();
        assert_eq!(chosen.devices, ["eth0"]);
        let foreign = "198.51.100.1".parse().unwrap();
        assert!(matches!(
            node().with_addresses(&[], &[foreign]),
            Err(UnderlayError::NotOwn { .. })
        ));
    }

    #[test]
    fn an_address_that_changes_is_followed_and_one_that_goes_is_missed() {
        let Present { links, addresses } = node();
        let mut chosen = node().with_devices(&["eth0".to_owned()]).unwrap();
        assert_eq!(chosen.follow(&links, &addresses), Vec::<String>::new());
        let other: IpAddr = "192.0.2.9".parse().unwrap();
        assert_eq!(chosen.follow(&links, &[(2, other)]), Vec::<String>::new());
        assert_eq!(chosen.addresses, [other]);
        let faults = chosen.follow(&links, &[]);
        assert_eq!(faults, ["underlay device eth0: it has no address that others could send to"]);
        let faults = chosen.follow(&[], &[]);
        assert_eq!(faults, ["underlay device eth0: no such device"]);
        assert_eq!(chosen.addresses, [other], "the last one stays");
    }

    #[test]
    fn an_address_that_was_named_is_never_exchanged() {
        let Present { links, .. } = node();
        let named: IpAddr = "192.0.2.1".parse().unwrap();
        let mut chosen = node().with_addresses(&[], &[named]).unwrap();
        let faults = chosen.follow(&links, &[(2, "192.0.2.9".parse().unwrap())]);
        assert_eq!(faults, ["VTEP address 192.0.2.1: no device of this node has it"]);
        assert_eq!(chosen.addresses, [named]);
    }

    #[test]
    fn left_to_choose_only_hardware_runs_xdp() {
        let veth = Link { kind: "veth".to_owned(), ..Link::default() };
        let nic = Link { has_parent: true, ..Link::default() };
        let on = |link: &Link| {
            [XdpMode::Auto, XdpMode::Native, XdpMode::Generic, XdpMode::Off]
                .map(|mode| mode.on(link))
        };
        assert_eq!(on(&nic), [Xdp::IfTaken, Xdp::Native, Xdp::Generic, Xdp::Off]);
        assert_eq!(on(&veth), [Xdp::Off, Xdp::Native, Xdp::Generic, Xdp::Off]);
    }

    #[test]
    fn loopback_is_no_underlay() {
        let address = "127.0.0.1".parse().unwrap();
        assert!(matches!(node().with_addresses(&[], &[address]), Err(UnderlayError::None)));
    }
}
