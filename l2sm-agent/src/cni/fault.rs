//! Faults and their CNI codes.

use l2sm_api::{cni::code, socket::Fault};
use tonic::{Code, Status};

use super::Unseen;

/// There is no such container, or not here.
pub(super) const UNKNOWN_CONTAINER: u32 = code::UNKNOWN_CONTAINER;
/// Invalid environment: the namespace (CNI 1.1 "Error").
pub(super) const ENVIRONMENT: u32 = code::ENVIRONMENT;
/// The request cannot be read.
pub(super) const UNDECODABLE: u32 = code::DECODE;
/// The request cannot be right, now or later.
pub(super) const INVALID: u32 = code::CONFIG;
/// What stands in the way can go away.
pub(super) const TRY_AGAIN: u32 = code::TRY_AGAIN;

/// A fault with this code.
pub(super) fn fault(code: u32, message: impl Into<String>) -> Fault {
    Fault { code, message: message.into() }
}

/// The fault of a controller's refusal.
#[expect(clippy::wildcard_enum_match_arm, reason = "what is not listed can go away")]
pub(super) fn refusal(status: &Status) -> Fault {
    let code = match status.code() {
        Code::InvalidArgument | Code::FailedPrecondition | Code::PermissionDenied => INVALID,
        _ => TRY_AGAIN,
    };
    let message = match status.message() {
        "" => status.code().description(),
        message => message,
    };
    // A status that has a source was made here: the connection broke, or nobody answered.
    if std::error::Error::source(status).is_some() {
        return fault(code, format!("the controller does not answer: {message}"));
    }
    fault(code, message)
}

impl From<Unseen> for FaultOf {
    fn from(why: Unseen) -> Self {
        let code = match why {
            Unseen::Gone(_) => ENVIRONMENT,
            Unseen::Failed(_) => TRY_AGAIN,
        };
        Self(fault(code, why.to_string()))
    }
}

/// A [`Fault`] that `?` makes.
#[derive(Debug)]
pub(super) struct FaultOf(pub(super) Fault);

impl From<Fault> for FaultOf {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl From<FaultOf> for Fault {
    fn from(of: FaultOf) -> Self {
        of.0
    }
}
