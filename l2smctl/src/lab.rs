//! The lab: nodes and pods as network namespaces of this machine, with a real controller and a real
//! agent on each node.
//!
//! [`plan`], [`commands`] and [`daemon`] say what there is to build, as data; [`build`] and [`remove`] act on it. What is built
//! is recorded in [`state`] before it is made, so that whatever happens `lab down` finds it all.

pub(crate) mod build;
pub(crate) mod commands;
pub(crate) mod daemon;
pub(crate) mod exec;
pub(crate) mod networks;
pub(crate) mod picture;
pub(crate) mod plan;
pub(crate) mod process;
pub(crate) mod remove;
pub(crate) mod report;
pub(crate) mod state;
