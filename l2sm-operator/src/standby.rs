//! What a process that does not serve says to agents: who does.

use std::pin::Pin;

use l2sm_api::grpc::v1::{
    AttachReply, AttachRequest, DetachReply, DetachRequest, FromAgent, FromController, SignReply,
    SignRequest, bootstrap_server::Bootstrap, dataplane_server::Dataplane,
};
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataValue};

use crate::lease::{Serving, Standing};

/// Metadata: where the holder of the Lease serves, HOST:PORT.
const SERVING: &str = "l2sm-serving";

/// Refuses everything, naming who serves.
#[derive(Clone, Debug)]
pub struct StandbyService {
    standing: watch::Receiver<Standing>,
}

impl StandbyService {
    /// A service that follows who holds the Lease.
    pub const fn new(standing: watch::Receiver<Standing>) -> Self {
        Self { standing }
    }

    fn refuse<T>(&self) -> Result<T, Status> {
        Err(refusal(&self.standing.borrow()))
    }
}

/// The answer of a process with that standing, which does not serve now.
fn refusal(standing: &Standing) -> Status {
    let serving = match standing {
        Standing::Holder { .. } => {
            return Status::unavailable(
                "this operator holds the lease, and will serve in a moment",
            );
        }
        Standing::Standby(None) => {
            return Status::unavailable("on standby: nobody holds the lease now");
        }
        Standing::Standby(Some(serving)) => serving,
    };
    let Serving { holder, address } = serving;
    let mut status = Status::unavailable(format!("on standby: {holder} at {address} serves"));
    if let Ok(value) =
        MetadataValue::try_from(address.as_str()).map(|value: MetadataValue<_>| value)
        && !address.is_empty()
    {
        status.metadata_mut().insert(SERVING, value);
    }
    status
}

#[tonic::async_trait]
impl Dataplane for StandbyService {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<FromController, Status>> + Send>>;

    async fn follow(
        &self,
        _request: Request<Streaming<FromAgent>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        self.refuse()
    }

    async fn attach(
        &self,
        _request: Request<AttachRequest>,
    ) -> Result<Response<AttachReply>, Status> {
        self.refuse()
    }

    async fn detach(
        &self,
        _request: Request<DetachRequest>,
    ) -> Result<Response<DetachReply>, Status> {
        self.refuse()
    }
}

#[tonic::async_trait]
impl Bootstrap for StandbyService {
    async fn sign(&self, _request: Request<SignRequest>) -> Result<Response<SignReply>, Status> {
        self.refuse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_names_who_serves_and_where() {
        let serving = Serving { holder: "op-1".into(), address: "192.0.2.7:30808".into() };
        let status = refusal(&Standing::Standby(Some(serving)));
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert_eq!(status.message(), "on standby: op-1 at 192.0.2.7:30808 serves");
        assert_eq!(status.metadata().get(SERVING).unwrap(), "192.0.2.7:30808");
        let status = refusal(&Standing::Standby(None));
        assert!(status.metadata().get(SERVING).is_none());
    }
}
