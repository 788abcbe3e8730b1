//! Everything of l2sm that crosses a process boundary: the objects users write, what they
//! annotate pods with, the agent's socket, the CNI plugin's input and output, the gRPC services
//! between agents, controllers and `l2smctl` (feature `grpc`), the daemons' pages for Prometheus
//! (feature `metrics`), and the kinds as custom resources (feature `crd`).
#![forbid(unsafe_code)]

pub mod annotation;
pub mod cni;
#[cfg(feature = "crd")]
pub mod crd;
#[cfg(feature = "grpc")]
pub mod grpc;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod objects;
pub mod socket;
