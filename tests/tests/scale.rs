//! The sizes that a node is made for, and how quickly pods are attached: what
//! `docs/operations.md` "Sizes" says, measured with the programs of `cargo xtask build --release`.
//!
//! Each test prints what it measures. Times are medians, or percentiles of a hundred.

#[path = "scale/attach.rs"]
mod attach;
#[path = "scale/controller.rs"]
mod controller;
#[path = "scale/node.rs"]
mod node;
#[path = "scale/programs.rs"]
mod programs;

use l2sm_tests::figures;
