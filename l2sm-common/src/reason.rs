//! Why a frame was dropped.

/// Declares the reasons once: number, Rust name, label, and what to tell the user.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $number:literal $name:ident $label:literal $help:literal,)+) => {
        /// Why a frame was dropped. Each has a number (half of the key of `DROPS`; append only, a
        /// retired one stays unused), a label for metrics and listings, and a test.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum DropReason { $($(#[doc = $doc])+ $name = $number,)+ }

        impl DropReason {
            /// Every reason, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The number in `DROPS`.
            #[inline(always)]
            pub const fn number(self) -> u32 {
                match self { $(Self::$name => $number,)+ }
            }

            /// The reason with this number.
            #[inline(always)]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }

            /// The label in metrics and listings: lower case with underscores.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }

            /// One sentence for whoever finds the counter moving.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)+ }
            }
        }
    };
}

reasons! {
    /// The device that the frame came in by is no port of ours.
    1 NoPort "no_port" "a frame came in by a device that is not attached to a network (attachment in the making, or being removed)",
    /// The port's segment is not in `SEGMENTS`.
    2 NoSegment "no_segment" "the port's network is not programmed on this node",
    /// Shorter than its headers claim.
    3 Truncated "truncated" "shorter than its headers say",
    /// The source MAC is a group or zero (kernel: VXLAN/bridge `MAC_INVALID_SOURCE`).
    4 InvalidSourceMac "invalid_source_mac" "the source MAC is multicast or zero",
    /// The source MAC is not the port's.
    5 SpoofedMac "spoofed_mac" "the pod sent from a MAC that is not its own; `macSpoofCheck: false` on the network allows it",
    /// To `01:80:c2:00:00:01` to `0f`, which no bridge forwards.
    6 LinkLocal "link_local" "a link-local group (LLDP, pause, LACP) that no bridge forwards; harmless",
    /// Broadcast or multicast in a network with `flood: none`.
    7 FloodDisabled "flood_disabled" "broadcast or multicast in a network with `flood: none`",
    /// Unicast to a MAC nobody listed, and nobody can have unlisted stations.
    8 UnknownUnicast "unknown_unicast" "to a MAC that no attachment has",
    /// It would go back out of the port it came from.
    9 Hairpin "hairpin" "to a MAC on the sender's own port",
    /// It would go back to the split-horizon group it came from.
    10 SplitHorizon "split_horizon" "a tunnel packet for a station behind another VTEP; that node's tables are older than ours, or the sender's",
    /// The FDB names a VTEP that `VTEPS` lacks.
    11 NoVtep "no_vtep" "the VTEP is not programmed yet",
    /// No such VNI on this node.
    12 UnknownVni "unknown_vni" "a known VTEP sent into a network that this node has no port in",
    /// The outer source address is no VTEP's.
    13 UnknownVtep "unknown_vtep" "a tunnel packet from an address that is no VTEP: a stray node, or a forgery",
    /// A VTEP, but not one of this segment.
    14 VtepNotInSegment "vtep_not_in_segment" "a known VTEP sent into a network that it has no port in",
    /// The I flag is missing (RFC 7348 section 5).
    15 InvalidVxlan "invalid_vxlan" "the VXLAN header lacks the I flag",
    /// Reserved VXLAN bits are set; the kernel's device drops such packets too.
    16 ReservedBits "reserved_bits" "reserved bits of the VXLAN header are set (GBP, GPE): the sender speaks an extension that we do not",
    /// Outer CE, inner not ECN-capable (RFC 6040 section 4.2).
    17 EcnInvalid "ecn_invalid" "congestion was marked on a packet whose sender cannot hear it (RFC 6040)",
    /// It came up the slow path without our mark.
    18 NoMark "no_mark" "came in by `l2sm-vxlan` without passing our uplink program: not from an underlay device, or the mark was removed",
    /// The slow path has no tunnel metadata.
    19 NoTunnelKey "no_tunnel_key" "came in by `l2sm-vxlan` without tunnel metadata",
    /// A helper that changes the frame failed.
    20 HelperFailed "helper_failed" "the kernel could not change the frame (out of memory)",
    /// A flood list's program or chunk is missing.
    21 FloodFailed "flood_failed" "the flood list is not programmed",
    /// A copy could not be sent.
    22 CopyFailed "copy_failed" "a copy could not be queued (out of memory, or its device is down)",
    /// An external VTEP used a MAC that is listed elsewhere.
    23 MacElsewhere "mac_elsewhere" "an external VTEP sent from a MAC that belongs to somebody else",
    /// A tunnel packet in the node's name from somebody else on the node.
    24 ForgedVtep "forged_vtep" "somebody on this node sent a tunnel packet in the node's name: a pod behind masquerading, most likely",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_labels_are_unique_and_ascending() {
        let numbers: Vec<_> = DropReason::ALL.iter().map(|reason| reason.number()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        let mut labels: Vec<_> = DropReason::ALL.iter().map(|reason| reason.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), DropReason::ALL.len());
    }

    #[test]
    fn a_number_leads_back_to_its_reason() {
        for reason in DropReason::ALL {
            assert_eq!(DropReason::from_number(reason.number()), Some(*reason));
        }
        assert_eq!(DropReason::from_number(0), None);
    }
}
