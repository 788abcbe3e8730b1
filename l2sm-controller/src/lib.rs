//! The controller's parts: stores of objects, what a request changes in them, what their status is,
//! and the server that distributes instructions to agents.
//!
//! Requests are decided in pure code on a [`draft::Draft`]; the [`hub::Hub`] commits it to the
//! [`store`], and only then acknowledges and distributes it.
#![forbid(unsafe_code)]

pub mod allot;
pub mod apply;
pub mod attach;
pub mod catalog;
pub mod certs;
pub mod delete;
pub mod distribute;
pub mod draft;
pub mod hub;
pub mod incoming;
pub mod metrics;
pub mod overlay;
pub mod place;
pub mod progress;
pub mod refusal;
pub mod serve;
pub mod service;
pub mod start;
pub mod status;
pub mod store;
pub mod tls;
pub mod transitions;

/// Version and git revision, as `--version` prints them.
pub const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (git ", env!("L2SM_GIT_REVISION"), ")");
