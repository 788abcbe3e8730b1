//! Everything the users want and everything that exists, in one value.

use std::{collections::BTreeMap, sync::Arc};

use crate::model::{Attachment, ExternalVtep, Network, Node, ObjectKey};

/// What the users want and what exists. Instructions are a function of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// Networks by namespace and name.
    pub networks: BTreeMap<ObjectKey, Network>,
    /// Attachments by namespace and name. One whose network is missing waits.
    pub attachments: BTreeMap<ObjectKey, Arc<Attachment>>,
    /// Nodes by name. A silent agent's node stays until it is deleted.
    pub nodes: BTreeMap<String, Node>,
    /// External VTEPs by name. A network of theirs that is missing waits.
    pub externals: BTreeMap<String, ExternalVtep>,
}

#[cfg(test)]
pub(crate) mod tests {
    //! Worlds for the tests of this crate.

    use l2sm_common::{mac::Mac, vni::Vni};
    use proptest::{collection::btree_map, prelude::*};

    use super::*;
    use crate::model::{ExternalHost, Seniority};

    pub(crate) fn key(name: &str) -> ObjectKey {
        ObjectKey::new("default", name)
    }

    pub(crate) fn network(vni: u32) -> Network {
        let vni = Vni::new(vni).unwrap();
        Network {
            seniority: Seniority::default(),
            vni,
            mtu: None,
            mac_check: true,
            flood: true,
            learning: false,
        }
    }

    pub(crate) fn node(vtep: &str, underlay_mtu: u32) -> Node {
        let seniority = Seniority::default();
        Node { seniority, vteps: vec![vtep.parse().unwrap()], underlay_mtu }
    }

    /// An external VTEP in some networks with one host in each, as [`attachment`] numbers them.
    pub(crate) fn external(address: &str, networks: &[(&str, u8)]) -> ExternalVtep {
        let networks = networks.iter().map(|(network, host)| {
            let ips = vec![format!("10.0.0.{host}").parse().unwrap()];
            (key(network), vec![ExternalHost { mac: Mac([2, 0, 0, 0, 0, *host]), ips }])
        });
        ExternalVtep {
            seniority: Seniority::default(),
            address: address.parse().unwrap(),
            udp_checksum: false,
            networks: networks.collect(),
        }
    }

    /// Host number `host` of `network`: MAC `02:00:00:00:00:<host>`, address `10.0.0.<host>/24`.
    pub(crate) fn attachment(network: &str, node: &str, host: u8) -> Arc<Attachment> {
        Arc::new(Attachment {
            seniority: Seniority::default(),
            network: key(network),
            node: node.into(),
            netns: Some(format!("/run/netns/{node}-{host}")),
            netns_inode: u64::from(host),
            pod: None,
            pod_uid: None,
            ifname: "net1".into(),
            mac: Mac([2, 0, 0, 0, 0, host]),
            ips: vec![format!("10.0.0.{host}/24").parse().unwrap()],
        })
    }

    /// Small worlds in which everything that can be missing or clash sometimes does.
    pub(crate) fn worlds() -> impl Strategy<Value = World> {
        let networks =
            btree_map(0u32..4, (1u32..5, any::<bool>(), prop::option::of(1000u32..1500)), 0..4);
        let nodes = btree_map(0u8..4, (1280u32..9000, any::<bool>()), 0..4);
        let attachments = btree_map(0u32..20, (0u32..5, 0u8..5, 1u8..12, 0i64..3), 0..16);
        let externals = btree_map(0u8..4, (0u8..7, 0u32..5, 1u8..12, 0i64..3), 0..3);
        let all = (networks, nodes, attachments, externals);
        all.prop_map(|(networks, nodes, attachments, externals)| World {
            networks: networks
                .into_iter()
                .map(|(name, (vni, mac_check, mtu))| {
                    (key(&format!("net{name}")), Network { mtu, mac_check, ..network(vni) })
                })
                .collect(),
            attachments: attachments
                .into_iter()
                .map(|(name, (net, node, host, created))| {
                    let mut made = attachment(&format!("net{net}"), &format!("n{node}"), host);
                    Arc::make_mut(&mut made).seniority.created = created;
                    (key(&format!("a{name}")), made)
                })
                .collect(),
            externals: externals
                .into_iter()
                .map(|(name, (address, net, host, created))| {
                    let networks = [(format!("net{net}"), host), (format!("net{}", net + 1), host)];
                    let networks = networks.each_ref().map(|(net, host)| (net.as_str(), *host));
                    let mut made = external(&format!("192.0.2.{address}"), &networks);
                    made.seniority.created = created;
                    // Some are called as a node is.
                    (format!("n{name}"), made)
                })
                .collect(),
            nodes: nodes
                .into_iter()
                .map(|(number, (mtu, v6))| {
                    let vtep = if v6 {
                        format!("2001:db8::{number}")
                    } else {
                        format!("192.0.2.{number}")
                    };
                    (format!("n{number}"), node(&vtep, mtu))
                })
                .collect(),
        })
    }
}
