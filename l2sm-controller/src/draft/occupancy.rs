//! Who has what: indexes over a draft's attachments, made when they are first asked for, so that a
//! request with thousands of attachments looks each of them up once.

use std::{collections::BTreeMap, net::IpAddr};

use l2sm_api::objects::{ExternalVtep, Kind, L2Attachment, Object, external_vtep::ListedHost};
use l2sm_common::mac::Mac;
use l2sm_core::model::{Holder, ObjectKey};

use crate::catalog::{Catalog, ObjectRef};

/// Who has which addresses and MACs of one network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenants {
    /// Holders of addresses.
    pub ips: BTreeMap<IpAddr, Holder>,
    /// Holders of MACs.
    pub macs: BTreeMap<Mac, Holder>,
}

/// The indexes of a draft.
#[derive(Debug)]
pub(super) struct Occupancy {
    networks: BTreeMap<ObjectKey, Tenants>,
    ifnames: Option<BTreeMap<(String, String), Vec<ObjectKey>>>,
}

impl Occupancy {
    pub(super) const fn new() -> Self {
        Self { networks: BTreeMap::new(), ifnames: None }
    }

    pub(super) fn tenants(&mut self, catalog: &Catalog, network: &ObjectKey) -> &Tenants {
        self.networks.entry(network.clone()).or_insert_with(|| {
            let mut tenants = Tenants::default();
            let attachments = catalog.attachments_of(network).map(|(_, held)| of_attachment(held));
            let hosts = catalog.externals.values().flat_map(|vtep| of_external(vtep));
            for stay in attachments.chain(hosts.filter(|stay| stay.network == *network)) {
                tenants.enter(stay);
            }
            tenants
        })
    }

    pub(super) fn same_ifname(
        &mut self,
        catalog: &Catalog,
        node: &str,
        ifname: &str,
    ) -> Vec<ObjectKey> {
        let ifnames = self.ifnames.get_or_insert_with(|| {
            let mut ifnames: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for (key, held) in &catalog.attachments {
                ifnames.entry(place(held)).or_default().push(key.clone());
            }
            ifnames
        });
        ifnames.get(&(node.to_owned(), ifname.to_owned())).cloned().unwrap_or_default()
    }

    /// An object is new.
    pub(super) fn enter(&mut self, object: &Object) {
        match object {
            Object::L2Attachment(attachment) => {
                self.enter_all(vec![of_attachment(attachment)]);
                if let Some(ifnames) = &mut self.ifnames {
                    ifnames.entry(place(attachment)).or_default().push(attachment.metadata.key());
                }
            }
            Object::ExternalVtep(vtep) => self.enter_all(of_external(vtep)),
            Object::L2Network(_)
            | Object::L2Node(_)
            | Object::Overlay(_)
            | Object::NetworkEdgeDevice(_) => {}
        }
    }

    /// An object, as `catalog` still has it, goes or changes.
    pub(super) fn leave(&mut self, catalog: &Catalog, object: &ObjectRef) {
        match object.kind {
            Kind::L2Attachment => {
                let Some(held) = catalog.attachments.get(&object.key) else { return };
                self.leave_all(vec![of_attachment(held)]);
                let ifnames = self.ifnames.as_mut();
                if let Some(keys) = ifnames.and_then(|ifnames| ifnames.get_mut(&place(held))) {
                    keys.retain(|key| *key != object.key);
                }
            }
            Kind::ExternalVtep => {
                let Some(held) = catalog.externals.get(&object.key) else { return };
                self.leave_all(of_external(held));
            }
            Kind::L2Network | Kind::L2Node | Kind::Overlay | Kind::NetworkEdgeDevice => {}
        }
    }

    fn enter_all(&mut self, stays: Vec<Stay>) {
        for stay in stays {
            if let Some(tenants) = self.networks.get_mut(&stay.network) {
                tenants.enter(stay);
            }
        }
    }

    fn leave_all(&mut self, stays: Vec<Stay>) {
        for stay in stays {
            if let Some(tenants) = self.networks.get_mut(&stay.network) {
                tenants.leave(&stay);
            }
        }
    }
}

impl Tenants {
    fn enter(&mut self, stay: Stay) {
        let Stay { holder, macs, ips, .. } = stay;
        self.ips.extend(ips.into_iter().map(|ip| (ip, holder.clone())));
        self.macs.extend(macs.into_iter().map(|mac| (mac, holder.clone())));
    }

    fn leave(&mut self, stay: &Stay) {
        for ip in &stay.ips {
            if self.ips.get(ip) == Some(&stay.holder) {
                drop(self.ips.remove(ip));
            }
        }
        for mac in &stay.macs {
            if self.macs.get(mac) == Some(&stay.holder) {
                drop(self.macs.remove(mac));
            }
        }
    }
}

/// What an object has in one network.
struct Stay {
    network: ObjectKey,
    holder: Holder,
    macs: Vec<Mac>,
    ips: Vec<IpAddr>,
}

fn of_attachment(attachment: &L2Attachment) -> Stay {
    Stay {
        network: attachment.network(),
        holder: Holder::Attachment(attachment.metadata.key()),
        macs: attachment.spec.station().into_iter().collect(),
        ips: attachment.spec.addresses().iter().map(ipnet::IpNet::addr).collect(),
    }
}

fn of_external(vtep: &ExternalVtep) -> Vec<Stay> {
    let holder = Holder::ExternalVtep(vtep.metadata.name.clone());
    let stays = vtep.spec.networks.iter().map(|network| Stay {
        network: network.key(),
        holder: holder.clone(),
        macs: network.hosts.iter().filter_map(ListedHost::station).collect(),
        ips: network.hosts.iter().flat_map(ListedHost::addresses).collect(),
    });
    stays.collect()
}

fn place(attachment: &L2Attachment) -> (String, String) {
    (attachment.spec.node.clone(), attachment.spec.ifname.clone())
}
