//! A start that is refused leaves nothing behind that was not there before.

use std::{fs, io, path::Path};

use crate::{config::Places, datapath, netlink};

/// What of ours was there before a start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    devices: bool,
    filters: bool,
    pins: bool,
}

impl Before {
    /// Looks. Whoever calls holds the locks: no other agent makes anything meanwhile. What cannot be
    /// looked at counts as there.
    pub(super) fn look(places: &Places) -> Self {
        let devices = netlink::has_own().unwrap_or(true);
        let filters = datapath::has_filters().unwrap_or(true);
        Self { devices, filters, pins: holds_something(&places.bpffs) }
    }

    /// Removes what has been made since.
    pub(super) fn restore(self, places: &Places) {
        if !self.devices {
            tell("devices", netlink::remove_all());
        }
        if !self.filters {
            tell::<io::Error>("filters", Ok(datapath::remove_filters()));
        }
        if !self.pins {
            tell("pins", datapath::remove_pins(&places.bpffs));
        }
    }
}

/// Whether a directory is there with something in it.
fn holds_something(directory: &Path) -> bool {
    match fs::read_dir(directory) {
        Ok(mut found) => found.next().is_some(),
        Err(why) => why.kind() != io::ErrorKind::NotFound,
    }
}

/// The refusal itself is what the user reads; this is beside it.
fn tell<E: std::fmt::Display>(what: &str, removed: Result<Vec<String>, E>) {
    match removed {
        Ok(removed) => tracing::debug!(?removed, "{what}: made by a refused start, removed"),
        Err(why) => tracing::warn!(%why, "{what} of a refused start stay: `l2sm-agent cleanup`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_that_cannot_be_looked_at_count_as_there() {
        let directory = tempfile::tempdir().unwrap();
        let (missing, file) = (directory.path().join("missing"), directory.path().join("file"));
        assert!(!holds_something(directory.path()) && !holds_something(&missing));
        fs::write(&file, "").unwrap();
        assert!(holds_something(directory.path()) && holds_something(&file));
    }
}
