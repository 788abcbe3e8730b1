//! [`Links`] without a kernel, for tests of what stands on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use l2sm_common::ids::IfIndex;
use l2sm_core::{
    image::{Local, LocalPort},
    instructions::Port,
    model::ObjectKey,
};

use super::{Links, LinksError, NetlinkError, PortOutcomes, veths};

/// A node in memory. What it is told to refuse, it refuses until told otherwise.
#[derive(Debug, Default)]
pub struct MemoryLinks {
    /// What [`Links::observe`] tells, but for ports.
    pub local: Local,
    /// Host veths by name, with their devices; foreign ones are not here.
    pub veths: BTreeMap<String, IfIndex>,
    /// Attachments whose veth cannot be made.
    pub refused: BTreeSet<ObjectKey>,
    /// Attachments whose veth cannot be looked at for the moment.
    pub unseen: BTreeSet<ObjectKey>,
    /// Calls that fail, by name.
    pub failing: BTreeSet<&'static str>,
    /// What [`Links::underlay_faults`] tells.
    pub underlay_faults: Vec<String>,
    /// Everything that was done, in order.
    pub log: Vec<String>,
    /// How often the node was looked at.
    pub looks: usize,
    next: u32,
}

impl Links for MemoryLinks {
    fn look(&mut self) -> Result<(), LinksError> {
        self.looks += 1;
        self.check("look")
    }

    fn ensure_devices(&mut self) -> Result<(), LinksError> {
        self.check("ensure_devices")
    }

    fn observe(&mut self, _remotes: &[&[IpAddr]], _settled: bool) -> Result<Local, LinksError> {
        self.check("observe")?;
        Ok(self.local.clone())
    }

    fn underlay_faults(&self) -> Vec<String> {
        self.underlay_faults.clone()
    }

    fn ensure_ports(
        &mut self,
        ports: &BTreeMap<ObjectKey, Port>,
    ) -> Result<PortOutcomes, LinksError> {
        self.check("ensure_ports")?;
        let mut outcomes = BTreeMap::new();
        for key in ports.keys() {
            let outcome = if self.refused.contains(key) {
                Err(LinksError::NoNetns)
            } else if self.unseen.contains(key) {
                Err(LinksError::Netlink(NetlinkError::Interrupted))
            } else {
                Ok(LocalPort { device: self.device(veths::host_name(key)), peer: true })
            };
            outcomes.insert(key.clone(), outcome);
        }
        Ok(outcomes)
    }

    fn own_ports(&self) -> BTreeMap<String, IfIndex> {
        self.veths.clone()
    }

    fn remove_ports(&mut self, ports: &BTreeMap<String, IfIndex>) -> BTreeMap<String, LinksError> {
        let mut stay = BTreeMap::new();
        for name in ports.keys() {
            match self.check("remove_ports") {
                Ok(()) => {
                    self.veths.remove(name);
                    self.log.push(format!("remove {name}"));
                }
                Err(why) => {
                    stay.insert(name.clone(), why);
                }
            }
        }
        stay
    }
}

impl MemoryLinks {
    /// Fails where it was told to.
    fn check(&self, call: &str) -> Result<(), LinksError> {
        if self.failing.contains(call) {
            return Err(LinksError::Netlink(NetlinkError::Interrupted));
        }
        Ok(())
    }

    fn device(&mut self, name: String) -> IfIndex {
        if let Some(device) = self.veths.get(&name) {
            return *device;
        }
        self.next += 1;
        let device = IfIndex(1000 + self.next);
        self.log.push(format!("make {name}"));
        self.veths.insert(name, device);
        device
    }
}
