//! What can be wrong with a field, and the checks that several kinds share.

use core::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use l2sm_common::mac::Mac;
use serde::{Deserialize, Deserializer};

/// One field that is not as it must be. Prints as `spec.networkCIDR: "x" is not a CIDR; ...`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldError {
    /// Path of the field, as in `spec.networkCIDR`; empty: the object itself.
    pub field: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl FieldError {
    /// The error `message` about `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

impl core::error::Error for FieldError {}

/// Why `name` is not the name of an object (an RFC 1123 subdomain, as in Kubernetes); `None`: it is.
pub fn name_fault(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("is required".to_owned());
    }
    let fits = name.len() <= 253 && name.split('.').all(is_label);
    (!fits).then(|| {
        format!("{name:?} is not a name; expected lower-case letters, digits, '-' and '.', at most 253, as in blue-1")
    })
}

/// Why `namespace` is not the name of a namespace (an RFC 1123 label); `None`: it is.
pub fn namespace_fault(namespace: &str) -> Option<String> {
    let fits = namespace.len() <= 63 && is_label(namespace);
    (!fits).then(|| {
        format!(
            "{namespace:?} is not a namespace; expected lower-case letters, digits and '-', at most 63, as in team-a"
        )
    })
}

/// Why `ifname` cannot name an interface (`dev_valid_name` in the kernel); `None`: it can.
pub fn ifname_fault(ifname: &str) -> Option<String> {
    let fits = (1..=15).contains(&ifname.len())
        && !matches!(ifname, "." | ".." | "lo")
        && ifname
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%'));
    (!fits).then(|| {
        format!("{ifname:?} is not an interface name; expected 1 to 15 characters without '/', ':' and spaces, as in net1")
    })
}

/// The MAC address that a station can have.
///
/// # Errors
/// What was expected instead.
pub fn parse_station(text: &str) -> Result<Mac, String> {
    let mac: Mac = text.parse().map_err(|why| format!("{text:?} is not a MAC address; {why}"))?;
    if mac.is_station() {
        Ok(mac)
    } else {
        Err(format!(
            "{text:?} is no station's address; expected a unicast MAC, as in 02:00:5e:10:00:01"
        ))
    }
}

/// An address with or without prefix length.
///
/// # Errors
/// What was expected instead.
pub fn parse_address(text: &str) -> Result<(IpAddr, Option<u8>), String> {
    let fault = || {
        format!(
            "{text:?} is not an address; expected address or address/prefix, as in 10.34.0.5/16"
        )
    };
    if text.contains('/') {
        let net = parse_net(text).ok_or_else(fault)?;
        Ok((net.addr(), Some(net.prefix_len())))
    } else {
        let address = text.parse().ok().filter(|address| !is_mapped(*address));
        Ok((address.ok_or_else(fault)?, None))
    }
}

/// `address/prefix` as a cluster takes it: no IPv4 written as IPv6, no number such as `08`.
fn parse_net(text: &str) -> Option<IpNet> {
    let (address, prefix) = text.split_once('/')?;
    let address = address.parse().ok().filter(|address| !is_mapped(*address))?;
    let net = IpNet::new(address, prefix.parse().ok()?).ok()?;
    (prefix == net.prefix_len().to_string()).then_some(net)
}

/// IPv4 written as IPv6 would not be found as what it is.
pub(super) const fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// Most characters of a field with CIDRs.
pub const CIDRS_MAX: usize = 128;

/// A CIDR, or two of different families separated by a comma. Host bits are cleared.
///
/// # Errors
/// What was expected instead.
pub fn parse_cidrs(text: &str) -> Result<Vec<IpNet>, String> {
    let mut nets: Vec<IpNet> = Vec::new();
    if text.chars().count() > CIDRS_MAX {
        return Err(format!("is longer than {CIDRS_MAX} characters; expected one or two CIDRs"));
    }
    for part in text.split(',') {
        let part = part.trim();
        let net = parse_net(part).ok_or_else(|| {
            format!("{part:?} is not a CIDR; expected address/prefix, as in 10.34.0.0/16")
        })?;
        let first = net.network();
        if net.prefix_len() == 0 || first.is_multicast() || first.is_loopback() {
            return Err(format!(
                "{part:?} cannot hold pods' addresses; expected a unicast range, as in 10.34.0.0/16"
            ));
        }
        if nets.iter().any(|other| other.addr().is_ipv4() == first.is_ipv4()) {
            return Err(format!(
                "{text:?} has two ranges of one family; expected one, or one IPv4 and one IPv6"
            ));
        }
        nets.push(net.trunc());
    }
    Ok(nets)
}

/// A list; `null`, as templates leave it behind, is an empty one.
pub(super) fn none_or_more<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.len() <= 63
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_rfc_1123_subdomains() {
        for good in ["blue", "blue-1", "n1.example.org", "0"] {
            assert_eq!(name_fault(good), None, "{good}");
        }
        for bad in ["", "Blue", "-a", "a-", "a..b", "a_b", &"a".repeat(254)] {
            assert!(name_fault(bad).is_some(), "{bad}");
        }
        assert_eq!(namespace_fault("team-a"), None);
        assert!(namespace_fault("team.a").is_some());
    }

    #[test]
    fn interface_names_are_what_the_kernel_takes() {
        for good in ["net1", "eth0.7", "a"] {
            assert_eq!(ifname_fault(good), None, "{good}");
        }
        for bad in
            ["", "lo", ".", "..", "a/b", "a b", "net%d", "a:1", "abcdefghijklmnop", "n\u{e4}"]
        {
            assert!(ifname_fault(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn cidrs_are_one_or_one_of_each_family() {
        assert_eq!(parse_cidrs("10.34.0.0/16").map(|nets| nets.len()), Ok(1));
        assert_eq!(parse_cidrs("10.34.0.0/16, fd00::/64").map(|nets| nets.len()), Ok(2));
        assert_eq!(
            parse_cidrs("10.0.0.0/33"),
            Err("\"10.0.0.0/33\" is not a CIDR; expected address/prefix, as in 10.34.0.0/16".into())
        );
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/8,11.0.0.0/8",
            "0.0.0.0/0",
            "224.0.0.0/8",
            "::/0",
            "127.0.0.0/8",
        ] {
            assert!(parse_cidrs(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_may_leave_the_prefix_to_the_network() {
        assert_eq!(parse_address("10.0.0.5"), Ok((IpAddr::from([10, 0, 0, 5]), None)));
        assert_eq!(parse_address("10.0.0.5/8"), Ok((IpAddr::from([10, 0, 0, 5]), Some(8))));
        assert!(parse_address("10.0.0").is_err());
        assert!(parse_address("10.0.0.5/40").is_err());
    }

    #[test]
    fn only_stations_have_addresses() {
        assert!(parse_station("02:00:5e:10:00:01").is_ok());
        assert!(parse_station("ff:ff:ff:ff:ff:ff").is_err());
        assert!(parse_station("00:00:00:00:00:00").is_err());
        assert!(parse_station("02:00").is_err());
    }
}
