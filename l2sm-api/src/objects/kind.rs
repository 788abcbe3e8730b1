//! The kinds, and the names they go by.

use core::fmt;

use serde_json::Value;

use super::{
    Column, FieldError, Object, attachment, external_vtep, network, network_edge_device, node,
    overlay,
};

/// A kind of object. In this order objects are applied: what is referred to first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A network.
    L2Network,
    /// A tunnel endpoint that is no agent of ours.
    ExternalVtep,
    /// A pod's plug into one.
    L2Attachment,
    /// A node with an agent.
    L2Node,
    /// The tunnels of a cluster.
    Overlay,
    /// A cluster's tunnels to other clusters.
    NetworkEdgeDevice,
}

/// Everything about a kind; each kind's file has its own.
#[derive(Debug)]
pub struct Definition {
    /// `kind` in a manifest.
    pub kind: &'static str,
    /// Plural, as in URLs.
    pub plural: &'static str,
    /// Singular.
    pub singular: &'static str,
    /// Short name, in a cluster too.
    pub short: &'static str,
    /// What else `l2smctl` calls it; in a cluster these belong to others.
    pub aliases: &'static [&'static str],
    /// Its objects live in namespaces.
    pub namespaced: bool,
    /// How it is listed.
    pub columns: &'static [Column],
    /// Reads, completes and checks an object. The `Value` has no `status`.
    pub(super) read: fn(Value, &str) -> Result<Object, Vec<FieldError>>,
}

/// Kinds of upstream's and ours that are known by name and do not work yet.
const COMING: [(&str, &[&str]); 1] =
    [("QuarantinePodRequest", &["quarantinepodrequests", "quarantinepodrequest"])];

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::L2Network,
        Self::L2Attachment,
        Self::L2Node,
        Self::ExternalVtep,
        Self::Overlay,
        Self::NetworkEdgeDevice,
    ];

    /// Everything about it.
    pub const fn definition(self) -> &'static Definition {
        match self {
            Self::L2Network => &network::DEFINITION,
            Self::L2Attachment => &attachment::DEFINITION,
            Self::L2Node => &node::DEFINITION,
            Self::ExternalVtep => &external_vtep::DEFINITION,
            Self::Overlay => &overlay::DEFINITION,
            Self::NetworkEdgeDevice => &network_edge_device::DEFINITION,
        }
    }

    /// `kind` in a manifest.
    pub const fn name(self) -> &'static str {
        self.definition().kind
    }

    /// Its objects live in namespaces.
    pub const fn is_namespaced(self) -> bool {
        self.definition().namespaced
    }

    /// The kind that a user calls `name`: kind, plural, singular or short name, in any case.
    ///
    /// # Errors
    /// No kind is called so, or it does not work yet.
    pub fn find(name: &str) -> Result<Self, UnknownKind> {
        let lower = name.to_ascii_lowercase();
        let goes_by = |definition: &Definition| {
            [definition.plural, definition.singular, definition.short].contains(&lower.as_str())
                || definition.aliases.contains(&lower.as_str())
        };
        if let Some(kind) = Self::ALL.into_iter().find(|kind| goes_by(kind.definition())) {
            return Ok(kind);
        }
        Err(match COMING.iter().find(|(_, names)| names.contains(&lower.as_str())) {
            Some((kind, _)) => UnknownKind::Coming(kind),
            None => UnknownKind::Unknown(name.to_owned()),
        })
    }

    /// The kind of a manifest that says `kind: name`.
    pub(super) fn of_manifest(name: &str) -> Result<Self, UnknownKind> {
        if let Some(kind) = Self::ALL.into_iter().find(|kind| kind.name() == name) {
            return Ok(kind);
        }
        Err(match COMING.iter().find(|(kind, _)| *kind == name) {
            Some((kind, _)) => UnknownKind::Coming(kind),
            None => UnknownKind::NotAManifest(name.to_owned()),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a kind cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownKind {
    /// Nothing is called so on a command line.
    Unknown(String),
    /// No manifest says so.
    NotAManifest(String),
    /// Known, and does not work yet.
    Coming(&'static str),
}

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coming(kind) => write!(f, "kind {kind} is not supported yet"),
            Self::NotAManifest(name) => {
                let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                write!(f, "{name:?} is not a kind; expected one of {}", kinds.join(", "))
            }
            Self::Unknown(name) => {
                let kinds: Vec<_> = Kind::ALL.iter().map(|kind| spellings(*kind)).collect();
                write!(f, "{name:?} is not a kind; expected one of {}", kinds.join(", "))
            }
        }
    }
}

impl core::error::Error for UnknownKind {}

fn spellings(kind: Kind) -> String {
    let definition = kind.definition();
    let names: Vec<_> = [definition.short].iter().chain(definition.aliases).copied().collect();
    format!("{} ({})", definition.plural, names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_every_name() {
        for name in ["L2Network", "l2networks", "l2network", "l2net", "networks", "NETWORK"] {
            assert_eq!(Kind::find(name), Ok(Kind::L2Network), "{name}");
        }
        assert_eq!(Kind::find("l2att"), Ok(Kind::L2Attachment));
        assert_eq!(Kind::find("nodes"), Ok(Kind::L2Node));
        assert_eq!(Kind::find("neds"), Ok(Kind::NetworkEdgeDevice));
        assert_eq!(Kind::find("overlays"), Ok(Kind::Overlay));
        for name in ["ExternalVTEP", "externalvteps", "extvtep", "xvtep"] {
            assert_eq!(Kind::find(name), Ok(Kind::ExternalVtep), "{name}");
        }
    }

    #[test]
    fn no_name_means_two_kinds() {
        let mut seen = std::collections::BTreeSet::new();
        for kind in Kind::ALL {
            let definition = kind.definition();
            let names = [definition.plural, definition.singular, definition.short];
            let own: std::collections::BTreeSet<_> =
                names.iter().chain(definition.aliases).copied().collect();
            for name in own {
                assert!(seen.insert(name), "{name}");
            }
        }
    }

    #[test]
    fn an_unknown_kind_is_told_the_known_ones() {
        let message = Kind::find("pods").unwrap_err().to_string();
        assert!(
            message.starts_with("\"pods\" is not a kind; expected one of l2networks (l2net,"),
            "{message}"
        );
        assert_eq!(
            Kind::find("quarantinepodrequests").unwrap_err().to_string(),
            "kind QuarantinePodRequest is not supported yet"
        );
    }
}
