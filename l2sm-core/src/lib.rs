//! Pure control logic of l2sm: what the users want ([`World`](world::World)), what one node must do
//! for it ([`Instructions`](instructions::Instructions)), what its maps must hold
//! ([`Image`](image::Image)), and the changes from one image to another. No clock, no I/O; every map
//! in a stable order.
#![forbid(unsafe_code)]

pub mod conflict;
pub mod diff;
pub mod image;
pub mod instructions;
pub mod ipam;
pub mod mac_plan;
pub mod model;
pub mod plan;
pub mod slow_path;
pub mod vni_plan;
pub mod world;
