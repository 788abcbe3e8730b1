//! Underlay devices that do not take `l2sm_uplink_xdp`. That is no failure: tc drops the same frames.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use l2sm_core::{
    diff::Change,
    image::{Hook, Image, Local, Program, Xdp},
};

use crate::datapath::DatapathError;

/// A device that refused is asked again after this,
const AGAIN: Duration = Duration::from_secs(5);
/// and one whose driver was only to be tried after this: it will not learn.
const TRIED_AGAIN: Duration = Duration::from_mins(5);

/// What devices have refused.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    by_hook: BTreeMap<Hook, Refusal>,
    lines: Vec<String>,
}

#[derive(Debug)]
struct Refusal {
    why: String,
    /// Somebody else's program is there.
    taken: bool,
    at: Instant,
}

impl Refusals {
    /// Forgets devices that are no longer asked.
    pub(super) fn keep(&mut self, changes: &[Change]) {
        self.by_hook.retain(|hook, _refusal| changes.contains(&Change::Attach(*hook)));
    }

    /// Whether a change was refused a moment ago.
    pub(super) fn hold(&self, change: &Change, local: &Local, now: Instant) -> bool {
        let Some(hook) = xdp_hook(change) else { return false };
        self.by_hook.get(&hook).is_some_and(|refusal| {
            let tried = !refusal.taken && is_tried(hook, local);
            now.duration_since(refusal.at) < if tried { TRIED_AGAIN } else { AGAIN }
        })
    }

    /// Takes note that a change was made.
    pub(super) fn forget(&mut self, change: &Change) {
        if let Some(hook) = xdp_hook(change) {
            self.by_hook.remove(&hook);
        }
    }

    /// Takes note of a refusal; false: it is a failure like any other.
    pub(super) fn take(&mut self, change: &Change, why: &DatapathError, now: Instant) -> bool {
        let Some(hook) = xdp_hook(change) else { return false };
        let taken = matches!(why, DatapathError::XdpTaken { .. });
        let refusal = Refusal { why: why.to_string(), taken, at: now };
        if self.by_hook.get(&hook).is_none_or(|before| before.why != refusal.why) {
            tracing::info!(%why, "no XDP");
        }
        self.by_hook.insert(hook, refusal);
        true
    }

    /// Writes down what the user should know. That a driver which was only to be tried cannot is as
    /// expected.
    pub(super) fn tell(&mut self, local: &Local) {
        let told = self.by_hook.iter().filter(|(hook, refusal)| {
            let uplink = local.uplinks.contains_key(&hook.device);
            refusal.taken || uplink && !is_tried(**hook, local)
        });
        self.lines = told.map(|(_hook, refusal)| refusal.why.clone()).collect();
    }

    /// What was told last, one line each.
    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// The ways in which XDP drops on this node, as status calls them.
pub(super) fn features(actual: &Image) -> Vec<String> {
    let runs = |program| actual.hooks.iter().any(|hook| hook.program == program);
    let ways = [(Program::UplinkXdp, "xdp-native"), (Program::UplinkXdpGeneric, "xdp-generic")];
    let used = ways.into_iter().filter(|(program, _way)| runs(*program));
    used.map(|(_program, way)| way.to_owned()).collect()
}

/// Whether nobody has asked for XDP on a device: a driver that takes it does.
fn is_tried(hook: Hook, local: &Local) -> bool {
    local.uplinks.get(&hook.device).is_some_and(|uplink| uplink.xdp == Xdp::IfTaken)
}

/// The hook of a change that attaches an XDP program.
fn xdp_hook(change: &Change) -> Option<Hook> {
    if let Change::Attach(hook) = change
        && hook.program.is_xdp()
    {
        return Some(*hook);
    }
    None
}
