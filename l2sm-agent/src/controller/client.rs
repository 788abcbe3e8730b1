//! Calls to the controller that is followed now.

use l2sm_api::grpc::v1::{
    AttachReply, AttachRequest, DetachReply, DetachRequest, dataplane_client::DataplaneClient,
};
use tokio::sync::watch;
use tonic::{Code, Request, Status, transport::Channel};

use std::{collections::BTreeMap, time::Duration};

/// A call takes this long at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// The controller that is followed, while it is.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Its URL.
    pub url: String,
    /// Attachments are made by request; false: an operator makes them.
    pub attach_by_request: bool,
    pub(super) channel: Channel,
}

/// Why controllers are not followed, by URL; empty while one is.
pub type Troubles = BTreeMap<String, String>;

/// Makes calls to whichever controller is followed.
#[derive(Clone, Debug)]
pub struct Client {
    followed: watch::Receiver<Option<Followed>>,
    troubles: watch::Receiver<Troubles>,
}

impl Client {
    /// Both from the [`Follower`](super::Follower).
    pub fn new(
        followed: watch::Receiver<Option<Followed>>,
        troubles: watch::Receiver<Troubles>,
    ) -> Self {
        Self { followed, troubles }
    }

    /// Why no controller is followed, a line for each; empty while one is.
    pub fn troubles(&self) -> Vec<String> {
        self.troubles.borrow().values().cloned().collect()
    }

    /// URL of the controller that is followed now.
    pub fn url(&self) -> Option<String> {
        self.followed.borrow().as_ref().map(|followed| followed.url.clone())
    }

    /// Whether attachments are made by request; `None`: no controller is followed.
    pub fn attaches_by_request(&self) -> Option<bool> {
        self.followed.borrow().as_ref().map(|followed| followed.attach_by_request)
    }

    /// Returns once a controller is followed; at once, if one is. False: none ever will be.
    pub async fn is_followed(&mut self) -> bool {
        self.followed.wait_for(Option::is_some).await.is_ok()
    }

    /// `Dataplane.Attach`.
    ///
    /// # Errors
    /// As the service says; `UNAVAILABLE` when no controller is followed.
    pub async fn attach(&self, request: AttachRequest) -> Result<AttachReply, Status> {
        let mut client = self.client()?;
        Ok(client.attach(limited(request)).await?.into_inner())
    }

    /// `Dataplane.Detach`.
    ///
    /// # Errors
    /// As the service says; `UNAVAILABLE` when no controller is followed.
    pub async fn detach(&self, request: DetachRequest) -> Result<DetachReply, Status> {
        let mut client = self.client()?;
        Ok(client.detach(limited(request)).await?.into_inner())
    }

    fn client(&self) -> Result<DataplaneClient<Channel>, Status> {
        let followed = self.followed.borrow().clone();
        let followed =
            followed.ok_or_else(|| Status::new(Code::Unavailable, "no controller is connected"))?;
        Ok(DataplaneClient::new(followed.channel))
    }
}

fn limited<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}
