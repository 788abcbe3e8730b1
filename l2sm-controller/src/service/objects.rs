//! `l2sm.v1.Objects`: for `l2smctl`.

use std::sync::Arc;

use l2sm_api::{
    grpc::v1::{self, objects_server::Objects},
    objects::{DEFAULT_NAMESPACE, FieldError, Kind, Object, manifest::subject, read_object},
};
use l2sm_core::model::ObjectKey;
use serde_json::Value;
use tonic::{Request, Response, Status};

use crate::{
    VERSION,
    apply::{ApplyFault, Outcome},
    catalog::ObjectRef,
    delete::DeleteOptions,
    distribute::on_hub,
    hub::{ApplyError, Hub, NodeLine},
};

/// Serves `l2smctl`.
#[derive(Clone, Debug)]
pub struct ObjectsService {
    hub: Arc<Hub>,
}

impl ObjectsService {
    /// Serves the objects of `hub`.
    pub const fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }
}

#[tonic::async_trait]
impl Objects for ObjectsService {
    async fn apply(
        &self,
        request: Request<v1::ApplyRequest>,
    ) -> Result<Response<v1::ApplyReply>, Status> {
        let v1::ApplyRequest { objects, dry_run } = request.into_inner();
        let objects = read_objects(&objects).map_err(|faults| apply_status(&faults))?;
        let applied = on_hub(&self.hub, move |hub| hub.apply(objects, dry_run)).await;
        let applied = applied.map_err(|error| match error {
            ApplyError::Faults(faults) => apply_status(&faults),
            ApplyError::Store(why) => Status::unavailable(why.to_string()),
        })?;
        let applied = applied.into_iter().map(|applied| v1::Applied {
            kind: applied.object.kind.to_string(),
            namespace: applied.object.key.namespace,
            name: applied.object.key.name,
            outcome: write_outcome(applied.outcome).into(),
        });
        Ok(Response::new(v1::ApplyReply { applied: applied.collect() }))
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListReply>, Status> {
        let v1::ListRequest { kind, namespace, name } = request.into_inner();
        let kind = read_kind(&kind)?;
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let (namespace, name) = (some(namespace), some(name));
        let objects =
            on_hub(&self.hub, move |hub| hub.list(kind, namespace.as_deref(), name.as_deref()));
        let objects = objects.await;
        let objects = objects.iter().map(Object::to_json).collect::<Result<_, _>>();
        let objects =
            objects.map_err(|why| Status::internal(format!("cannot write JSON: {why}")))?;
        Ok(Response::new(v1::ListReply { objects }))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteReply>, Status> {
        let v1::DeleteRequest { objects, cascade, ignore_not_found } = request.into_inner();
        let objects = objects.iter().map(read_reference).collect::<Result<Vec<_>, _>>()?;
        let options = DeleteOptions { cascade, ignore_not_found };
        let deleted = on_hub(&self.hub, move |hub| hub.delete(&objects, options)).await?;
        let deleted = deleted.into_iter().map(|object| v1::ObjectRef {
            kind: object.kind.to_string(),
            namespace: object.key.namespace,
            name: object.key.name,
        });
        Ok(Response::new(v1::DeleteReply { deleted: deleted.collect() }))
    }

    async fn status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusReply>, Status> {
        let status = on_hub(&self.hub, Hub::status).await;
        Ok(Response::new(v1::StatusReply {
            source: self.hub.source().to_owned(),
            epoch: self.hub.epoch(),
            revision: status.revision,
            version: VERSION.to_owned(),
            nodes: status.nodes.into_iter().map(write_node).collect(),
            networks: u32::try_from(status.networks).unwrap_or(u32::MAX),
            attachments: u32::try_from(status.attachments).unwrap_or(u32::MAX),
        }))
    }
}

/// The objects of a request; all faults of all documents otherwise.
fn read_objects(documents: &[String]) -> Result<Vec<Object>, Vec<ApplyFault>> {
    let mut objects = Vec::with_capacity(documents.len());
    let mut faults = Vec::new();
    for (index, json) in documents.iter().enumerate() {
        let document = index + 1;
        let value: Value = match serde_json::from_str(json) {
            Ok(value) => value,
            Err(why) => {
                let fault = FieldError::new("", format!("is not JSON: {why}"));
                faults.push(ApplyFault { document, subject: String::new(), fault, taken: false });
                continue;
            }
        };
        let subject = subject(&value);
        match read_object(value, DEFAULT_NAMESPACE) {
            Ok(object) => objects.push(object),
            Err(found) => faults.extend(found.into_iter().map(|fault| ApplyFault {
                document,
                subject: subject.clone(),
                fault,
                taken: false,
            })),
        }
    }
    if faults.is_empty() { Ok(objects) } else { Err(faults) }
}

/// One fault a line.
fn apply_status(faults: &[ApplyFault]) -> Status {
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    let message = lines.join("\n");
    if faults.iter().all(|fault| fault.taken) {
        Status::already_exists(message)
    } else {
        Status::invalid_argument(message)
    }
}

fn read_kind(name: &str) -> Result<Kind, Status> {
    Kind::find(name).map_err(|why| Status::invalid_argument(why.to_string()))
}

fn read_reference(reference: &v1::ObjectRef) -> Result<ObjectRef, Status> {
    let kind = read_kind(&reference.kind)?;
    if reference.name.is_empty() {
        return Err(Status::invalid_argument(format!("{kind}: a name is required")));
    }
    let namespace = match (kind.is_namespaced(), reference.namespace.as_str()) {
        (false, _) => "",
        (true, "") => DEFAULT_NAMESPACE,
        (true, namespace) => namespace,
    };
    Ok(ObjectRef::new(kind, ObjectKey::new(namespace, reference.name.as_str())))
}

const fn write_outcome(outcome: Outcome) -> v1::applied::Outcome {
    match outcome {
        Outcome::Unchanged => v1::applied::Outcome::Unchanged,
        Outcome::Created => v1::applied::Outcome::Created,
        Outcome::Configured => v1::applied::Outcome::Configured,
    }
}

fn write_node(node: NodeLine) -> v1::NodeStatus {
    v1::NodeStatus {
        name: node.name,
        connected: node.connected,
        acked_revision: node.acked,
        errors: u32::try_from(node.errors).unwrap_or(u32::MAX),
        agent_version: node.version,
    }
}
