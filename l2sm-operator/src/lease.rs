//! Who serves: the holder of a Lease (`coordination.k8s.io/v1`). Every write names the version of the
//! Lease that it was decided on, so that of two who try, one fails.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use futures::{StreamExt as _, pin_mut};
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::PostParams,
    runtime::{
        WatchStreamExt as _,
        watcher::{Config, Event, watcher},
    },
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A holder that says nothing for this long has lost the Lease.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often a holder says that it lives.
const RENEW: Duration = Duration::from_secs(5);
/// A holder that could not say so for this long writes no more, well before another one starts. It
/// serves on until it sees another holder: with the API server away there is none.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a write may take.
const WRITE: Duration = Duration::from_secs(3);
/// How soon a failed write is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Annotation: where the holder serves, HOST:PORT.
const ADDRESS: &str = "l2sm.l2sm.k8s.local/address";

/// Who wants the Lease, and which.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Unique among processes.
    pub identity: String,
    /// Where it serves, HOST:PORT.
    pub address: String,
}

/// Whether this process may serve and write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds the Lease, taken for the `epoch`th time.
    Holder {
        /// The Lease's transitions.
        epoch: u64,
    },
    /// Somebody else does, or nobody.
    Standby(Option<Serving>),
}

/// Who serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// The holder's identity.
    pub holder: String,
    /// Where it serves; empty: it does not say.
    pub address: String,
}

/// Until when this process may write: it says so itself, whatever the API server is doing.
#[derive(Clone, Debug, Default)]
pub struct Permit {
    until: Arc<Mutex<Option<Instant>>>,
    /// The term that it is for has ended.
    over: CancellationToken,
}

impl Permit {
    /// Whether it may write now.
    pub fn holds(&self) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        !self.over.is_cancelled() && until.is_some_and(|until| Instant::now() < until)
    }

    /// The same for one term: it ends with [`Self::end`] at the latest.
    #[must_use]
    pub fn of_term(&self) -> Self {
        Self { until: Arc::clone(&self.until), over: CancellationToken::new() }
    }

    /// The term is over: nothing more is written in it.
    pub fn end(&self) {
        self.over.cancel();
    }

    /// One that holds for as long as the process lives: where there is no election.
    pub fn forever() -> Self {
        let permit = Self::default();
        permit.set(Some(Instant::now() + Duration::from_hours(100 * 365 * 24)));
        permit
    }

    fn set(&self, until: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// A Lease as it was seen.
#[derive(Clone, Debug, Default, PartialEq)]
struct SeenLease {
    version: String,
    holder: String,
    address: String,
    transitions: i32,
    duration: Duration,
    renewed: Option<MicroTime>,
    acquired: Option<MicroTime>,
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Take,
    Renew,
    WaitUntil(Instant),
}

/// Wants the Lease until `stop`; then lets it go, so that another one can take it at once.
pub async fn contend(
    client: Client,
    candidate: Candidate,
    standing: watch::Sender<Standing>,
    permit: Permit,
    stop: CancellationToken,
) {
    let api: Api<Lease> = Api::namespaced(client, &candidate.namespace);
    let config = Config::default().fields(&format!("metadata.name={}", candidate.name));
    let events = watcher(api.clone(), config).default_backoff();
    pin_mut!(events);
    let mut race = Race {
        api,
        candidate,
        standing,
        permit,
        seen: None,
        synced: false,
        failing: false,
        won: None,
    };
    let mut next = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            event = events.next() => match event {
                Some(Ok(event)) => race.see(event),
                Some(Err(why)) => warn!(%why, "cannot watch the lease"),
                None => break,
            },
            () = tokio::time::sleep_until(next) => {}
        }
        next = race.act(Instant::now()).await;
    }
    race.release().await;
}

struct Race {
    api: Api<Lease>,
    candidate: Candidate,
    standing: watch::Sender<Standing>,
    permit: Permit,
    /// The Lease, and when it was seen to change last.
    seen: Option<(SeenLease, Instant)>,
    synced: bool,
    /// The last write failed.
    failing: bool,
    /// The epoch, and when it was renewed last.
    won: Option<(u64, Instant)>,
}

impl Race {
    fn see(&mut self, event: Event<Lease>) {
        match event {
            Event::Init => {}
            Event::InitDone => self.synced = true,
            Event::Delete(_) => self.seen = None,
            Event::InitApply(lease) | Event::Apply(lease) => self.note(&lease),
        }
    }

    fn note(&mut self, lease: &Lease) {
        let lease = SeenLease::read(lease);
        if self.won.is_some() && lease.holder != self.candidate.identity {
            // Old news of a Lease that has been taken since names an older version.
            let older = self.seen.as_ref().is_some_and(|(held, _)| lease.number() < held.number());
            if older {
                return;
            }
            warn!(holder = lease.holder, "the lease is another's: no longer serving");
            self.won = None;
            self.permit.set(None);
        }
        if self.seen.as_ref().is_none_or(|(held, _)| *held != lease) {
            self.seen = Some((lease, Instant::now()));
        }
        self.tell();
    }

    /// Does what is due; the result is when to look again.
    async fn act(&mut self, now: Instant) -> Instant {
        if !self.synced {
            return now + RENEW;
        }
        match decide(self.seen.as_ref(), &self.candidate.identity, self.won, now) {
            Act::WaitUntil(then) => then,
            Act::Take => self.write(true, now).await,
            Act::Renew => self.write(false, now).await,
        }
    }

    async fn write(&mut self, take: bool, now: Instant) -> Instant {
        let seen = self.seen.as_ref().map(|(seen, _)| seen);
        let lease = self.candidate.lease(seen, take, SystemTime::now());
        let name = self.candidate.name.clone();
        let parameters = PostParams::default();
        let writing = async {
            match seen {
                Some(_) => self.api.replace(&name, &parameters, &lease).await,
                None => self.api.create(&parameters, &lease).await,
            }
        };
        let written = timeout(WRITE, writing).await;
        match written {
            Ok(Ok(lease)) => {
                let seen = SeenLease::read(&lease);
                let epoch = u64::try_from(seen.transitions).unwrap_or_default();
                if take {
                    info!(epoch, "the lease is ours");
                } else if std::mem::take(&mut self.failing) {
                    info!(epoch, "the lease is renewed again");
                }
                self.won = Some((epoch, now));
                self.permit.set(Some(now + DEADLINE));
                self.seen = Some((seen, now));
                self.tell();
                now + RENEW
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {
                // Somebody else wrote: the watch brings it.
                if let Ok(Ok(lease)) = timeout(WRITE, self.api.get(&name)).await {
                    self.note(&lease);
                }
                Instant::now() + RETRY
            }
            Ok(Err(why)) => self.fail(&why.to_string()),
            Err(_late) => self.fail("no answer within 3 s"),
        }
    }

    fn fail(&mut self, why: &str) -> Instant {
        if !std::mem::replace(&mut self.failing, true) {
            warn!(why, "cannot write the lease: trying again, and serving on until another has it");
        }
        Instant::now() + RETRY
    }

    /// Says who serves.
    fn tell(&self) {
        let standing = match self.won {
            Some((epoch, _)) => Standing::Holder { epoch },
            None => Standing::Standby(self.serving()),
        };
        self.standing.send_if_modified(|held| {
            let is_new = *held != standing;
            *held = standing;
            is_new
        });
    }

    fn serving(&self) -> Option<Serving> {
        let (seen, _) = self.seen.as_ref()?;
        let other = !seen.holder.is_empty() && seen.holder != self.candidate.identity;
        other.then(|| Serving { holder: seen.holder.clone(), address: seen.address.clone() })
    }

    async fn release(&mut self) {
        self.permit.set(None);
        let Some((_, _)) = self.won.take() else { return };
        let Some((seen, _)) = &self.seen else { return };
        let mut lease = self.candidate.lease(Some(seen), false, SystemTime::now());
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        let name = self.candidate.name.clone();
        let parameters = PostParams::default();
        match timeout(WRITE, self.api.replace(&name, &parameters, &lease)).await {
            Ok(Ok(_)) => info!("the lease is free"),
            Ok(Err(why)) => warn!(%why, "cannot let the lease go: others wait for its end"),
            Err(_late) => warn!("cannot let the lease go: others wait for its end"),
        }
    }
}

/// What is to be done about a Lease that was last seen to change at a time.
fn decide(
    seen: Option<&(SeenLease, Instant)>,
    own: &str,
    won: Option<(u64, Instant)>,
    now: Instant,
) -> Act {
    if let Some((_, renewed)) = won {
        return if now >= renewed + RENEW { Act::Renew } else { Act::WaitUntil(renewed + RENEW) };
    }
    let Some((lease, changed)) = seen else { return Act::Take };
    // Ours, but given up: a new epoch begins.
    if lease.holder.is_empty() || lease.holder == own {
        return Act::Take;
    }
    let end = *changed + lease.duration;
    if now >= end { Act::Take } else { Act::WaitUntil(end) }
}

impl Candidate {
    /// The Lease to write over the one that was seen.
    fn lease(&self, seen: Option<&SeenLease>, take: bool, now: SystemTime) -> Lease {
        let time = MicroTime(Timestamp::try_from(now).unwrap_or_default());
        // Where the Lease was deleted its epochs must not begin anew: agents never go back. There is
        // less than one transition a minute.
        let first = i32::try_from(time.0.as_second() / 60).unwrap_or(i32::MAX);
        let transitions =
            seen.map_or(first, |seen| seen.transitions.saturating_add(i32::from(take)));
        let seconds = i32::try_from(DURATION.as_secs()).unwrap_or(i32::MAX);
        let kept = seen.filter(|_| !take).and_then(|seen| seen.acquired.clone());
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                resource_version: seen.map(|seen| seen.version.clone()),
                annotations: Some([(ADDRESS.to_owned(), self.address.clone())].into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(seconds),
                lease_transitions: Some(transitions),
                acquire_time: kept.or_else(|| Some(time.clone())),
                renew_time: Some(time),
                ..LeaseSpec::default()
            }),
        }
    }
}

impl SeenLease {
    fn number(&self) -> u64 {
        self.version.parse().unwrap_or_default()
    }

    fn read(lease: &Lease) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let annotations = lease.metadata.annotations.as_ref();
        let seconds = spec.lease_duration_seconds.and_then(|number| u64::try_from(number).ok());
        Self {
            version: lease.metadata.resource_version.clone().unwrap_or_default(),
            holder: spec.holder_identity.unwrap_or_default(),
            address: annotations.and_then(|all| all.get(ADDRESS).cloned()).unwrap_or_default(),
            transitions: spec.lease_transitions.unwrap_or_default(),
            duration: seconds.map_or(DURATION, Duration::from_secs),
            renewed: spec.renew_time,
            acquired: spec.acquire_time,
        }
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
