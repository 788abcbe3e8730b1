//! `status`: what the node does and counts.

use std::collections::BTreeMap;

use l2sm_api::socket::{Drops, NetworkStatus, Status};
use l2sm_common::reason::DropReason;
use l2sm_core::{instructions::Instructions, model::ObjectKey};

use super::{Controller, Node, Service};
use crate::state::{Counters, Outcome};

impl<C: Controller, N: Node> Service<C, N> {
    pub(super) async fn status(&self) -> Status {
        let outcome = self.outcomes.borrow().clone();
        let instructions = self.desired.borrow().effective();
        let faults = outcome.errors.iter().chain(&outcome.waiting);
        let mut errors: Vec<String> = faults.map(ToString::to_string).collect();
        let holding = outcome.conditions.iter().filter(|condition| condition.holds);
        errors.extend(self.controller.troubles());
        errors.extend(holding.map(|holds| format!("{}: {}", holds.kind, holds.message)));
        let counters = self.node.counters().await.unwrap_or_else(|why| {
            errors.push(format!("counters: {why}"));
            Counters::default()
        });
        Status {
            node: self.identity.node.clone(),
            version: self.identity.version.clone(),
            vteps: outcome.vteps.clone(),
            udp_port: self.identity.udp_port,
            uplinks: self.identity.uplinks.clone(),
            controller: self.controller.url(),
            revision: outcome.revision.as_ref().map_or(0, |revision| revision.number),
            errors,
            networks: networks(&instructions, &outcome, &counters),
            drops: drops(&outcome.slots, &counters),
            features: self.identity.features.iter().chain(&outcome.features).cloned().collect(),
        }
    }
}

fn networks(
    instructions: &Instructions,
    outcome: &Outcome,
    counters: &Counters,
) -> Vec<NetworkStatus> {
    let slots: BTreeMap<&ObjectKey, u32> =
        outcome.slots.iter().map(|(slot, network)| (network, *slot)).collect();
    let networks = instructions.segments.iter().map(|(vni, segment)| {
        let slot = slots.get(&segment.network);
        let seen = slot.and_then(|slot| counters.traffic.get(slot)).copied().unwrap_or_default();
        let ports = instructions
            .ports
            .iter()
            .filter(|(key, port)| port.vni == *vni && outcome.ports.contains_key(key));
        let vteps = instructions.members.keys().filter(|(member_of, _vtep)| member_of == vni);
        NetworkStatus {
            network: segment.network.to_string(),
            vni: vni.get(),
            ports: count(ports),
            vteps: count(vteps),
            from_port: seen.from_port.packets,
            to_port: seen.to_port.packets,
            from_vtep: seen.from_vtep.packets,
            to_vtep: seen.to_vtep.packets,
            slow_sent: seen.slow_sent.packets,
            slow_received: seen.slow_received.packets,
        }
    });
    let mut networks: Vec<_> = networks.collect();
    networks.sort_by(|a, b| a.network.cmp(&b.network));
    networks
}

fn drops(slots: &BTreeMap<u32, ObjectKey>, counters: &Counters) -> Vec<Drops> {
    counters
        .drops
        .iter()
        .filter(|(_key, packets)| **packets > 0)
        .map(|(key, packets)| Drops {
            network: slots.get(&key.slot).map(ToString::to_string).unwrap_or_default(),
            reason: DropReason::from_number(key.reason)
                .map_or_else(|| key.reason.to_string(), |reason| reason.label().to_owned()),
            packets: *packets,
        })
        .collect()
}

fn count(things: impl Iterator) -> u32 {
    u32::try_from(things.count()).unwrap_or(u32::MAX)
}
