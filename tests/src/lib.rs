//! What the kernel and namespace tests share: namespaces made and removed, nodes of ours and of the
//! kernel's own vxlan, traffic with every byte checked, waiting on conditions.
//!
//! Test code: it panics where something is not as it must be, so that the place shows.
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "the tests' own library: a panic is a failed test, at the place where it failed"
)]

pub mod cluster;
pub mod flow;
pub mod frames;
pub mod kernel_node;
pub mod netns;
pub mod node;
pub mod object;
pub mod oracle;
pub mod probe;
pub mod stream;
pub mod wait;
