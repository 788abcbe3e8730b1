//! The changes from one image to another, in an order that is safe at every step.
//!
//! Three rules hold between any two changes:
//! - nothing refers to something that is not there: what is referred to comes first on the way in,
//!   and goes last on the way out;
//! - what both images have is never absent: a changed value is one put;
//! - room is made before it is needed: what nothing refers to any more goes before the puts.

mod apply;
mod change;
mod obstacle;
mod plan;

pub use self::{
    apply::apply,
    change::Change,
    obstacle::{dangling, obstacle},
    plan::{Extent, diff, diff_within},
};

#[cfg(test)]
mod generate;
#[cfg(test)]
mod tests;
