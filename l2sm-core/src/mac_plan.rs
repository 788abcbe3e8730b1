//! MAC addresses for attachments that choose none.

use l2sm_common::mac::Mac;
use sha2::{Digest, Sha256};

/// What an attachment's MAC is made from: stable as long as these are.
#[derive(Clone, Copy, Debug)]
pub struct MacIdentity<'a> {
    /// The store's, so that two clusters joined later rarely clash.
    pub source: &'a str,
    /// Of the network, so that a network of the same name made later starts afresh.
    pub network_uid: &'a str,
    /// Of the attachment.
    pub namespace: &'a str,
    /// The pod's name, else the attachment's.
    pub name: &'a str,
    /// Interface name.
    pub ifname: &'a str,
}

/// The MAC of an attachment: `02` (locally administered, IEEE 802-2014 section 8.4) and 40 bits of a
/// SHA-256 over its identity; while `taken`, the next candidate.
pub fn plan_mac(identity: &MacIdentity<'_>, taken: impl Fn(Mac) -> bool) -> Mac {
    let mut attempt = 0u32;
    loop {
        let mac = candidate(identity, attempt);
        if !taken(mac) {
            return mac;
        }
        attempt = attempt.wrapping_add(1);
    }
}

fn candidate(identity: &MacIdentity<'_>, attempt: u32) -> Mac {
    let mut hash = Sha256::new();
    for part in
        [identity.source, identity.network_uid, identity.namespace, identity.name, identity.ifname]
    {
        // A separator that no part holds: ("a", "bc") is not ("ab", "c").
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    if attempt > 0 {
        hash.update(attempt.to_be_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut mac = [0x02; 6];
    let (_, low) = mac.split_at_mut(1);
    low.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    Mac(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: MacIdentity<'_> = MacIdentity {
        source: "s",
        network_uid: "u",
        namespace: "default",
        name: "pod",
        ifname: "net1",
    };

    #[test]
    fn the_same_identity_has_the_same_unicast_mac() {
        let mac = plan_mac(&IDENTITY, |_| false);
        assert_eq!(mac, plan_mac(&IDENTITY, |_| false));
        assert_eq!(mac.0[0], 2);
        assert!(mac.is_station());
    }

    #[test]
    fn parts_do_not_run_into_one_another() {
        let mac = plan_mac(&IDENTITY, |_| false);
        let shifted = MacIdentity { source: "su", network_uid: "", ..IDENTITY };
        assert_ne!(mac, plan_mac(&shifted, |_| false));
        assert_ne!(mac, plan_mac(&MacIdentity { ifname: "net2", ..IDENTITY }, |_| false));
    }

    #[test]
    fn a_clash_takes_the_next_candidate() {
        let first = plan_mac(&IDENTITY, |_| false);
        let second = plan_mac(&IDENTITY, |mac| mac == first);
        assert_ne!(first, second);
        assert_eq!(second.0[0], 2);
    }
}
