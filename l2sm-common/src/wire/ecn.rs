//! Explicit congestion notification through a tunnel (RFC 6040).

/// Mask of the ECN field in a TOS byte or traffic class.
pub const MASK: u8 = 0b11;
/// Not ECN-capable.
pub const NOT_ECT: u8 = 0b00;
/// ECN-capable, codepoint ECT(1).
pub const ECT_1: u8 = 0b01;
/// ECN-capable, codepoint ECT(0).
pub const ECT_0: u8 = 0b10;
/// Congestion experienced.
pub const CE: u8 = 0b11;

/// The outer ECN field for an inner one: copied, but CE becomes ECT(0)
/// (`INET_ECN_encapsulate` in the kernel; RFC 3168 section 9.1.1 full functionality).
#[inline(always)]
pub const fn encapsulate(inner_tos: u8) -> u8 {
    let inner = inner_tos & MASK;
    if inner == CE { ECT_0 } else { inner }
}

/// What decapsulation does to the inner ECN field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decapsulated {
    /// It stays.
    Keep,
    /// It becomes this.
    Set(u8),
    /// The packet is dropped.
    Drop,
}

/// The inner ECN field after decapsulation (RFC 6040 figure 4; `__INET_ECN_decapsulate` in the
/// kernel).
#[inline(always)]
pub const fn decapsulate(outer_tos: u8, inner_tos: u8) -> Decapsulated {
    match (inner_tos & MASK, outer_tos & MASK) {
        (NOT_ECT, CE) => Decapsulated::Drop,
        (NOT_ECT | CE, _) => Decapsulated::Keep,
        (_, CE) => Decapsulated::Set(CE),
        (ECT_0, ECT_1) => Decapsulated::Set(ECT_1),
        _ => Decapsulated::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encapsulation_never_carries_congestion_outwards() {
        assert_eq!([0, 1, 2, 3].map(encapsulate), [0, 1, 2, 2]);
        assert_eq!(encapsulate(0xb8 | CE), ECT_0, "DSCP is not copied");
    }

    #[test]
    fn decapsulation_follows_the_table_of_rfc_6040() {
        use Decapsulated::{Drop, Keep, Set};
        // Rows: inner 00, 01, 10, 11. Columns: outer 00, 01, 10, 11.
        let table = [
            [Keep, Keep, Keep, Drop],
            [Keep, Keep, Keep, Set(CE)],
            [Keep, Set(ECT_1), Keep, Set(CE)],
            [Keep, Keep, Keep, Keep],
        ];
        for (inner, row) in (0u8..).zip(table) {
            for (outer, expected) in (0u8..).zip(row) {
                assert_eq!(decapsulate(outer, inner), expected, "inner {inner} outer {outer}");
            }
        }
    }
}
