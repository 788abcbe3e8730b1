//! What the parts of the agent tell one another: what is desired, and what came of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

pub use l2sm_api::grpc::Revision;
use l2sm_common::maps::{DropKey, Traffic};
use l2sm_core::{
    image::LocalPort,
    instructions::{Instructions, Place},
    model::ObjectKey,
};

/// What the node is to do.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// The controller's instructions; before a snapshot, those kept on disk.
    pub instructions: Arc<Instructions>,
    /// Their revision; `None`: there have never been any.
    pub revision: Option<Revision>,
    /// A whole snapshot came in this process, or the controller said that ours is current. Until
    /// then nothing is changed or removed.
    pub complete: bool,
    /// Attachments that left here while the controller still lists them; with the revision from
    /// which on it does not, once it has said so.
    pub released: BTreeMap<ObjectKey, Option<Revision>>,
}

impl Desired {
    /// Takes complete instructions. Releases that they know of are over: those at or before their
    /// revision, and those of attachments that they do not list.
    pub fn accept(&mut self, instructions: Arc<Instructions>, revision: Revision) {
        self.released.retain(|key, until| {
            instructions.ports.contains_key(key)
                && until.as_ref().is_none_or(|until| revision < *until)
        });
        self.instructions = instructions;
        self.revision = Some(revision);
        self.complete = true;
    }

    /// Takes note that the controller has removed a released attachment as of `revision`.
    pub fn acknowledge_release(&mut self, key: &ObjectKey, revision: Revision) {
        let known = self.complete.then_some(self.revision.as_ref()).flatten();
        if known.is_some_and(|known| *known >= revision) {
            self.released.remove(key);
        } else if let Some(until) = self.released.get_mut(key) {
            *until = Some(revision);
        }
    }

    /// The instructions without what was released.
    pub fn effective(&self) -> Arc<Instructions> {
        if self.released.is_empty() {
            return Arc::clone(&self.instructions);
        }
        let mut instructions = (*self.instructions).clone();
        instructions.ports.retain(|key, _port| !self.released.contains_key(key));
        instructions.hosts.retain(|_key, host| match &host.place {
            Place::Port(key) => !self.released.contains_key(key),
            Place::Vtep(_) => true,
        });
        Arc::new(instructions)
    }
}

/// What a pass achieved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Passes so far, so that two equal outcomes can be told apart.
    pub pass: u64,
    /// What is in the kernel, but for `errors`; `None` before a complete snapshot.
    pub revision: Option<Revision>,
    /// Objects that could not be programmed.
    pub errors: Vec<ObjectError>,
    /// Attachments with a veth and an entry in `PORTS`.
    pub ports: BTreeMap<ObjectKey, LocalPort>,
    /// Changes made, and changes refused.
    pub changes: usize,
    /// See `changes`.
    pub failures: usize,
    /// Networks by counter slot.
    pub slots: BTreeMap<u32, ObjectKey>,
    /// Least MTU of the uplinks that exist, bytes; 0: there is none.
    pub underlay_mtu: u32,
    /// Own VTEP addresses, preferred first; they may change while the agent runs.
    pub vteps: Vec<IpAddr>,
    /// What holds of the node itself: each kind once.
    pub conditions: Vec<NodeCondition>,
    /// Entries of each map that only the agent writes.
    pub entries: BTreeMap<&'static str, u64>,
    /// The programs run and the maps hold an image: of this process, or of the one before.
    pub applied: bool,
    /// Of all passes so far.
    pub totals: Totals,
}

/// Sums over all passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Passes in which something failed.
    pub failed_passes: u64,
    /// Changes made.
    pub changes: u64,
    /// Changes refused, and devices that could not be made.
    pub failures: u64,
    /// Time that passes took.
    pub took: Duration,
}

/// Something that holds of the node itself, or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCondition {
    /// In CamelCase: [`SLOW_PATH_BLOCKED`], ...
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Why, in CamelCase.
    pub reason: &'static str,
    /// Why, in one line; empty where there is nothing to say.
    pub message: String,
}

/// The host drops what is handed up to `l2sm-vxlan`.
pub const SLOW_PATH_BLOCKED: &str = "SlowPathBlocked";
/// An underlay device or a VTEP address is not there.
pub const UNDERLAY_MISSING: &str = "UnderlayMissing";
/// A map has no room.
pub const MAP_FULL: &str = "MapFull";

impl Outcome {
    /// What stands in the way of an attachment: a failure of its own, or of its network's entries.
    /// What the network merely had to leave out does not.
    pub fn error_of(&self, attachment: &ObjectKey, network: &ObjectKey) -> Option<&ObjectError> {
        self.errors.iter().find(|error| match error.kind {
            Kind::Attachment => error.key == *attachment,
            Kind::Network => error.key == *network && error.reason != NOT_PROGRAMMABLE,
            Kind::Node => false,
        })
    }

    /// The first failure of the node itself.
    pub fn node_error(&self) -> Option<&ObjectError> {
        self.errors.iter().find(|error| error.kind == Kind::Node)
    }

    /// Attachments that are gone from the kernel.
    pub fn lacks(&self, keys: &BTreeSet<ObjectKey>) -> bool {
        keys.iter().all(|key| !self.ports.contains_key(key))
    }
}

/// Reason of what the image had to leave out.
pub const NOT_PROGRAMMABLE: &str = "NotProgrammable";

/// Why an object is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectError {
    /// What it is.
    pub kind: Kind,
    /// Which.
    pub key: ObjectKey,
    /// In CamelCase, as of a condition.
    pub reason: &'static str,
    /// One line.
    pub message: String,
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind.name(), self.key, self.message)
    }
}

/// Kinds of objects that errors are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `L2Attachment`.
    Attachment,
    /// `L2Network`.
    Network,
    /// `L2Node`: this one.
    Node,
}

impl Kind {
    /// As the API calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attachment => "L2Attachment",
            Self::Network => "L2Network",
            Self::Node => "L2Node",
        }
    }
}

/// Counters, read on request.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// By slot.
    pub traffic: BTreeMap<u32, Traffic>,
    /// By slot and reason.
    pub drops: BTreeMap<DropKey, u64>,
}

/// Attachments made by request, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attaches {
    /// Those that were made.
    pub made: u64,
    /// Those that failed.
    pub failed: u64,
    /// Time from request to answer, of those that were made.
    pub took: Duration,
}

impl Attaches {
    /// Adds one.
    pub fn add(&mut self, made: bool, took: Duration) {
        if made {
            self.made += 1;
            self.took += took;
        } else {
            self.failed += 1;
        }
    }
}

/// What the node is, as hello and status tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Name of the node.
    pub node: String,
    /// Version of the agent.
    pub version: String,
    /// Own VTEP addresses, preferred first.
    pub vteps: Vec<IpAddr>,
    /// UDP port of tunnels.
    pub udp_port: u16,
    /// Underlay devices.
    pub uplinks: Vec<String>,
    /// Features in use.
    pub features: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use l2sm_common::{mac::Mac, vni::Vni};
    use l2sm_core::instructions::Port;

    fn at(epoch: u64, number: u64) -> Revision {
        Revision { source: "a".to_owned(), epoch, number }
    }

    fn listing(key: &ObjectKey) -> Arc<Instructions> {
        let mut instructions = Instructions::default();
        let port = Port {
            vni: Vni::new(7).unwrap(),
            ifname: "net1".to_owned(),
            netns: None,
            netns_inode: 0,
            pod: None,
            pod_uid: None,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            addresses: Vec::new(),
            mtu: 1450,
            mac_check: true,
            forwarder: false,
        };
        instructions.ports.insert(key.clone(), port);
        Arc::new(instructions)
    }

    #[test]
    fn a_release_holds_until_the_controller_has_caught_up() {
        let key = ObjectKey::new("default", "web-net1");
        let mut desired = Desired::default();
        desired.accept(listing(&key), at(1, 4));
        desired.released.insert(key.clone(), None);
        desired.accept(listing(&key), at(1, 5));
        assert!(desired.effective().ports.is_empty(), "not acknowledged yet");
        desired.acknowledge_release(&key, at(1, 7));
        desired.accept(listing(&key), at(1, 6));
        assert!(desired.effective().ports.is_empty(), "an older revision may still list it");
        desired.accept(listing(&key), at(1, 8));
        assert_eq!(desired.effective().ports.len(), 1, "attached again");
    }

    #[test]
    fn a_release_of_what_is_not_listed_is_over() {
        let key = ObjectKey::new("default", "web-net1");
        let mut desired = Desired::default();
        desired.released.insert(key, None);
        desired.accept(Arc::default(), at(1, 4));
        assert!(desired.released.is_empty());
    }

    #[test]
    fn a_release_that_is_known_already_is_over_at_once() {
        let key = ObjectKey::new("default", "web-net1");
        let mut desired = Desired::default();
        desired.accept(Arc::default(), at(1, 7));
        desired.released.insert(key.clone(), None);
        desired.acknowledge_release(&key, at(1, 7));
        assert!(desired.released.is_empty());
    }
}
