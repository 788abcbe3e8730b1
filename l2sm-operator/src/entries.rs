//! What a pod's annotations say.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// An entry of `l2sm/networks`, or of Multus' annotation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// The network, or the NAD.
    pub name: String,
    /// Its namespace; `None`: the pod's.
    pub namespace: Option<String>,
    /// Interface name; `None`: the next `netN`.
    #[serde(alias = "interface")]
    pub ifname: Option<String>,
    /// Addresses; none: the network's choice.
    pub ips: Vec<String>,
    /// MAC; `None`: planned.
    pub mac: Option<String>,
    /// The pod does not wait for it.
    pub optional: bool,
}

/// The entries of `l2sm/networks`.
///
/// # Errors
/// What is wrong, in words.
pub fn read_networks(text: &str) -> Result<Vec<Entry>, String> {
    let text = text.trim();
    if text.starts_with('[') {
        return serde_json::from_str(text).map_err(|why| why.to_string());
    }
    Ok(text
        .split(',')
        .map(|name| Entry { name: name.trim().to_owned(), ..Entry::default() })
        .collect())
}

/// The entries of Multus' annotation: JSON, or `[namespace/]name[@ifname]` separated by commas.
///
/// # Errors
/// What is wrong, in words.
pub fn read_multus(text: &str) -> Result<Vec<Entry>, String> {
    let text = text.trim();
    if text.starts_with('[') {
        return serde_json::from_str(text).map_err(|why| why.to_string());
    }
    Ok(text
        .split(',')
        .map(|part| {
            let (part, ifname) = match part.trim().split_once('@') {
                Some((part, ifname)) => (part, Some(ifname.to_owned())),
                None => (part.trim(), None),
            };
            let (namespace, name) = match part.split_once('/') {
                Some((namespace, name)) => (Some(namespace.to_owned()), name.to_owned()),
                None => (None, part.to_owned()),
            };
            Entry { name, namespace, ifname, ..Entry::default() }
        })
        .collect())
}

/// What the attachment of an interface is called: `<pod, cut>-<ifname>-<6 hex of SHA-256(UID)>`.
pub fn attachment_name(pod: &str, ifname: &str, uid: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(uid.as_bytes()).into();
    let [a, b, c, ..] = digest;
    let pod: String = pod.chars().take(40).collect();
    let pod = pod.trim_end_matches(['-', '.']);
    let ifname = ifname.to_ascii_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    format!("{pod}-{}-{a:02x}{b:02x}{c:02x}", ifname.trim_matches('-'))
}
