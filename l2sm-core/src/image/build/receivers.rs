//! Who gets the broadcasts of each segment.

use std::collections::BTreeMap;

use l2sm_common::{
    ids::Group,
    maps::{FloodEntry, flood_flags, segment_flags, target_kind},
    vni::Vni,
};

use super::Builder;
use crate::image::{LocalPort, flood, ids::FloodIds};

impl Builder<'_> {
    /// Writes `FLOOD`, and the lists' numbers into `SEGMENTS`.
    pub(super) fn write_flood(&mut self) {
        let mut receivers = self.receivers();
        let mut ids = FloodIds::read(self.previous);
        for (vni, segment) in &self.instructions.segments {
            let receivers = receivers.remove(vni).unwrap_or_default();
            let unknown = receivers.iter().any(|entry| entry.flags & flood_flags::UNKNOWN != 0);
            let image = &mut self.image;
            let (list, problem) =
                flood::write_list(*vni, segment, receivers, self.previous, &mut ids, image);
            self.problems.extend(problem);
            if let Some(entry) = self.image.segments.get_mut(&vni.get()) {
                entry.flood_id = list.map_or(0, |list| list.0);
                entry.flags |= if unknown { segment_flags::UNKNOWN } else { 0 };
            }
        }
    }

    /// Who gets a copy, by segment.
    fn receivers(&self) -> BTreeMap<Vni, Vec<FloodEntry>> {
        let unknown = |on: bool| if on { flood_flags::UNKNOWN } else { 0 };
        let mut receivers: BTreeMap<Vni, Vec<FloodEntry>> = BTreeMap::new();
        for (port, LocalPort { device, .. }, _) in self.ports() {
            receivers.entry(port.vni).or_default().push(FloodEntry {
                kind: target_kind::PORT,
                flags: unknown(!port.mac_check),
                group: Group::PORTS.0,
                target: device.0,
            });
        }
        for (vni, _, id, member) in self.members() {
            receivers.entry(vni).or_default().push(FloodEntry {
                kind: target_kind::VTEP,
                flags: unknown(member.unknown),
                group: member.group.0,
                target: id.0,
            });
        }
        receivers
    }
}
