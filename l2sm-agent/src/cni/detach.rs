//! `detach`, and telling the controller what left.

use std::{collections::BTreeSet, time::Duration};

use l2sm_api::{
    grpc::v1,
    socket::{Detach, Fault},
};
use l2sm_core::{instructions::Instructions, model::ObjectKey};
use tokio::time::timeout;
use tonic::Code;

use super::{
    Controller, Node, Service, Unseen,
    fault::{INVALID, TRY_AGAIN, fault},
};

/// Removing veths and map entries here takes a moment only.
const PATIENCE: Duration = Duration::from_secs(10);

impl<C: Controller, N: Node> Service<C, N> {
    /// Succeeds when there is nothing to detach, and when the controller is away: it is told later.
    pub(super) async fn detach(&self, request: Detach) -> Result<Vec<String>, Fault> {
        if request.netns.is_empty() {
            return Err(fault(INVALID, "detach: netns is needed"));
        }
        let inode = match self.look(&request.netns).await {
            Ok(inside) => Some(inside.inode),
            Err(Unseen::Gone(_)) => None,
            Err(Unseen::Failed(why)) => return Err(fault(TRY_AGAIN, why)),
        };
        let known = self.desired.borrow().effective();
        let keys = matching(&known, &request, inode);
        let names = keys.iter().filter_map(|key| Some(known.ports.get(key)?.ifname.clone()));
        let names = names.collect();
        if !keys.is_empty() {
            self.release(&keys).await;
        }
        if let Some(inode) = inode {
            self.detach_unseen(&request, inode).await;
        }
        Ok(names)
    }

    /// Attachments that the controller has made but that have not come down the stream yet.
    async fn detach_unseen(&self, request: &Detach, inode: u64) {
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
        if let Err(why) = self.controller.detach(asked).await {
            tracing::debug!(%why, "the controller was not asked for other attachments");
        }
    }

    /// Lets attachments go: here at once, at the controller now or later.
    pub(super) async fn release(&self, keys: &BTreeSet<ObjectKey>) {
        let noted = self.journal.lock().await.add(keys);
        if let Err(why) = noted {
            tracing::warn!(%why, "a release is not kept on disk");
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

    /// Tells the controller what it does not know yet.
    pub(super) async fn tell_releases(&self) {
        let waiting: Vec<ObjectKey> = self.journal.lock().await.keys().cloned().collect();
        for key in waiting {
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
            }
        }
    }

    /// Tells releases that waited, whenever a controller is back.
    pub async fn tell_releases_forever(&self) {
        while self.controller.wait().await {
            self.tell_releases().await;
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
