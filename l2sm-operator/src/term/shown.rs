//! What was written last of what is shown to users: nothing is written twice.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

/// What was written last.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// By the subject of the write.
    written: BTreeMap<String, Value>,
    /// Attachments that were Ready once, by UID.
    pub(super) attached: BTreeSet<String>,
    /// Since when networks that are to go are used, by UID.
    pub(super) in_use: BTreeMap<String, Timestamp>,
    pub(super) due: bool,
    /// That the cluster does not know NADs was said.
    pub(super) nads_missing: bool,
}

impl Shown {
    pub(super) const fn is_due(&self) -> bool {
        self.due
    }

    pub(super) const fn make_due(&mut self) {
        self.due = true;
    }

    /// Something was not written after all.
    pub(super) fn forget(&mut self, subject: &str) {
        self.written.insert(subject.to_owned(), Value::Null);
        self.due = true;
    }

    /// The NAD of a network is gone.
    pub(super) fn forget_nad(&mut self, network_uid: &str) {
        self.written.remove(&format!("nad {network_uid}"));
        self.due = true;
    }

    /// An object is gone.
    pub(super) fn end(&mut self, uid: &str) {
        self.attached.remove(uid);
        self.in_use.remove(uid);
        self.written.retain(|subject, _| !subject.ends_with(uid));
    }

    /// Whether `value` is new; `before` is what stands there where nothing was written yet.
    pub(super) fn is_new(&mut self, subject: String, value: &Value, before: &Value) -> bool {
        let held = self.written.entry(subject).or_insert_with(|| before.clone());
        let is_new = held != value;
        held.clone_from(value);
        is_new
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_is_not_written_twice_but_what_failed_is() {
        let mut shown = Shown::default();
        let (one, two) = (json!(1), json!(2));
        assert!(!shown.is_new("s".into(), &one, &one), "it stands there already");
        assert!(shown.is_new("s".into(), &two, &one));
        assert!(!shown.is_new("s".into(), &two, &one));
        shown.forget("s");
        assert!(shown.is_new("s".into(), &two, &one));
    }
}
