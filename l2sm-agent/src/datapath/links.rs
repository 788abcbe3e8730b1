//! Programs on devices.
//!
//! With tcx (kernel 6.6) a program is attached by a link, and the link's pin keeps it there. Before,
//! it is a filter of the device's clsact qdisc, which stays until somebody removes it. XDP programs
//! are attached by links on every kernel.
//!
//! Making a tcx link takes the kernel an RCU grace period under the lock of all links; a filter, which
//! costs a little more for each packet, is there at once. So a new port gets a filter, which
//! [`Links::settle`] replaces by a link later (docs/adr/0006).

mod filter;
mod query;
mod tcx;
mod xdp;

use std::collections::BTreeSet;

use aya::{
    Ebpf,
    maps::MapInfo,
    programs::{ProgramInfo, SchedClassifier, TcAttachType},
};
use l2sm_common::ids::IfIndex;
use l2sm_core::image::{Hook, Program};
use nix::net::if_::if_indextoname;

pub use self::filter::{
    ForeignFilter, any as has_filters, foreign_filters, remove_all as remove_filters,
};
pub use self::query::{XdpRunning, xdp as running_xdp};
use super::{
    DatapathError,
    bpffs::Pins,
    layout,
    object::{classifier, program_id},
};

/// How programs are attached to devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attaching {
    /// A tcx link, pinned. From kernel 6.6.
    Tcx,
    /// A filter of the clsact qdisc, at a priority and handle of ours.
    Filter,
}

impl Attaching {
    /// What this kernel can do, found by asking for the tcx programs of the loopback device.
    pub fn probe() -> Self {
        match SchedClassifier::query_tcx("lo", TcAttachType::Ingress) {
            Ok(_) => Self::Tcx,
            Err(_no_tcx) => Self::Filter,
        }
    }
}

/// The programs of the loaded object, and where they are attached. What is attached is looked up in
/// the kernel each time, never remembered: it outlives us, and others can change it.
pub(super) struct Links {
    object: Ebpf,
    pins: Pins,
    attaching: Attaching,
    /// The kernel's number of `CONFIG`, which every program reads: it tells programs of this ABI.
    config_id: u32,
    /// Ports whose filter is to be replaced by a link.
    unsettled: BTreeSet<Hook>,
}

/// A program on a hook, as the kernel has it.
struct Attached {
    hook: Hook,
    /// The kernel's number of the program.
    program: u32,
    /// It uses the maps of this ABI.
    same_maps: bool,
    /// It is a filter where there should be a link.
    settles: bool,
}

impl Links {
    pub(super) fn new(
        pins: Pins,
        object: Ebpf,
        attaching: Attaching,
    ) -> Result<Self, DatapathError> {
        let config = MapInfo::from_pin(pins.maps().join(layout::CONFIG.name));
        let config =
            config.map_err(|error| DatapathError::map("read", layout::CONFIG.name, &error))?;
        let unsettled = BTreeSet::new();
        Ok(Self { object, pins, attaching, config_id: config.id(), unsettled })
    }

    pub(super) fn attaching(&self) -> Attaching {
        self.attaching
    }

    /// The hooks that run this object's programs. Pins of devices that are gone are removed.
    pub(super) fn read(&mut self) -> Result<BTreeSet<Hook>, DatapathError> {
        let mut hooks = BTreeSet::new();
        let mut unsettled = BTreeSet::new();
        for attached in self.attached()? {
            if Some(attached.program) == program_id(&self.object, attached.hook.program)? {
                hooks.insert(attached.hook);
                unsettled.extend(attached.settles.then_some(attached.hook));
            }
        }
        self.unsettled = unsettled;
        Ok(hooks)
    }

    /// The hooks that run a program of ours which is not this object's, of any ABI.
    pub(super) fn outdated(&mut self) -> Result<BTreeSet<Hook>, DatapathError> {
        let mut hooks = BTreeSet::new();
        for attached in self.attached()? {
            if Some(attached.program) != program_id(&self.object, attached.hook.program)? {
                hooks.insert(attached.hook);
            }
        }
        Ok(hooks)
    }

    /// Whether a program that is attached reads the maps of this ABI.
    pub(super) fn reads_these_maps(&self) -> Result<bool, DatapathError> {
        Ok(self.attached()?.iter().any(|attached| attached.same_maps))
    }

    /// Has a device run this object's program: in place where one of ours is attached already.
    pub(super) fn attach(&mut self, hook: Hook) -> Result<(), DatapathError> {
        if hook.program.is_xdp() {
            return xdp::attach(&mut self.object, hook, &self.pins);
        }
        let Some(device) = device_name(hook.device) else {
            return Err(no_device("attach", hook));
        };
        let program = classifier(&mut self.object, hook.program.name())?;
        if self.attaching == Attaching::Filter {
            return filter::attach(program, &device, hook);
        }
        if hook.program != Program::PortRx {
            return tcx::attach(program, &device, hook, &self.pins);
        }
        if tcx::replace(program, hook, &self.pins)? {
            return Ok(());
        }
        if let Err(why) = filter::attach(program, &device, hook) {
            tracing::debug!(%why, "attached by a link at once");
            return tcx::attach(program, &device, hook, &self.pins);
        }
        self.unsettled.insert(hook);
        Ok(())
    }

    /// Attaches by a link what has been attached by a filter only: one port, since it holds up all who
    /// change links. Whether there was one. What fails is tried again after the next
    /// [`read`](Self::read).
    ///
    /// The link's program comes before the filter's and passes nothing on, so no frame meets both.
    pub(super) fn settle(&mut self) -> Result<bool, DatapathError> {
        let Some(hook) = self.unsettled.pop_first() else { return Ok(false) };
        let Some(device) = device_name(hook.device) else { return Ok(true) };
        let program = classifier(&mut self.object, hook.program.name())?;
        tcx::attach(program, &device, hook, &self.pins)?;
        filter::detach(hook)?;
        Ok(true)
    }

    /// Takes our program off a device.
    pub(super) fn detach(&mut self, hook: Hook) -> Result<(), DatapathError> {
        if hook.program.is_xdp() {
            return xdp::detach(hook, &self.pins);
        }
        self.unsettled.remove(&hook);
        if self.attaching == Attaching::Tcx
            && (tcx::detach(hook, &self.pins)? || hook.program != Program::PortRx)
        {
            return Ok(());
        }
        filter::detach(hook)
    }

    /// Everything of ours that is attached, of any ABI.
    fn attached(&self) -> Result<Vec<Attached>, DatapathError> {
        let mut attached = match self.attaching {
            Attaching::Tcx => self.links_and_filters()?,
            Attaching::Filter => filter::attached(self.config_id)?,
        };
        attached.extend(xdp::attached(&self.pins, self.config_id)?);
        Ok(attached)
    }

    /// tcx links, and filters of ports that have none. A filter beside a link is removed: a process
    /// ended between making the one and removing the other.
    fn links_and_filters(&self) -> Result<Vec<Attached>, DatapathError> {
        let mut attached = tcx::attached(&self.pins, self.config_id)?;
        let linked: BTreeSet<Hook> = attached.iter().map(|attached| attached.hook).collect();
        for filter in filter::attached_to_ingress(self.config_id)? {
            if linked.contains(&filter.hook) {
                filter::detach(filter.hook)?;
            } else if filter.hook.program == Program::PortRx {
                attached.push(Attached { settles: true, ..filter });
            }
        }
        Ok(attached)
    }
}

/// Which side of a device a program is on.
const fn side(program: Program) -> TcAttachType {
    if program.is_egress() { TcAttachType::Egress } else { TcAttachType::Ingress }
}

/// Whether a program uses this map.
fn uses_map(program: &ProgramInfo, map: u32) -> bool {
    program.map_ids().ok().flatten().is_some_and(|maps| maps.contains(&map))
}

/// The name of a device; `None`: there is none.
pub(super) fn device_name(device: IfIndex) -> Option<String> {
    // nix 0.31 takes libc's null for success and returns an empty name.
    let name = if_indextoname(device.0).ok()?.into_string().ok()?;
    Some(name).filter(|name| !name.is_empty())
}

/// The error of a hook whose device is gone.
fn no_device(verb: &'static str, hook: Hook) -> DatapathError {
    DatapathError::Hook { verb, hook, reason: "no such device".to_owned() }
}
