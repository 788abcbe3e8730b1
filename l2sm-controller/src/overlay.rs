//! The Overlay in force, and which nodes are in it.

use std::collections::{BTreeMap, BTreeSet};

use l2sm_api::objects::Overlay;
use l2sm_core::model::ObjectKey;

use crate::catalog::{Catalog, node_key, seniority};

/// Nodes of the cluster by name, with their label `kubernetes.io/hostname`.
pub type NodeNames = BTreeMap<String, Option<String>>;

/// Which nodes are in the Overlay in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The Overlay and its nodes, by name; `None`: all nodes are in.
    of: Option<(ObjectKey, BTreeSet<String>)>,
    /// What it lists, and what no node is called.
    pub strangers: Vec<String>,
}

impl Catalog {
    /// One Overlay is in force: the oldest; of equally old ones, the first by name.
    pub fn overlay_in_force(&self) -> Option<&Overlay> {
        let overlays = self.overlays.values().map(AsRef::as_ref);
        overlays
            .min_by_key(|overlay| (seniority(&overlay.metadata).created, overlay.metadata.key()))
    }

    /// Who is in the Overlay in force: the nodes whose label is as it lists them, else those of that
    /// name.
    pub fn members(&self, names: &NodeNames) -> Members {
        let Some(overlay) = self.overlay_in_force() else { return Members::default() };
        let Some(topology) = &overlay.spec.topology else { return Members::default() };
        let mut labelled: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
        for (name, label) in names {
            if let Some(label) = label {
                labelled.entry(label).or_default().push(name);
            }
        }
        let (mut nodes, mut strangers) = (BTreeSet::new(), Vec::new());
        for listed in &topology.nodes {
            if let Some(found) = labelled.get(listed.as_str()) {
                nodes.extend(found.iter().copied().cloned());
                continue;
            }
            if !names.contains_key(listed) && !self.nodes.contains_key(&node_key(listed)) {
                strangers.push(listed.clone());
            }
            nodes.insert(listed.clone());
        }
        Members { of: Some((overlay.metadata.key(), nodes)), strangers }
    }
}

impl Members {
    /// Why pods on `node` join no network, in words; `None`: they may.
    pub fn outside(&self, node: &str) -> Option<String> {
        let (overlay, nodes) = self.of.as_ref()?;
        if nodes.contains(node) {
            return None;
        }
        Some(format!("node {node} is not in Overlay {overlay}: see its spec.topology.nodes"))
    }

    /// How many nodes the Overlay in force lists; `None`: all are in.
    pub fn count(&self) -> Option<usize> {
        self.of.as_ref().map(|(_, nodes)| nodes.len() - self.strangers.len())
    }
}

#[cfg(test)]
mod tests {
    use l2sm_api::objects::parse_documents;

    use super::*;

    fn catalog(overlays: &[(&str, &str, &str)]) -> Catalog {
        let mut catalog = Catalog::default();
        for (name, created, topology) in overlays {
            let yaml = format!(
                "apiVersion: l2sm.l2sm.k8s.local/v1\nkind: Overlay\nmetadata: {{name: {name}}}\nspec: {{provider: {{name: a, domain: b}}{topology}}}"
            );
            let mut object = parse_documents("f", &yaml).unwrap().remove(0).object;
            object.metadata_mut().creation_timestamp = Some(created.parse().unwrap());
            catalog.put(object);
        }
        catalog
    }

    fn names(nodes: &[(&str, &str)]) -> NodeNames {
        let label = |label: &str| Some(label.to_owned()).filter(|label| !label.is_empty());
        nodes.iter().map(|(name, host)| ((*name).to_owned(), label(host))).collect()
    }

    const OLD: &str = "2026-01-01T00:00:00Z";
    const NEW: &str = "2026-02-01T00:00:00Z";

    #[test]
    fn without_overlay_or_topology_every_node_is_in() {
        for catalog in [catalog(&[]), catalog(&[("all", OLD, "")])] {
            let members = catalog.members(&names(&[("n1", "")]));
            assert_eq!((members.outside("n1"), members.count()), (None, None));
        }
    }

    #[test]
    fn nodes_are_listed_by_their_label_else_by_name() {
        let catalog = catalog(&[("few", OLD, ", topology: {nodes: [h1, n2, n3]}")]);
        // One node has another one's name as its label: that one is meant.
        let names = names(&[("n1", "h1"), ("n2", "h2"), ("n3", "n4"), ("n5", "n3")]);
        let members = catalog.members(&names);
        let outside: Vec<_> = names.keys().filter(|node| members.outside(node).is_some()).collect();
        assert_eq!(outside, ["n3"]);
        assert_eq!(
            members.outside("n3").unwrap(),
            "node n3 is not in Overlay default/few: see its spec.topology.nodes"
        );
        assert_eq!((members.count(), members.strangers.len()), (Some(3), 0));
    }

    #[test]
    fn what_no_node_is_called_is_named() {
        let catalog = catalog(&[("few", OLD, ", topology: {nodes: [n1, n9]}")]);
        let members = catalog.members(&names(&[("n1", "n1")]));
        assert_eq!((members.count(), members.strangers), (Some(1), vec!["n9".to_owned()]));
    }

    #[test]
    fn the_oldest_overlay_is_in_force_then_the_first_by_name() {
        let younger = ("a", NEW, ", topology: {nodes: [n1]}");
        let older = ("b", OLD, ", topology: {nodes: [n2]}");
        let as_old = ("c", OLD, ", topology: {nodes: [n3]}");
        let catalog = catalog(&[younger, older, as_old]);
        assert_eq!(catalog.overlay_in_force().unwrap().metadata.name, "b");
        let members = catalog.members(&NodeNames::new());
        assert_eq!(members.outside("n2"), None);
        assert!(members.outside("n1").is_some() && members.outside("n3").is_some());
    }
}
