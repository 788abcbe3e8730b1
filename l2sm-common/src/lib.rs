//! What the kernel programs, the agent and the tests share: wire formats, the forwarding decision
//! ([`forward`]), encapsulation bytes, and the keys and values of every BPF map.
//!
//! One source, two targets. Everything here is `no_std` without allocation (but for the host-only
//! parts behind `std`), so the code that the verifier accepts is the code that `cargo test` runs.
//!
//! Layout rules for [`maps`]: `#[repr(C)]`, explicit padding, integers in host order, addresses as
//! byte arrays in network order, every bit pattern valid, sizes pinned by `const` assertions.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![expect(
    clippy::inline_always,
    reason = "a BPF program is one function: a call costs stack that tail calls need, and hides from \
              the verifier what the caller knows"
)]
#![expect(
    clippy::many_single_char_names,
    reason = "bytes of an address, taken apart by pattern because indexing could panic"
)]

pub mod abi;
pub mod decision;
pub mod encap;
pub mod event;
pub mod forward;
pub mod frame;
pub mod ids;
pub mod mac;
pub mod maps;
pub mod reason;
pub mod tables;
pub mod verdict;
pub mod vni;
pub mod wire;
