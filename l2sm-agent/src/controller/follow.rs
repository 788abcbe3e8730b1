//! Always one controller to follow: connecting, falling back to the next, waiting in between.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use l2sm_api::grpc::{tls::ClientFiles, v1::PodNotice};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::{
    Admission,
    client::{Followed, Troubles},
    connect::connect,
    kept::{self, Kept},
    session::{Session, SessionError},
};
use crate::state::{Desired, Identity, Outcome};

/// First and longest wait between rounds over all controllers.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// What a follower is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Controllers, tried in order.
    pub urls: Vec<String>,
    /// Files for `https://`.
    pub tls: Option<ClientFiles>,
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
}

impl Follower {
    /// Follows. Never returns but when the agent stops.
    pub async fn run(mut self) {
        let known = self.desired.borrow().revision.clone();
        let mut admission = Admission::new(known, self.settings.adopt);
        let mut attempts = 0_u32;
        loop {
            for url in self.settings.urls.clone() {
                let stopped = self.try_one(&url, &mut admission, &mut attempts).await;
                if stopped {
                    return;
                }
            }
            attempts = attempts.saturating_add(1);
            sleep(wait_for(attempts, RandomState::new().build_hasher().finish())).await;
        }
    }

    /// Follows one controller until it ends; true: the agent stops.
    async fn try_one(&mut self, url: &str, admission: &mut Admission, attempts: &mut u32) -> bool {
        let ended = Box::pin(self.follow(url, admission, attempts)).await;
        self.followed.send_replace(None);
        let Err(why) = ended else { return false };
        if matches!(why, SessionError::Stopping) {
            return true;
        }
        self.say(url, &why);
        false
    }

    /// Says why a controller is not followed: once, until the reason is another.
    fn say(&self, url: &str, why: &SessionError) {
        let explained = self.settings.tls.as_ref().and_then(|files| files.explain(why));
        let text = if let SessionError::Rejected(why) = why {
            format!("{url} is not followed: {why}")
        } else {
            format!("{url}: {}", explained.unwrap_or_else(|| why.to_string()))
        };
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
        admission: &mut Admission,
        attempts: &mut u32,
    ) -> Result<(), SessionError> {
        let mut session = Box::pin(self.open(url, admission)).await?;
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
        Box::pin(session.follow(admission, &mut self.outcomes, accepted, noticed, acked)).await
    }

    /// Connects and says hello.
    async fn open(&mut self, url: &str, admission: &Admission) -> Result<Session, SessionError> {
        // Hello tells the addresses and MTU of the underlay: the first pass has seen them.
        let seen = self.outcomes.wait_for(|outcome| outcome.pass > 0).await;
        let seen = seen.map_err(|_closed| SessionError::Stopping)?.clone();
        let channel = Box::pin(connect(url, self.settings.tls.as_ref())).await?;
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

/// Doubles up to the longest wait; of that, a random part of a half is left out, so that many agents
/// do not come back at the same moment.
fn wait_for(attempt: u32, random: u64) -> Duration {
    let (first, longest) = BACKOFF;
    let full = first.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(longest);
    let share = u32::try_from(random % 512).unwrap_or_default();
    full.saturating_sub(full / 2 * share / 512)
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
    fn waits_double_and_scatter() {
        assert_eq!(wait_for(1, 0), Duration::from_millis(200));
        assert_eq!(wait_for(2, 0), Duration::from_millis(400));
        assert_eq!(wait_for(99, 0), Duration::from_secs(10));
        for random in [1, 77, 511, u64::MAX] {
            let wait = wait_for(3, random);
            assert!(wait > Duration::from_millis(400) && wait <= Duration::from_millis(800));
        }
    }
}
