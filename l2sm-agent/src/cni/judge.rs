//! Whether a pod has what it waits for. Pure.

use std::collections::{BTreeMap, BTreeSet};

use l2sm_api::{annotation::read_networks, grpc::v1::entry_problem::Annotation, socket::Attached};
use l2sm_core::{instructions::Port, model::ObjectKey};

use crate::state::{Desired, EntryProblem, Outcome};

/// An attachment that a pod waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    annotation: Annotation,
    /// Position in the annotation, from 0 on.
    entry: usize,
    /// Name of the network.
    network: String,
    /// Its namespace, where that must be just this one.
    namespace: Option<String>,
    /// Interface name, where it is fixed.
    ifname: Option<String>,
}

/// What a look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// All is there.
    Attached(Vec<Attached>),
    /// Something is missing.
    Waiting {
        /// Why, by position in what is awaited.
        lines: BTreeMap<usize, String>,
        /// The operator says why.
        refused: bool,
    },
}

impl Awaited {
    /// The entries of the annotation `l2sm/networks` that hold the pod.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of_annotation(text: &str) -> Result<Vec<Self>, String> {
        let entries = read_networks(text)?.into_iter().enumerate();
        let holding = entries.filter(|(_, entry)| !entry.optional);
        let awaited = holding.map(|(entry, wish)| Self {
            annotation: Annotation::L2smNetworks,
            entry,
            network: wish.name,
            namespace: wish.namespace,
            ifname: wish.ifname,
        });
        Ok(awaited.collect())
    }

    /// An interface that is asked for by its name. Whose network of that name is meant the operator
    /// tells: a NAD means its own namespace where it names none, and the plugin does not know that.
    pub(super) fn of_interface(ifname: String, network: String) -> Self {
        Self {
            annotation: Annotation::MultusNetworks,
            entry: 0,
            network,
            namespace: None,
            ifname: Some(ifname),
        }
    }

    /// Its interface name, where that is fixed.
    pub(super) fn fixed_name(&self) -> Option<String> {
        self.ifname.clone()
    }

    /// Whether `port`, in `network`, is what is awaited. With the operator's `--compat-lookup` the
    /// network may be of any namespace.
    fn is(&self, port: &Port, network: &ObjectKey) -> bool {
        self.ifname.as_ref().is_none_or(|ifname| port.ifname == *ifname)
            && self.network == network.name
            && self.namespace.as_ref().is_none_or(|namespace| network.namespace == *namespace)
    }

    /// What the operator says about it.
    fn problem<'a>(&self, problems: &'a [EntryProblem]) -> Option<&'a str> {
        let about_this = |problem: &&EntryProblem| {
            problem.annotation() == self.annotation
                && match self.annotation {
                    Annotation::L2smNetworks => usize::try_from(problem.entry) == Ok(self.entry),
                    Annotation::MultusNetworks => {
                        problem.ifname.is_empty() || Some(&problem.ifname) == self.ifname.as_ref()
                    }
                }
        };
        problems.iter().find(about_this).map(|problem| problem.message.as_str())
    }
}

/// Looks whether all that `awaited` names is programmed in the namespace `inode` of the pod `uid`.
pub(super) fn judge(
    awaited: &[Awaited],
    uid: &str,
    inode: u64,
    desired: &Desired,
    outcome: &Outcome,
) -> Judged {
    let problems = desired.problems.get(uid).map(Vec::as_slice).unwrap_or_default();
    let mut taken = BTreeSet::new();
    let (mut attached, mut lines, mut refused) = (Vec::new(), BTreeMap::new(), false);
    // Those whose name is fixed first: the others take what is left.
    let (named, unnamed): (Vec<_>, Vec<_>) =
        awaited.iter().enumerate().partition(|(_, wanted)| wanted.ifname.is_some());
    for (position, wanted) in named.into_iter().chain(unnamed) {
        let found = find(wanted, uid, desired, &taken);
        let Some((key, port, network)) = found else {
            let problem = wanted.problem(problems);
            refused |= problem.is_some();
            lines.insert(position, missing(wanted, uid, desired, problem));
            continue;
        };
        taken.insert(key.clone());
        match obstacle(key, network, uid, inode, outcome) {
            None => attached.push(describe(port)),
            Some(why) => drop(lines.insert(position, why)),
        }
    }
    if lines.is_empty() { Judged::Attached(attached) } else { Judged::Waiting { lines, refused } }
}

fn find<'a>(
    wanted: &Awaited,
    uid: &str,
    desired: &'a Desired,
    taken: &BTreeSet<ObjectKey>,
) -> Option<(&'a ObjectKey, &'a Port, &'a ObjectKey)> {
    let instructions = &desired.instructions;
    instructions.ports.iter().find_map(|(key, port)| {
        let network = &instructions.segments.get(&port.vni)?.network;
        let free = port.pod_uid.as_deref() == Some(uid) && !taken.contains(key);
        (free && wanted.is(port, network)).then_some((key, port, network))
    })
}

/// Why there is no such attachment.
fn missing(wanted: &Awaited, uid: &str, desired: &Desired, problem: Option<&str>) -> String {
    if let Some(problem) = problem {
        return problem.to_owned();
    }
    let instructions = &desired.instructions;
    let other = instructions.ports.values().find(|port| {
        port.pod_uid.as_deref() == Some(uid) && Some(&port.ifname) == wanted.ifname.as_ref()
    });
    let other = other.and_then(|port| Some((port, instructions.segments.get(&port.vni)?)));
    if let Some((port, segment)) = other {
        let (ifname, theirs) = (&port.ifname, &segment.network);
        return format!("interface {ifname} is network {theirs}'s, not {}'s", wanted.network);
    }
    format!("network '{}': this node has not been told of the attachment yet", wanted.network)
}

/// Why an attachment is not in the kernel, if it is not.
fn obstacle(
    key: &ObjectKey,
    network: &ObjectKey,
    uid: &str,
    inode: u64,
    outcome: &Outcome,
) -> Option<String> {
    // A pass before this may have programmed it in a sandbox that the pod had before.
    if outcome.sandboxes.get(uid) != Some(&inode) {
        let why = outcome.node_error().map(|error| format!(": {error}")).unwrap_or_default();
        return Some(format!("{key}: not programmed yet{why}"));
    }
    if let Some(error) = outcome.error_of(key, network) {
        return Some(error.to_string());
    }
    (!outcome.ports.contains_key(key)).then(|| format!("{key}: not programmed yet"))
}

fn describe(port: &Port) -> Attached {
    Attached {
        ifname: port.ifname.clone(),
        mac: port.mac.to_string(),
        ips: port.addresses.iter().map(ToString::to_string).collect(),
        vni: port.vni.get(),
        mtu: port.mtu,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use l2sm_api::grpc::Revision;
    use l2sm_common::{ids::IfIndex, mac::Mac, vni::Vni};
    use l2sm_core::{
        image::LocalPort,
        instructions::{Instructions, Segment},
    };

    use super::*;
    use crate::state::{Kind, ObjectError};

    const UID: &str = "u-1";
    const INODE: u64 = 77;

    /// Ports of the pod: interface name, and network by number.
    fn desired(ports: &[(&str, u32)]) -> Desired {
        let mut instructions = Instructions::default();
        for (ifname, number) in ports {
            let vni = Vni::new(*number).unwrap();
            let network = ObjectKey::new("shop", format!("net-{number}"));
            let segment = Segment { network, mtu: 1450, flood: true, learning: false };
            instructions.segments.insert(vni, segment);
            let port = Port {
                vni,
                ifname: (*ifname).to_owned(),
                netns: None,
                netns_inode: 0,
                pod: Some("web".to_owned()),
                pod_uid: Some(UID.to_owned()),
                mac: Mac([2, 0, 0, 0, 0, 1]),
                addresses: Vec::new(),
                mtu: 1450,
                mac_check: true,
                forwarder: false,
            };
            instructions.ports.insert(ObjectKey::new("shop", format!("web-{ifname}")), port);
        }
        let mut desired = Desired::default();
        let revision = Revision { source: "a".to_owned(), epoch: 1, number: 1 };
        desired.accept(Arc::new(instructions), revision);
        desired
    }

    /// All of it in the kernel.
    fn programmed(desired: &Desired) -> Outcome {
        let local = LocalPort { device: IfIndex(9), peer: true };
        let keys = desired.instructions.ports.keys();
        Outcome {
            ports: keys.map(|key| (key.clone(), local)).collect(),
            sandboxes: [(UID.to_owned(), INODE)].into(),
            ..Outcome::default()
        }
    }

    fn lines(awaited: &str, desired: &Desired, outcome: &Outcome) -> (Vec<String>, bool) {
        let awaited = Awaited::of_annotation(awaited).unwrap();
        match judge(&awaited, UID, INODE, desired, outcome) {
            Judged::Attached(_) => (Vec::new(), false),
            Judged::Waiting { lines, refused } => (lines.into_values().collect(), refused),
        }
    }

    #[test]
    fn a_pod_has_what_it_waits_for_once_each_entry_has_a_port_of_its_own() {
        let (none, one) = (desired(&[]), desired(&[("net1", 7)]));
        let (said, refused) = lines("net-7", &none, &programmed(&none));
        assert_eq!(said, ["network 'net-7': this node has not been told of the attachment yet"]);
        assert!(!refused);
        assert_eq!(lines("net-7", &one, &programmed(&one)).0, Vec::<String>::new());
        assert_eq!(lines("net-7, net-7", &one, &programmed(&one)).0.len(), 1);
        let two = desired(&[("net1", 7), ("x0", 7)]);
        let named = r#"[{"name": "net-7"}, {"name": "net-7", "ifname": "net1"}]"#;
        assert_eq!(lines(named, &two, &programmed(&two)).0, Vec::<String>::new());
        let elsewhere = r#"[{"name": "net-7", "namespace": "other"}]"#;
        assert_eq!(lines(elsewhere, &one, &programmed(&one)).0.len(), 1);
    }

    #[test]
    fn what_was_programmed_in_the_sandbox_before_does_not_count() {
        let one = desired(&[("net1", 7)]);
        let mut outcome = programmed(&one);
        outcome.sandboxes.insert(UID.to_owned(), INODE - 1);
        assert_eq!(lines("net-7", &one, &outcome).0, ["shop/web-net1: not programmed yet"]);
    }

    #[test]
    fn an_optional_entry_holds_no_pod() {
        let none = desired(&[]);
        let text = r#"[{"name": "net-7", "optional": true}]"#;
        assert_eq!(lines(text, &none, &Outcome::default()), (Vec::new(), false));
    }

    #[test]
    fn the_operators_words_and_the_kernels_are_passed_on() {
        let mut one = desired(&[("net1", 7)]);
        let problem = |entry, message: &str| EntryProblem {
            entry,
            message: message.to_owned(),
            ..EntryProblem::default()
        };
        let says = "network 'blue' does not exist in namespace 'shop'";
        one.problems.insert(UID.to_owned(), vec![problem(0, "another"), problem(1, says)]);
        let mut outcome = programmed(&one);
        outcome.ports.clear();
        outcome.errors.push(ObjectError {
            kind: Kind::Attachment,
            key: ObjectKey::new("shop", "web-net1"),
            reason: "MapFull",
            message: "map PORTS is full".to_owned(),
        });
        let (said, refused) = lines("net-7,blue", &one, &outcome);
        assert_eq!(said, ["L2Attachment shop/web-net1: map PORTS is full", says]);
        assert!(refused);
    }

    #[test]
    fn an_interface_of_another_network_is_told() {
        let one = desired(&[("net1", 7)]);
        let awaited = [Awaited::of_interface("net1".to_owned(), "blue".to_owned())];
        let judged = judge(&awaited, UID, INODE, &one, &programmed(&one));
        let Judged::Waiting { lines, refused: false } = judged else { panic!("{judged:?}") };
        assert_eq!(lines[&0], "interface net1 is network shop/net-7's, not blue's");
        let awaited = [Awaited::of_interface("net1".to_owned(), "net-7".to_owned())];
        let judged = judge(&awaited, UID, INODE, &one, &programmed(&one));
        assert!(matches!(judged, Judged::Attached(list) if list[0].ifname == "net1"));
    }
}
