//! `L2Attachment`: one interface of one pod in one network. The object is the allocation of its
//! addresses and its MAC.

use ipnet::IpNet;
use l2sm_common::mac::Mac;
use l2sm_core::model::ObjectKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    Column, Condition, FieldError, Object,
    condition::is_zero,
    field::{ifname_fault, name_fault, namespace_fault, parse_address, parse_station},
    kind::{Definition, Kind},
    manifest::from_value,
    metadata::Metadata,
};

/// A pod's plug into a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct L2Attachment {
    /// [`super::API_VERSION`].
    pub api_version: String,
    /// `L2Attachment`.
    pub kind: String,
    /// Name and namespace.
    pub metadata: Metadata,
    /// What is to be attached where.
    pub spec: L2AttachmentSpec,
    /// What is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<L2AttachmentStatus>,
}

/// What is to be attached where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "crd",
    derive(kube_derive::CustomResource),
    kube(
        group = "l2sm.l2sm.k8s.local",
        version = "v1",
        kind = "L2Attachment",
        root = "L2AttachmentResource"
    ),
    kube(
        doc = "One interface of one pod in one network, and the allocation of its addresses. Made by the operator."
    ),
    kube(namespaced, status = "L2AttachmentStatus", crates(kube_core = "::kube_core"))
)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct L2AttachmentSpec {
    /// The network.
    pub network: String,
    /// Its namespace; none: the attachment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_namespace: Option<String>,
    /// The node.
    pub node: String,
    /// The pod's name, for listings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The pod's UID.
    #[serde(default, rename = "podUID", skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The runtime's id of the container.
    #[serde(default, rename = "containerID", skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// Path of the network namespace on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// Inode of that namespace; 0: not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub netns_inode: u64,
    /// Interface name in the namespace.
    pub ifname: String,
    /// MAC address; none in a manifest: chosen, and then written here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Addresses, the prefix length from the network where it is left out; none in a manifest:
    /// chosen, and then written here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
}

/// What is, of an attachment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct L2AttachmentStatus {
    /// Addresses with prefix lengths.
    pub ips: Vec<String>,
    /// MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// MTU of the interface, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Number of the revision that must be programmed for it to work.
    pub revision: u64,
    /// `metadata.generation` that this is about.
    pub observed_generation: u64,
    /// `Ready`, and what stands in its way.
    pub conditions: Vec<Condition>,
}

pub(super) const DEFINITION: Definition = Definition {
    kind: "L2Attachment",
    plural: "l2attachments",
    singular: "l2attachment",
    short: "l2att",
    aliases: &["attachments", "attachment"],
    namespaced: true,
    columns: &[
        Column::NAME,
        Column::text("NETWORK", "/spec/network"),
        Column::text("POD", "/spec/pod"),
        Column::text("NODE", "/spec/node"),
        Column::text("IFNAME", "/spec/ifname"),
        Column::text("IPS", "/status/ips"),
        Column::text("MAC", "/status/mac"),
        Column::READY,
        Column::text("VNI", "/status/vni").wide(),
        Column::text("MTU", "/status/mtu").wide(),
        Column::text("NETNS", "/spec/netns").wide(),
        Column::AGE.wide(),
    ],
    read: |value, default_namespace| {
        let mut attachment: L2Attachment = from_value(value)?;
        let mut faults = attachment.metadata.complete(Kind::L2Attachment, default_namespace);
        faults.extend(attachment.spec.faults());
        if faults.is_empty() { Ok(Object::L2Attachment(Box::new(attachment))) } else { Err(faults) }
    },
};

impl L2Attachment {
    /// The network it joins.
    pub fn network(&self) -> ObjectKey {
        let namespace = self.spec.network_namespace.as_deref().unwrap_or(&self.metadata.namespace);
        ObjectKey::new(namespace, self.spec.network.as_str())
    }
}

/// What the attachment of a pod's interface is called: `<pod, cut>-<ifname>-<6 hex of SHA-256 of the
/// pod's UID>`, at most 63 characters.
pub fn attachment_name(pod: &str, ifname: &str, pod_uid: &str) -> String {
    let name =
        ifname.to_ascii_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    let mut hash = Sha256::new();
    hash.update(pod_uid.as_bytes());
    // Two names that become one: `lan_0` and `lan-0`.
    if name != ifname {
        hash.update([0]);
        hash.update(ifname.as_bytes());
    }
    let [a, b, c, ..]: [u8; 32] = hash.finalize().into();
    let pod: String = pod.chars().take(40).collect();
    let pod = pod.trim_end_matches(['-', '.']);
    format!("{pod}-{}-{a:02x}{b:02x}{c:02x}", name.trim_matches('-'))
}

impl L2AttachmentSpec {
    /// What is wrong with it, as far as it can be told without its network.
    pub fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let mut check = |field: &str, fault: Option<String>| {
            faults.extend(fault.map(|why| FieldError::new(field, why)));
        };
        check("spec.network", name_fault(&self.network));
        check("spec.networkNamespace", self.network_namespace.as_deref().and_then(namespace_fault));
        check("spec.node", name_fault(&self.node));
        check("spec.ifname", ifname_fault(&self.ifname));
        check("spec.mac", self.mac.as_deref().and_then(|mac| parse_station(mac).err()));
        for (index, ip) in self.ips.iter().enumerate() {
            check(&format!("spec.ips[{index}]"), parse_address(ip).err());
        }
        let relative = self.netns.as_deref().filter(|path| !path.starts_with('/'));
        check(
            "spec.netns",
            relative.map(|path| {
                format!("{path:?} is not an absolute path; expected one, as in /run/netns/pod1")
            }),
        );
        faults
    }

    /// The MAC address of an attachment that has one.
    pub fn station(&self) -> Option<Mac> {
        self.mac.as_deref().and_then(|mac| parse_station(mac).ok())
    }

    /// The addresses of an attachment that has them with their prefix lengths.
    pub fn addresses(&self) -> Vec<IpNet> {
        self.ips.iter().filter_map(|ip| ip.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_tells_pod_and_interface_and_ends_with_the_pods_uid() {
        let uid = "6a1e7c3e-0000-4000-8000-000000000001";
        let name = attachment_name("web-0", "net1", uid);
        let hash = name.strip_prefix("web-0-net1-").unwrap();
        assert!(hash.len() == 6 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()), "{name}");
        let other = attachment_name("web-0", "net1", "another pod of the name");
        assert_ne!(name, other);
        assert_ne!(attachment_name("a", "lan_0", uid), attachment_name("a", "lan-0", uid));
        let cut_at_a_point = format!("{}.b", "a".repeat(39));
        assert_eq!(name_fault(&attachment_name(&cut_at_a_point, "net1", uid)), None);
    }

    proptest! {
        #[test]
        fn every_pod_and_interface_make_a_name(
            pod in "[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?",
            ifname in "[!-$&-.0-9;-~]{1,15}",
        ) {
            prop_assume!(!pod.contains("..") && !pod.contains(".-") && !pod.contains("-."));
            let name = attachment_name(&pod, &ifname, "uid");
            prop_assert!(name.len() <= 63, "{}", name);
            prop_assert_eq!(name_fault(&name), None);
        }
    }
}
