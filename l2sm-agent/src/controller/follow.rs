//! Always one controller to follow: connecting, falling back to the next, waiting in between.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use l2sm_api::grpc::{
    tls::{ClientFiles, wants_tls},
    v1::PodNotice,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::sleep,
};

use super::{
    Admission,
    client::{Followed, Troubles},
    connect::{connect, serving},
    kept::{self, Kept},
    session::{Session, SessionError},
};
use crate::state::{Desired, Identity, Outcome};

/// What is wrong where `http://` meets TLS.
const WANTS_TLS: &str = "the controller wants TLS: give --controller as https://, and --tls-ca, \
                         --tls-cert and --tls-key";
/// First and longest limit of the wait between rounds over all controllers.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Servers that one asks in turn, each being told of the next.
const HOPS: u32 = 3;

/// What came of following one controller.
enum Tried {
    /// It is over.
    Ended,
    /// It does not serve, but this one does.
    Elsewhere(String),
    /// The agent stops.
    Stopping,
}

/// What a follower is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Controllers, tried in order.
    pub urls: Vec<String>,
    /// Files for `https://`.
    pub tls: Option<ClientFiles>,
    /// The controllers' name in their certificates; `None`: the URL's host.
    pub server_name: Option<String>,
    /// A foreign one is accepted once.
    pub adopt: bool,
    /// Directory of what survives a restart.
    pub state_dir: PathBuf,
}

/// Follows controllers for as long as the agent runs.
#[derive(Debug)]
pub struct Follower {
    /// What it is told.
    pub settings: Settings,
    /// What hello says.
    pub identity: Identity,
    /// Where instructions go.
    pub desired: watch::Sender<Desired>,
    /// What came of them.
    pub outcomes: watch::Receiver<Outcome>,
    /// The controller followed now.
    pub followed: watch::Sender<Option<Followed>>,
    /// Why the others are not.
    pub troubles: watch::Sender<Troubles>,
    /// Called when instructions came: wakes the reconciler.
    pub wake: mpsc::UnboundedSender<()>,
    /// Where the certificate comes and goes while the agent runs; `None`: it is in files of the user's.
    pub renewals: Option<Renewals>,
}

/// The other end of a [`crate::bootstrap::Exchange`].
#[derive(Clone, Debug)]
pub struct Renewals {
    /// Rises with each certificate; 0: there is none yet.
    pub issued: watch::Receiver<u64>,
    /// Told when the certificate is refused.
    pub refused: Arc<Notify>,
}

impl Renewals {
    /// Returns when another certificate is there than the last that was waited for.
    async fn renewed(renewals: Option<&mut Self>) {
        let changed = match renewals {
            Some(renewals) => renewals.issued.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            std::future::pending::<()>().await;
        }
    }
}

impl Follower {
    /// Follows. Never returns but when the agent stops.
    pub async fn run(mut self) {
        let known = self.desired.borrow().revision.clone();
        let mut admission = Admission::new(known, self.settings.adopt);
        let mut attempts = 0_u32;
        loop {
            for first in self.settings.urls.clone() {
                let mut next = Some(first.clone());
                let mut hops = 0;
                while let Some(url) = next.take().filter(|_| hops <= HOPS) {
                    hops += 1;
                    match self.try_one(&url, &first, &mut admission, &mut attempts).await {
                        Tried::Ended => {}
                        Tried::Elsewhere(url) => next = Some(url),
                        Tried::Stopping => return,
                    }
                }
            }
            attempts = attempts.saturating_add(1);
            sleep(wait_for(attempts)).await;
        }
    }

    /// Follows one controller until it ends. `first`: the URL that the user gave, by which this one was
    /// come to.
    async fn try_one(
        &mut self,
        url: &str,
        first: &str,
        admission: &mut Admission,
        attempts: &mut u32,
    ) -> Tried {
        let ended = Box::pin(self.follow(url, first, admission, attempts)).await;
        self.followed.send_replace(None);
        let Err(why) = ended else { return Tried::Ended };
        match &why {
            SessionError::Stopping => return Tried::Stopping,
            // Streams end now and then, so that agents spread over the servers.
            SessionError::Ended => {
                tracing::debug!("{url}: the stream ended");
                return Tried::Ended;
            }
            SessionError::Status(status) if let Some(next) = serving(url, status) => {
                tracing::debug!("{url}: {}", status.message());
                return Tried::Elsewhere(next);
            }
            SessionError::Connect(_)
            | SessionError::Status(_)
            | SessionError::NoWelcome
            | SessionError::Rejected(_)
            | SessionError::Assembly(_) => {}
        }
        let asked = url.to_owned();
        let wants = tokio::task::spawn_blocking(move || wants_tls(&asked)).await;
        self.say(url, &why, wants.unwrap_or(false));
        Tried::Ended
    }

    /// Says why a controller is not followed: once, until the reason is another.
    fn say(&self, url: &str, why: &SessionError, wants_tls: bool) {
        let explained = self.settings.tls.as_ref().and_then(|files| files.explain(why));
        let explained = if wants_tls { Some(WANTS_TLS.to_owned()) } else { explained };
        let text = if let SessionError::Rejected(why) = why {
            format!("{url} is not followed: {why}")
        } else {
            format!("{url}: {}", explained.unwrap_or_else(|| why.to_string()))
        };
        if let Some(renewals) = &self.renewals
            && ClientFiles::is_refused(why)
        {
            renewals.refused.notify_one();
        }
        let mut news = false;
        self.troubles.send_modify(|troubles| {
            news = troubles.insert(url.to_owned(), text.clone()).as_ref() != Some(&text);
        });
        if news {
            tracing::warn!("{text}; forwarding goes on without it");
        } else {
            tracing::debug!("{text}");
        }
    }

    async fn follow(
        &mut self,
        url: &str,
        first: &str,
        admission: &mut Admission,
        attempts: &mut u32,
    ) -> Result<(), SessionError> {
        let mut session = Box::pin(self.open(url, first, admission)).await?;
        *attempts = 0;
        self.troubles.send_modify(Troubles::clear);
        let attach_by_request = session.welcome.attach_by_request;
        let channel = session.channel.clone();
        let followed = Followed { url: url.to_owned(), attach_by_request, channel };
        self.followed.send_replace(Some(followed));
        self.desired.send_modify(|desired| desired.problems.clear());
        let keeper = Keeper::start(self.settings.state_dir.clone());
        let mut announced = false;
        let (desired, wake) = (&self.desired, &self.wake);
        let accepted = |instructions: Arc<_>, revision: crate::state::Revision| {
            keeper
                .keep(Kept { instructions: Arc::clone(&instructions), revision: revision.clone() });
            desired.send_modify(|desired| desired.accept(instructions, revision));
            if wake.send(()).is_err() {
                tracing::debug!("the reconciler is gone");
            }
        };
        let noticed = |notice: PodNotice| {
            desired.send_modify(|desired| {
                let PodNotice { pod_uid, problems } = notice;
                if problems.is_empty() {
                    desired.problems.remove(&pod_uid);
                } else {
                    desired.problems.insert(pod_uid, problems);
                }
            });
        };
        let acked = |outcome: &Outcome| {
            if !announced {
                announce(url, outcome);
            }
            announced = true;
        };
        let following = session.follow(admission, &mut self.outcomes, accepted, noticed, acked);
        tokio::select! {
            ended = Box::pin(following) => ended,
            () = Renewals::renewed(self.renewals.as_mut()) => Ok(()),
        }
    }

    /// Connects and says hello.
    async fn open(
        &mut self,
        url: &str,
        first: &str,
        admission: &Admission,
    ) -> Result<Session, SessionError> {
        if let Some(renewals) = &mut self.renewals {
            let issued = renewals.issued.wait_for(|issued| *issued > 0).await;
            issued.map_err(|_closed| SessionError::Stopping)?;
        }
        // Hello tells the addresses and MTU of the underlay: the first pass has seen them.
        let seen = self.outcomes.wait_for(|outcome| outcome.pass > 0).await;
        let seen = seen.map_err(|_closed| SessionError::Stopping)?.clone();
        let Settings { tls, server_name, .. } = &self.settings;
        let connecting = connect(url, tls.as_ref(), first, server_name.as_deref());
        let channel = Box::pin(connecting).await?;
        let held = self.desired.borrow().clone();
        Box::pin(Session::open(channel, &self.identity, &held, admission, &seen)).await
    }
}

/// The line that says that the node is ready.
fn announce(url: &str, outcome: &Outcome) {
    let revision = outcome.revision.as_ref().map_or(0, |revision| revision.number);
    let (networks, ports) = (outcome.slots.len(), outcome.ports.len());
    tracing::info!("following {url} revision {revision}, {networks} networks, {ports} ports");
}

/// How long to wait before the attempt after `attempt` ones that failed: any time up to a limit that
/// doubles. So many agents do not come back at the same moment.
pub fn wait_for(attempt: u32) -> Duration {
    wait_within(attempt, RandomState::new().build_hasher().finish())
}

fn wait_within(attempt: u32, random: u64) -> Duration {
    let (first, longest) = BACKOFF;
    let full = first.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(longest);
    full * u32::try_from(random % 1024).unwrap_or_default() / 1024
}

/// Writes instructions to disk in the background: the newest counts, those between may be skipped.
struct Keeper {
    newest: watch::Sender<Option<Kept>>,
}

impl Keeper {
    fn start(directory: PathBuf) -> Self {
        let (newest, mut due) = watch::channel::<Option<Kept>>(None);
        tokio::spawn(async move {
            while due.changed().await.is_ok() {
                let Some(kept) = due.borrow_and_update().clone() else { continue };
                let directory = directory.clone();
                let stored = tokio::task::spawn_blocking(move || kept::store(&directory, &kept));
                if let Ok(Err(why)) = stored.await {
                    tracing::warn!(%why, "the instructions could not be kept on disk");
                }
            }
        });
        Self { newest }
    }

    fn keep(&self, kept: Kept) {
        self.newest.send_replace(Some(kept));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_scatter_over_their_whole_length() {
        for (attempt, longest) in [(1, 200), (2, 400), (3, 800), (99, 10_000)] {
            assert_eq!(wait_within(attempt, 0), Duration::ZERO);
            assert_eq!(wait_within(attempt, 512), Duration::from_millis(longest / 2));
            assert!(wait_within(attempt, 1023) < Duration::from_millis(longest));
        }
    }
}
