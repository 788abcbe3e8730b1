//! Devices that take XDP or do not: tc goes on in any case.

use l2sm_core::image::{Hook, Program};

use super::*;
use crate::{reconcile::Pass, state::XDP_MISSING};

/// A node whose underlay device is told to run XDP, and refuses.
fn refusing(xdp: Xdp) -> Reconciler<MemoryDatapath, MemoryLinks> {
    let mut node = node();
    let (datapath, links) = node.parts();
    for uplink in links.local.uplinks.values_mut() {
        uplink.xdp = xdp;
    }
    datapath.refuse(|change| matches!(change, Change::Attach(hook) if hook.program.is_xdp()));
    node
}

/// What `XDPMissing` says; `None`: it does not hold.
fn missing(pass: &Pass) -> Option<String> {
    let mut conditions = pass.outcome.conditions.iter();
    let condition = conditions.find(|condition| condition.kind == XDP_MISSING).unwrap();
    condition.holds.then(|| condition.message.clone())
}

fn runs(node: &mut Reconciler<MemoryDatapath, MemoryLinks>, program: Program) -> bool {
    node.parts().0.image.hooks.contains(&Hook { device: IfIndex(2), program })
}

#[test]
fn a_device_that_refuses_xdp_is_told_and_is_no_failure() {
    let wanted = desired(instructions(&[1]), 1);
    for (xdp, program) in
        [(Xdp::Native, Program::UplinkXdp), (Xdp::Generic, Program::UplinkXdpGeneric)]
    {
        let mut node = refusing(xdp);
        let now = Instant::now();
        let pass = node.pass(&wanted, now);
        let hook = Hook { device: IfIndex(2), program };
        assert_eq!(missing(&pass), Some(format!("attach {hook}: refused")));
        assert_eq!((pass.outcome.failures, pass.outcome.errors), (0, vec![]));
        assert_eq!(pass.outcome.features, Vec::<String>::new());
        assert!(runs(&mut node, Program::UplinkRx) && !runs(&mut node, program));

        node.parts().0.accept_all();
        let soon = node.pass(&wanted, now + Duration::from_secs(1));
        assert!(missing(&soon).is_some() && !runs(&mut node, program), "it was just asked");
        let later = node.pass(&wanted, now + Duration::from_secs(5));
        assert_eq!(missing(&later), None);
        assert!(runs(&mut node, program));
        let feature = if program == Program::UplinkXdp { "xdp-native" } else { "xdp-generic" };
        assert_eq!(later.outcome.features, [feature]);
    }
}

#[test]
fn a_driver_that_was_only_tried_may_refuse() {
    let mut node = refusing(Xdp::IfTaken);
    let (wanted, now) = (desired(instructions(&[1]), 1), Instant::now());
    let pass = node.pass(&wanted, now);
    assert_eq!((missing(&pass), pass.outcome.failures), (None, 0));
    assert!(!runs(&mut node, Program::UplinkXdp) && runs(&mut node, Program::UplinkRx));

    node.parts().0.accept_all();
    node.pass(&wanted, now + Duration::from_secs(299));
    assert!(!runs(&mut node, Program::UplinkXdp), "asked again after minutes only");
    node.pass(&wanted, now + Duration::from_mins(5));
    assert!(runs(&mut node, Program::UplinkXdp));
}

#[test]
fn another_mode_takes_the_program_off_before_it_comes_back() {
    let wanted = desired(instructions(&[]), 1);
    let mut node = refusing(Xdp::Native);
    node.parts().0.accept_all();
    settle(&mut node, &wanted);
    assert!(runs(&mut node, Program::UplinkXdp));
    for uplink in node.parts().1.local.uplinks.values_mut() {
        uplink.xdp = Xdp::Generic;
    }
    node.parts().0.applied.clear();
    settle(&mut node, &wanted);
    let hook = |program| Hook { device: IfIndex(2), program };
    let changes = &node.parts().0.applied;
    let expected =
        [Change::Detach(hook(Program::UplinkXdp)), Change::Attach(hook(Program::UplinkXdpGeneric))];
    assert_eq!(*changes, expected);
}
