//! Whole instructions on the wire: their digest, and parts of a size that fits a message.

use l2sm_core::instructions::Instructions;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::v1;

/// SHA-256 of instructions, over their protobuf form in the order of their keys. Agent and
/// controller that have the same have the same digest.
pub fn digest(instructions: &Instructions) -> [u8; 32] {
    Sha256::digest(v1::Instructions::from(instructions).encode_to_vec()).into()
}

/// Parts of `whole` with at most `size` things each, at least one part; what is referred to comes
/// before what refers to it. All parts together are `whole`.
pub fn split(whole: v1::Instructions, size: usize) -> Vec<v1::Instructions> {
    let mut parts = Vec::new();
    let mut part = Part { size: size.max(1), ..Part::default() };
    for segment in whole.segments {
        part.room(&mut parts).segments.push(segment);
    }
    for vtep in whole.vteps {
        part.room(&mut parts).vteps.push(vtep);
    }
    for member in whole.members {
        part.room(&mut parts).members.push(member);
    }
    for host in whole.hosts {
        part.room(&mut parts).hosts.push(host);
    }
    for port in whole.ports {
        part.room(&mut parts).ports.push(port);
    }
    parts.push(part.filled);
    parts
}

/// A part that is being filled.
#[derive(Default)]
struct Part {
    size: usize,
    used: usize,
    filled: v1::Instructions,
}

impl Part {
    /// The part that has room for one more thing; full ones go to `parts`.
    fn room(&mut self, parts: &mut Vec<v1::Instructions>) -> &mut v1::Instructions {
        if self.used == self.size {
            parts.push(core::mem::take(&mut self.filled));
            self.used = 0;
        }
        self.used += 1;
        &mut self.filled
    }
}
