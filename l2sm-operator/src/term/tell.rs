//! What pods are told of their interfaces: an annotation, and events.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use l2sm_api::{
    annotation::NetworkStatus,
    objects::{ConditionStatus, L2Attachment},
};
use serde_json::{Value, json};

use super::{Term, show::now};
use crate::{
    cluster::Cluster,
    stored::POD_UID,
    watched::{Pod, Stage},
    writer::Write,
};

/// How long a running pod may lack an interface before it is told, seconds.
const PATIENCE: i64 = 20;

impl Term {
    /// Tells pods what they are attached to.
    pub(super) fn show_pods(&mut self, cluster: &Cluster, attachments: &[L2Attachment]) {
        let mut by_pod: BTreeMap<&str, Vec<&L2Attachment>> = BTreeMap::new();
        for held in attachments {
            let uid = held.metadata.labels.get(POD_UID).map(String::as_str).unwrap_or_default();
            by_pod.entry(uid).or_default().push(held);
        }
        let mut unattached = 0;
        for pod in cluster.pods.values() {
            let held = by_pod.get(pod.uid.as_str()).map_or(&[][..], Vec::as_slice);
            let told = pod.network_status.as_deref().unwrap_or_default();
            let told: Vec<Value> = serde_json::from_str(told).unwrap_or_default();
            let mut lines = Vec::new();
            for held in held {
                let line = status_line(held);
                let was_told = told.iter().any(|old| is_same(old, &line));
                let known = self.shown.attached.contains(&held.metadata.uid);
                if !known && !was_told && !is_ready(held) {
                    unattached += usize::from(pod.stage == Stage::Running && !pod.deleting);
                    self.tell_unattached(pod, held);
                    continue;
                }
                if !known && !was_told {
                    self.send(Write::Event {
                        pod: pod.key.clone(),
                        uid: pod.uid.clone(),
                        warning: false,
                        reason: "Attached".to_owned(),
                        note: attached_note(held),
                    });
                }
                self.shown.attached.insert(held.metadata.uid.clone());
                lines.push(line);
            }
            if lines == told
                || pod.stage == Stage::Ended
                || (lines.is_empty() && pod.network_status.is_none())
            {
                continue;
            }
            let text = (!lines.is_empty()).then(|| Value::Array(lines.clone()).to_string());
            let write = Write::NetworkStatus { pod: pod.key.clone(), uid: pod.uid.clone(), text };
            if self.shown.is_new(write.subject(), &Value::Array(lines), &Value::Array(told)) {
                self.send(write);
            }
        }
        let unattached = u64::try_from(unattached).unwrap_or(u64::MAX);
        self.metrics.unattached.store(unattached, Ordering::Relaxed);
    }

    /// Says that a running pod still has no interface, once it should have it.
    fn tell_unattached(&mut self, pod: &Pod, held: &L2Attachment) {
        if pod.stage != Stage::Running || pod.deleting {
            return;
        }
        let created = held.metadata.creation_timestamp.unwrap_or_default();
        if now().as_second() - created.as_second() < PATIENCE {
            // Looked at again.
            self.shown.due = true;
            return;
        }
        let conditions = held.status.iter().flat_map(|status| &status.conditions);
        let why = conditions.clone().find(|condition| condition.kind == "Ready");
        let why = why.map(|ready| ready.message.clone()).unwrap_or_default();
        let write = Write::Event {
            pod: pod.key.clone(),
            uid: pod.uid.clone(),
            warning: true,
            reason: "NotAttached".to_owned(),
            note: format!("{}: {why}", held.spec.ifname),
        };
        let subject = format!("unattached {}", held.metadata.uid);
        if self.shown.is_new(subject, &json!(why), &Value::Null) {
            self.send(write);
        }
    }
}

fn is_ready(held: &L2Attachment) -> bool {
    let conditions = held.status.iter().flat_map(|status| &status.conditions);
    conditions
        .clone()
        .any(|condition| condition.kind == "Ready" && condition.status == ConditionStatus::True)
}

/// One line of `l2sm/network-status`, in Multus' shape.
fn status_line(held: &L2Attachment) -> Value {
    let network = held.network();
    let ips = held.spec.addresses().iter().map(|net| net.addr().to_string()).collect();
    let status = NetworkStatus {
        name: format!("{}/{}", network.namespace, network.name),
        interface: held.spec.ifname.clone(),
        ips,
        mac: held.spec.mac.clone().unwrap_or_default(),
        mtu: held.status.as_ref().and_then(|status| status.mtu),
        ..NetworkStatus::default()
    };
    json!(status)
}

/// Whether two lines are about the same attachment: another one at the same name is told anew.
fn is_same(told: &Value, line: &Value) -> bool {
    ["interface", "name", "mac", "ips"].iter().all(|field| told.get(field) == line.get(field))
}

fn attached_note(held: &L2Attachment) -> String {
    let network = held.network();
    let ips =
        if held.spec.ips.is_empty() { "no address".to_owned() } else { held.spec.ips.join(", ") };
    let mac = held.spec.mac.as_deref().unwrap_or_default();
    format!(
        "{}: network '{}' of namespace '{}', {ips}, {mac}",
        held.spec.ifname, network.name, network.namespace
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_attachment_at_the_same_name_is_told_anew() {
        let line = |network: &str, mac: &str, ips: &Value, mtu: u32| {
            let held = json!({
                "apiVersion": "l2sm.l2sm.k8s.local/v1", "kind": "L2Attachment",
                "metadata": {"name": "a-net1", "namespace": "shop"},
                "spec": {
                    "network": network, "node": "n1", "pod": "a", "ifname": "net1",
                    "mac": mac, "ips": ips,
                },
                "status": {"mtu": mtu},
            });
            status_line(&serde_json::from_value(held).unwrap())
        };
        let (mac, ips) = ("02:00:00:00:00:01", json!(["10.0.0.1/24"]));
        let told = line("blue", mac, &ips, 1450);
        assert!(is_same(&told, &line("blue", mac, &ips, 1400)), "the MTU may change under it");
        assert!(!is_same(&told, &line("red", mac, &ips, 1450)));
        assert!(!is_same(&told, &line("blue", "02:00:00:00:00:02", &ips, 1450)));
        assert!(!is_same(&told, &line("blue", mac, &json!(["10.0.0.2/24"]), 1450)));
        let plain = line("blue", mac, &json!([]), 1450);
        assert!(is_same(&plain, &plain) && !is_same(&told, &plain));
    }
}
