//! Everything of l2sm that crosses a process boundary: the objects users write, the agent's socket,
//! the CNI plugin's input and output, and the gRPC services between agents, controllers and
//! `l2smctl` (feature `grpc`), and the daemons' pages for Prometheus (feature `metrics`).
#![forbid(unsafe_code)]

pub mod cni;
#[cfg(feature = "grpc")]
pub mod grpc;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod objects;
pub mod socket;
