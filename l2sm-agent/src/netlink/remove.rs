//! Removing several links at once: the kernel waits for those who may still use them once for all of
//! them, not once for each.

use std::collections::BTreeSet;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
};
use nix::errno::Errno;

use super::{
    links::{self, Link},
    socket::{Conversation, NetlinkError},
};

/// Group (`ip link set group`) of what is being removed, or the first after it that no link is in:
/// "l2sm".
const GROUP: u32 = 0x6c32_736d;

/// Deletes links of the socket's namespace; those that are gone already are no error. `present`: all
/// links that there are. None is deleted where links of others are in every group.
///
/// # Errors
/// The kernel refused; some may be left.
pub(super) fn delete_at_once(
    kernel: &mut Conversation,
    present: &[Link],
    indexes: &BTreeSet<u32>,
) -> Result<(), NetlinkError> {
    let Some(group) = free_group(present, indexes) else { return Ok(()) };
    for index in indexes {
        let mut link = links::change(*index);
        link.attributes.push(LinkAttribute::Group(group));
        unless_gone(links::set_link(kernel, link))?;
    }
    let mut all = LinkMessage::default();
    all.attributes.push(LinkAttribute::Group(group));
    unless_gone(kernel.ask(RouteNetlinkMessage::DelLink(all), 0).map(|_none| ()))
}

fn unless_gone(outcome: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match outcome {
        Err(why) if why.errno() == Some(Errno::ENODEV) => Ok(()),
        outcome => outcome,
    }
}

/// A group that no other link is in.
fn free_group(present: &[Link], going: &BTreeSet<u32>) -> Option<u32> {
    let others = present.iter().filter(|link| !going.contains(&link.index));
    let taken: BTreeSet<u32> = others.map(|link| link.group).collect();
    (GROUP..=u32::MAX).find(|group| !taken.contains(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_with_somebody_elses_link_is_not_taken() {
        let link = |index, group| Link { index, group, ..Link::default() };
        let present = [link(1, 0), link(2, GROUP), link(3, GROUP)];
        assert_eq!(free_group(&present, &BTreeSet::from([2, 3])), Some(GROUP));
        assert_eq!(free_group(&present, &BTreeSet::from([3])), Some(GROUP + 1));
    }
}
