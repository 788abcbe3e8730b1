//! Why a verb failed.

use l2sm_api::{
    cni::{CniError, Version, code},
    socket::Fault,
};
use serde_json::{Value, json};

/// A failure, with its CNI error code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: u32,
    pub(crate) message: String,
    pub(crate) details: String,
}

impl Failure {
    /// A failure with a code of [`code`].
    pub(crate) fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: String::new() }
    }

    /// An environment variable is missing or wrong.
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self::new(code::ENVIRONMENT, message)
    }

    /// The configuration is wrong.
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(code::CONFIG, message)
    }

    /// Input or output failed.
    pub(crate) fn io(message: impl Into<String>) -> Self {
        Self::new(code::IO, message)
    }

    /// The version is not one of ours, or does not have this verb.
    pub(crate) fn version(message: impl Into<String>) -> Self {
        let names = Version::ALL.map(Version::as_str).join(", ");
        let details = format!("supported: {names}");
        Self { details, ..Self::new(code::INCOMPATIBLE_VERSION, message) }
    }

    /// As the plugin prints it.
    pub(crate) fn into_json(self, version: Version) -> Value {
        let Self { code, message: msg, details } = self;
        json!(CniError { cni_version: version.as_str().to_owned(), code, msg, details })
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::new(fault.code, fault.message)
    }
}
