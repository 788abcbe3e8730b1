//! What the kernel and namespace tests share: namespaces made and removed, nodes of ours and of the
//! kernel's own vxlan, traffic with every byte checked, waiting on conditions.
//!
//! Test code: it panics where something is not as it must be, so that the place shows.

pub mod cluster;
pub mod cnitool;
pub mod corpus;
pub mod counter;
pub mod figures;
pub mod flow;
pub mod frames;
pub mod k8s;
pub mod kernel_node;
pub mod netns;
pub mod next_build;
pub mod node;
pub mod object;
pub mod oracle;
pub mod ovs;
pub mod pki;
pub mod probe;
pub mod stream;
pub mod tap;
pub mod wait;
