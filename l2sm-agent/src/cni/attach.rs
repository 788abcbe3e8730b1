//! `attach`: a namespace joins a network.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use ipnet::IpNet;
use l2sm_api::{
    grpc::{Revision, address_bytes, read_mac, read_net, v1, write_net},
    socket::{Attach, Attached, Fault},
};
use l2sm_common::mac::Mac;
use l2sm_core::{instructions::Instructions, model::ObjectKey};
use tokio::time::{Instant, timeout_at};

use super::{
    Controller, Inside, Node, Service,
    fault::{FaultOf, INVALID, TRY_AGAIN, fault, refusal},
};

/// An attachment that is not programmed within this fails, with nothing left behind.
const PATIENCE: Duration = Duration::from_secs(20);

impl<C: Controller, N: Node> Service<C, N> {
    pub(super) async fn attach(&self, request: Attach) -> Result<Attached, Fault> {
        let deadline = Instant::now() + PATIENCE;
        Ok(self.attach_until(request, deadline).await?)
    }

    async fn attach_until(&self, request: Attach, deadline: Instant) -> Result<Attached, FaultOf> {
        if request.network.is_empty() || request.netns.is_empty() {
            return Err(fault(INVALID, "attach: network and netns are needed").into());
        }
        let network = ObjectKey::new(super::namespace(&request.namespace), &request.network);
        let addresses = request.ips.iter().map(|text| read_wish(text));
        let addresses = addresses.collect::<Result<Vec<_>, FaultOf>>()?;
        let mac = request.mac.as_deref().map(read_mac_wish).transpose()?;
        let inside = self.look(&request.netns).await?;
        let naming = self.naming.lock().await;
        self.tell_releases().await;
        let known = self.desired.borrow().effective();
        let ifname = choose_name(&known, &inside, &network, &request)?;
        let asked = v1::AttachRequest {
            node: self.identity.node.clone(),
            network: Some(network.clone().into()),
            netns: request.netns.clone(),
            netns_inode: inside.inode,
            ifname,
            addresses,
            mac: mac.map(|mac| mac.0.to_vec()).unwrap_or_default(),
            pod: request.pod.unwrap_or_default(),
            container_id: request.container_id.unwrap_or_default(),
        };
        let granted = self.controller.attach(asked).await;
        drop(naming);
        let granted = Granted::read(granted.map_err(|status| refusal(&status))?)?;
        let existed = known.ports.contains_key(&granted.key);
        if let Err(why) = self.wait_programmed(&granted, &network, deadline).await {
            if !existed {
                self.release(&BTreeSet::from([granted.key.clone()])).await;
            }
            return Err(why);
        }
        Ok(granted.attached)
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
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                let waited = PATIENCE.as_secs();
                let message = format!("attach: not programmed within {waited} s{why}");
                return Err(fault(TRY_AGAIN, message).into());
            }
        }
    }
}

/// What the controller made.
#[derive(Debug)]
struct Granted {
    key: ObjectKey,
    revision: Revision,
    attached: Attached,
}

impl Granted {
    fn read(reply: v1::AttachReply) -> Result<Self, FaultOf> {
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
        Ok(Self { key: key.into(), revision: revision.into(), attached })
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

/// An address with or without prefix length.
fn read_wish(text: &str) -> Result<v1::Address, FaultOf> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Ok(write_net(&net));
    }
    let address: IpAddr = text.parse().map_err(|_no_address| {
        fault(INVALID, format!("address {text}: expected an IP address, as in 10.0.0.5/24"))
    })?;
    Ok(v1::Address { ip: address_bytes(address), prefix_len: 0 })
}

fn read_mac_wish(text: &str) -> Result<Mac, FaultOf> {
    match text.parse::<Mac>() {
        Ok(mac) if mac.is_station() => Ok(mac),
        Ok(_group) => Err(fault(INVALID, format!("MAC {text}: a group or zero address")).into()),
        Err(why) => Err(fault(INVALID, format!("MAC {text}: {why}")).into()),
    }
}
