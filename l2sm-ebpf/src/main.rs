//! The kernel programs of l2sm: entries, maps and actions. What happens to a frame is decided in
//! `l2sm_common::forward`; here a verdict becomes helper calls.
//!
//! Return codes: "not ours" is `TC_ACT_UNSPEC`, so that programs of others come after ours; the code
//! that would end a tcx chain in acceptance is never used (`cargo xtask lint`).
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod act;
#[cfg(target_arch = "bpf")]
mod count;
#[cfg(target_arch = "bpf")]
mod flood;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod program;
#[cfg(target_arch = "bpf")]
mod skb;
#[cfg(target_arch = "bpf")]
mod tables;

/// On the host there is nothing to run: the agent's build script compiles this crate for the kernel.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
