//! What stands in the way of pods: told to the agents of their nodes.

use std::{collections::BTreeMap, sync::Arc};

use l2sm_api::grpc::v1::EntryProblem;
use tokio::sync::watch;

use super::Hub;

/// Pods in trouble: by node, then by the pod's UID.
pub type Notices = BTreeMap<String, BTreeMap<String, Vec<EntryProblem>>>;

impl Hub {
    /// Pods in trouble, now and from now on.
    pub fn notices(&self) -> watch::Receiver<Arc<Notices>> {
        self.notices.subscribe()
    }

    /// Says what stands in the way of a pod of `node`; nothing: nothing does any more.
    pub fn notify(&self, node: &str, pod_uid: &str, problems: Vec<EntryProblem>) {
        self.notices.send_if_modified(|notices| {
            let held = notices.get(node).and_then(|pods| pods.get(pod_uid));
            if held.map_or(&[][..], Vec::as_slice) == problems {
                return false;
            }
            let pods = Arc::make_mut(notices).entry(node.to_owned()).or_default();
            if problems.is_empty() {
                drop(pods.remove(pod_uid));
            } else {
                pods.insert(pod_uid.to_owned(), problems);
            }
            true
        });
    }
}
