//! The kernel programs of l2sm: entries, maps and actions. What happens to a frame is decided in
//! `l2sm_common::forward`; here a verdict becomes helper calls.
//!
//! Return codes: "not ours" is `TC_ACT_UNSPEC`, so that programs of others come after ours; the code
//! that would end a tcx chain in acceptance is never used (`cargo xtask lint`).
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        clippy::inline_always,
        reason = "a BPF program is one function: a call costs stack that tail calls need"
    )
)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "helpers take C integers; the values are constants, or packed in fewer bits"
    )
)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        clippy::many_single_char_names,
        clippy::similar_names,
        reason = "bytes of an address, taken apart because indexing could panic; path and patch, slot \
                  and slow are the words"
    )
)]

#[cfg(target_arch = "bpf")]
mod act;
#[cfg(all(target_arch = "bpf", feature = "bench"))]
mod bench;
#[cfg(target_arch = "bpf")]
mod count;
#[cfg(target_arch = "bpf")]
mod event;
#[cfg(target_arch = "bpf")]
mod flood;
#[cfg(all(target_arch = "bpf", feature = "log"))]
mod log;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod packet;
#[cfg(target_arch = "bpf")]
mod program;
#[cfg(target_arch = "bpf")]
mod skb;
#[cfg(target_arch = "bpf")]
mod tables;
#[cfg(target_arch = "bpf")]
mod xdp;

/// On the host there is nothing to run: the agent's build script compiles this crate for the kernel.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
