//! Everything the users want and everything that exists, in one value.

use std::collections::BTreeMap;

use crate::model::{Attachment, Network, Node, ObjectKey};

/// What the users want and what exists. Instructions are a function of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// Networks by namespace and name.
    pub networks: BTreeMap<ObjectKey, Network>,
    /// Attachments by namespace and name. One whose network is missing waits.
    pub attachments: BTreeMap<ObjectKey, Attachment>,
    /// Nodes by name. A silent agent's node stays until it is deleted.
    pub nodes: BTreeMap<String, Node>,
}

#[cfg(test)]
pub(crate) mod tests {
    //! Worlds for the tests of this crate.

    use l2sm_common::{mac::Mac, vni::Vni};
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    pub(crate) fn key(name: &str) -> ObjectKey {
        ObjectKey::new("default", name)
    }

    pub(crate) fn network(vni: u32) -> Network {
        let vni = Vni::new(vni).unwrap();
        Network { vni, mtu: None, mac_check: true, flood: true, learning: false }
    }

    pub(crate) fn node(vtep: &str, underlay_mtu: u32) -> Node {
        Node { vteps: vec![vtep.parse().unwrap()], underlay_mtu }
    }

    /// Host number `host` of `network`: MAC `02:00:00:00:00:<host>`, address `10.0.0.<host>/24`.
    pub(crate) fn attachment(network: &str, node: &str, host: u8) -> Attachment {
        Attachment {
            network: key(network),
            node: node.into(),
            netns: Some(format!("/run/netns/{node}-{host}")),
            netns_inode: u64::from(host),
            pod: None,
            ifname: "net1".into(),
            mac: Mac([2, 0, 0, 0, 0, host]),
            ips: vec![format!("10.0.0.{host}/24").parse().unwrap()],
        }
    }

    /// Small worlds in which everything that can be missing or clash sometimes does.
    pub(crate) fn worlds() -> impl Strategy<Value = World> {
        let networks =
            btree_map(0u32..4, (1u32..5, any::<bool>(), prop::option::of(1000u32..1500)), 0..4);
        let nodes = btree_map(0u8..4, (1280u32..9000, any::<bool>()), 0..4);
        let attachments = btree_map(0u32..20, (0u32..5, 0u8..5, 1u8..12), 0..16);
        (networks, nodes, attachments).prop_map(|(networks, nodes, attachments)| World {
            networks: networks
                .into_iter()
                .map(|(name, (vni, mac_check, mtu))| {
                    (key(&format!("net{name}")), Network { mtu, mac_check, ..network(vni) })
                })
                .collect(),
            attachments: attachments
                .into_iter()
                .map(|(name, (net, node, host))| {
                    (
                        key(&format!("a{name}")),
                        attachment(&format!("net{net}"), &format!("n{node}"), host),
                    )
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
