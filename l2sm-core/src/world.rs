//! Everything the users want and everything that exists, in one value.

use std::collections::BTreeMap;

use crate::model::{Attachment, Network, Node, ObjectKey};

/// What the users want and what exists. Instructions are a function of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// Networks by namespace and name.
    pub networks: BTreeMap<ObjectKey, Network>,
    /// Attachments by namespace and name. One whose network is missing waits.
    pub attachments: BTreeMap<ObjectKey, Attachment>,
    /// Nodes by name. A silent agent's node stays until it is deleted.
    pub nodes: BTreeMap<String, Node>,
}
