//! What the agent tells on `/metrics` and `/readyz`.
//!
//! Nothing is counted here: the programs count packets, the parts of the agent what they do, and a
//! scrape asks them.

mod exposition;

use l2sm_core::model::ObjectKey;

pub use self::exposition::print;
use crate::state::{Attaches, Counters, Outcome};

/// What `/metrics` tells.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Name of the node.
    pub node: String,
    /// Version of the agent.
    pub version: String,
    /// What came of the last pass.
    pub outcome: Outcome,
    /// Number of the revision that is desired; 0: none.
    pub desired: u64,
    /// A controller is followed.
    pub connected: bool,
    /// By slot, and by slot and reason; `None`: they cannot be read.
    pub counters: Option<Counters>,
    /// Entries that each map holds at most.
    pub capacities: Vec<(&'static str, u64)>,
    /// Ports by network.
    pub ports: Vec<(ObjectKey, u64)>,
    /// Attachments made by request.
    pub attaches: Attaches,
    /// Records of drops that the ring had no room for; `None`: that cannot be read.
    pub lost_events: Option<u64>,
}

/// Whether the node forwards as it was last told. Loss of the controller changes nothing in that.
///
/// # Errors
/// Why not.
pub fn readiness(outcome: &Outcome) -> Result<(), String> {
    if let Some(error) = outcome.node_error() {
        return Err(error.message.clone());
    }
    if outcome.applied {
        Ok(())
    } else {
        Err("no controller has told yet what this node is to do".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Kind, ObjectError};

    #[test]
    fn a_node_is_ready_once_an_image_is_applied() {
        let mut outcome = Outcome::default();
        assert!(readiness(&outcome).unwrap_err().contains("no controller has told"));
        outcome.applied = true;
        assert_eq!(readiness(&outcome), Ok(()));
        outcome.errors.push(ObjectError {
            kind: Kind::Node,
            key: ObjectKey::new("", "n1"),
            reason: "NotOurs",
            message: "the device l2sm-br is not ours".to_owned(),
        });
        assert_eq!(readiness(&outcome), Err("the device l2sm-br is not ours".to_owned()));
    }
}
