//! What is compared.

use std::fmt;

/// A way to join two pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// A veth pair: the limit.
    Veth,
    /// Bridges with the wire as a port: no tunnel.
    Bridge,
    /// Kernel bridge and vxlan.
    Kernel,
    /// Ours.
    L2sm,
}

/// All, from the least work to ours.
pub const ALL: [Variant; 4] = [Variant::Veth, Variant::Bridge, Variant::Kernel, Variant::L2sm];
/// The two that a gate compares.
pub const PAIR: [Variant; 2] = [Variant::Kernel, Variant::L2sm];

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Veth => "veth",
            Self::Bridge => "bridge",
            Self::Kernel => "kernel",
            Self::L2sm => "l2sm",
        })
    }
}

/// The variants in the order of one round: forwards, then backwards, so that a drift of the machine
/// hits all alike.
pub fn order(variants: &[Variant], round: usize) -> Vec<Variant> {
    let mut order = variants.to_vec();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_round_goes_backwards() {
        assert_eq!(order(&PAIR, 0), [Variant::Kernel, Variant::L2sm]);
        assert_eq!(order(&PAIR, 1), [Variant::L2sm, Variant::Kernel]);
    }
}
