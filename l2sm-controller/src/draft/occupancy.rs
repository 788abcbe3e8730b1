//! Who has what: indexes over a draft's attachments, made when they are first asked for, so that a
//! request with thousands of attachments looks each of them up once.

use std::{collections::BTreeMap, net::IpAddr};

use l2sm_api::objects::{Kind, L2Attachment};
use l2sm_common::mac::Mac;
use l2sm_core::model::ObjectKey;

use crate::catalog::{Catalog, ObjectRef};

/// Who has which addresses and MACs of one network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenants {
    /// Holders of addresses.
    pub ips: BTreeMap<IpAddr, ObjectKey>,
    /// Holders of MACs.
    pub macs: BTreeMap<Mac, ObjectKey>,
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
            for (_, attachment) in catalog.attachments_of(network) {
                tenants.enter(attachment);
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

    /// An attachment is new.
    pub(super) fn enter(&mut self, attachment: &L2Attachment) {
        if let Some(tenants) = self.networks.get_mut(&attachment.network()) {
            tenants.enter(attachment);
        }
        if let Some(ifnames) = &mut self.ifnames {
            ifnames.entry(place(attachment)).or_default().push(attachment.metadata.key());
        }
    }

    /// An object, as `catalog` still has it, goes or changes.
    pub(super) fn leave(&mut self, catalog: &Catalog, object: &ObjectRef) {
        if object.kind != Kind::L2Attachment {
            return;
        }
        let Some(held) = catalog.attachments.get(&object.key) else { return };
        if let Some(tenants) = self.networks.get_mut(&held.network()) {
            tenants.leave(held);
        }
        if let Some(keys) = self.ifnames.as_mut().and_then(|ifnames| ifnames.get_mut(&place(held)))
        {
            keys.retain(|key| *key != object.key);
        }
    }
}

impl Tenants {
    fn enter(&mut self, attachment: &L2Attachment) {
        let key = attachment.metadata.key();
        let addresses = attachment.spec.addresses();
        self.ips.extend(addresses.iter().map(|net| (net.addr(), key.clone())));
        self.macs.extend(attachment.spec.station().map(|mac| (mac, key)));
    }

    fn leave(&mut self, attachment: &L2Attachment) {
        let key = attachment.metadata.key();
        for net in attachment.spec.addresses() {
            if self.ips.get(&net.addr()) == Some(&key) {
                drop(self.ips.remove(&net.addr()));
            }
        }
        if let Some(mac) = attachment.spec.station()
            && self.macs.get(&mac) == Some(&key)
        {
            drop(self.macs.remove(&mac));
        }
    }
}

fn place(attachment: &L2Attachment) -> (String, String) {
    (attachment.spec.node.clone(), attachment.spec.ifname.clone())
}
