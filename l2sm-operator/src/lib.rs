//! The Kubernetes source of the world: pods that join networks by annotation become attachments, and
//! the controller's hub distributes them.
#![forbid(unsafe_code)]
#![expect(
    clippy::large_stack_frames,
    reason = "futures of kube's client: they live on the heap once spawned or boxed"
)]

pub mod api_store;
pub mod app;
pub mod ask;
pub mod bootstrap;
pub mod cluster;
pub mod lease;
pub mod metrics;
pub mod problems;
pub mod schema;
pub mod standby;
pub mod steps;
pub mod stored;
pub mod term;
pub mod trust;
pub mod watch;
pub mod watched;
pub mod wishes;
pub mod writer;
