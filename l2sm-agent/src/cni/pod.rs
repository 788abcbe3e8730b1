//! `attachpod` and `checkpod`: a pod that starts waits for the attachments that an operator makes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use l2sm_api::socket::{Attach, Attached, Fault, PodPlug};
use tokio::time::{Instant, timeout_at};

use super::{
    Controller, Inside, Node, Service,
    attach::PATIENCE,
    fault::{ENVIRONMENT, FaultOf, INVALID, TRY_AGAIN, fault},
    judge::{Awaited, Judged, judge},
};
use crate::state::Sandbox;

/// What the operator says stands in the way is given this long to go away: who applies a network and
/// its pods at once should not see a pod fail.
const PROBLEM_PATIENCE: Duration = Duration::from_secs(3);

impl<C: Controller, N: Node> Service<C, N> {
    /// Waits until every entry of the pod's annotation that is not optional is in the kernel.
    pub(super) async fn attach_pod(&self, request: PodPlug) -> Result<Vec<Attached>, Fault> {
        let deadline = Instant::now() + PATIENCE;
        if request.pod_uid.is_empty() || request.container_id.is_empty() {
            return Err(fault(INVALID, "attachpod: podUid and containerId are needed"));
        }
        let awaited = Awaited::of_annotation(&request.networks)
            .map_err(|why| fault(TRY_AGAIN, format!("annotation l2sm/networks: {why}")))?;
        if self.controller.attaches_by_request() == Some(true) {
            let url = self.controller.url().unwrap_or_default();
            let message = format!(
                "annotation l2sm/networks: {url} is not an l2sm-operator: nobody makes attachments \
                 for pods"
            );
            return Err(fault(TRY_AGAIN, message));
        }
        let pod =
            Plugged { uid: request.pod_uid, container: request.container_id, netns: request.netns };
        Ok(self.plug(&pod, &awaited, deadline).await?)
    }

    /// An interface that a configuration with a network of its own asks for (Multus): the operator
    /// makes it too.
    pub(super) async fn attach_by_operator(&self, request: &Attach) -> Result<Attached, FaultOf> {
        let deadline = Instant::now() + PATIENCE;
        let needed = |value: &Option<String>, what: &str| {
            let value = value.clone().filter(|value| !value.is_empty());
            let message = format!("{what} is needed: attachments are made by the operator here");
            value.ok_or_else(|| fault(ENVIRONMENT, message))
        };
        let pod = Plugged {
            uid: needed(&request.pod_uid, "K8S_POD_UID in CNI_ARGS")?,
            container: needed(&request.container_id, "a container id")?,
            netns: request.netns.clone(),
        };
        let ifname = needed(&request.ifname, "an interface name")?;
        let awaited = [Awaited::of_interface(ifname.clone(), request.network.clone())];
        let mut attached = self.plug(&pod, &awaited, deadline).await?;
        let attached = attached.pop().filter(|attached| attached.ifname == ifname);
        attached.ok_or_else(|| fault(TRY_AGAIN, format!("{ifname}: not attached")).into())
    }

    /// Whether an operator makes the attachment that `request` asks for.
    pub(super) fn is_by_operator(&self, request: &Attach) -> bool {
        match self.controller.attaches_by_request() {
            Some(by_request) => !by_request,
            // Away: what it has made before tells.
            None => request.pod_uid.as_ref().is_some_and(|uid| {
                let desired = self.desired.borrow();
                let mut ports = desired.instructions.ports.values();
                ports.any(|port| port.pod_uid.as_ref() == Some(uid))
            }),
        }
    }

    /// What is wrong with the attachments of a pod, one line each.
    pub(super) async fn check_pod(&self, request: PodPlug) -> Result<Vec<String>, Fault> {
        let desired = self.desired.borrow().clone();
        let of_container =
            desired.sandboxes.iter().find(|(_, of)| of.container == request.container_id);
        let Some((uid, _sandbox)) = of_container else {
            let id = request.container_id;
            return Ok(vec![format!("container {id}: no attachments of it are known")]);
        };
        let known = desired.effective();
        let mut damage = Vec::new();
        for (key, port) in &known.ports {
            if port.pod_uid.as_ref() == Some(uid) {
                let found = self.node.find(key, port).await;
                let found = found.map_err(|why| fault(TRY_AGAIN, why))?;
                let of_port = super::check::damage_of(port, &found);
                damage.extend(of_port.into_iter().map(|line| format!("{}: {line}", port.ifname)));
            }
        }
        Ok(damage)
    }

    /// The pod is here from now on; waits for what is awaited. Where that fails, it is not here.
    async fn plug(
        &self,
        pod: &Plugged,
        awaited: &[Awaited],
        deadline: Instant,
    ) -> Result<Vec<Attached>, FaultOf> {
        // What is to be released must not be taken for this.
        let late = |_late| fault(TRY_AGAIN, "releases that were noted take too long");
        timeout_at(deadline, self.take_notes()).await.map_err(late)?;
        let inside = self.look(&pod.netns).await?;
        let fresh = self.bind(pod, &inside, awaited);
        let attached = self.wait_attached(pod, &inside, awaited, deadline).await;
        if attached.is_err() {
            let names = awaited.iter().filter_map(Awaited::fixed_name);
            let names = (!fresh).then(|| names.collect::<BTreeSet<_>>());
            self.leave(&pod.container, names).await;
        }
        attached
    }

    /// Notes where the pod is; whether it was not there before.
    fn bind(&self, pod: &Plugged, inside: &Inside, awaited: &[Awaited]) -> bool {
        let recorded = self.has_record(&pod.container);
        let mut fresh = true;
        self.desired.send_modify(|desired| {
            let before = desired.sandboxes.remove(&pod.uid);
            let before = before
                .filter(|before| before.container == pod.container && before.inode == inside.inode);
            fresh = before.is_none();
            let mut left = before.map(|before| before.left).unwrap_or_default();
            for name in awaited.iter().filter_map(Awaited::fixed_name) {
                left.remove(&name);
            }
            let sandbox = Sandbox {
                container: pod.container.clone(),
                netns: pod.netns.clone(),
                inode: inside.inode,
                recorded,
                left,
            };
            desired.sandboxes.insert(pod.uid.clone(), sandbox);
        });
        self.wake();
        fresh
    }

    async fn wait_attached(
        &self,
        pod: &Plugged,
        inside: &Inside,
        awaited: &[Awaited],
        deadline: Instant,
    ) -> Result<Vec<Attached>, FaultOf> {
        let (mut outcomes, mut desired) = (self.outcomes.clone(), self.desired.subscribe());
        let mut refused_since = None;
        loop {
            let judged = {
                let (desired, outcome) =
                    (desired.borrow_and_update(), outcomes.borrow_and_update());
                judge(awaited, &pod.uid, inside.inode, &desired, &outcome)
            };
            let (lines, refused) = match judged {
                Judged::Attached(attached) => return Ok(attached),
                Judged::Waiting { lines, refused } => (lines, refused),
            };
            let now = Instant::now();
            refused_since = refused.then(|| refused_since.unwrap_or(now));
            let until = refused_since.map_or(deadline, |at| deadline.min(at + PROBLEM_PATIENCE));
            let changed = async {
                tokio::select! {
                    changed = outcomes.changed() => changed.is_ok(),
                    changed = desired.changed() => changed.is_ok(),
                }
            };
            if !timeout_at(until, changed).await.unwrap_or(false) {
                return Err(self.unattached(&lines, refused));
            }
        }
    }

    /// The fault of a pod that did not get what it waits for.
    fn unattached(&self, lines: &BTreeMap<usize, String>, refused: bool) -> FaultOf {
        let lines: Vec<&str> = lines.values().map(String::as_str).collect();
        let mut message = lines.join("; ");
        if !refused {
            message = format!("not attached within {} s: {message}", PATIENCE.as_secs());
            if self.controller.url().is_none() {
                let troubles = self.controller.troubles().join("; ");
                message = format!("{message}; no operator is followed: {troubles}");
            }
        }
        fault(TRY_AGAIN, message).into()
    }
}

/// A pod's sandbox, as a request names it.
#[derive(Debug)]
struct Plugged {
    uid: String,
    container: String,
    netns: String,
}
