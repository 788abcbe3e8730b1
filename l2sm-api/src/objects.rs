//! The objects users write and read, in group `l2sm.l2sm.k8s.local/v1`: their JSON form, what is
//! valid, what is filled in, and how they are listed.
//!
//! The same checks hold whatever way an object takes: `l2smctl`, the controller and (later) the
//! operator all call [`read_object`]. A kind is one file here, with its [`Definition`], and a line
//! in [`kind`].

pub mod attachment;
pub mod column;
pub mod condition;
pub mod field;
pub mod kind;
pub mod manifest;
pub mod metadata;
pub mod network;
pub mod node;

pub use attachment::{L2Attachment, L2AttachmentSpec, L2AttachmentStatus};
pub use column::{Column, columns};
pub use condition::{Condition, ConditionStatus};
pub use field::FieldError;
pub use kind::{Definition, Kind, UnknownKind};
pub use manifest::{Document, ManifestError, parse_documents, parse_documents_in, read_object};
pub use metadata::Metadata;
pub use network::{L2Network, L2NetworkSpec, L2NetworkStatus};
pub use node::{L2Node, L2NodeSpec, L2NodeStatus};
use serde::Serialize;

/// `apiVersion` of every kind.
pub const API_VERSION: &str = "l2sm.l2sm.k8s.local/v1";

/// The namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// An object of a known kind, checked and with defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Object {
    /// A network.
    L2Network(Box<L2Network>),
    /// A pod's plug into one.
    L2Attachment(Box<L2Attachment>),
    /// A node with an agent.
    L2Node(Box<L2Node>),
}

impl Object {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::L2Network(_) => Kind::L2Network,
            Self::L2Attachment(_) => Kind::L2Attachment,
            Self::L2Node(_) => Kind::L2Node,
        }
    }

    /// Its metadata.
    pub const fn metadata(&self) -> &Metadata {
        match self {
            Self::L2Network(network) => &network.metadata,
            Self::L2Attachment(attachment) => &attachment.metadata,
            Self::L2Node(node) => &node.metadata,
        }
    }

    /// Its JSON form, as it travels to a controller.
    ///
    /// # Errors
    /// Never for objects that [`read_object`] made: all their keys are strings.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}
