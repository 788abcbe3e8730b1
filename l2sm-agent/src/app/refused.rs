//! A start that is refused leaves nothing behind that was not there before.

use std::fs;

use crate::{config::Places, datapath, netlink};

/// What of ours was there before a start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    devices: bool,
    pins: bool,
}

impl Before {
    /// Looks. Whoever calls holds the locks: no other agent makes anything meanwhile. What cannot be
    /// looked at counts as there.
    pub(super) fn look(places: &Places) -> Self {
        let devices = netlink::has_own().unwrap_or(true);
        let pins = fs::read_dir(&places.bpffs).is_ok_and(|mut found| found.next().is_some());
        Self { devices, pins }
    }

    /// Removes what has been made since.
    pub(super) fn restore(self, places: &Places) {
        if !self.devices {
            tell("devices", netlink::remove_all());
        }
        if !self.pins {
            tell("pins", datapath::remove_pins(&places.bpffs));
        }
    }
}

/// The refusal itself is what the user reads; this is beside it.
fn tell<E: std::fmt::Display>(what: &str, removed: Result<Vec<String>, E>) {
    match removed {
        Ok(removed) => tracing::debug!(?removed, "{what}: made by a refused start, removed"),
        Err(why) => tracing::warn!(%why, "{what} of a refused start stay: `l2sm-agent cleanup`"),
    }
}
