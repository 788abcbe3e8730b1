//! Objects as parts of the world.

use std::sync::Arc;

use l2sm_api::objects::{
    ExternalVtep, Kind, L2Attachment, L2Network, L2Node, Metadata, network::Flood,
};
use l2sm_core::{
    model::{self, ExternalHost, Network, Node, Seniority},
    world::World,
};

use super::{Catalog, ObjectRef, vni_of};

impl Catalog {
    /// The world that the objects describe. What has no VNI or MAC yet is not in it.
    pub fn world(&self) -> World {
        let mut world = World::default();
        let networks = self.networks.keys().map(|key| ObjectRef::new(Kind::L2Network, key.clone()));
        let attachments =
            self.attachments.keys().map(|key| ObjectRef::new(Kind::L2Attachment, key.clone()));
        let nodes = self.nodes.keys().map(|key| ObjectRef::new(Kind::L2Node, key.clone()));
        let externals =
            self.externals.keys().map(|key| ObjectRef::new(Kind::ExternalVtep, key.clone()));
        for object in networks.chain(attachments).chain(nodes).chain(externals) {
            self.follow(&mut world, &object);
        }
        world
    }

    /// Brings one object of `world` to what it is here: put, changed or gone.
    pub fn follow(&self, world: &mut World, object: &ObjectRef) {
        let (key, name) = (&object.key, &object.key.name);
        match object.kind {
            Kind::L2Network => {
                let model = self.networks.get(key).and_then(|network| network_model(network));
                drop(match model {
                    Some(model) => world.networks.insert(key.clone(), model),
                    None => world.networks.remove(key),
                });
            }
            Kind::L2Attachment => {
                let held = self.attachments.get(key);
                let held = held.filter(|_| !self.leaving.contains_key(key));
                let model = held.and_then(|held| attachment_model(held));
                drop(match model {
                    Some(model) => world.attachments.insert(key.clone(), Arc::new(model)),
                    None => world.attachments.remove(key),
                });
            }
            Kind::L2Node => drop(match self.nodes.get(key) {
                Some(node) => world.nodes.insert(name.clone(), node_model(node)),
                None => world.nodes.remove(name),
            }),
            Kind::ExternalVtep => {
                let model = self.externals.get(key).and_then(|vtep| external_model(vtep));
                drop(match model {
                    Some(model) => world.externals.insert(name.clone(), model),
                    None => world.externals.remove(name),
                });
            }
            // They act later.
            Kind::Overlay | Kind::NetworkEdgeDevice => {}
        }
    }
}

/// Its place among objects that claim the same.
pub(crate) fn seniority(metadata: &Metadata) -> Seniority {
    let created = metadata.creation_timestamp.map_or(i64::MAX, jiff::Timestamp::as_second);
    Seniority { created, uid: metadata.uid.clone() }
}

fn network_model(network: &L2Network) -> Option<Network> {
    let spec = &network.spec;
    Some(Network {
        seniority: seniority(&network.metadata),
        vni: vni_of(network)?,
        mtu: spec.mtu,
        mac_check: spec.mac_spoof_check,
        flood: spec.flood == Flood::All,
        learning: spec.learning,
    })
}

fn attachment_model(attachment: &L2Attachment) -> Option<model::Attachment> {
    let spec = &attachment.spec;
    Some(model::Attachment {
        seniority: seniority(&attachment.metadata),
        network: attachment.network(),
        node: spec.node.clone(),
        netns: spec.netns.clone(),
        netns_inode: spec.netns_inode,
        pod: spec.pod.clone(),
        pod_uid: spec.pod_uid.clone(),
        ifname: spec.ifname.clone(),
        mac: spec.station()?,
        ips: spec.addresses(),
    })
}

fn node_model(node: &L2Node) -> Node {
    Node {
        seniority: seniority(&node.metadata),
        vteps: node.spec.vtep_addresses.clone(),
        underlay_mtu: node.spec.underlay_mtu,
    }
}

fn external_model(vtep: &ExternalVtep) -> Option<model::ExternalVtep> {
    let spec = &vtep.spec;
    let networks = spec.networks.iter().map(|network| {
        let hosts = network
            .hosts
            .iter()
            .filter_map(|host| Some(ExternalHost { mac: host.station()?, ips: host.addresses() }));
        (network.key(), hosts.collect())
    });
    Some(model::ExternalVtep {
        seniority: seniority(&vtep.metadata),
        address: spec.vtep()?,
        udp_checksum: spec.udp_checksum == l2sm_api::objects::external_vtep::UdpChecksum::Full,
        networks: networks.collect(),
    })
}
