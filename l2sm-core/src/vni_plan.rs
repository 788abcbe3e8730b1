//! Numbers for networks that choose none.

use std::collections::BTreeSet;

use l2sm_common::vni::Vni;

/// The largest VNI that a user may choose; those above are allocated.
pub const VNI_CHOSEN_MAX: u32 = 0x000f_ffff;
/// The first VNI that is allocated.
pub const VNI_ALLOCATED_MIN: u32 = VNI_CHOSEN_MAX + 1;

/// The next free VNI above `last`, from the start again at the end; `None`: all are taken.
///
/// Going on from the last one keeps the number of a deleted network unused for long: a node that was
/// away when it was deleted still forwards on that number.
pub fn allocate_vni(last: Option<Vni>, taken: &BTreeSet<Vni>) -> Option<Vni> {
    let start =
        last.map_or(VNI_ALLOCATED_MIN, |last| last.get().saturating_add(1)).max(VNI_ALLOCATED_MIN);
    (start..=Vni::MAX)
        .chain(VNI_ALLOCATED_MIN..start.min(Vni::MAX))
        .filter_map(Vni::new)
        .find(|vni| !taken.contains(vni))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vni(raw: u32) -> Vni {
        Vni::new(raw).unwrap()
    }

    #[test]
    fn allocation_starts_above_what_users_choose() {
        assert_eq!(allocate_vni(None, &BTreeSet::new()), Some(vni(1_048_576)));
        assert_eq!(allocate_vni(Some(vni(7)), &BTreeSet::new()), Some(vni(1_048_576)));
    }

    #[test]
    fn a_freed_number_is_not_the_next_one() {
        assert_eq!(allocate_vni(Some(vni(1_048_577)), &BTreeSet::new()), Some(vni(1_048_578)));
        assert_eq!(
            allocate_vni(Some(vni(1_048_577)), &BTreeSet::from([vni(1_048_578)])),
            Some(vni(1_048_579))
        );
    }

    #[test]
    fn allocation_begins_again_at_the_end() {
        assert_eq!(
            allocate_vni(Some(vni(Vni::MAX)), &BTreeSet::from([vni(1_048_576)])),
            Some(vni(1_048_577))
        );
    }
}
