//! How far the agents are: who is connected, what is in their kernels, what failed.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use l2sm_core::model::ObjectKey;

/// An object that a node could not program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramError {
    /// One `CamelCase` word.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// One node's agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeProgress {
    /// The stream it follows on, and where that comes from; `None`: it is away.
    pub stream: Option<(u64, Option<SocketAddr>)>,
    /// Number of the revision in its kernel; 0: not known since this server started.
    pub acked: u64,
    /// What it could not program at that revision, by kind and key.
    pub errors: BTreeMap<(String, ObjectKey), ProgramError>,
}

/// How far every node's agent is. Kept in memory: agents say it again when they connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    nodes: BTreeMap<String, NodeProgress>,
}

/// An address whose attachment is gone, on a node that may still forward for it. In memory: a server
/// that starts anew no longer holds it back. An operator's attachments stay until then instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Whose address it was.
    pub network: ObjectKey,
    /// The address.
    pub ip: IpAddr,
    /// The attachment that had it.
    pub holder: ObjectKey,
    /// Where that was.
    pub node: String,
    /// The revision without it.
    pub revision: u64,
}

impl Progress {
    /// How far a node is; away and unknown where nothing was heard.
    pub fn node(&self, name: &str) -> NodeProgress {
        self.nodes.get(name).cloned().unwrap_or_default()
    }

    /// Number of the revision in a node's kernel; 0: not known.
    pub fn acked(&self, name: &str) -> u64 {
        self.nodes.get(name).map_or(0, |node| node.acked)
    }

    /// Whether a node's agent follows now.
    pub fn is_connected(&self, name: &str) -> bool {
        self.nodes.get(name).is_some_and(|node| node.stream.is_some())
    }

    /// Where a node's live stream comes from.
    pub fn stream(&self, name: &str) -> Option<(u64, Option<SocketAddr>)> {
        self.nodes.get(name)?.stream
    }

    /// A node's agent follows on stream `id`.
    pub fn join(&mut self, name: &str, id: u64, peer: Option<SocketAddr>) {
        // What was in its kernel before may be gone: it acknowledges again what is there.
        let fresh = NodeProgress { stream: Some((id, peer)), ..NodeProgress::default() };
        self.nodes.insert(name.to_owned(), fresh);
    }

    /// Stream `id` of a node has ended.
    pub fn leave(&mut self, name: &str, id: u64) {
        if let Some(node) = self.nodes.get_mut(name)
            && node.stream.is_some_and(|(live, _)| live == id)
        {
            node.stream = None;
        }
    }

    /// A node has programmed revision `number`, but for `errors`.
    pub fn ack(
        &mut self,
        name: &str,
        number: u64,
        errors: BTreeMap<(String, ObjectKey), ProgramError>,
    ) {
        let node = self.nodes.entry(name.to_owned()).or_default();
        node.acked = node.acked.max(number);
        node.errors = errors;
    }

    /// A node is no more.
    pub fn forget(&mut self, name: &str) {
        drop(self.nodes.remove(name));
    }

    /// What nodes say about an object: the node and its error.
    pub fn errors<'a>(
        &'a self,
        kind: &'a str,
        key: &'a ObjectKey,
    ) -> impl Iterator<Item = (&'a str, &'a ProgramError)> {
        self.nodes.iter().flat_map(move |(name, node)| {
            let about = node.errors.iter().filter(move |((of, at), _)| of == kind && at == key);
            about.map(move |(_, error)| (name.as_str(), error))
        })
    }
}
