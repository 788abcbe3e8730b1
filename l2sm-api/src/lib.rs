//! Everything of l2sm that crosses a process boundary: the objects users write, what they
//! annotate pods with, the agent's socket,
//! the CNI plugin's input and output, the gRPC services between agents, controllers and `l2smctl`
//! (feature `grpc`), and the kinds as custom resources (feature `crd`).
#![forbid(unsafe_code)]

pub mod annotation;
pub mod cni;
#[cfg(feature = "crd")]
pub mod crd;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod objects;
pub mod socket;
