//! What agents tell the hub: hello, acks, reports, good-bye.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use l2sm_api::objects::{
    API_VERSION, Condition, Kind, L2Node, L2NodeSpec, L2NodeStatus, Metadata, Object,
    field::name_fault,
};
use l2sm_core::model::ObjectKey;
use thiserror::Error;

use super::{Hub, State};
use crate::{catalog::node_key, draft::Draft, progress::ProgramError, store::StoreError};

/// What an agent says of itself first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentHello {
    /// Its node.
    pub node: String,
    /// VTEP addresses, UDP port and underlay MTU.
    pub spec: L2NodeSpec,
    /// Its version.
    pub version: String,
    /// Layout version of its maps.
    pub abi: u32,
    /// Features in use.
    pub features: Vec<String>,
}

/// What an agent says of its node later.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentReport {
    /// All conditions that it knows.
    pub conditions: Vec<Condition>,
    /// Features in use; none: as before.
    pub features: Vec<String>,
    /// VTEP addresses; none: as before.
    pub vtep_addresses: Vec<IpAddr>,
    /// Underlay MTU, bytes; 0: as before.
    pub underlay_mtu: u32,
}

/// Why an agent cannot follow.
#[derive(Debug, Error)]
pub enum HelloError {
    /// What it says cannot be.
    #[error("{0}")]
    Wrong(String),
    /// Another agent follows in its name.
    #[error("node {node} is served already: its agent at {peer} is connected")]
    Served {
        /// The node.
        node: String,
        /// Where the live stream comes from.
        peer: String,
    },
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hub {
    /// An agent begins to follow. The result numbers its stream.
    ///
    /// # Errors
    /// See [`HelloError`].
    pub fn hello(&self, hello: AgentHello, peer: Option<SocketAddr>) -> Result<u64, HelloError> {
        if let Some(why) = name_fault(&hello.node) {
            return Err(HelloError::Wrong(format!("node name {why}")));
        }
        let mut state = self.lock();
        if let Some((_, peer)) = state.progress.stream(&hello.node) {
            let peer =
                peer.map_or_else(|| "an unknown address".to_owned(), |peer| peer.to_string());
            return Err(HelloError::Served { node: hello.node, peer });
        }
        let key = node_key(&hello.node);
        let old = state.catalog.nodes.get(&key).map(|node| node.as_ref().clone());
        let conditions =
            old.as_ref().and_then(|node| node.status.clone()).unwrap_or_default().conditions;
        let status = L2NodeStatus {
            agent_version: hello.version,
            abi: hello.abi,
            features: hello.features,
            conditions,
            ..L2NodeStatus::default()
        };
        let metadata = old.as_ref().map_or_else(
            || Metadata { name: hello.node.clone(), ..Metadata::default() },
            |node| node.metadata.clone(),
        );
        let new = L2Node {
            api_version: API_VERSION.to_owned(),
            kind: Kind::L2Node.name().to_owned(),
            metadata,
            spec: hello.spec,
            status: Some(status),
        };
        self.put_node(&mut state, old.as_ref(), new)?;
        let id = state.next_stream;
        state.next_stream += 1;
        state.progress.join(&hello.node, id, peer);
        self.see_node(&mut state, &hello.node);
        self.stir();
        Ok(id)
    }

    /// A stream has ended. The node stays in the world.
    pub fn leave(&self, node: &str, stream: u64) {
        let mut state = self.lock();
        state.progress.leave(node, stream);
        self.see_node(&mut state, node);
        self.stir();
    }

    /// A node has a revision of this server in its kernel, but for `errors` (by kind and key).
    pub fn ack(
        &self,
        node: &str,
        number: u64,
        errors: BTreeMap<(String, ObjectKey), ProgramError>,
    ) {
        let mut state = self.lock();
        state.progress.ack(node, number, errors);
        self.see_node(&mut state, node);
        self.stir();
    }

    /// An agent reports on its node.
    ///
    /// # Errors
    /// See [`HelloError`].
    pub fn report(&self, node: &str, report: AgentReport) -> Result<(), HelloError> {
        let mut state = self.lock();
        let Some(old) = state.catalog.nodes.get(&node_key(node)).map(|node| node.as_ref().clone())
        else {
            return Err(HelloError::Wrong(format!("node {node} has been deleted")));
        };
        let mut new = old.clone();
        if !report.vtep_addresses.is_empty() {
            new.spec.vtep_addresses = report.vtep_addresses;
        }
        if report.underlay_mtu > 0 {
            new.spec.underlay_mtu = report.underlay_mtu;
        }
        let status = new.status.get_or_insert_with(L2NodeStatus::default);
        if !report.features.is_empty() {
            status.features = report.features;
        }
        status.conditions = report.conditions;
        self.put_node(&mut state, Some(&old), new)?;
        self.see_node(&mut state, node);
        self.stir();
        Ok(())
    }

    /// Notes when a node's conditions change, as it happens: who looks later is told so.
    fn see_node(&self, state: &mut State, name: &str) {
        let now = self.now();
        for object in &mut self.statuses(state, Kind::L2Node, &|key| key.name == name) {
            state.see(object, now);
        }
    }

    /// Keeps what a node says of itself, where it is new.
    fn put_node(
        &self,
        state: &mut State,
        old: Option<&L2Node>,
        new: L2Node,
    ) -> Result<(), HelloError> {
        let name = &new.metadata.name;
        if let Some(fault) = new.spec.faults().first() {
            let field = fault.field.trim_start_matches("spec.");
            return Err(HelloError::Wrong(format!("node {name}: {field}: {}", fault.message)));
        }
        let others = state.catalog.nodes.iter().filter(|(key, _)| key.name != *name);
        for (other, held) in others {
            let held = &held.spec.vtep_addresses;
            if let Some(address) =
                new.spec.vtep_addresses.iter().find(|address| held.contains(address))
            {
                return Err(HelloError::Wrong(format!(
                    "VTEP address {address} of node {name} belongs to node {other}"
                )));
            }
        }
        if old == Some(&new) {
            return Ok(());
        }
        let mut draft: Draft = self.draft(state);
        draft.put(Object::L2Node(Box::new(new)));
        self.commit(state, draft)?;
        Ok(())
    }
}
