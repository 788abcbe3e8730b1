//! Kinds that are checked and stored, and act later.

use l2sm_api::objects::{
    Condition, ConditionStatus, NetworkEdgeDevice, NetworkEdgeDeviceStatus, Overlay, OverlayStatus,
};

use super::{View, not_acting, observe};
use crate::catalog::seniority;

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

    /// One Overlay is in force: the oldest; of equally old ones, the first by name.
    fn overlay_ready(&self, overlay: &Overlay) -> Condition {
        let age =
            |overlay: &Overlay| (seniority(&overlay.metadata).created, overlay.metadata.key());
        let first = self.catalog.overlays.values().min_by_key(|other| age(other));
        match first.filter(|first| first.metadata.key() != overlay.metadata.key()) {
            Some(first) => {
                let message = format!("Overlay {} is in force: it is older", first.metadata.key());
                Condition::ready(false, "AnotherOverlayInForce", message)
            }
            None => not_acting_yet(
                "checked and stored, and does not act yet: a later version lays tunnels by it; \
                 until then every node has one to every other",
            ),
        }
    }

    /// A `NetworkEdgeDevice` with its status.
    pub fn device(&self, device: &NetworkEdgeDevice) -> NetworkEdgeDevice {
        let mut conditions = vec![not_acting_yet(
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

fn not_acting_yet(message: &str) -> Condition {
    Condition::ready(false, "NotActingYet", message)
}
