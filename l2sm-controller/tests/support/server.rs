//! A controller in this process.

use std::{net::SocketAddr, path::Path, sync::Arc};

use l2sm_api::{
    grpc::v1::{self, objects_client::ObjectsClient},
    objects::parse_documents,
};
use l2sm_controller::{hub::Hub, serve::Listener, store::RedbStore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

pub(crate) struct Server {
    pub(crate) hub: Arc<Hub>,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(store: &Path) -> Self {
        let store = RedbStore::open(store, "source-of-the-test").unwrap();
        let hub = Arc::new(Hub::open(Box::new(store)).unwrap());
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (address, stop) = (listener.address, CancellationToken::new());
        let serve = listener.serve(Arc::clone(&hub), stop.clone());
        let task = tokio::spawn(async { serve.await.unwrap() });
        Self { hub, address, stop, task }
    }

    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }

    pub(crate) fn objects(&self) -> ObjectsClient<Channel> {
        ObjectsClient::new(self.channel())
    }

    pub(crate) async fn apply(&self, yaml: &str) -> Result<Vec<v1::Applied>, tonic::Status> {
        let documents = parse_documents("f", yaml).unwrap();
        let objects = documents.iter().map(|document| document.object.to_json().unwrap()).collect();
        let request = v1::ApplyRequest { objects, dry_run: false };
        Ok(self.objects().apply(request).await?.into_inner().applied)
    }

    pub(crate) async fn list(&self, kind: &str) -> Vec<serde_json::Value> {
        let request = v1::ListRequest { kind: kind.into(), ..v1::ListRequest::default() };
        let reply = self.objects().list(request).await.unwrap().into_inner();
        reply.objects.iter().map(|json| serde_json::from_str(json).unwrap()).collect()
    }

    /// Stops it and lets go of the store.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
        let deadline = std::time::Instant::now() + super::agent::DEADLINE;
        while Arc::strong_count(&self.hub) > 1 {
            assert!(std::time::Instant::now() < deadline, "somebody keeps the hub");
            tokio::task::yield_now().await;
        }
    }
}
