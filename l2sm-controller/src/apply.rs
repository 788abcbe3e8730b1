//! `apply`: objects created and updated, all or none.

mod attachment;
mod external_vtep;
mod network;

use std::{collections::BTreeMap, fmt};

use l2sm_api::objects::{FieldError, Kind, Object};
use l2sm_core::model::ObjectKey;

pub(crate) use attachment::same_netns;
pub use network::is_outside;
pub(crate) use network::left_out;

use crate::{catalog::ObjectRef, draft::Draft};

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The object.
    pub object: ObjectRef,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was so already.
    Unchanged,
    /// It is new.
    Created,
    /// It has changed.
    Configured,
}

/// One thing that stands against a request. Prints as
/// `document 2 (L2Network "blue"): spec.vni: 100 is taken by network default/red`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyFault {
    /// Which document, from 1.
    pub document: usize,
    /// What it calls itself; empty: it does not say.
    pub subject: String,
    /// What stands against it.
    pub fault: FieldError,
    /// Somebody else has what it wants.
    pub taken: bool,
}

impl fmt::Display for ApplyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "document {}", self.document)?;
        if !self.subject.is_empty() {
            write!(f, " ({})", self.subject)?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// What stands against one object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Objection {
    fault: FieldError,
    taken: bool,
}

impl Objection {
    fn wrong(field: &str, why: impl Into<String>) -> Self {
        Self { fault: FieldError::new(field, why), taken: false }
    }

    fn taken(field: &str, why: impl Into<String>) -> Self {
        Self { fault: FieldError::new(field, why), taken: true }
    }
}

/// Tries `objects` out on a draft. What is referred to comes first, whatever the order of the
/// documents; outcomes are in their order.
///
/// # Errors
/// All that stands against it. The draft is then to be dropped.
pub fn apply(draft: &mut Draft, objects: Vec<Object>) -> Result<Vec<Applied>, Vec<ApplyFault>> {
    let mut faults = Vec::new();
    let mut outcomes: BTreeMap<usize, Applied> = BTreeMap::new();
    let mut seen: BTreeMap<ObjectRef, usize> = BTreeMap::new();
    let mut ordered: Vec<(usize, Object)> =
        objects.into_iter().enumerate().map(|(index, object)| (index + 1, object)).collect();
    ordered.sort_by_key(|(_, object)| object.kind());
    for (document, object) in ordered {
        let reference = ObjectRef::new(object.kind(), object.metadata().key());
        let subject = format!("{} {:?}", reference.kind, reference.key.name);
        let objection = match seen.get(&reference) {
            Some(first) => Err(Objection::wrong(
                "metadata.name",
                format!("is given twice, first in document {first}"),
            )),
            None => apply_one(draft, object),
        };
        seen.insert(reference.clone(), document);
        match objection {
            Ok(outcome) => {
                outcomes.insert(document, Applied { object: reference, outcome });
            }
            Err(Objection { fault, taken }) => {
                faults.push(ApplyFault { document, subject, fault, taken });
            }
        }
    }
    faults.sort_by_key(|fault| fault.document);
    if faults.is_empty() { Ok(outcomes.into_values().collect()) } else { Err(faults) }
}

fn apply_one(draft: &mut Draft, object: Object) -> Result<Outcome, Objection> {
    match object {
        Object::L2Network(network) => network::apply(draft, *network),
        Object::L2Attachment(attachment) => attachment::apply(draft, *attachment),
        Object::ExternalVtep(vtep) => external_vtep::apply(draft, *vtep),
        object @ (Object::Overlay(_) | Object::NetworkEdgeDevice(_)) => Ok(keep(draft, object)),
        Object::L2Node(_) => Err(Objection::wrong(
            "",
            "is made when the node's agent says hello; expected no such document",
        )),
    }
}

/// Puts an object that was checked already, where it is new or differs from the one there.
fn keep(draft: &mut Draft, object: Object) -> Outcome {
    let new = object.metadata();
    let old = draft.catalog.metadata(&ObjectRef::new(object.kind(), new.key()));
    let outcome = match old {
        None => Outcome::Created,
        Some(old) => {
            let same = draft.catalog.has_spec_of(&object)
                && (&old.labels, &old.annotations) == (&new.labels, &new.annotations);
            if same { Outcome::Unchanged } else { Outcome::Configured }
        }
    };
    if outcome != Outcome::Unchanged {
        draft.put(object);
    }
    outcome
}

/// Things for a message, at most five of them.
pub(crate) fn names(things: &[impl fmt::Display]) -> String {
    let mut parts: Vec<_> = things.iter().take(5).map(ToString::to_string).collect();
    if let Some(more) = things.len().checked_sub(5).filter(|more| *more > 0) {
        parts.push(format!("and {more} more"));
    }
    parts.join(", ")
}

/// The object of a kind and key.
pub(crate) const fn reference(kind: Kind, key: ObjectKey) -> ObjectRef {
    ObjectRef::new(kind, key)
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
