//! Failures of a pass, by the object that they are about.

use std::collections::BTreeMap;

use l2sm_common::vni::Vni;
use l2sm_core::{
    diff::Change,
    image::{Hook, Image, Local, Problem},
    instructions::Instructions,
    model::ObjectKey,
};

use crate::{
    datapath::DatapathError,
    netlink::LinksError,
    state::{Kind, NOT_PROGRAMMABLE, ObjectError},
};

/// What ends a pass early.
#[derive(Debug)]
pub(super) struct PassError {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl From<LinksError> for PassError {
    fn from(why: LinksError) -> Self {
        Self { reason: why.reason(), message: why.to_string() }
    }
}

impl From<DatapathError> for PassError {
    fn from(why: DatapathError) -> Self {
        Self { reason: reason_of(&why), message: why.to_string() }
    }
}

/// The first failure of each object, and how many followed it.
#[derive(Debug)]
pub(super) struct Errors {
    node: ObjectKey,
    by_object: BTreeMap<(Kind, ObjectKey), Failure>,
}

#[derive(Debug)]
struct Failure {
    reason: &'static str,
    message: String,
    more: usize,
}

impl Errors {
    pub(super) fn new(node: &str) -> Self {
        Self { node: ObjectKey::new("", node), by_object: BTreeMap::new() }
    }

    pub(super) fn node(&mut self, reason: &'static str, message: String) {
        self.add(Kind::Node, self.node.clone(), reason, message);
    }

    pub(super) fn attachment(&mut self, key: &ObjectKey, reason: &'static str, message: String) {
        self.add(Kind::Attachment, key.clone(), reason, message);
    }

    /// A change that was refused.
    pub(super) fn change(
        &mut self,
        change: &Change,
        why: &DatapathError,
        actual: &Image,
        local: &Local,
        instructions: &Instructions,
    ) {
        let (kind, key) = self.object_of(change, actual, local, instructions);
        self.add(kind, key, reason_of(why), why.to_string());
    }

    /// What the image had to leave out.
    pub(super) fn problems(&mut self, problems: &[Problem], instructions: &Instructions) {
        for problem in problems {
            let (kind, key) = match problem {
                Problem::FloodListTooLong { network, .. } | Problem::NoSlot { network, .. } => {
                    (Kind::Network, network.clone())
                }
                Problem::AddressTaken { vni, .. } => {
                    network_of(vni.get(), instructions).unwrap_or((Kind::Node, self.node.clone()))
                }
                Problem::NoFamily { .. } | Problem::VtepAddressTaken { .. } => {
                    (Kind::Node, self.node.clone())
                }
            };
            self.add(kind, key, NOT_PROGRAMMABLE, problem.to_string());
        }
    }

    pub(super) fn into_list(self) -> Vec<ObjectError> {
        self.by_object
            .into_iter()
            .map(|((kind, key), failure)| ObjectError {
                kind,
                key,
                reason: failure.reason,
                message: match failure.more {
                    0 => failure.message,
                    more => format!("{}, and {more} more failures", failure.message),
                },
            })
            .collect()
    }

    fn object_of(
        &self,
        change: &Change,
        actual: &Image,
        local: &Local,
        instructions: &Instructions,
    ) -> (Kind, ObjectKey) {
        let port = device_of(change)
            .and_then(|device| local.ports.iter().find(|(_key, port)| port.device.0 == device));
        if let Some((key, _port)) = port {
            return (Kind::Attachment, key.clone());
        }
        change
            .vni(actual)
            .and_then(|vni| network_of(vni, instructions))
            .unwrap_or((Kind::Node, self.node.clone()))
    }

    fn add(&mut self, kind: Kind, key: ObjectKey, reason: &'static str, message: String) {
        self.by_object
            .entry((kind, key))
            .and_modify(|failure| failure.more += 1)
            .or_insert(Failure { reason, message, more: 0 });
    }
}

fn network_of(vni: u32, instructions: &Instructions) -> Option<(Kind, ObjectKey)> {
    let segment = instructions.segments.get(&Vni::new(vni)?)?;
    Some((Kind::Network, segment.network.clone()))
}

/// The port device that a change is about.
fn device_of(change: &Change) -> Option<u32> {
    if let Change::PutPort(device, _entry) = change {
        Some(*device)
    } else if let Change::Attach(Hook { device, .. }) = change {
        Some(device.0)
    } else {
        None
    }
}

fn reason_of(why: &DatapathError) -> &'static str {
    if matches!(why, DatapathError::MapFull { .. }) { "MapFull" } else { "NotProgrammed" }
}
