//! `check`: what is wrong with an attachment, if anything.

use std::collections::BTreeSet;

use ipnet::IpNet;
use l2sm_api::socket::{Check, Fault};
use l2sm_common::{mac::Mac, maps::PortEntry};
use l2sm_core::{instructions::Port, model::ObjectKey};

use super::{
    Controller, Node, Service,
    fault::{FaultOf, TRY_AGAIN, UNKNOWN_CONTAINER, fault},
};

/// What there is of an attachment, found in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The interface of that name in the pod's namespace.
    pub pod_end: Option<PodEnd>,
    /// Name that the host end has.
    pub host_name: String,
    /// The device of that name in the agent's namespace.
    pub host_end: Option<HostEnd>,
    /// Its entry in `PORTS`.
    pub entry: Option<PortEntry>,
    /// `l2sm_port_rx` of this agent is attached to it.
    pub attached: bool,
}

/// The pod's end of a veth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodEnd {
    /// It is the other end of the host end.
    pub joined: bool,
    /// Its MAC.
    pub mac: Option<Mac>,
    /// Bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// With prefix length.
    pub addresses: BTreeSet<IpNet>,
}

/// The node's end of a veth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostEnd {
    /// Name and alias both say so.
    pub ours: bool,
    /// Administratively up.
    pub up: bool,
    /// A port of `l2sm-br`.
    pub bridged: bool,
    /// Bytes.
    pub mtu: u32,
}

impl<C: Controller, N: Node> Service<C, N> {
    /// What is wrong, one line each.
    pub(super) async fn check(&self, request: Check) -> Result<Vec<String>, Fault> {
        Ok(self.check_whole(&request).await?)
    }

    async fn check_whole(&self, request: &Check) -> Result<Vec<String>, FaultOf> {
        let inside = self.look(&request.netns).await?;
        let desired = self.desired.borrow().clone();
        if desired.revision.is_none() {
            let message = "check: no controller has told this node anything yet";
            return Err(fault(TRY_AGAIN, message).into());
        }
        let known = desired.effective();
        let network = ObjectKey::new(super::namespace(&request.namespace), &request.network);
        let of_network = |port: &Port| {
            known
                .segments
                .get(&port.vni)
                .is_some_and(|of| is_asked_for(port, &of.network, &network))
        };
        let attachment = known.ports.iter().find(|(_key, port)| {
            port.netns_inode == inside.inode && port.ifname == request.ifname && of_network(port)
        });
        let Some((key, port)) = attachment else {
            let Check { ifname, netns, .. } = request;
            let message = format!("interface {ifname} in {netns}: not attached to {network}");
            return Err(fault(UNKNOWN_CONTAINER, message).into());
        };
        let found = self.node.find(key, port).await.map_err(|why| fault(TRY_AGAIN, why))?;
        let mut damage = differences(port, request);
        damage.extend(damage_of(port, &found));
        let outcome = self.outcomes.borrow();
        damage.extend(outcome.error_of(key, &network).map(ToString::to_string));
        Ok(damage)
    }
}

/// Whether a port is in the network that is asked for. Where the operator made it, it tells whose network
/// of that name is meant: a NAD's own namespace, say, which the plugin does not know.
fn is_asked_for(port: &Port, network: &ObjectKey, asked: &ObjectKey) -> bool {
    let by_operator = port.pod_uid.is_some();
    network == asked || by_operator && network.name == asked.name
}

/// What has changed since the runtime was told.
fn differences(port: &Port, told: &Check) -> Vec<String> {
    let mut differences = Vec::new();
    let ifname = &port.ifname;
    if let Some(mac) = &told.mac
        && mac.parse() != Ok(port.mac)
    {
        differences.push(format!("{ifname} is to have MAC {} now, not {mac}", port.mac));
    }
    let now: BTreeSet<String> = port.addresses.iter().map(ToString::to_string).collect();
    for address in told.ips.iter().filter(|address| !now.contains(*address)) {
        differences.push(format!("{ifname} is not to have address {address} any more"));
    }
    differences
}

/// How what was found differs from what must be.
pub(super) fn damage_of(port: &Port, found: &Found) -> Vec<String> {
    let mut damage = Vec::new();
    match &found.pod_end {
        None => damage.push(format!("interface {} is missing", port.ifname)),
        Some(end) => damage_of_pod_end(port, end, &found.host_name, &mut damage),
    }
    let name = &found.host_name;
    let Some(host) = found.host_end else {
        damage.push(format!("host end {name} is missing"));
        return damage;
    };
    if !host.ours {
        damage.push(format!("host end {name} is not ours: its alias does not say so"));
    }
    if !host.up {
        damage.push(format!("host end {name} is down"));
    }
    if !host.bridged {
        damage.push(format!("host end {name} is not in l2sm-br"));
    }
    if host.mtu != port.mtu {
        damage.push(format!("host end {name} has MTU {}, not {}", host.mtu, port.mtu));
    }
    match found.entry {
        None => damage.push(format!("port {name} is not programmed: PORTS has no entry")),
        Some(entry) if entry.vni != port.vni.get() || entry.mac != port.mac.0 => {
            let (vni, mac) = (entry.vni, Mac(entry.mac));
            damage.push(format!("port {name} is programmed for VNI {vni} and MAC {mac}"));
        }
        Some(_right) => {}
    }
    if !found.attached {
        damage.push(format!("program l2sm_port_rx is not attached to {name}"));
    }
    damage
}

fn damage_of_pod_end(port: &Port, end: &PodEnd, host: &str, damage: &mut Vec<String>) {
    let ifname = &port.ifname;
    if !end.joined {
        damage.push(format!("interface {ifname} is not the other end of {host}"));
    }
    if end.mac != Some(port.mac) {
        let has = end.mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
        damage.push(format!("interface {ifname} has MAC {has}, not {}", port.mac));
    }
    for address in port.addresses.iter().filter(|address| !end.addresses.contains(address)) {
        damage.push(format!("interface {ifname} lacks address {address}"));
    }
    if end.mtu != port.mtu {
        damage.push(format!("interface {ifname} has MTU {}, not {}", end.mtu, port.mtu));
    }
    if !end.up {
        damage.push(format!("interface {ifname} is down"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use l2sm_common::vni::Vni;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn port() -> Port {
        Port {
            vni: Vni::new(7).unwrap(),
            ifname: "net1".to_owned(),
            netns: None,
            netns_inode: 1,
            pod: None,
            pod_uid: None,
            mac: MAC,
            addresses: vec!["10.0.0.1/24".parse().unwrap()],
            mtu: 1450,
            mac_check: true,
            forwarder: false,
        }
    }

    #[test]
    fn the_operator_tells_whose_network_of_a_name_is_meant() {
        let (asked, of_nad) = (ObjectKey::new("shop", "blue"), ObjectKey::new("lab", "blue"));
        let by_operator = Port { pod_uid: Some("u1".to_owned()), ..port() };
        assert!(is_asked_for(&by_operator, &of_nad, &asked));
        assert!(!is_asked_for(&by_operator, &ObjectKey::new("shop", "red"), &asked));
        assert!(is_asked_for(&port(), &asked, &asked));
        assert!(!is_asked_for(&port(), &of_nad, &asked), "asked for by an agent");
    }

    fn whole() -> Found {
        let addresses = port().addresses.into_iter().collect();
        let entry = PortEntry {
            vni: 7,
            flags: 0,
            slot: 1,
            ipv4: [0; 4],
            ipv6: [0; 16],
            mac: MAC.0,
            group: 0,
        };
        Found {
            pod_end: Some(PodEnd { joined: true, mac: Some(MAC), mtu: 1450, up: true, addresses }),
            host_name: "l2sm0".to_owned(),
            host_end: Some(HostEnd { ours: true, up: true, bridged: true, mtu: 1450 }),
            entry: Some(entry),
            attached: true,
        }
    }

    fn damaged(change: impl FnOnce(&mut Found)) -> Vec<String> {
        let mut found = whole();
        change(&mut found);
        damage_of(&port(), &found)
    }

    #[test]
    fn nothing_is_wrong_with_a_whole_attachment() {
        assert_eq!(damage_of(&port(), &whole()), Vec::<String>::new());
    }

    #[test]
    fn each_damage_of_the_pod_end_is_named() {
        let end =
            |change: fn(&mut PodEnd)| damaged(|found| change(found.pod_end.as_mut().unwrap()));
        assert_eq!(damaged(|found| found.pod_end = None), ["interface net1 is missing"]);
        assert_eq!(end(|end| end.joined = false), ["interface net1 is not the other end of l2sm0"]);
        assert_eq!(
            end(|end| end.mac = None),
            ["interface net1 has MAC none, not 02:00:00:00:00:01"]
        );
        assert_eq!(end(|end| end.mtu = 1400), ["interface net1 has MTU 1400, not 1450"]);
        assert_eq!(end(|end| end.up = false), ["interface net1 is down"]);
        assert_eq!(end(|end| end.addresses.clear()), ["interface net1 lacks address 10.0.0.1/24"]);
    }

    #[test]
    fn each_damage_of_the_host_end_is_named() {
        let end =
            |change: fn(&mut HostEnd)| damaged(|found| change(found.host_end.as_mut().unwrap()));
        assert_eq!(damaged(|found| found.host_end = None), ["host end l2sm0 is missing"]);
        let ours = end(|end| end.ours = false);
        assert_eq!(ours, ["host end l2sm0 is not ours: its alias does not say so"]);
        assert_eq!(end(|end| end.up = false), ["host end l2sm0 is down"]);
        assert_eq!(end(|end| end.bridged = false), ["host end l2sm0 is not in l2sm-br"]);
        assert_eq!(end(|end| end.mtu = 1500), ["host end l2sm0 has MTU 1500, not 1450"]);
    }

    #[test]
    fn what_the_maps_lack_is_named() {
        let gone = damaged(|found| found.entry = None);
        assert_eq!(gone, ["port l2sm0 is not programmed: PORTS has no entry"]);
        let other = damaged(|found| found.entry.as_mut().unwrap().vni = 8);
        assert_eq!(other, ["port l2sm0 is programmed for VNI 8 and MAC 02:00:00:00:00:01"]);
        let detached = damaged(|found| found.attached = false);
        assert_eq!(detached, ["program l2sm_port_rx is not attached to l2sm0"]);
    }

    #[test]
    fn what_the_runtime_was_told_and_is_no_more_is_named() {
        let mac = Some("02:00:00:00:00:02".to_owned());
        let told = Check { mac, ips: vec!["10.0.0.9/24".to_owned()], ..Check::default() };
        let differences = differences(&port(), &told);
        let mac = "net1 is to have MAC 02:00:00:00:00:01 now, not 02:00:00:00:00:02";
        assert_eq!(differences, [mac, "net1 is not to have address 10.0.0.9/24 any more"]);
    }
}
