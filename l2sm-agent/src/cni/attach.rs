//! `attach`: a namespace joins a network.

use std::{collections::BTreeSet, time::Duration};

use l2sm_api::{
    grpc::{Revision, read_mac, read_net, v1},
    socket::{Attach, Attached, ContainerInterface, Detach, Fault},
};
use l2sm_core::{
    instructions::{Instructions, Port},
    model::ObjectKey,
};
use tokio::time::{Instant, timeout_at};
use tonic::Code;

use super::{
    Controller, Inside, Node, Service,
    fault::{FaultOf, INVALID, TRY_AGAIN, fault, refusal},
    records::Record,
    wish::Wish,
};

/// An attachment that is not programmed within this fails, with nothing left behind.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

impl<C: Controller, N: Node> Service<C, N> {
    pub(super) async fn attach(&self, request: Attach) -> Result<Attached, Fault> {
        let deadline = Instant::now() + PATIENCE;
        Ok(self.attach_until(request, deadline).await?)
    }

    async fn attach_until(&self, request: Attach, deadline: Instant) -> Result<Attached, FaultOf> {
        if request.network.is_empty() || request.netns.is_empty() {
            return Err(fault(INVALID, "attach: network and netns are needed").into());
        }
        if self.is_by_operator(&request) {
            return self.attach_by_operator(&request).await;
        }
        let network = ObjectKey::new(super::namespace(&request.namespace), &request.network);
        let wish = Wish::read(&request)?;
        // An attachment that is to be released must not be taken for this one.
        timeout_at(deadline, self.take_notes()).await.map_err(|_late| late(None))?;
        let inside = self.look(&request.netns).await?;
        let granted = self.ask_for(&request, &network, wish, &inside, deadline).await?;
        let of = container_of(&request, &granted.attached.ifname);
        if let Some(of) = &of {
            self.record(of, &request, &granted.key, inside.inode).await;
        }
        if let Err(why) = self.wait_programmed(&granted, &network, deadline).await {
            if !granted.existed {
                self.release(&BTreeSet::from([granted.key.clone()])).await;
            }
            return Err(why);
        }
        self.notes.get().zip(of).inspect(|(notes, of)| notes.forget(of));
        Ok(granted.attached)
    }

    /// Has the controller make the attachment.
    async fn ask_for(
        &self,
        request: &Attach,
        network: &ObjectKey,
        wish: Wish,
        inside: &Inside,
        deadline: Instant,
    ) -> Result<Granted, FaultOf> {
        let naming = timeout_at(deadline, self.naming.lock()).await.map_err(|_late| late(None))?;
        self.tell_releases().await;
        let known = self.desired.borrow().effective();
        let ifname = choose_name(&known, inside, network, request)?;
        let asked = v1::AttachRequest {
            node: self.identity.node.clone(),
            network: Some(network.clone().into()),
            netns: request.netns.clone(),
            netns_inode: inside.inode,
            ifname: ifname.clone(),
            addresses: wish.addresses,
            mac: wish.mac.map(|mac| mac.0.to_vec()).unwrap_or_default(),
            pod: request.pod.clone().unwrap_or_default(),
            container_id: request.container_id.clone().unwrap_or_default(),
        };
        let followed = self.controller.attaches_by_request().is_some();
        let granted = timeout_at(deadline, self.controller.attach(asked)).await;
        drop(naming);
        let doubtful = match granted {
            Ok(Ok(reply)) => match Granted::read(reply, &known) {
                Ok(granted) => return Ok(granted),
                Err(why) => why,
            },
            Ok(Err(status)) if is_definite(status.code()) => return Err(refusal(&status).into()),
            Ok(Err(status)) => refusal(&status).into(),
            Err(_elapsed) => late(None),
        };
        let here = |port: &Port| port.netns_inode == inside.inode && port.ifname == ifname;
        if followed && !known.ports.values().any(here) {
            self.undo(request, ifname, inside.inode).await;
        }
        Err(doubtful)
    }

    /// Removes an attachment that the controller may have made, although it did not say so.
    async fn undo(&self, request: &Attach, ifname: String, inode: u64) {
        let of = container_of(request, &ifname);
        let release = release_of(request, ifname);
        if self.detach_unseen(&release, inode).await {
            return;
        }
        if let Some(of) = of {
            self.note_release(&of, &release);
        }
    }

    /// Removes an attachment that was made for a runtime which does not wait for it any more.
    pub(super) async fn undo_unheard(&self, request: &Attach, attached: &Attached) {
        let Some(of) = container_of(request, &attached.ifname) else { return };
        tracing::info!(container = of.container_id, ifname = of.ifname, "nobody heard of it");
        let release = release_of(request, of.ifname.clone());
        if let Err(why) = self.detach_container(&release).await {
            tracing::debug!(why = why.message, "a note waits");
            self.note_release(&of, &release);
        }
    }

    /// Notes which container has the attachment: DEL and GC ask by it.
    async fn record(&self, of: &ContainerInterface, request: &Attach, key: &ObjectKey, inode: u64) {
        let record = Record {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            config: request.config.clone(),
            netns_inode: inode,
            pod_namespace: request.pod_namespace.clone(),
            pod: request.pod.clone(),
            pod_uid: request.pod_uid.clone(),
        };
        let recorded = self.records.lock().await.add(of.clone(), record);
        if let Err(why) = recorded {
            tracing::warn!(%why, "a container's attachment is not recorded on disk");
        }
    }

    /// Waits until the attachment is in the kernel.
    async fn wait_programmed(
        &self,
        granted: &Granted,
        network: &ObjectKey,
        deadline: Instant,
    ) -> Result<(), FaultOf> {
        let mut outcomes = self.outcomes.clone();
        loop {
            {
                let outcome = outcomes.borrow_and_update();
                if outcome.revision.as_ref().is_some_and(|at| *at >= granted.revision) {
                    if let Some(error) = outcome.error_of(&granted.key, network) {
                        return Err(fault(TRY_AGAIN, format!("attach: {error}")).into());
                    }
                    if outcome.ports.contains_key(&granted.key) {
                        return Ok(());
                    }
                }
            }
            if !matches!(timeout_at(deadline, outcomes.changed()).await, Ok(Ok(()))) {
                let why = outcomes.borrow().node_error().map(ToString::to_string);
                return Err(late(why));
            }
        }
    }
}

/// The fault of what took too long.
fn late(why: Option<String>) -> FaultOf {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let waited = PATIENCE.as_secs();
    fault(TRY_AGAIN, format!("attach: not programmed within {waited} s{why}")).into()
}

/// Whether a refusal says that nothing was made.
fn is_definite(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
    )
}

/// The interface of the runtime's container; `None`: no runtime asks.
fn container_of(request: &Attach, ifname: &str) -> Option<ContainerInterface> {
    let container_id = request.container_id.clone().filter(|id| !id.is_empty())?;
    Some(ContainerInterface { container_id, ifname: ifname.to_owned() })
}

/// The request that undoes `request`.
fn release_of(request: &Attach, ifname: String) -> Detach {
    Detach {
        network: Some(request.network.clone()),
        namespace: request.namespace.clone(),
        netns: request.netns.clone(),
        ifname: Some(ifname),
        container_id: request.container_id.clone(),
    }
}

/// What the controller made.
#[derive(Debug)]
struct Granted {
    /// It was known here before.
    existed: bool,
    key: ObjectKey,
    revision: Revision,
    attached: Attached,
}

impl Granted {
    fn read(reply: v1::AttachReply, known: &Instructions) -> Result<Self, FaultOf> {
        let unreadable = |why: String| {
            FaultOf(fault(TRY_AGAIN, format!("attach: the controller's answer: {why}")))
        };
        let port = reply.port.ok_or_else(|| unreadable("no port".to_owned()))?;
        let key = reply.attachment.ok_or_else(|| unreadable("no key".to_owned()))?;
        let revision = reply.revision.ok_or_else(|| unreadable("no revision".to_owned()))?;
        let mac = read_mac("port.mac", &port.mac).map_err(|why| unreadable(why.to_string()))?;
        let ips = port.addresses.iter().map(|address| read_net("port.addresses", address));
        let ips = ips.collect::<Result<Vec<_>, _>>().map_err(|why| unreadable(why.to_string()))?;
        let attached = Attached {
            ifname: port.ifname,
            mac: mac.to_string(),
            ips: ips.iter().map(ToString::to_string).collect(),
            vni: port.vni,
            mtu: port.mtu,
        };
        let key = ObjectKey::from(key);
        let existed = known.ports.contains_key(&key);
        Ok(Self { existed, key, revision: revision.into(), attached })
    }
}

/// The name that the interface gets: the wish, if it is free or ours already; else that of the
/// attachment which is there; else the first free `netN`.
fn choose_name(
    known: &Instructions,
    inside: &Inside,
    network: &ObjectKey,
    request: &Attach,
) -> Result<String, FaultOf> {
    let here = || known.ports.values().filter(|port| port.netns_inode == inside.inode);
    let of_network = |vni| known.segments.get(vni).is_some_and(|of| of.network == *network);
    if let Some(wish) = &request.ifname {
        let ours = here().any(|port| port.ifname == *wish && of_network(&port.vni));
        if inside.names.contains(wish) && !ours {
            let message = format!("interface {wish} in {}: the name is taken", request.netns);
            return Err(fault(INVALID, message).into());
        }
        return Ok(wish.clone());
    }
    if let Some(port) = here().find(|port| of_network(&port.vni)) {
        return Ok(port.ifname.clone());
    }
    let used: BTreeSet<&str> = inside
        .names
        .iter()
        .map(String::as_str)
        .chain(here().map(|port| port.ifname.as_str()))
        .collect();
    let names = (1..=used.len() + 1).map(|n| format!("net{n}"));
    let free = names.into_iter().find(|name| !used.contains(name.as_str()));
    Ok(free.unwrap_or_default())
}
