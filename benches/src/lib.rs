//! The benchmark: ours against the kernel's own bridge and vxlan, in one run, round by round.
//!
//! [`lab`] makes the same two pods joined in four ways; [`load`] is the traffic; [`rows`] says what
//! is measured; [`run`] does it in interleaved rounds; [`stats`], [`results`] and [`gates`] say what
//! came out.

mod args;
pub mod cli;
pub mod gates;
pub mod lab;
pub mod load;
pub mod machine;
pub mod measure;
pub mod plan;
mod privilege;
pub mod probe;
pub mod progress;
pub mod publish;
pub mod results;
pub mod rows;
pub mod run;
pub mod say;
pub mod stats;
mod table;
pub mod variant;
