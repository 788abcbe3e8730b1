//! The node daemon of l2sm: follows the controller, makes the pods' veths, fills the BPF maps, and
//! serves the socket that the CNI plugin and `l2smctl` talk to.
//!
//! A library so that tests can use the parts. `datapath`, `netlink`, `cni` and `controller` know
//! nothing of one another; [`app`] wires them, [`reconcile`] sees traits.

pub mod app;
pub mod bootstrap;
pub mod chain;
pub mod cni;
pub mod config;
pub mod controller;
pub mod datapath;
pub mod directory;
pub mod files;
pub mod metrics;
pub mod netlink;
pub mod reconcile;
pub mod state;
