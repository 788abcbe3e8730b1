//! The objects users write and read, in group `l2sm.l2sm.k8s.local/v1`: their JSON form, what is
//! valid, what is filled in, and how they are listed.
//!
//! The same checks hold whatever way an object takes: `l2smctl`, the controller and (later) the
//! operator all call [`read_object`]. A kind is one file here, with its [`Definition`], and a line
//! in [`kind`].

pub mod attachment;
pub mod column;
pub mod condition;
pub mod external_vtep;
pub mod field;
pub mod kind;
pub mod manifest;
pub mod metadata;
pub mod monitor;
pub mod network;
pub mod network_edge_device;
pub mod node;
pub mod overlay;
pub mod provider;

pub use attachment::{L2Attachment, L2AttachmentSpec, L2AttachmentStatus, attachment_name};
pub use column::{Column, columns};
pub use condition::{Condition, ConditionStatus};
pub use external_vtep::{ExternalVtep, ExternalVtepSpec, ExternalVtepStatus};
pub use field::FieldError;
pub use kind::{Definition, Kind, UnknownKind};
pub use manifest::{Document, ManifestError, parse_documents, parse_documents_in, read_object};
pub use metadata::Metadata;
pub use network::{L2Network, L2NetworkSpec, L2NetworkStatus};
pub use network_edge_device::{NetworkEdgeDevice, NetworkEdgeDeviceSpec, NetworkEdgeDeviceStatus};
pub use node::{L2Node, L2NodeSpec, L2NodeStatus};
pub use overlay::{Overlay, OverlaySpec, OverlayStatus};
pub use provider::Provider;
use serde::Serialize;

/// `apiVersion` of every kind.
pub const API_VERSION: &str = "l2sm.l2sm.k8s.local/v1";

/// Finalizer: keeps a network until its last attachment is gone.
pub const IN_USE: &str = "l2sm.l2sm.k8s.local/in-use";

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
    /// A tunnel endpoint that is no agent of ours.
    ExternalVtep(Box<ExternalVtep>),
    /// The tunnels of a cluster.
    Overlay(Box<Overlay>),
    /// A cluster's tunnels to other clusters.
    NetworkEdgeDevice(Box<NetworkEdgeDevice>),
}

impl Object {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::L2Network(_) => Kind::L2Network,
            Self::L2Attachment(_) => Kind::L2Attachment,
            Self::L2Node(_) => Kind::L2Node,
            Self::ExternalVtep(_) => Kind::ExternalVtep,
            Self::Overlay(_) => Kind::Overlay,
            Self::NetworkEdgeDevice(_) => Kind::NetworkEdgeDevice,
        }
    }

    /// Its metadata.
    pub const fn metadata(&self) -> &Metadata {
        match self {
            Self::L2Network(network) => &network.metadata,
            Self::L2Attachment(attachment) => &attachment.metadata,
            Self::L2Node(node) => &node.metadata,
            Self::ExternalVtep(vtep) => &vtep.metadata,
            Self::Overlay(overlay) => &overlay.metadata,
            Self::NetworkEdgeDevice(device) => &device.metadata,
        }
    }

    /// Its metadata, to complete them.
    pub const fn metadata_mut(&mut self) -> &mut Metadata {
        match self {
            Self::L2Network(network) => &mut network.metadata,
            Self::L2Attachment(attachment) => &mut attachment.metadata,
            Self::L2Node(node) => &mut node.metadata,
            Self::ExternalVtep(vtep) => &mut vtep.metadata,
            Self::Overlay(overlay) => &mut overlay.metadata,
            Self::NetworkEdgeDevice(device) => &mut device.metadata,
        }
    }

    /// The conditions of its status; `None`: it has none yet.
    pub fn conditions_mut(&mut self) -> Option<&mut Vec<Condition>> {
        Some(match self {
            Self::L2Network(network) => &mut network.status.as_mut()?.conditions,
            Self::L2Attachment(attachment) => &mut attachment.status.as_mut()?.conditions,
            Self::L2Node(node) => &mut node.status.as_mut()?.conditions,
            Self::ExternalVtep(vtep) => &mut vtep.status.as_mut()?.conditions,
            Self::Overlay(overlay) => &mut overlay.status.as_mut()?.conditions,
            Self::NetworkEdgeDevice(device) => &mut device.status.as_mut()?.conditions,
        })
    }

    /// Its JSON form, as it travels to a controller.
    ///
    /// # Errors
    /// Never for objects that [`read_object`] made: all their keys are strings.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

#[cfg(test)]
#[path = "objects/upstream_tests.rs"]
mod upstream_tests;
