//! A node's first certificate: for a token that proves on which node its pod is.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    core::v1::Pod,
};
use kube::{Api, Client, api::PostParams};
use l2sm_api::grpc::v1::{SignReply, SignRequest, bootstrap_server::Bootstrap};
use time::OffsetDateTime;
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use crate::{ask::ask, metrics::Metrics, trust::Authority};

/// Whom a token must be for.
const AUDIENCE: &str = "l2sm";
/// Tokens that are reviewed at a time: anybody may send one.
pub const REVIEWS: usize = 16;
/// How long a token waits for its turn.
const TURN: Duration = Duration::from_secs(5);
/// Longest token, bytes.
const TOKEN_MAX: usize = 16 << 10;

/// Signs nodes' keys.
#[derive(Clone)]
pub struct BootstrapService {
    /// The API server.
    pub client: Client,
    /// The agents' service account, as `system:serviceaccount:NAMESPACE:NAME`.
    pub account: String,
    /// The authority.
    pub authority: watch::Receiver<Arc<Authority>>,
    /// Turns of [`REVIEWS`].
    pub reviews: Arc<Semaphore>,
    /// Figures.
    pub metrics: Arc<Metrics>,
}

#[tonic::async_trait]
impl Bootstrap for BootstrapService {
    async fn sign(&self, request: Request<SignRequest>) -> Result<Response<SignReply>, Status> {
        let SignRequest { token, csr } = request.into_inner();
        // A certificate is no reason for another one: of a node that is gone it would never end.
        let node = self.node_of_token(token).await?;
        let authority = Arc::clone(&self.authority.borrow());
        let certificate = authority.sign_node(&csr, &node, OffsetDateTime::now_utc());
        let certificate =
            certificate.map_err(|why| Status::invalid_argument(format!("{why:#}")))?;
        self.metrics.signed.fetch_add(1, Ordering::Relaxed);
        info!(node, "certificate signed");
        Ok(Response::new(SignReply { certificate, authorities: authority.bundle() }))
    }
}

impl BootstrapService {
    /// The node on which the token's pod is.
    async fn node_of_token(&self, token: String) -> Result<String, Status> {
        let refuse = |why: String| {
            warn!("a token is refused: {why}");
            Status::unauthenticated(format!("the token is refused: {why}"))
        };
        check_length(&token).map_err(refuse)?;
        let Ok(Ok(_turn)) = timeout(TURN, self.reviews.acquire()).await else {
            return Err(Status::unavailable("too many tokens wait to be reviewed: try again"));
        };
        let review = TokenReview {
            spec: TokenReviewSpec { token, audiences: Some(vec![AUDIENCE.to_owned()]) },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let reviewed = ask(api.create(&PostParams::default(), &review)).await.map_err(|why| {
            warn!(%why, "cannot review a token");
            Status::unavailable("cannot ask the API server about the token")
        })?;
        let status = reviewed.status.unwrap_or_default();
        if status.authenticated != Some(true) {
            let why = status.error.unwrap_or_default();
            let why = why.lines().next().unwrap_or_default();
            return Err(refuse(format!("it is no token for audience {AUDIENCE:?}: {why}")));
        }
        if !status.audiences.iter().flatten().any(|audience| audience == AUDIENCE) {
            return Err(refuse(format!("it is not for audience {AUDIENCE:?}")));
        }
        let user = status.user.unwrap_or_default();
        let pod = bound_pod(&user, &self.account).map_err(refuse)?;
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let found = ask(api.get_opt(&pod.name)).await.map_err(|why| {
            warn!(%why, "cannot ask for a token's pod");
            Status::unavailable("cannot ask the API server for the token's pod")
        })?;
        let found = found.filter(|found| found.metadata.uid.as_ref() == Some(&pod.uid));
        let node = found.and_then(|found| found.spec?.node_name);
        node.ok_or_else(|| refuse(format!("its pod {} is gone, or on no node", pod.name)))
    }
}

fn check_length(token: &str) -> Result<(), String> {
    match token.len() {
        0 => Err("there is none".to_owned()),
        length if length > TOKEN_MAX => Err("it is too long".to_owned()),
        _ => Ok(()),
    }
}

/// The pod to which a token is bound.
#[derive(Debug, PartialEq, Eq)]
struct BoundPod {
    namespace: String,
    name: String,
    uid: String,
}

/// The pod of the agents' service account that a reviewed token is bound to.
fn bound_pod(user: &UserInfo, account: &str) -> Result<BoundPod, String> {
    let name = user.username.as_deref().unwrap_or_default();
    if name != account {
        return Err(format!("it is {name:?}'s; expected {account:?}'s"));
    }
    let namespace = account.split(':').nth(2).unwrap_or_default().to_owned();
    let none = BTreeMap::new();
    let extra = user.extra.as_ref().unwrap_or(&none);
    let text = |key: &str| extra.get(key).and_then(|values| values.first()).cloned();
    let pod = text("authentication.kubernetes.io/pod-name");
    let uid = text("authentication.kubernetes.io/pod-uid");
    match (pod, uid) {
        (Some(name), Some(uid)) => Ok(BoundPod { namespace, name, uid }),
        _ => Err("it is bound to no pod; expected a projected token".to_owned()),
    }
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
