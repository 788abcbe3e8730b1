//! Attachments that an operator makes for pods.

use l2sm_api::objects::Kind;
use l2sm_core::model::ObjectKey;

use super::{Hub, State};
use crate::{
    catalog::{ObjectRef, node_key},
    place::{self, PodOrder},
    refusal::Refusal,
    store::StoreError,
};

impl Hub {
    /// Makes a pod's attachment.
    ///
    /// # Errors
    /// See [`place::place`], or the store's.
    pub fn place(&self, order: &PodOrder) -> Result<(), Refusal> {
        let mut state = self.lock();
        let mut draft = self.draft(&mut state);
        place::place(&mut draft, order)?;
        self.commit(&mut state, draft)?;
        Ok(())
    }

    /// Which of `orders` could be carried out, one after the other, if the attachments `gone` were not
    /// there. Nothing changes.
    ///
    /// # Errors
    /// Of each order, see [`place::place`].
    pub fn try_orders(&self, gone: &[ObjectKey], orders: &[PodOrder]) -> Vec<Result<(), Refusal>> {
        let mut state = self.lock();
        let mut draft = self.draft(&mut state);
        for key in gone {
            draft.remove(ObjectRef::new(Kind::L2Attachment, key.clone()));
        }
        orders.iter().map(|order| place::place(&mut draft, order)).collect()
    }

    /// Takes attachments out of the world, and removes those whose nodes have let go of them: until
    /// then the objects hold their addresses, whoever serves. Those that are gone already are fine. The
    /// result names those that are not gone yet.
    ///
    /// # Errors
    /// The store's.
    pub fn withdraw(&self, attachments: &[ObjectKey]) -> Result<Vec<ObjectKey>, StoreError> {
        let mut state = self.lock();
        let there = |key: &&ObjectKey| state.catalog.attachments.contains_key(*key);
        let there: Vec<_> = attachments.iter().filter(there).cloned().collect();
        let mut draft = self.draft(&mut state);
        for key in there.iter().filter(|key| !state.catalog.leaving.contains_key(*key)) {
            draft.leave(key.clone());
        }
        if !draft.changed().is_empty() {
            self.publish(&mut state, draft);
        }
        let (free, held): (Vec<_>, Vec<_>) =
            there.into_iter().partition(|key| state.has_let_go(key));
        let mut draft = self.draft(&mut state);
        for key in free {
            draft.remove(ObjectRef::new(Kind::L2Attachment, key));
        }
        self.commit(&mut state, draft)?;
        Ok(held)
    }
}

impl State {
    /// Whether the node of an attachment forwards for it no more: it has the revision without it in its
    /// kernel, is gone, or has never had an agent.
    pub(super) fn has_let_go(&self, attachment: &ObjectKey) -> bool {
        let leaving = self.catalog.leaving.get(attachment);
        let held = self.catalog.attachments.get(attachment);
        let Some((revision, held)) = leaving.zip(held) else { return false };
        let node = &held.spec.node;
        !self.catalog.nodes.contains_key(&node_key(node)) || self.progress.acked(node) >= *revision
    }
}
