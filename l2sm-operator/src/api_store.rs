//! The hub's store on a cluster: what it writes goes to the API server.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::DynamicObject,
};
use l2sm_api::objects::{API_VERSION, Kind, L2Attachment, L2Network, L2Node, L2NodeSpec, Object};
use l2sm_controller::{
    catalog::ObjectRef,
    store::{Batch, Contents, Meta, Store, StoreError},
};
use l2sm_core::{model::ObjectKey, vni_plan::VNI_CHOSEN_MAX};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::{
    ask::ask,
    lease::Permit,
    stored::{NODE_UID, POD_UID, Stored, resource, version_of},
};

/// In whose name fields are written.
pub const MANAGER: &str = "l2sm-operator";

/// What was written here, until the watch shows the end of it.
#[derive(Clone, Debug, Default)]
pub struct Written(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    /// Versions by UID: what the watch shows of older ones is old news.
    versions: BTreeMap<String, u64>,
    /// UID and spec of nodes, by name: the same is not written again.
    nodes: BTreeMap<String, (String, L2NodeSpec)>,
}

impl Written {
    /// Whether a version of the object `uid` is older than what was written.
    pub fn is_old(&self, uid: &str, version: u64) -> bool {
        self.held().versions.get(uid).is_some_and(|written| version < *written)
    }

    /// The watch has seen the end of the object `uid`.
    pub fn forget(&self, uid: &str) {
        let mut held = self.held();
        held.versions.remove(uid);
        held.nodes.retain(|_, (node, _)| node != uid);
    }

    fn note(&self, uid: &str, version: u64) {
        self.held().versions.insert(uid.to_owned(), version);
    }

    fn note_node(&self, name: &str, uid: &str, spec: &L2NodeSpec) {
        self.held().nodes.insert(name.to_owned(), (uid.to_owned(), spec.clone()));
    }

    /// Whether a node stands there with that spec.
    fn has_node(&self, name: &str, spec: &L2NodeSpec) -> bool {
        self.held().nodes.get(name).is_some_and(|(_, held)| held == spec)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cluster as the hub's store, for one term of this process as the holder of the Lease.
pub struct ApiStore {
    client: Client,
    runtime: Handle,
    permit: Permit,
    written: Written,
    /// Where nodes may have VTEPs besides at their own addresses.
    vtep_cidrs: Vec<IpNet>,
    contents: Contents,
    uids: BTreeMap<String, String>,
}

/// What a term begins with.
#[derive(Clone, Debug)]
pub struct Ground {
    /// UID of namespace `kube-system`.
    pub source: String,
    /// The Lease's transitions.
    pub epoch: u64,
    /// Where nodes may have VTEPs besides at their own addresses.
    pub vtep_cidrs: Vec<IpNet>,
}

impl ApiStore {
    /// The store of a term. `objects` are all that there are, read after the Lease was taken.
    ///
    /// # Errors
    /// An object has no JSON form.
    pub fn new(
        client: Client,
        permit: Permit,
        written: Written,
        ground: Ground,
        objects: Vec<Object>,
    ) -> Result<Self, StoreError> {
        let mut last_vni = 0;
        let (mut rows, mut uids) = (Vec::new(), BTreeMap::new());
        for mut object in objects {
            let key = reference(&object).to_string();
            "1".clone_into(&mut object.metadata_mut().resource_version);
            uids.insert(key.clone(), object.metadata().uid.clone());
            if let Object::L2Network(network) = &object {
                let vni = network.status.as_ref().and_then(|status| status.vni);
                last_vni = last_vni.max(vni.filter(|vni| *vni > VNI_CHOSEN_MAX).unwrap_or(0));
            }
            if let Object::L2Node(node) = &object {
                written.note_node(&node.metadata.name, &node.metadata.uid, &node.spec);
            }
            let json = object
                .to_json()
                .map_err(|why| StoreError::Object { key: key.clone(), why: why.to_string() })?;
            rows.push((key, json));
        }
        let meta = Meta { source: ground.source, epoch: ground.epoch, revision: 1, last_vni };
        let contents = Contents { meta, objects: rows };
        let (runtime, vtep_cidrs) = (Handle::current(), ground.vtep_cidrs);
        Ok(Self { client, runtime, permit, written, vtep_cidrs, contents, uids })
    }

    async fn write(&mut self, batch: &Batch) -> Result<Vec<Object>, StoreError> {
        let mut completed = Vec::new();
        for (key, json) in &batch.put {
            check_permit(&self.permit)?;
            completed.extend(self.put(key, json).await?);
        }
        for key in &batch.remove {
            check_permit(&self.permit)?;
            self.remove(key).await?;
        }
        Ok(completed)
    }

    async fn put(&mut self, key: &str, json: &str) -> Result<Option<Object>, StoreError> {
        let unreadable = |why: serde_json::Error| StoreError::Object {
            key: key.to_owned(),
            why: why.to_string(),
        };
        let kind = key.split('/').next().unwrap_or_default();
        if kind == Kind::L2Attachment.name() {
            let attachment: L2Attachment = serde_json::from_str(json).map_err(unreadable)?;
            return self.create_attachment(key, &attachment).await.map(Some);
        }
        if kind == Kind::L2Network.name() {
            let network: L2Network = serde_json::from_str(json).map_err(unreadable)?;
            self.number_network(&network).await?;
            return Ok(None);
        }
        if kind == Kind::L2Node.name() {
            let node: L2Node = serde_json::from_str(json).map_err(unreadable)?;
            return self.put_node(key, node).await;
        }
        Err(StoreError::Refused(format!("{key} is written with kubectl here")))
    }

    /// The object is the allocation: its addresses are in the call that creates it.
    async fn create_attachment(
        &mut self,
        key: &str,
        attachment: &L2Attachment,
    ) -> Result<Object, StoreError> {
        let (metadata, spec) = (&attachment.metadata, &attachment.spec);
        let raw = json!({
            "apiVersion": API_VERSION,
            "kind": Kind::L2Attachment.name(),
            "metadata": {
                "name": metadata.name,
                "namespace": metadata.namespace,
                "labels": metadata.labels,
                "ownerReferences": owners(attachment),
            },
            "spec": spec,
        });
        let raw: DynamicObject = read_json(key, raw)?;
        let api = self.api(Kind::L2Attachment, &metadata.namespace);
        let parameters =
            PostParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
        let created = match ask(api.create(&parameters, &raw)).await {
            // A call before this one was carried out, though its answer did not come.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let found = request("read", key, api.get(&metadata.name)).await?;
                if !is_as_created(attachment, found.clone()) {
                    return Err(StoreError::Refused(format!("there is another {key} already")));
                }
                found
            }
            created => created.map_err(|why| failed("create", key, &why))?,
        };
        self.completed(key, Kind::L2Attachment, created)
    }

    async fn number_network(&self, network: &L2Network) -> Result<(), StoreError> {
        let (key, vni) = (network.metadata.key(), network.status.as_ref().and_then(|it| it.vni));
        let api = self.api(Kind::L2Network, &key.namespace);
        // What the schema requires of a status is filled in by its defaults.
        let patch = json!({"metadata": {"uid": network.metadata.uid}, "status": {"vni": vni}});
        let name = format!("L2Network {key}");
        let parameters =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
        let patch = Patch::Merge(&patch);
        let patched = api.patch_status(&key.name, &parameters, &patch);
        let patched = request("write the VNI of", &name, patched).await?;
        self.written.note(&network.metadata.uid, version_of(&patched.metadata));
        Ok(())
    }

    /// Writes what is new of a node: its status is written with all the others.
    async fn put_node(&mut self, key: &str, node: L2Node) -> Result<Option<Object>, StoreError> {
        let name = node.metadata.name.clone();
        if self.written.has_node(&name, &node.spec) {
            return Ok(None);
        }
        let nodes: Api<ApiNode> = Api::all(self.client.clone());
        let owner = request("read node", &name, nodes.get_opt(&name)).await?;
        let Some(owner) = owner else {
            return Err(StoreError::Refused(format!("there is no node {name} in the cluster")));
        };
        check_vteps(&node, &owner, &self.vtep_cidrs)?;
        let patch = json!({
            "apiVersion": API_VERSION,
            "kind": Kind::L2Node.name(),
            "metadata": {
                "name": name,
                "ownerReferences": [{
                    "apiVersion": "v1",
                    "kind": "Node",
                    "name": name,
                    "uid": owner.metadata.uid.unwrap_or_default(),
                }],
            },
            "spec": node.spec,
        });
        // Reading the node took its time.
        check_permit(&self.permit)?;
        let api = self.api(Kind::L2Node, "");
        let parameters = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&patch);
        let patched = api.patch(&name, &parameters, &patch);
        let patched = request("write", key, patched).await?;
        let completed = self.completed(key, Kind::L2Node, patched)?;
        self.written.note_node(&name, &completed.metadata().uid, &node.spec);
        // Its status here is what the agent said, not what is shown there.
        let Object::L2Node(stored) = completed else { return Ok(None) };
        Ok(Some(Object::L2Node(Box::new(L2Node { status: node.status, ..*stored }))))
    }

    async fn remove(&mut self, key: &str) -> Result<(), StoreError> {
        let (kind, at) = split(key);
        let Some(kind) = kind else { return Ok(()) };
        let uid = self.uids.get(key).cloned();
        let parameters = DeleteParams {
            preconditions: uid
                .clone()
                .map(|uid| Preconditions { uid: Some(uid), resource_version: None }),
            ..DeleteParams::default()
        };
        let api = self.api(kind, &at.namespace);
        match ask(api.delete(&at.name, &parameters)).await {
            Ok(_) => {}
            // Gone already, or another one of that name.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(why) => return Err(failed("delete", key, &why)),
        }
        if let Some(uid) = uid {
            self.written.forget(&uid);
            self.written.note(&uid, u64::MAX);
        }
        drop(self.uids.remove(key));
        Ok(())
    }

    fn completed(
        &mut self,
        key: &str,
        kind: Kind,
        raw: DynamicObject,
    ) -> Result<Object, StoreError> {
        let stored = Stored::read(kind, raw);
        self.written.note(&stored.uid, stored.version);
        self.uids.insert(key.to_owned(), stored.uid);
        stored.object.map_err(|why| StoreError::Object { key: key.to_owned(), why })
    }

    fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        let (client, resource) = (self.client.clone(), resource(kind));
        if kind.is_namespaced() {
            Api::namespaced_with(client, namespace, &resource)
        } else {
            Api::all_with(client, &resource)
        }
    }
}

impl Store for ApiStore {
    fn load(&self) -> Result<Contents, StoreError> {
        Ok(self.contents.clone())
    }

    fn commit(&mut self, batch: &Batch) -> Result<Vec<Object>, StoreError> {
        let runtime = self.runtime.clone();
        runtime.block_on(Box::pin(self.write(batch)))
    }
}

/// Each request of a batch takes its time: the permit may end between two.
fn check_permit(permit: &Permit) -> Result<(), StoreError> {
    if permit.holds() {
        return Ok(());
    }
    let why = "cannot write: the term is over, or the lease could not be renewed";
    Err(StoreError::Away(why.to_owned()))
}

/// Whether what stands there is what a call to create `attachment` left.
fn is_as_created(attachment: &L2Attachment, found: DynamicObject) -> bool {
    let Ok(Object::L2Attachment(found)) = Stored::read(Kind::L2Attachment, found).object else {
        return false;
    };
    found.spec == attachment.spec && found.metadata.labels == attachment.metadata.labels
}

/// Whose an attachment is: while its pod or its node is there the garbage collector leaves it alone. It
/// outlives its pod, and holds its addresses, until it is removed here, by whoever serves then.
fn owners(attachment: &L2Attachment) -> Vec<Value> {
    let L2Attachment { metadata, spec, .. } = attachment;
    let pod = spec.pod.as_deref().unwrap_or_default();
    let owners = [("Pod", pod, POD_UID), ("Node", spec.node.as_str(), NODE_UID)];
    let owners = owners.into_iter().filter_map(|(kind, name, label)| {
        let uid = metadata.labels.get(label)?;
        Some(json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}))
    });
    owners.collect()
}

/// A VTEP address is one of the Node's own, or in a range that the administrator named.
fn check_vteps(node: &L2Node, owner: &ApiNode, cidrs: &[IpNet]) -> Result<(), StoreError> {
    let addresses = owner.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let own: Vec<_> =
        addresses.filter_map(|line| line.address.parse::<std::net::IpAddr>().ok()).collect();
    let stranger = node
        .spec
        .vtep_addresses
        .iter()
        .find(|vtep| !own.contains(vtep) && !cidrs.iter().any(|cidr| cidr.contains(*vtep)));
    let Some(stranger) = stranger else { return Ok(()) };
    let name = &node.metadata.name;
    Err(StoreError::Refused(format!(
        "VTEP address {stranger} is none of node {name}'s addresses, and in no --vtep-cidr of the operator"
    )))
}

fn reference(object: &Object) -> ObjectRef {
    ObjectRef::new(object.kind(), object.metadata().key())
}

/// Kind and key of a store's key.
fn split(key: &str) -> (Option<Kind>, ObjectKey) {
    let mut parts = key.splitn(3, '/');
    let mut next = || parts.next().unwrap_or_default();
    let kind = Kind::find(next()).ok();
    (kind, ObjectKey::new(next(), next()))
}

async fn request<T>(
    verb: &str,
    key: &str,
    sent: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, StoreError> {
    ask(sent).await.map_err(|why| failed(verb, key, &why))
}

fn failed(verb: &str, key: &str, why: &kube::Error) -> StoreError {
    if let kube::Error::Api(status) = why
        && (400..500).contains(&status.code)
        && status.code != 429
    {
        return StoreError::Refused(format!("cannot {verb} {key}: {}", status.message));
    }
    StoreError::Away(format!("cannot {verb} {key}: {why}"))
}

fn read_json(key: &str, value: Value) -> Result<DynamicObject, StoreError> {
    serde_json::from_value(value)
        .map_err(|why| StoreError::Object { key: key.to_owned(), why: why.to_string() })
}

#[cfg(test)]
#[path = "api_store_tests.rs"]
mod tests;
