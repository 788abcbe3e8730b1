//! The text that Prometheus reads (exposition format 0.0.4).

use std::fmt::Display;

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
pub(super) fn print(figures: &Figures) -> String {
    let mut page = Page::default();
    page.family("l2sm_agent_info", "gauge", "1; version and node of the agent");
    let labels = [("version", figures.version.as_str()), ("node", figures.node.as_str())];
    page.sample("l2sm_agent_info", &labels, 1);
    page.traffic(figures);
    page.drops(figures);
    page.maps(figures);
    page.agent(figures);
    page.0
}

/// A page in the making.
#[derive(Default)]
struct Page(String);

impl Page {
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
            self.family(name, "counter", help);
            for (network, traffic) in &networks {
                for (direction, part) in directions {
                    let labels = [("network", network.as_str()), ("direction", direction)];
                    self.sample(name, &labels, count(part(traffic)));
                }
            }
        }
        let name = "l2sm_answered_packets_total";
        self.family(name, "counter", "ARP requests and neighbour solicitations answered here");
        for (network, traffic) in &networks {
            self.sample(name, &[("network", network)], traffic.answered.packets);
        }
    }

    fn drops(&mut self, figures: &Figures) {
        let Some(counters) = &figures.counters else { return };
        let name = "l2sm_drop_packets_total";
        self.family(name, "counter", "packets dropped, by reason (docs: drop reasons)");
        for (key, packets) in &counters.drops {
            let network = figures.outcome.slots.get(&key.slot).map(ToString::to_string);
            let number = key.reason.to_string();
            let reason = DropReason::from_number(key.reason).map_or(number.as_str(), |r| r.label());
            let network = network.unwrap_or_default();
            self.sample(name, &[("network", &network), ("reason", reason)], packets);
        }
    }

    fn maps(&mut self, figures: &Figures) {
        let entries = &figures.outcome.entries;
        self.family("l2sm_map_entries", "gauge", "entries in a map that the agent writes");
        for (map, count) in entries {
            self.sample("l2sm_map_entries", &[("map", map)], count);
        }
        self.family("l2sm_map_capacity_entries", "gauge", "entries that a map holds at most");
        for (map, capacity) in &figures.capacities {
            self.sample("l2sm_map_capacity_entries", &[("map", map)], capacity);
        }
        self.family("l2sm_map_pressure_ratio", "gauge", "entries / capacity: 1 is full");
        for (map, capacity) in &figures.capacities {
            if let Some(count) = entries.get(map) {
                let ratio = as_float(*count) / as_float((*capacity).max(1));
                self.sample("l2sm_map_pressure_ratio", &[("map", map)], ratio);
            }
        }
        self.family("l2sm_network_ports", "gauge", "attachments of this node that are programmed");
        for (network, ports) in &figures.ports {
            self.sample("l2sm_network_ports", &[("network", &network.to_string())], ports);
        }
    }

    fn agent(&mut self, figures: &Figures) {
        let (outcome, attaches) = (&figures.outcome, &figures.attaches);
        let name = "l2sm_attachments_waiting";
        self.family(name, "gauge", "attachments of this node whose pod is not there (yet)");
        self.sample(name, &[], outcome.waiting.len());
        let totals = &outcome.totals;
        let counts = [
            ("l2sm_reconcile_failures_total", "passes with a failure", totals.failed_passes),
            ("l2sm_reconcile_changes_total", "changes made", totals.changes),
            ("l2sm_reconcile_refused_changes_total", "changes refused", totals.failures),
            ("l2sm_attach_failures_total", "attachments by request that failed", attaches.failed),
        ];
        for (name, help, count) in counts {
            self.family(name, "counter", help);
            self.sample(name, &[], count);
        }
        let took = totals.took.as_secs_f64();
        self.summary("l2sm_reconcile_duration_seconds", "time of passes", outcome.pass, took);
        let took = attaches.took.as_secs_f64();
        self.summary("l2sm_attach_duration_seconds", "time to attach", attaches.made, took);
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
            self.family(name, "gauge", help);
            self.sample(name, &[], value);
        }
        self.family("l2sm_node_condition", "gauge", "1: the condition holds");
        for condition in &outcome.conditions {
            let labels = [("condition", condition.kind)];
            self.sample("l2sm_node_condition", &labels, u64::from(condition.holds));
        }
    }

    fn summary(&mut self, name: &str, help: &str, count: u64, sum: f64) {
        self.family(name, "summary", help);
        self.sample(&format!("{name}_sum"), &[], sum);
        self.sample(&format!("{name}_count"), &[], count);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.0.extend(["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"]);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> =
            labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.0.extend([name, &labels, " ", &value.to_string(), "\n"]);
    }
}

const PACKETS: &str = "packets of a network; an aggregated frame counts as its segments";
const BYTES: &str = "bytes of inner frames of a network";
const SLOW_PACKETS: &str = "of those: by l2sm-vxlan";

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

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
        let mut figures = Figures { capacities: vec![("FDB", 8)], ..Figures::default() };
        figures.outcome.slots.insert(1, ObjectKey::new("default", "blue"));
        figures.outcome.entries.insert("FDB", 2);
        let from_port = Tally { packets: 7, bytes: 700 };
        let mut counters = Counters::default();
        counters.traffic.insert(1, Traffic { from_port, ..Traffic::default() });
        counters.drops.insert(DropKey { slot: 1, reason: 5 }, 3);
        figures.counters = Some(counters);
        let page = print(&figures);
        for line in [
            "l2sm_network_packets_total{network=\"default/blue\",direction=\"from_port\"} 7",
            "l2sm_network_bytes_total{network=\"default/blue\",direction=\"from_port\"} 700",
            "l2sm_drop_packets_total{network=\"default/blue\",reason=\"spoofed_mac\"} 3",
            "l2sm_map_pressure_ratio{map=\"FDB\"} 0.25",
            "l2sm_controller_connected 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        let mut family = "";
        for line in page.lines() {
            if let Some(name) = line.strip_prefix("# TYPE ") {
                family = name.split(' ').next().unwrap();
            } else if !line.starts_with('#') {
                assert!(line.starts_with(family), "{line} under {family}");
            }
        }
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
