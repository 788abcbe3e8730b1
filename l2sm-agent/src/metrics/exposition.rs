//! The text that Prometheus reads (exposition format 0.0.4).

use l2sm_api::metrics::Page;
use l2sm_common::{
    maps::{Tally, Traffic},
    reason::DropReason,
};

use super::Figures;

/// A part of the traffic of a network, with its label `direction`.
type Direction = (&'static str, fn(&Traffic) -> Tally);
/// A family: name, help, its directions, and what is counted.
type Family = (&'static str, &'static str, &'static [Direction], fn(Tally) -> u64);

const DIRECTIONS: [Direction; 4] = [
    ("from_port", |traffic| traffic.from_port),
    ("to_port", |traffic| traffic.to_port),
    ("from_vtep", |traffic| traffic.from_vtep),
    ("to_vtep", |traffic| traffic.to_vtep),
];
const SLOW: [Direction; 3] = [
    ("sent", |traffic| traffic.slow_sent),
    ("handed_up", |traffic| traffic.slow_handed_up),
    ("received", |traffic| traffic.slow_received),
];

/// Everything.
pub fn print(figures: &Figures) -> String {
    let mut page = AgentPage(Page::new(&[("node", &figures.node)]));
    page.0.family("l2sm_agent_info", "gauge", "1; version of the agent");
    page.0.sample("l2sm_agent_info", &[("version", &figures.version)], 1);
    page.traffic(figures);
    page.drops(figures);
    page.maps(figures);
    page.agent(figures);
    page.0.into_text()
}

/// The page of one agent.
struct AgentPage(Page);

impl AgentPage {
    fn traffic(&mut self, figures: &Figures) {
        let Some(counters) = &figures.counters else { return };
        let networks: Vec<(String, &Traffic)> = counters
            .traffic
            .iter()
            .filter_map(|(slot, traffic)| {
                Some((figures.outcome.slots.get(slot)?.to_string(), traffic))
            })
            .collect();
        let families: [Family; 4] = [
            ("l2sm_network_packets_total", PACKETS, &DIRECTIONS, |tally| tally.packets),
            ("l2sm_network_bytes_total", BYTES, &DIRECTIONS, |tally| tally.bytes),
            ("l2sm_slow_path_packets_total", SLOW_PACKETS, &SLOW, |tally| tally.packets),
            ("l2sm_slow_path_bytes_total", SLOW_PACKETS, &SLOW, |tally| tally.bytes),
        ];
        for (name, help, directions, count) in families {
            self.0.family(name, "counter", help);
            for (network, traffic) in &networks {
                for (direction, part) in directions {
                    let labels = [("network", network.as_str()), ("direction", direction)];
                    self.0.sample(name, &labels, count(part(traffic)));
                }
            }
        }
        let name = "l2sm_answered_packets_total";
        self.0.family(name, "counter", "ARP requests and neighbour solicitations answered here");
        for (network, traffic) in &networks {
            self.0.sample(name, &[("network", network)], traffic.answered.packets);
        }
    }

    fn drops(&mut self, figures: &Figures) {
        let Some(counters) = &figures.counters else { return };
        let name = "l2sm_drop_packets_total";
        self.0.family(name, "counter", "packets dropped, by reason (docs: drop reasons)");
        for (key, packets) in &counters.drops {
            let network = figures.outcome.slots.get(&key.slot).map(ToString::to_string);
            let number = key.reason.to_string();
            let reason = DropReason::from_number(key.reason).map_or(number.as_str(), |r| r.label());
            let network = network.unwrap_or_default();
            self.0.sample(name, &[("network", &network), ("reason", reason)], packets);
        }
        if let Some(lost) = figures.lost_events {
            let help = "records of drops that the ring had no room for; the drops are counted";
            self.0.single("l2sm_drop_events_lost_total", "counter", help, lost);
        }
    }

    fn maps(&mut self, figures: &Figures) {
        let entries = &figures.outcome.entries;
        self.0.family("l2sm_map_entries", "gauge", "entries in a map that the agent writes");
        for (map, count) in entries {
            self.0.sample("l2sm_map_entries", &[("map", map)], count);
        }
        self.0.family("l2sm_map_capacity_entries", "gauge", "entries that a map holds at most");
        for (map, capacity) in &figures.capacities {
            self.0.sample("l2sm_map_capacity_entries", &[("map", map)], capacity);
        }
        self.0.family("l2sm_map_pressure_ratio", "gauge", "entries / capacity: 1 is full");
        for (map, capacity) in &figures.capacities {
            if let Some(count) = entries.get(map) {
                let ratio = as_float(*count) / as_float((*capacity).max(1));
                self.0.sample("l2sm_map_pressure_ratio", &[("map", map)], ratio);
            }
        }
        self.0.family(
            "l2sm_network_ports",
            "gauge",
            "attachments of this node that are programmed",
        );
        for (network, ports) in &figures.ports {
            self.0.sample("l2sm_network_ports", &[("network", &network.to_string())], ports);
        }
    }

    fn agent(&mut self, figures: &Figures) {
        let (outcome, attaches) = (&figures.outcome, &figures.attaches);
        let name = "l2sm_attachments_waiting";
        self.0.family(name, "gauge", "attachments of this node whose pod is not there (yet)");
        self.0.sample(name, &[], outcome.waiting.len());
        let totals = &outcome.totals;
        let counts = [
            ("l2sm_reconcile_failures_total", "passes with a failure", totals.failed_passes),
            ("l2sm_reconcile_changes_total", "changes made", totals.changes),
            ("l2sm_reconcile_refused_changes_total", "changes refused", totals.failures),
            ("l2sm_attach_failures_total", "attachments by request that failed", attaches.failed),
        ];
        for (name, help, count) in counts {
            self.0.single(name, "counter", help, count);
        }
        let took = totals.took.as_secs_f64();
        self.0.summary("l2sm_reconcile_duration_seconds", "time of passes", outcome.pass, took);
        let took = attaches.took.as_secs_f64();
        self.0.summary("l2sm_attach_duration_seconds", "time to attach", attaches.made, took);
        let programmed = outcome.revision.as_ref().map_or(0, |revision| revision.number);
        let gauges = [
            ("l2sm_controller_connected", "1: a controller is followed", figures.connected.into()),
            ("l2sm_controller_revision", "revision in the kernel", programmed),
            (
                "l2sm_controller_lag_revisions",
                "how far what is in the kernel is behind what is desired",
                figures.desired.saturating_sub(programmed),
            ),
            ("l2sm_object_errors", "objects not programmed", count(outcome.errors.len())),
            ("l2sm_underlay_mtu_bytes", "least MTU of the uplinks", outcome.underlay_mtu.into()),
        ];
        for (name, help, value) in gauges {
            self.0.single(name, "gauge", help, value);
        }
        self.0.family("l2sm_node_condition", "gauge", "1: the condition holds");
        for condition in &outcome.conditions {
            let labels = [("condition", condition.kind)];
            self.0.sample("l2sm_node_condition", &labels, u64::from(condition.holds));
        }
    }
}

const PACKETS: &str = "packets of a network; an aggregated frame counts as its segments";
const BYTES: &str = "bytes of inner frames of a network";
const SLOW_PACKETS: &str = "of those: by l2sm-vxlan";

fn count(things: usize) -> u64 {
    u64::try_from(things).unwrap_or(u64::MAX)
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a ratio to look at")]
const fn as_float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use l2sm_common::maps::DropKey;
    use l2sm_core::model::ObjectKey;

    use super::*;
    use crate::state::Counters;

    #[test]
    fn every_sample_has_its_family_before_it() {
        let mut figures = Figures {
            node: "n1".to_owned(),
            capacities: vec![("FDB", 8)],
            lost_events: Some(4),
            ..Figures::default()
        };
        figures.outcome.slots.insert(1, ObjectKey::new("default", "blue"));
        figures.outcome.entries.insert("FDB", 2);
        let from_port = Tally { packets: 7, bytes: 700 };
        let mut counters = Counters::default();
        counters.traffic.insert(1, Traffic { from_port, ..Traffic::default() });
        counters.drops.insert(DropKey { slot: 1, reason: 5 }, 3);
        figures.counters = Some(counters);
        let page = print(&figures);
        for line in [
            "l2sm_network_packets_total{node=\"n1\",network=\"default/blue\",direction=\"from_port\"} 7",
            "l2sm_network_bytes_total{node=\"n1\",network=\"default/blue\",direction=\"from_port\"} 700",
            "l2sm_drop_packets_total{node=\"n1\",network=\"default/blue\",reason=\"spoofed_mac\"} 3",
            "l2sm_map_pressure_ratio{node=\"n1\",map=\"FDB\"} 0.25",
            "l2sm_controller_connected{node=\"n1\"} 0",
            "l2sm_drop_events_lost_total{node=\"n1\"} 4",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        let mut family = "";
        for line in page.lines() {
            if let Some(name) = line.strip_prefix("# TYPE ") {
                family = name.split(' ').next().unwrap();
            } else if !line.starts_with('#') {
                assert!(line.starts_with(family), "{line} under {family}");
                assert!(line.contains("node=\"n1\""), "{line} does not name its node");
            }
        }
    }
}
