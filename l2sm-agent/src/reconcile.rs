//! One pass: what is there, what should be there, and the changes between them.
//!
//! Single-threaded, and blind to where it runs: it sees [`Datapath`] and [`Links`] only.

mod conditions;
mod driver;
mod errors;
mod xdp;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use l2sm_common::maps::ConfigEntry;
use l2sm_core::{
    diff::{self, Change, Extent},
    image::{Drawn, Image, Local, LocalPort, draw},
    instructions::{Instructions, Vtep},
    model::ObjectKey,
    slow_path::SlowPathWatch,
};

pub use self::driver::{Driver, Signal};
use self::{errors::Errors, xdp::Refusals};
use crate::{
    datapath::{Datapath, DatapathError},
    netlink::{Links, veths::host_name},
    state::{Counters, Desired, Outcome, Totals},
};

/// A flood list outlives the last reference to it by this much: frames may be on their way along it.
const FLOOD_LINGER: Duration = Duration::from_secs(1);
/// What the maps hold is read again this often, though nothing failed: the programs mark ports that
/// forward, and somebody may have used bpftool.
const READ_AGAIN: Duration = Duration::from_mins(1);

/// Makes the node what it should be.
#[derive(Debug)]
pub struct Reconciler<D, L> {
    datapath: D,
    links: L,
    node: String,
    /// What the last pass wanted the maps to hold.
    drawn: Drawn,
    /// The maps hold what was drawn, as far as is known.
    as_drawn: bool,
    /// What the maps hold, as far as is known; `None`: must be read.
    actual: Option<Image>,
    read_at: Option<Instant>,
    /// The node as it was last seen, but for ports; `None`: must be looked at.
    seen: Option<Seen>,
    /// Ports as they were last seen.
    ports: BTreeMap<ObjectKey, LocalPort>,
    /// Flood lists that nothing names any more, and since when.
    retired: BTreeMap<u32, Instant>,
    slow_path: SlowPathWatch,
    refusals: Refusals,
    /// Counter slots of the networks here.
    slots: BTreeSet<u32>,
    /// When this was made: the slow path's time is counted from here.
    started: Instant,
    /// An image has been applied.
    applied: bool,
    passes: u64,
    totals: Totals,
}

/// The result of a pass.
#[derive(Debug)]
pub struct Pass {
    /// What was achieved.
    pub outcome: Outcome,
    /// Another pass is due then, though nothing changes: something waits for its time.
    pub again: Option<Instant>,
}

impl<D: Datapath, L: Links> Reconciler<D, L> {
    /// A reconciler of the node `node`; `started`: now.
    pub fn new(datapath: D, links: L, node: impl Into<String>, started: Instant) -> Self {
        Self {
            datapath,
            links,
            node: node.into(),
            drawn: Drawn::default(),
            as_drawn: false,
            actual: None,
            read_at: None,
            seen: None,
            ports: BTreeMap::new(),
            retired: BTreeMap::new(),
            slow_path: SlowPathWatch::default(),
            refusals: Refusals::default(),
            slots: BTreeSet::new(),
            started,
            applied: false,
            passes: 0,
            totals: Totals::default(),
        }
    }

    /// Brings the node one step towards `desired`. Every change is tried; what fails is told by
    /// object, and tried again in the next pass.
    pub fn pass(&mut self, desired: &Desired, now: Instant) -> Pass {
        self.seen = None;
        self.follow(desired, now)
    }

    /// The same, going by what the last pass saw of the node's devices, addresses and routes. Where that
    /// has changed, a pass is due soon anyway.
    pub fn follow(&mut self, desired: &Desired, now: Instant) -> Pass {
        self.passes += 1;
        let mut run = Run::new(desired, &self.node);
        match self.reconcile(desired, now, &mut run) {
            Ok(()) => {}
            Err(why) => {
                run.errors.node(why.reason, why.message);
                self.actual = None;
                self.seen = None;
            }
        }
        run.outcome.pass = self.passes;
        run.outcome.errors = run.errors.into_list();
        self.conclude(&mut run.outcome, run.udp_port, run.full.as_deref());
        run.outcome.conditions.extend(desired.reported.values().cloned());
        Pass { outcome: run.outcome, again: run.again }
    }

    /// Looks whether what is handed up comes back; true: what to do about it has changed.
    pub fn watch_slow_path(&mut self, now: Instant) -> bool {
        match self.datapath.slow_path(&self.slots) {
            Ok(count) => self.slow_path.observe(now.duration_since(self.started), count),
            Err(why) => {
                tracing::debug!(%why, "the slow path's counters");
                false
            }
        }
    }

    /// Does a part of what can be done at leisure; whether there may be more.
    pub fn settle(&mut self) -> bool {
        let settled = self.datapath.settle();
        settled.inspect_err(|why| tracing::debug!(%why, "a hook stays as it is")).unwrap_or(true)
    }

    /// Adds up, and says what holds of the node.
    fn conclude(&mut self, outcome: &mut Outcome, udp_port: u16, full: Option<&str>) {
        self.totals.changes += u64::try_from(outcome.changes).unwrap_or_default();
        self.totals.failures += u64::try_from(outcome.failures).unwrap_or_default();
        let failed = outcome.failures > 0 || !outcome.errors.is_empty();
        self.totals.failed_passes += u64::from(failed);
        outcome.totals = self.totals;
        outcome.applied = self.applied;
        outcome.conditions = vec![
            conditions::slow_path(self.slow_path.is_blocked(), udp_port),
            conditions::underlay(&self.links.underlay_faults()),
            conditions::maps(full),
            conditions::xdp(self.refusals.lines()),
        ];
    }

    /// Adds the time that a pass took to the sums of the passes after it.
    pub fn add_time(&mut self, took: Duration) {
        self.totals.took += took;
    }

    /// The counters as they stand.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn counters(&self) -> Result<Counters, DatapathError> {
        Ok(Counters { traffic: self.datapath.traffic()?, drops: self.datapath.drops()? })
    }

    /// What the maps and hooks hold, read now. The next pass corrects what is not as it should be.
    ///
    /// # Errors
    /// A map or the pins cannot be read.
    pub fn read_afresh(&mut self, now: Instant) -> Result<Image, DatapathError> {
        let actual = self.datapath.read()?;
        self.read_at = Some(now);
        self.as_drawn = false;
        self.actual = Some(actual.clone());
        Ok(actual)
    }

    /// The parts, for whoever looks at them afterwards.
    pub fn parts(&mut self) -> (&mut D, &mut L) {
        (&mut self.datapath, &mut self.links)
    }

    fn reconcile(
        &mut self,
        desired: &Desired,
        now: Instant,
        run: &mut Run,
    ) -> Result<(), errors::PassError> {
        let instructions = Arc::clone(&run.instructions);
        let mut local = self.observe(&instructions, desired.complete, run)?;
        local.slow_path_blocked = self.slow_path.is_avoided();
        run.udp_port = local.udp_port;
        run.outcome.vteps.clone_from(&local.addresses);
        run.outcome.underlay_mtu =
            local.uplinks.values().map(|uplink| uplink.mtu).min().unwrap_or_default();
        let mut actual = self.read(now)?;
        let drawn = draw(mem::take(&mut self.drawn), &instructions, &local, &actual);
        run.errors.problems(&drawn.problems, &instructions);
        let changes = diff::diff_within(&drawn.image, &actual, &self.extent(&drawn));
        let left = self.datapath.outdated();
        let unwanted: Vec<_> = left.difference(&drawn.image.hooks).copied().collect();
        self.drawn = drawn;
        if !desired.complete {
            self.applied |= desired.revision.is_some() && actual.config.is_some();
            let refresh = changes.into_iter().filter(|change| is_refresh(change, &actual));
            let refresh: Vec<_> = refresh.collect();
            self.apply(&refresh, &mut actual, &local, now, run);
            self.remove_released(desired, run);
            self.keep(actual, run);
            return Ok(());
        }
        let unwanted = unwanted.into_iter().map(Change::Detach);
        let changes: Vec<_> = unwanted.chain(changes).collect();
        self.apply(&changes, &mut actual, &local, now, run);
        self.refusals.tell(&local);
        self.remove_veths(&instructions, run);
        run.finish(desired, &local, &actual);
        self.applied = true;
        // What waits for its time is no station's.
        self.as_drawn = run.outcome.failures == 0;
        self.keep(actual, run);
        Ok(())
    }

    /// Where the maps may hold other stations than they should. Everywhere, when they have just been
    /// read, or a change before was not made.
    fn extent(&mut self, drawn: &Drawn) -> Extent {
        if mem::take(&mut self.as_drawn) {
            return Extent::Segments(drawn.redrawn.clone());
        }
        Extent::All
    }

    /// Remembers what the maps hold now.
    fn keep(&mut self, actual: Image, run: &mut Run) {
        run.outcome.entries = conditions::entries(&actual);
        run.outcome.features = xdp::features(&actual);
        self.slots = actual.segments.values().map(|segment| segment.slot).collect();
        self.actual = (run.outcome.failures == 0).then_some(actual);
    }

    /// What the node knows by itself. Ports are made only once it is known which there should be.
    fn observe(
        &mut self,
        instructions: &Instructions,
        complete: bool,
        run: &mut Run,
    ) -> Result<Local, errors::PassError> {
        let known = self.seen.take().filter(|seen| seen.is_of(instructions, complete));
        let seen = match known {
            Some(seen) => seen,
            None => self.look(instructions, complete)?,
        };
        let mut local = seen.local.clone();
        self.seen = Some(seen);
        if !complete {
            return Ok(local);
        }
        for (key, made) in self.links.ensure_ports(&instructions.ports)? {
            match made {
                Ok(port) => {
                    local.ports.insert(key, port);
                }
                Err(why) => {
                    run.outcome.failures += 1;
                    run.errors.attachment(&key, why.reason(), why.to_string());
                    // What forwards goes on forwarding.
                    if let Some(before) = self.ports.get(&key).filter(|_| why.leaves_port()) {
                        local.ports.insert(key, *before);
                    }
                }
            }
        }
        self.ports.clone_from(&local.ports);
        Ok(local)
    }

    /// Looks at the node afresh. Its own devices are corrected only once it is known that it should have
    /// them.
    fn look(
        &mut self,
        instructions: &Instructions,
        complete: bool,
    ) -> Result<Seen, errors::PassError> {
        self.links.look()?;
        if complete {
            self.links.ensure_devices()?;
        }
        let remotes: Vec<&[IpAddr]> =
            instructions.vteps.values().map(|vtep| vtep.addresses.as_slice()).collect();
        let local = self.links.observe(&remotes, complete)?;
        Ok(Seen { vteps: instructions.vteps.clone(), complete, local })
    }

    fn read(&mut self, now: Instant) -> Result<Image, errors::PassError> {
        let fresh = self.read_at.is_some_and(|read| now.duration_since(read) < READ_AGAIN);
        if let Some(actual) = self.actual.take().filter(|_actual| fresh) {
            return Ok(actual);
        }
        self.as_drawn = false;
        let actual = self.datapath.read()?;
        self.read_at = Some(now);
        Ok(actual)
    }

    /// Tries every change: one that fails stops no other.
    fn apply(
        &mut self,
        changes: &[Change],
        actual: &mut Image,
        local: &Local,
        now: Instant,
        run: &mut Run,
    ) {
        self.retire(changes, actual, now);
        self.refusals.keep(changes);
        for change in changes {
            if self.refusals.hold(change, local, now) {
                continue;
            }
            if let Some(due) = self.held_until(change, now) {
                run.again = Some(run.again.map_or(due, |again| again.min(due)));
                continue;
            }
            if let Some(why) = self.obstacle(change, actual, run) {
                // What merely waits for its time is no failure.
                if run.outcome.failures > 0 {
                    run.fail(change, &DatapathError::Waits(why), actual, local);
                }
                continue;
            }
            match self.datapath.apply(change) {
                Ok(()) => {
                    tracing::trace!(%change, "applied");
                    diff::apply(actual, change);
                    run.outcome.changes += 1;
                    self.refusals.forget(change);
                }
                Err(why) if self.refusals.take(change, &why, now) => {}
                Err(why) => {
                    tracing::debug!(%change, %why, "a change failed");
                    run.fail(change, &why, actual, local);
                }
            }
        }
    }

    /// Why a change must wait for another that has not been made. Only where one has not: it is a
    /// search through the maps.
    fn obstacle(&self, change: &Change, actual: &Image, run: &Run) -> Option<String> {
        if run.outcome.failures == 0 && run.again.is_none() {
            return None;
        }
        if let Change::Attach(hook) = change {
            let moves = run.incomplete && self.datapath.outdated().contains(hook);
            return moves.then(|| "the new program's maps are not filled".to_owned());
        }
        diff::obstacle(change, actual)
    }

    /// Starts the clock of flood lists that nothing names as this pass starts. One that this pass
    /// itself replaces starts in the next.
    fn retire(&mut self, changes: &[Change], actual: &Image, now: Instant) {
        let named: BTreeSet<u32> =
            actual.segments.values().map(|segment| segment.flood_id).collect();
        let going: BTreeSet<u32> = changes.iter().filter_map(Change::retires_flood_list).collect();
        self.retired.retain(|list, _since| going.contains(list) && !named.contains(list));
        for list in going.difference(&named) {
            self.retired.entry(*list).or_insert(now);
        }
    }

    /// When a deletion may happen that may not yet; `None`: now.
    fn held_until(&self, change: &Change, now: Instant) -> Option<Instant> {
        let list = change.retires_flood_list()?;
        let due = self.retired.get(&list).map_or(now, |since| *since + FLOOD_LINGER);
        let waits = !self.retired.contains_key(&list) || now < due;
        waits.then_some(due)
    }

    /// Before a snapshot, only what was asked for here goes: the veths of released attachments.
    fn remove_released(&mut self, desired: &Desired, run: &mut Run) {
        if desired.released.is_empty() {
            return;
        }
        let released: BTreeSet<String> = desired.released.keys().map(host_name).collect();
        self.remove_ports(|name| released.contains(name), run);
    }

    /// Removes the veths of attachments that are gone, after the maps have let go of them.
    fn remove_veths(&mut self, instructions: &Instructions, run: &mut Run) {
        let wanted: BTreeSet<String> = instructions.ports.keys().map(host_name).collect();
        self.remove_ports(|name| !wanted.contains(name), run);
    }

    fn remove_ports(&mut self, goes: impl Fn(&str) -> bool, run: &mut Run) {
        let going = self.links.own_ports().into_iter().filter(|(name, _device)| goes(name));
        for (name, why) in self.links.remove_ports(&going.collect()) {
            run.outcome.failures += 1;
            run.errors.node(why.reason(), format!("remove {name}: {why}"));
        }
    }
}

/// What was seen of the node, and what was looked for.
#[derive(Debug)]
struct Seen {
    vteps: BTreeMap<String, Vtep>,
    complete: bool,
    local: Local,
}

impl Seen {
    /// Whether nothing else is looked for now.
    fn is_of(&self, instructions: &Instructions, complete: bool) -> bool {
        self.complete == complete && self.vteps == instructions.vteps
    }
}

/// A pass in the making.
struct Run {
    instructions: Arc<Instructions>,
    outcome: Outcome,
    errors: Errors,
    again: Option<Instant>,
    /// UDP port of tunnels; 0: not seen.
    udp_port: u16,
    /// The first map that was found full.
    full: Option<String>,
    /// Something that has room is not in its map.
    incomplete: bool,
}

impl Run {
    fn new(desired: &Desired, node: &str) -> Self {
        Self {
            instructions: desired.effective(),
            outcome: Outcome::default(),
            errors: Errors::new(node),
            again: None,
            udp_port: 0,
            full: None,
            incomplete: false,
        }
    }

    /// Takes note of a change that was not made.
    fn fail(&mut self, change: &Change, why: &DatapathError, actual: &Image, local: &Local) {
        let full = matches!(why, DatapathError::MapFull { .. });
        if full && self.full.is_none() {
            self.full = Some(why.to_string());
        }
        self.incomplete |= !full && change.map().is_some();
        self.outcome.failures += 1;
        self.errors.change(change, why, actual, local, &self.instructions);
    }

    fn finish(&mut self, desired: &Desired, local: &Local, actual: &Image) {
        self.outcome.revision.clone_from(&desired.revision);
        self.outcome.waiting = desired.waiting();
        let inodes = desired.sandboxes.iter().map(|(uid, sandbox)| (uid.clone(), sandbox.inode));
        self.outcome.sandboxes = inodes.collect();
        self.outcome.ports = local
            .ports
            .iter()
            .filter(|(_key, port)| actual.ports.contains_key(&port.device.0))
            .map(|(key, port)| (key.clone(), *port))
            .collect::<BTreeMap<ObjectKey, LocalPort>>();
        self.outcome.slots = self
            .instructions
            .segments
            .iter()
            .filter_map(|(vni, segment)| {
                let entry = actual.segments.get(&vni.get())?;
                Some((entry.slot, segment.network.clone()))
            })
            .collect();
    }
}

/// Whether a change only follows the underlay for a VTEP that is programmed: the header of a path,
/// which must stay right while the controller is away.
fn is_refresh(change: &Change, actual: &Image) -> bool {
    match (change, actual.config) {
        (Change::PutVtep(id, _entry), _) => actual.vteps.contains_key(id),
        // Whether the slow path is blocked.
        (Change::PutConfig(entry), Some(before)) => {
            *entry == ConfigEntry { flags: entry.flags, ..before }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
