//! `delete`: objects removed, all or none.

use std::collections::BTreeSet;

use l2sm_api::objects::Kind;

use crate::{
    apply::{names, reference},
    catalog::ObjectRef,
    draft::Draft,
    progress::Progress,
    refusal::Refusal,
};

/// How a delete treats what stands in its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Attachments to what is removed are removed too.
    pub cascade: bool,
    /// What is not there counts as removed.
    pub ignore_not_found: bool,
}

/// Tries the removal of `objects` out on a draft. The result names those asked for that were there.
///
/// # Errors
/// One of them is not there, or is in use. The draft is then to be dropped.
pub fn delete(
    draft: &mut Draft,
    progress: &Progress,
    objects: &[ObjectRef],
    options: DeleteOptions,
) -> Result<Vec<ObjectRef>, Refusal> {
    let missing: Vec<_> = objects.iter().filter(|object| !draft.catalog.contains(object)).collect();
    if !missing.is_empty() && !options.ignore_not_found {
        let missing: Vec<_> =
            missing.iter().map(|object| format!("{} {}", object.kind, object.key)).collect();
        return Err(Refusal::NotFound(format!("there is no {}", missing.join(", no "))));
    }
    let asked: BTreeSet<_> =
        objects.iter().filter(|object| draft.catalog.contains(object)).cloned().collect();
    let mut gone = asked.clone();
    for object in &asked {
        if object.kind == Kind::L2Node && progress.is_connected(&object.key.name) {
            return Err(Refusal::Precondition(format!(
                "node {} is connected: stop its agent first",
                object.key
            )));
        }
        let users = users(draft, object);
        let left = users.iter().filter(|user| !asked.contains(user));
        let left: Vec<_> = left.map(|user| &user.key).collect();
        if !left.is_empty() && !options.cascade {
            return Err(Refusal::Precondition(format!(
                "{} {} is in use by attachments {}",
                object.kind,
                object.key,
                names(&left)
            )));
        }
        gone.extend(users);
    }
    for object in gone {
        draft.remove(object);
    }
    Ok(asked.into_iter().collect())
}

/// Attachments that cannot be without an object.
fn users(draft: &Draft, object: &ObjectRef) -> Vec<ObjectRef> {
    let attachments = draft.catalog.attachments.iter();
    let users = attachments.filter(|(_, attachment)| match object.kind {
        Kind::L2Network => attachment.network() == object.key,
        Kind::L2Node => attachment.spec.node == object.key.name,
        Kind::L2Attachment | Kind::ExternalVtep | Kind::Overlay | Kind::NetworkEdgeDevice => false,
    });
    users.map(|(key, _)| reference(Kind::L2Attachment, key.clone())).collect()
}
