//! Overlays, and what is checked and stored, and acts later.

use l2sm_api::objects::{
    Condition, ConditionStatus, NetworkEdgeDevice, NetworkEdgeDeviceStatus, Overlay, OverlayStatus,
};

use super::{View, not_acting, observe};
use crate::{apply::names, overlay::Members};

impl View<'_> {
    /// An Overlay with its status.
    pub fn overlay(&self, overlay: &Overlay) -> Overlay {
        let mut conditions = vec![self.overlay_ready(overlay)];
        conditions.extend(not_acting(&overlay.spec.not_acting()));
        observe(&mut conditions, overlay.metadata.generation);
        let status = OverlayStatus {
            observed_generation: overlay.metadata.generation,
            conditions,
            ..OverlayStatus::default()
        };
        Overlay { status: Some(status), ..overlay.clone() }
    }

    fn overlay_ready(&self, overlay: &Overlay) -> Condition {
        let first = self.catalog.overlay_in_force();
        let first = first.filter(|first| first.metadata.key() != overlay.metadata.key());
        if let Some(first) = first {
            let message = format!("Overlay {} is in force: it is older", first.metadata.key());
            return Condition::ready(false, "AnotherOverlayInForce", message);
        }
        let Members { strangers, .. } = self.members;
        let mut message = self.members.count().map_or_else(
            || "every node is in it".to_owned(),
            |count| format!("nodes in it: {count}; pods of others join no network"),
        );
        if !strangers.is_empty() {
            message = format!("{message}; no node is called {}", names(strangers));
        }
        Condition::ready(true, "InForce", message)
    }

    /// A `NetworkEdgeDevice` with its status.
    pub fn device(&self, device: &NetworkEdgeDevice) -> NetworkEdgeDevice {
        let mut conditions = vec![Condition::ready(
            false,
            "NotActingYet",
            "checked and stored, and does not act yet: a later version joins clusters by it; \
             until then networks end at this cluster",
        )];
        let unusable: Vec<_> = device.spec.unusable().iter().map(ToString::to_string).collect();
        if !unusable.is_empty() {
            let status = ConditionStatus::True;
            let message = unusable.join("; ");
            conditions.push(Condition::new("AddressUnusable", status, "NotAnAddress", message));
        }
        conditions.extend(not_acting(&device.spec.not_acting()));
        observe(&mut conditions, device.metadata.generation);
        let status = NetworkEdgeDeviceStatus {
            observed_generation: device.metadata.generation,
            conditions,
            ..NetworkEdgeDeviceStatus::default()
        };
        NetworkEdgeDevice { status: Some(status), ..device.clone() }
    }
}
