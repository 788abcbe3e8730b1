//! Whom a certificate names: a URI among its subject alternative names, as `l2sm://node/n1`.

use core::{fmt, str::FromStr};

use thiserror::Error;

use crate::objects::field::name_fault;

/// The scheme of our URIs, with what follows it.
const SCHEME: &str = "l2sm://";

/// What the holder of a certificate may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// An agent: follows, attaches and detaches for the node that the certificate names.
    Node,
    /// A user of `l2smctl`: every object.
    Admin,
    /// A controller that shares networks with others.
    Provider,
}

impl Role {
    /// Its word in URIs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Admin => "admin",
            Self::Provider => "provider",
        }
    }
}

/// Whom a certificate names. Prints as its URI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// What it may do.
    pub role: Role,
    /// Its name; of a node, the node's.
    pub name: String,
}

/// Why a URI names nobody.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} names nobody; expected l2sm://node/NAME, l2sm://admin/NAME or l2sm://provider/NAME")]
pub struct IdentityFault(String);

impl Identity {
    /// Whether `uri` is meant for us, well-formed or not.
    pub fn claims(uri: &str) -> bool {
        uri.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.role.word(), self.name)
    }
}

impl FromStr for Identity {
    type Err = IdentityFault;

    fn from_str(uri: &str) -> Result<Self, IdentityFault> {
        let fault = || IdentityFault(uri.to_owned());
        let rest = uri.strip_prefix(SCHEME).ok_or_else(fault)?;
        let (word, name) = rest.split_once('/').ok_or_else(fault)?;
        let roles = [Role::Node, Role::Admin, Role::Provider];
        let role = roles.into_iter().find(|role| role.word() == word).ok_or_else(fault)?;
        match name_fault(name) {
            None => Ok(Self { role, name: name.to_owned() }),
            Some(_not_a_name) => Err(fault()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read() {
        for uri in ["l2sm://node/n1", "l2sm://admin/anna", "l2sm://provider/west.example"] {
            assert_eq!(uri.parse::<Identity>().unwrap().to_string(), uri);
            assert!(Identity::claims(uri));
        }
    }

    #[test]
    fn what_is_no_name_of_ours_names_nobody() {
        for uri in [
            "l2sm://node/",
            "l2sm://node",
            "l2sm://root/n1",
            "l2sm://node/n1/n2",
            "l2sm://node/N1",
            "L2SM://node/n1",
            "l2sm://node/n1?x",
            "spiffe://node/n1",
            "",
        ] {
            assert!(uri.parse::<Identity>().is_err(), "{uri}");
        }
        assert!(Identity::claims("L2SM://node/n1"));
        assert!(!Identity::claims("spiffe://x/y"));
    }
}
