//! Why a request is not carried out. Each is one line for the user.

use thiserror::Error;

use crate::store::StoreError;

/// Why a request is not carried out; nothing has changed then.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// What it names is not there.
    #[error("{0}")]
    NotFound(String),
    /// What it wants, somebody else has.
    #[error("{0}")]
    AlreadyExists(String),
    /// Nothing is left to give.
    #[error("{0}")]
    Exhausted(String),
    /// Something else must be done first.
    #[error("{0}")]
    Precondition(String),
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}
