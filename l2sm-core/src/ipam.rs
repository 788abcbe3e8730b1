//! Addresses for attachments, out of a network's ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use thiserror::Error;

use crate::model::Holder;

/// Addresses of one family that a network gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// `networkCIDR`: its prefix length goes on every address.
    pub cidr: IpNet,
    /// `podAddressRange`: where addresses are taken from; `None`: all of `cidr`. May lie outside it.
    pub range: Option<IpNet>,
}

/// An address asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The address.
    pub ip: IpAddr,
    /// Its prefix length; `None`: the network's.
    pub prefix_len: Option<u8>,
}

/// Why there is no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IpamError {
    /// Every address of the range is taken.
    #[error("no address is free in {0}")]
    Exhausted(IpNet),
    /// Somebody has it.
    #[error("address {ip} is in use by {holder}")]
    InUse {
        /// The address.
        ip: IpAddr,
        /// Who has it.
        holder: Holder,
    },
    /// It is not the network's.
    #[error("address {ip} is outside the network's {ranges}")]
    Outside {
        /// The address.
        ip: IpAddr,
        /// What the network has, separated by commas.
        ranges: String,
    },
    /// It is the network's own or its broadcast address.
    #[error("address {ip} is no host's: it is the first or the last of {cidr}")]
    Reserved {
        /// The address.
        ip: IpAddr,
        /// Of which range.
        cidr: IpNet,
    },
    /// It is asked for twice.
    #[error("address {0} is asked for twice")]
    Twice(IpAddr),
    /// The network has no CIDR to take the prefix length from.
    #[error("address {0} needs a prefix length: the network has no networkCIDR")]
    NoPrefix(IpAddr),
    /// No station has such an address.
    #[error("address {0} is no host's: expected a unicast address")]
    NotUnicast(IpAddr),
    /// The prefix length does not fit the family.
    #[error("prefix length {prefix_len} of address {ip} is out of range")]
    Prefix {
        /// The address.
        ip: IpAddr,
        /// The length.
        prefix_len: u8,
    },
}

/// Addresses for one attachment: those `wanted`, or the first one of each pool, ascending, that
/// nobody has (`taken` tells who does).
/// Never the network or broadcast address of IPv4, nor the subnet-router anycast address of IPv6
/// (RFC 4291 section 2.6.1). Costs as much as there are taken addresses before the free one.
///
/// # Errors
/// See [`IpamError`]; nothing is allocated then.
pub fn allocate(
    pools: &[Pool],
    taken: &impl Fn(&IpAddr) -> Option<Holder>,
    wanted: &[Wanted],
) -> Result<Vec<IpNet>, IpamError> {
    if wanted.is_empty() {
        return pools.iter().map(|pool| first_free(pool, taken)).collect();
    }
    let mut given: Vec<IpNet> = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let net = check(pools, taken, *wanted)?;
        if given.iter().any(|other| other.addr() == net.addr()) {
            return Err(IpamError::Twice(net.addr()));
        }
        given.push(net);
    }
    Ok(given)
}

fn first_free(pool: &Pool, taken: &impl Fn(&IpAddr) -> Option<Holder>) -> Result<IpNet, IpamError> {
    let range = pool.range.unwrap_or(pool.cidr).trunc();
    let prefix_len = pool.cidr.prefix_len();
    let bits = range.max_prefix_len() - range.prefix_len();
    let first = to_number(range.network());
    let last = first | low_bits(bits);
    let mut candidate = first;
    loop {
        let ip = to_address(candidate, range);
        let net =
            IpNet::new(ip, prefix_len).map_err(|_too_long| IpamError::Prefix { ip, prefix_len })?;
        if !is_reserved(ip, &range) && !is_reserved(ip, &net) && taken(&ip).is_none() {
            return Ok(net);
        }
        if candidate == last {
            return Err(IpamError::Exhausted(range));
        }
        candidate += 1;
    }
}

fn check(
    pools: &[Pool],
    taken: &impl Fn(&IpAddr) -> Option<Holder>,
    wanted: Wanted,
) -> Result<IpNet, IpamError> {
    let ip = wanted.ip;
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    if ip.is_multicast() || ip.is_unspecified() || ip.is_loopback() || broadcast {
        return Err(IpamError::NotUnicast(ip));
    }
    if let Some(holder) = taken(&ip) {
        return Err(IpamError::InUse { ip, holder });
    }
    let pool = pools.iter().find(|pool| {
        pool.cidr.contains(&ip) || pool.range.is_some_and(|range| range.contains(&ip))
    });
    if pool.is_none() && !pools.is_empty() {
        let ranges: Vec<_> = pools.iter().map(|pool| pool.cidr.to_string()).collect();
        return Err(IpamError::Outside { ip, ranges: ranges.join(",") });
    }
    let of_network = pool.map(|pool| pool.cidr.prefix_len());
    let prefix_len = wanted.prefix_len.or(of_network).ok_or(IpamError::NoPrefix(ip))?;
    let net =
        IpNet::new(ip, prefix_len).map_err(|_too_long| IpamError::Prefix { ip, prefix_len })?;
    match pool {
        Some(pool) if is_reserved(ip, &pool.cidr) => {
            Err(IpamError::Reserved { ip, cidr: pool.cidr })
        }
        Some(_) | None => Ok(net),
    }
}

/// Whether `ip` is the network or broadcast address of `net` (IPv4, RFC 3021 exempts /31), or its
/// subnet-router anycast address (IPv6, RFC 6164 exempts /127).
fn is_reserved(ip: IpAddr, net: &IpNet) -> bool {
    let host_bits = net.max_prefix_len() - net.prefix_len();
    if host_bits < 2 || !net.contains(&ip) {
        return false;
    }
    ip == net.network() || (ip.is_ipv4() && ip == net.broadcast())
}

fn to_number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn to_address(number: u128, like: IpNet) -> IpAddr {
    match (like, u32::try_from(number)) {
        (IpNet::V4(_), Ok(v4)) => IpAddr::V4(Ipv4Addr::from_bits(v4)),
        (IpNet::V4(_) | IpNet::V6(_), _) => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

fn low_bits(bits: u8) -> u128 {
    match 1u128.checked_shl(u32::from(bits)) {
        Some(power) => power - 1,
        None => u128::MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::ObjectKey;

    fn pool(cidr: &str, range: Option<&str>) -> Pool {
        Pool { cidr: cidr.parse().unwrap(), range: range.map(|range| range.parse().unwrap()) }
    }

    fn taken(ips: &[&str]) -> impl Fn(&IpAddr) -> Option<Holder> {
        let ips = holders(ips);
        move |ip| ips.get(ip).cloned()
    }

    fn none(_ip: &IpAddr) -> Option<Holder> {
        None
    }

    fn other() -> Holder {
        Holder::Attachment(ObjectKey::new("default", "other"))
    }

    fn holders(ips: &[&str]) -> BTreeMap<IpAddr, Holder> {
        ips.iter().map(|ip| (ip.parse().unwrap(), other())).collect()
    }

    fn want(text: &str) -> Wanted {
        match text.parse::<IpNet>() {
            Ok(net) => Wanted { ip: net.addr(), prefix_len: Some(net.prefix_len()) },
            Err(_) => Wanted { ip: text.parse().unwrap(), prefix_len: None },
        }
    }

    fn first(pool: Pool, used: &[&str]) -> Result<String, IpamError> {
        allocate(&[pool], &taken(used), &[]).map(|nets| nets[0].to_string())
    }

    #[test]
    fn addresses_ascend_from_the_first_host_with_the_networks_prefix() {
        assert_eq!(first(pool("10.34.0.0/16", None), &[]).unwrap(), "10.34.0.1/16");
        assert_eq!(
            first(pool("10.34.0.0/16", Some("10.34.20.0/24")), &[]).unwrap(),
            "10.34.20.1/16"
        );
        assert_eq!(
            first(pool("10.34.0.0/16", None), &["10.34.0.1", "10.34.0.2"]).unwrap(),
            "10.34.0.3/16"
        );
        assert_eq!(
            first(pool("10.34.0.0/16", None), &["10.34.0.1", "10.34.0.3"]).unwrap(),
            "10.34.0.2/16"
        );
        assert_eq!(first(pool("fd00::/64", None), &["fd00::1"]).unwrap(), "fd00::2/64");
    }

    #[test]
    fn upstreams_sample_with_a_range_larger_than_the_network_works() {
        let sample = pool("10.1.2.0/24", Some("10.1.0.0/16"));
        assert_eq!(first(sample, &[]).unwrap(), "10.1.0.1/24");
        let mut used = BTreeMap::new();
        for host in 1..=254u8 {
            used.insert(IpAddr::from([10, 1, 0, host]), other());
        }
        assert_eq!(
            allocate(&[sample], &|ip: &IpAddr| used.get(ip).cloned(), &[]).unwrap()[0].to_string(),
            "10.1.1.1/24"
        );
    }

    #[test]
    fn dual_stack_gets_one_of_each() {
        let pools = [pool("10.0.0.0/24", None), pool("fd00::/64", None)];
        let nets = allocate(&pools, &none, &[]).unwrap();
        assert_eq!(
            nets.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.1/24", "fd00::1/64"]
        );
        assert_eq!(allocate(&[], &none, &[]).unwrap(), []);
    }

    #[test]
    fn small_ranges_run_out() {
        let small = pool("10.0.0.0/30", None);
        assert_eq!(first(small, &["10.0.0.1"]).unwrap(), "10.0.0.2/30");
        assert_eq!(
            first(small, &["10.0.0.1", "10.0.0.2"]).unwrap_err().to_string(),
            "no address is free in 10.0.0.0/30"
        );
        assert_eq!(first(pool("10.0.0.0/31", None), &[]).unwrap(), "10.0.0.0/31");
        assert_eq!(first(pool("10.0.0.7/32", None), &[]).unwrap(), "10.0.0.7/32");
        assert_eq!(
            first(pool("255.255.255.254/31", None), &["255.255.255.254"]).unwrap(),
            "255.255.255.255/31"
        );
        assert_eq!(first(pool("fd00::/127", None), &[]).unwrap(), "fd00::/127");
    }

    #[test]
    fn static_addresses_are_checked() {
        let pools = [pool("10.34.0.0/16", None)];
        let ask = |ip: &str| {
            allocate(&pools, &taken(&["10.34.0.9"]), &[want(ip)]).map(|nets| nets[0].to_string())
        };
        assert_eq!(ask("10.34.0.5").unwrap(), "10.34.0.5/16");
        assert_eq!(ask("10.34.0.5/24").unwrap(), "10.34.0.5/24");
        assert_eq!(
            ask("10.34.0.9").unwrap_err().to_string(),
            "address 10.34.0.9 is in use by default/other"
        );
        assert_eq!(
            ask("10.35.0.1").unwrap_err().to_string(),
            "address 10.35.0.1 is outside the network's 10.34.0.0/16"
        );
        assert_eq!(
            ask("fd00::1").unwrap_err().to_string(),
            "address fd00::1 is outside the network's 10.34.0.0/16"
        );
        for reserved in ["10.34.0.0", "10.34.255.255"] {
            assert!(matches!(ask(reserved), Err(IpamError::Reserved { .. })), "{reserved}");
        }
        assert!(matches!(ask("224.0.0.1"), Err(IpamError::NotUnicast(_))));
        let twice = [want("10.34.0.5"), want("10.34.0.5")];
        assert!(matches!(allocate(&pools, &none, &twice), Err(IpamError::Twice(_))));
    }

    #[test]
    fn plain_layer_two_takes_any_address_with_a_prefix() {
        assert_eq!(
            allocate(&[], &none, &[want("192.0.2.1/24")]).unwrap()[0].to_string(),
            "192.0.2.1/24"
        );
        assert!(matches!(allocate(&[], &none, &[want("192.0.2.1")]), Err(IpamError::NoPrefix(_))));
    }

    proptest! {
        #[test]
        fn what_is_given_is_free_and_inside(
            prefix in 20u8..=32,
            used in proptest::collection::btree_set(0u32..4096, 0..200),
        ) {
            let cidr = IpNet::new(IpAddr::from([10, 0, 0, 0]), prefix).unwrap();
            let used: BTreeMap<_, _> = used
                .into_iter()
                .map(|low| (IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + low)), other()))
                .collect();
            let hosts: Vec<_> = cidr.hosts().filter(|ip| !used.contains_key(ip)).collect();
            match allocate(&[Pool { cidr, range: None }], &|ip: &IpAddr| used.get(ip).cloned(), &[]) {
                Ok(nets) => prop_assert_eq!(Some(&nets[0].addr()), hosts.first()),
                Err(error) => {
                    prop_assert_eq!(error, IpamError::Exhausted(cidr));
                    prop_assert!(hosts.is_empty());
                }
            }
        }
    }
}
