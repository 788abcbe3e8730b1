//! `detach` and `gc`, and telling the controller what left.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use l2sm_api::{
    grpc::v1,
    socket::{ContainerInterface, Detach, Fault, Gc},
};
use l2sm_core::{instructions::Instructions, model::ObjectKey};
use tokio::time::timeout;
use tonic::Code;

use super::{
    Controller, Node, Service, Unseen,
    fault::{INVALID, TRY_AGAIN, fault},
};

/// What came of a request.
#[derive(Debug)]
pub(super) struct Detached {
    /// Interfaces removed.
    pub(super) names: Vec<String>,
    /// The controller knows of all of it, or will: false where one that is away may have made an
    /// attachment that is not known here.
    pub(super) told: bool,
}

/// Removing veths and map entries here takes a moment only.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl<C: Controller, N: Node> Service<C, N> {
    /// Succeeds when there is nothing to detach, and when the controller is away: it is told later.
    pub(super) async fn detach(&self, request: Detach) -> Result<Vec<String>, Fault> {
        if let Some(container) = &request.container_id {
            let done = self.detach_container(&request).await?;
            let ifname = request.ifname.clone().unwrap_or_default();
            let of = ContainerInterface { container_id: container.clone(), ifname };
            self.notes.get().inspect(|notes| notes.forget(&of));
            return Ok(done.names);
        }
        if request.netns.is_empty() {
            return Err(fault(INVALID, "detach: netns is needed"));
        }
        Ok(self.detach_netns(&request, &BTreeSet::new()).await?.names)
    }

    /// What a container has: by the record of it, else by its namespace. What another container has
    /// there stays.
    pub(super) async fn detach_container(&self, request: &Detach) -> Result<Detached, Fault> {
        let container = request.container_id.as_deref().unwrap_or_default();
        let (recorded, others) = {
            let records = self.records.lock().await;
            let recorded = records.iter().filter(|(of, _record)| {
                of.container_id == container
                    && request.ifname.as_ref().is_none_or(|ifname| of.ifname == *ifname)
            });
            let recorded: BTreeMap<_, _> =
                recorded.map(|(of, record)| (record.key(), of.ifname.clone())).collect();
            (recorded, records.of_others(container))
        };
        if !recorded.is_empty() {
            self.release(&recorded.keys().cloned().collect()).await;
            return Ok(Detached { names: recorded.into_values().collect(), told: true });
        }
        let leaving = request.ifname.clone().map(|ifname| BTreeSet::from([ifname]));
        if let Some(names) = self.leave(container, leaving).await {
            return Ok(Detached { names, told: true });
        }
        let by_operator = self.controller.attaches_by_request() == Some(false);
        if by_operator || request.netns.is_empty() {
            return Ok(Detached { names: Vec::new(), told: true });
        }
        self.detach_netns(request, &others).await
    }

    /// What the runtime does not know any more, of one CNI configuration.
    pub(super) async fn collect(&self, request: Gc) -> Result<Vec<ContainerInterface>, Fault> {
        self.take_notes().await;
        let stale: BTreeMap<_, _> = {
            let records = self.records.lock().await;
            let stale = records.iter().filter(|(of, record)| {
                record.config.as_deref() == Some(&request.config) && !request.valid.contains(of)
            });
            stale.map(|(of, record)| (of.clone(), record.key())).collect()
        };
        if !stale.is_empty() {
            self.release(&stale.values().cloned().collect()).await;
        }
        Ok(stale.into_keys().collect())
    }

    /// What matches in a namespace, but for `spared`.
    async fn detach_netns(
        &self,
        request: &Detach,
        spared: &BTreeSet<ObjectKey>,
    ) -> Result<Detached, Fault> {
        let inode = match self.look(&request.netns).await {
            Ok(inside) => Some(inside.inode),
            Err(Unseen::Gone(_)) => None,
            Err(Unseen::Failed(why)) => return Err(fault(TRY_AGAIN, why)),
        };
        let known = self.desired.borrow().effective();
        let found = matching(&known, request, inode);
        let keys: BTreeSet<ObjectKey> = found.difference(spared).cloned().collect();
        let names = keys.iter().filter_map(|key| Some(known.ports.get(key)?.ifname.clone()));
        let names = names.collect();
        if !keys.is_empty() {
            self.release(&keys).await;
        }
        let told = match inode {
            // What the controller would find there is another container's.
            Some(_inode) if keys.len() < found.len() => true,
            Some(inode) => self.detach_unseen(request, inode).await,
            None => true,
        };
        Ok(Detached { names, told })
    }

    /// Attachments that the controller has made but that have not come down the stream yet. Whether
    /// it was told.
    pub(super) async fn detach_unseen(&self, request: &Detach, inode: u64) -> bool {
        let namespace = super::namespace(&request.namespace);
        let network =
            request.network.as_ref().map(|network| ObjectKey::new(namespace, network).into());
        let asked = v1::DetachRequest {
            node: self.identity.node.clone(),
            netns_inode: inode,
            network,
            ifname: request.ifname.clone().unwrap_or_default(),
            attachment: None,
        };
        match self.controller.detach(asked).await {
            Ok(_removed) => true,
            Err(why) => {
                tracing::debug!(%why, "the controller was not asked for other attachments");
                false
            }
        }
    }

    /// Lets attachments go: here at once, at the controller now or later.
    pub(super) async fn release(&self, keys: &BTreeSet<ObjectKey>) {
        let noted = self.journal.lock().await.add(keys);
        if let Err(why) = noted {
            tracing::warn!(%why, "a release is not kept on disk");
        }
        let forgotten = self.records.lock().await.remove(keys);
        if let Err(why) = forgotten {
            tracing::warn!(%why, "a container's record is not removed on disk");
        }
        self.desired.send_modify(|desired| {
            desired.released.extend(keys.iter().map(|key| (key.clone(), None)));
        });
        let mut outcomes = self.outcomes.clone();
        let pass = outcomes.borrow_and_update().pass;
        self.wake();
        // The pass that runs now may have started before.
        let gone = outcomes.wait_for(|outcome| outcome.pass > pass && outcome.lacks(keys));
        if timeout(PATIENCE, gone).await.is_err() {
            tracing::warn!("a detached interface is not removed yet; it is tried again");
        }
        self.tell_releases().await;
    }

    /// Tells the controller what it does not know yet. One at a time: names come back, and a release
    /// that is told twice could take the next holder of the name with it.
    pub(super) async fn tell_releases(&self) {
        let _alone = self.telling.lock().await;
        while let Some(key) = self.first_release().await {
            let asked = v1::DetachRequest {
                node: self.identity.node.clone(),
                attachment: Some(key.clone().into()),
                ..v1::DetachRequest::default()
            };
            let revision = match self.controller.detach(asked).await {
                Ok(reply) => reply.revision,
                Err(why) if why.code() == Code::NotFound => None,
                Err(why) => {
                    tracing::debug!(%why, attachment = %key, "a release waits for the controller");
                    return;
                }
            };
            if let Some(revision) = revision {
                self.desired.send_modify(|desired| {
                    desired.acknowledge_release(&key, revision.into());
                });
            }
            let forgotten = self.journal.lock().await.remove(&key);
            if let Err(why) = forgotten {
                tracing::warn!(%why, "a release stays in the journal");
                return;
            }
        }
    }

    async fn first_release(&self) -> Option<ObjectKey> {
        self.journal.lock().await.keys().next().cloned()
    }

    /// Tells releases that waited, whenever a controller is back.
    pub async fn tell_releases_forever(&self) {
        while self.controller.wait().await {
            self.tell_releases().await;
            self.take_notes().await;
            tokio::time::sleep(PATIENCE).await;
        }
    }
}

/// Attachments of a namespace, by its inode; by its path where it is gone.
fn matching(known: &Instructions, request: &Detach, inode: Option<u64>) -> BTreeSet<ObjectKey> {
    let namespace = super::namespace(&request.namespace);
    let network = request.network.as_ref().map(|network| ObjectKey::new(namespace, network));
    known
        .ports
        .iter()
        .filter(|(_key, port)| match inode {
            Some(inode) => port.netns_inode == inode,
            None => port.netns.as_deref() == Some(&request.netns),
        })
        .filter(|(_key, port)| {
            network.as_ref().is_none_or(|network| {
                known.segments.get(&port.vni).is_some_and(|of| of.network == *network)
            })
        })
        .filter(|(_key, port)| request.ifname.as_ref().is_none_or(|name| port.ifname == *name))
        .map(|(key, _port)| key.clone())
        .collect()
}
