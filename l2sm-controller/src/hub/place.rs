//! Attachments that an operator makes for pods.

use l2sm_api::objects::Kind;
use l2sm_core::model::ObjectKey;

use super::Hub;
use crate::{
    catalog::ObjectRef,
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

    /// Removes attachments; those that are gone already are fine.
    ///
    /// # Errors
    /// The store's.
    pub fn withdraw(&self, attachments: &[ObjectKey]) -> Result<(), StoreError> {
        let mut state = self.lock();
        let mut draft = self.draft(&mut state);
        for key in attachments.iter().filter(|key| state.catalog.attachments.contains_key(*key)) {
            draft.remove(ObjectRef::new(Kind::L2Attachment, key.clone()));
        }
        self.commit(&mut state, draft)
    }
}
