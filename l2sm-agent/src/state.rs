//! What the parts of the agent tell one another: what is desired, and what came of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

pub use l2sm_api::grpc::{Revision, v1::EntryProblem};
use l2sm_common::maps::{DropKey, Traffic};
use l2sm_core::{
    image::LocalPort,
    instructions::{Instructions, Place, Port},
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
    /// Where the pods of this node are, by UID; ports that name a pod are made there.
    pub sandboxes: BTreeMap<String, Sandbox>,
    /// What the operator says stands in the way of pods, by UID.
    pub problems: BTreeMap<String, Vec<EntryProblem>>,
    /// What other parts of the agent say of the node, by kind: it is told with the outcome.
    pub reported: BTreeMap<&'static str, NodeCondition>,
}

/// Where a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The runtime's id of it; empty: found without the runtime's help.
    pub container: String,
    /// Path of its network namespace.
    pub netns: String,
    /// Inode of that namespace.
    pub inode: u64,
    /// It has a record beside the agent's socket, and ends with that.
    pub recorded: bool,
    /// Interfaces that the runtime has had removed.
    pub left: BTreeSet<String>,
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

    /// The instructions without what was released, with the namespaces of pods that are here, and
    /// without the ports of those that are not.
    pub fn effective(&self) -> Arc<Instructions> {
        let by_pod = self.instructions.ports.values().any(is_by_pod);
        if self.released.is_empty() && !by_pod {
            return Arc::clone(&self.instructions);
        }
        let mut instructions = (*self.instructions).clone();
        let mut left_out = BTreeSet::new();
        instructions.ports.retain(|key, port| {
            let stays = !self.released.contains_key(key) && self.place(port);
            if !stays {
                left_out.insert(key.clone());
            }
            stays
        });
        if !left_out.is_empty() {
            instructions.hosts.retain(|_key, host| match &host.place {
                Place::Port(key) => !left_out.contains(key),
                Place::Vtep(_) => true,
            });
        }
        Arc::new(instructions)
    }

    /// Tells a port where its pod is; false: its pod is not here.
    fn place(&self, port: &mut Port) -> bool {
        if !is_by_pod(port) {
            return true;
        }
        let Some(sandbox) = self.sandbox_of(port) else { return false };
        port.netns = Some(sandbox.netns.clone());
        port.netns_inode = sandbox.inode;
        true
    }

    /// Attachments whose pod is not here, or not any more.
    pub fn waiting(&self) -> Vec<ObjectError> {
        let waiting = self
            .instructions
            .ports
            .iter()
            .filter(|(_key, port)| is_by_pod(port) && self.sandbox_of(port).is_none());
        let waiting = waiting.map(|(key, port)| {
            let pod = port.pod.as_deref().unwrap_or(&key.name);
            let message = format!(
                "pod {pod} has no network namespace on this node: it has not started yet, or it did \
                 before l2sm was installed and cannot be found: then restart the pod to attach it"
            );
            ObjectError {
                kind: Kind::Attachment,
                key: key.clone(),
                reason: WAITING_FOR_POD,
                message,
            }
        });
        waiting.collect()
    }

    /// Where the pod of a port is; `None`: not here, or it has had the interface removed.
    fn sandbox_of(&self, port: &Port) -> Option<&Sandbox> {
        let sandbox = self.sandboxes.get(port.pod_uid.as_ref()?)?;
        Some(sandbox).filter(|sandbox| !sandbox.left.contains(&port.ifname))
    }
}

/// Whether the agent itself finds out where a port is to be.
pub fn is_by_pod(port: &Port) -> bool {
    port.netns.is_none() && port.pod_uid.is_some()
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
    /// Attachments that wait for their pod: no failure, but not programmed either.
    pub waiting: Vec<ObjectError>,
    /// Inodes of the pods' namespaces that the pass went by, by the pod's UID.
    pub sandboxes: BTreeMap<String, u64>,
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
    /// Ways in which XDP drops: `xdp-native`, `xdp-generic`.
    pub features: Vec<String>,
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
/// An underlay device does not drop by XDP though it should; tc does.
pub const XDP_MISSING: &str = "XDPMissing";
/// A map has no room.
pub const MAP_FULL: &str = "MapFull";
/// The CNI plugin is not in the node's CNI list.
pub const CHAIN_NOT_INSTALLED: &str = "ChainNotInstalled";

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

/// Reason of an attachment whose pod is not there (yet).
pub const WAITING_FOR_POD: &str = "WaitingForPod";

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
    use l2sm_core::instructions::Host;

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

    #[test]
    fn a_port_of_a_pod_waits_until_the_pod_is_here_and_moves_with_it() {
        let key = ObjectKey::new("shop", "web-net1");
        let mut instructions = (*listing(&key)).clone();
        let (vni, mac) = (Vni::new(7).unwrap(), Mac([2, 0, 0, 0, 0, 1]));
        let host = Host { ips: Vec::new(), place: Place::Port(key.clone()), router: None };
        instructions.hosts.insert((vni, mac), host);
        instructions.ports.get_mut(&key).unwrap().pod_uid = Some("u-1".to_owned());
        let mut desired = Desired::default();
        desired.accept(Arc::new(instructions), at(1, 4));
        assert_eq!(desired.effective().len(), 0, "neither port nor host");
        let waiting = desired.waiting();
        assert_eq!((waiting[0].reason, &waiting[0].key), (WAITING_FOR_POD, &key));
        for inode in [8, 9] {
            let sandbox = Sandbox {
                container: format!("c{inode}"),
                netns: format!("/run/netns/{inode}"),
                inode,
                recorded: false,
                left: BTreeSet::new(),
            };
            desired.sandboxes.insert("u-1".to_owned(), sandbox);
            let effective = desired.effective();
            assert_eq!(effective.ports[&key].netns_inode, inode);
            assert_eq!((effective.hosts.len(), desired.waiting().len()), (1, 0));
        }
        desired.sandboxes.get_mut("u-1").unwrap().left.insert("net1".to_owned());
        assert_eq!((desired.effective().ports.len(), desired.waiting().len()), (0, 1));
    }
}
