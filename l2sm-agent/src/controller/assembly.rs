//! From updates to instructions. Pure.

use std::sync::Arc;

use l2sm_api::grpc::{FieldFault, Revision, v1};
use l2sm_core::instructions::{Delta, Instructions, apply_delta};
use thiserror::Error;

/// Why an update cannot be taken; the stream is at its end.
#[derive(Debug, Error)]
pub enum AssemblyError {
    /// A field is not what it must be.
    #[error("the controller sent what cannot be read: {0}")]
    Field(#[from] FieldFault),
    /// No revision.
    #[error("the controller sent an update without revision")]
    NoRevision,
    /// A delta, but to what?
    #[error("the controller sent a change before a snapshot")]
    NoSnapshot,
    /// A change within a snapshot.
    #[error("the controller sent a change in the middle of a snapshot")]
    Interleaved,
}

/// What an update led to.
#[derive(Debug)]
pub enum Step {
    /// More parts of the snapshot must come.
    More,
    /// Complete instructions.
    Complete(Arc<Instructions>, Revision),
}

/// Instructions in the making, on one stream.
#[derive(Debug)]
pub struct Assembly {
    held: Arc<Instructions>,
    parts: Option<Instructions>,
    complete: bool,
}

impl Assembly {
    /// `held`: the instructions that hello spoke of.
    pub fn new(held: Arc<Instructions>) -> Self {
        Self { held, parts: None, complete: false }
    }

    /// Takes one update.
    ///
    /// # Errors
    /// See [`AssemblyError`]; what was assembled stays as it was.
    pub fn take(&mut self, mut update: v1::Update) -> Result<Step, AssemblyError> {
        let revision: Revision = update.revision.take().ok_or(AssemblyError::NoRevision)?.into();
        if update.unchanged {
            if self.parts.is_some() {
                return Err(AssemblyError::Interleaved);
            }
            self.complete = true;
            return Ok(Step::Complete(Arc::clone(&self.held), revision));
        }
        if update.snapshot {
            return self.take_part(update, revision);
        }
        if self.parts.is_some() {
            return Err(AssemblyError::Interleaved);
        }
        if !self.complete {
            return Err(AssemblyError::NoSnapshot);
        }
        let delta = Delta::try_from(update)?;
        apply_delta(Arc::make_mut(&mut self.held), delta);
        Ok(Step::Complete(Arc::clone(&self.held), revision))
    }

    fn take_part(&mut self, update: v1::Update, revision: Revision) -> Result<Step, AssemblyError> {
        let partial = update.partial;
        let put = Instructions::try_from(update.put.unwrap_or_default())?;
        let mut whole = self.parts.take().unwrap_or_default();
        apply_delta(&mut whole, Delta { put, ..Delta::default() });
        if partial {
            self.parts = Some(whole);
            return Ok(Step::More);
        }
        self.held = Arc::new(whole);
        self.complete = true;
        Ok(Step::Complete(Arc::clone(&self.held), revision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use l2sm_common::vni::Vni;
    use l2sm_core::{instructions::Segment, model::ObjectKey};

    fn with_segment(vni: u32) -> Instructions {
        let mut instructions = Instructions::default();
        let network = ObjectKey::new("default", format!("net{vni}"));
        let segment = Segment { network, mtu: 1450, flood: true, learning: false };
        instructions.segments.insert(Vni::new(vni).unwrap(), segment);
        instructions
    }

    fn update(number: u64, put: &Instructions) -> v1::Update {
        v1::Update {
            revision: Some(v1::Revision { source: "a".to_owned(), epoch: 1, number }),
            put: Some(put.into()),
            ..v1::Update::default()
        }
    }

    #[test]
    fn a_snapshot_in_parts_counts_once_it_is_whole() {
        let mut assembly = Assembly::new(Arc::new(with_segment(9)));
        let first = v1::Update { snapshot: true, partial: true, ..update(3, &with_segment(1)) };
        assert!(matches!(assembly.take(first), Ok(Step::More)));
        let last = v1::Update { snapshot: true, ..update(3, &with_segment(2)) };
        let Ok(Step::Complete(whole, revision)) = assembly.take(last) else { panic!("not whole") };
        let vnis: Vec<u32> = whole.segments.keys().map(|vni| vni.get()).collect();
        assert_eq!((vnis, revision.number), (vec![1, 2], 3));
    }

    #[test]
    fn changes_follow_a_snapshot_and_never_precede_it() {
        let mut assembly = Assembly::new(Arc::new(with_segment(9)));
        let early = assembly.take(update(4, &with_segment(1)));
        assert!(matches!(early, Err(AssemblyError::NoSnapshot)));
        let unchanged =
            v1::Update { snapshot: true, unchanged: true, ..update(4, &Instructions::default()) };
        assert!(matches!(assembly.take(unchanged), Ok(Step::Complete(..))));
        let mut change = update(5, &with_segment(1));
        change.remove = Some(v1::InstructionKeys { segments: vec![9], ..Default::default() });
        let Ok(Step::Complete(whole, _)) = assembly.take(change) else { panic!("not whole") };
        assert_eq!(*whole, with_segment(1));
    }

    #[test]
    fn a_change_in_the_middle_of_a_snapshot_is_refused() {
        let mut assembly = Assembly::new(Arc::default());
        let first = v1::Update { snapshot: true, partial: true, ..update(3, &with_segment(1)) };
        assert!(matches!(assembly.take(first), Ok(Step::More)));
        let early = assembly.take(update(4, &with_segment(2)));
        assert!(matches!(early, Err(AssemblyError::Interleaved)));
    }

    #[test]
    fn an_unreadable_field_is_named() {
        let mut assembly = Assembly::new(Arc::default());
        let mut bad = v1::Update { snapshot: true, ..update(3, &with_segment(1)) };
        if let Some(segment) = bad.put.iter_mut().flat_map(|put| &mut put.segments).next() {
            segment.vni = 0;
        }
        let why = assembly.take(bad).unwrap_err().to_string();
        assert_eq!(
            why,
            "the controller sent what cannot be read: segments.vni: expected a VNI, 1 to 16777215"
        );
    }
}
