//! What is wrong with the interfaces that a pod has, or is about to have, in words.

use l2sm_api::objects::{L2Attachment, L2Network};
use l2sm_controller::apply::is_outside;
use l2sm_core::{
    model::{Holder, ObjectKey},
    plan::Plan,
};

use crate::{
    watched::Pod,
    wishes::{ADDRESSES_OUTSIDE, Interface, Problem},
};

/// What is wrong with `interfaces` of `pod`, which has the attachments `held`.
pub fn find_problems<'a>(
    pod: &Pod,
    interfaces: &[Interface],
    held: &[&L2Attachment],
    plan: &Plan,
    network: impl Fn(&ObjectKey) -> Option<&'a L2Network>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for interface in interfaces {
        let mut found = |reason, message| {
            problems.push(Problem {
                place: interface.place,
                ifname: Some(interface.ifname.clone()),
                network: Some(interface.network.clone()),
                reason,
                message,
            });
        };
        let key = &interface.network;
        if let Some(clash) = plan.network_clash(key) {
            found("VNIConflict", format!("network {key}: {clash}"));
        }
        if let Some(node) = &pod.node
            && let Some(clash) = plan.vtep_clash(&Holder::Node(node.clone()))
        {
            found("VTEPConflict", format!("node {node}: {clash}"));
        }
        let there = held.iter().find(|held| held.spec.ifname == interface.ifname);
        let Some(held) = there.filter(|held| held.network() == *key) else { continue };
        // An address that was chosen for it is chosen again.
        if !interface.ips.is_empty()
            && let Some(clash) = plan.attachment_clash(&held.metadata.key())
        {
            found("AddressInUse", clash.to_string());
        }
        let outside = network(key).map(|network| outside(network, held)).unwrap_or_default();
        if !outside.is_empty() {
            let outside = outside.join(", ");
            found(
                ADDRESSES_OUTSIDE,
                format!(
                    "network {key} was changed, and {outside} is outside of it: kept until the pod is made anew"
                ),
            );
        }
    }
    problems
}

/// The addresses of an attachment that its network has no more.
fn outside(network: &L2Network, held: &L2Attachment) -> Vec<String> {
    let pools = network.spec.pools();
    let addresses = held.spec.addresses().into_iter().map(|net| net.addr());
    addresses.filter(|ip| is_outside(&pools, ip)).map(|ip| ip.to_string()).collect()
}

#[cfg(test)]
#[path = "problems_tests.rs"]
mod tests;
