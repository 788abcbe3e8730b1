//! Known stations: where they are, and their addresses.

use l2sm_common::{
    ids::{Group, ip16},
    mac::Mac,
    maps::{FdbEntry, FdbKey, NeighEntry, NeighKey, neigh_flags},
    vni::Vni,
};

use super::Builder;
use crate::{
    image::{LocalPort, Problem},
    instructions::{Host, Place},
};

impl Builder<'_> {
    /// Writes `FDB` and `NEIGH`.
    pub(super) fn write_hosts(&mut self) {
        for ((vni, mac), host) in &self.instructions.hosts {
            let Some(entry) = self.fdb_entry(*vni, &host.place) else {
                continue;
            };
            self.image.fdb.insert(FdbKey::new(*vni, *mac), entry);
            self.write_addresses(*vni, *mac, host);
        }
    }

    /// Where a station is; `None` while its port or VTEP is not there.
    fn fdb_entry(&self, vni: Vni, place: &Place) -> Option<FdbEntry> {
        self.instructions.segments.get(&vni)?;
        match place {
            Place::Port(key) => {
                self.instructions.ports.get(key).filter(|port| port.vni == vni)?;
                let LocalPort { device, peer } = *self.local.ports.get(key)?;
                Some(FdbEntry::port(device, Group::PORTS, peer))
            }
            Place::Vtep(name) => {
                let member = self.instructions.members.get(&(vni, name.clone()))?;
                Some(FdbEntry::vtep(*self.vteps.get(name.as_str())?, member.group))
            }
        }
    }

    /// Writes the addresses of one station.
    fn write_addresses(&mut self, vni: Vni, mac: Mac, host: &Host) {
        let flags = match host.router {
            None => 0,
            Some(false) => neigh_flags::ROLE_KNOWN,
            Some(true) => neigh_flags::ROLE_KNOWN | neigh_flags::ROUTER,
        };
        for address in &host.ips {
            let new = NeighEntry { mac: mac.0, flags };
            let entry = self.image.neigh.entry(NeighKey::new(vni, ip16(*address))).or_insert(new);
            if entry.mac != mac.0 {
                let holder = Mac(entry.mac);
                let address = *address;
                self.problems.push(Problem::AddressTaken { vni, address, mac, holder });
            }
        }
    }
}
