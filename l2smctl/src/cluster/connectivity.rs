//! The connectivity test: pods of its own, in a namespace of its own, that try each other.
//!
//! `listener` and `stranger` report what they received, a line a second; `prober` joins the network
//! of `listener`, sends, and ends. All is read from the pods' logs.

mod places;
mod pods;
mod verdict;

use std::time::Instant;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Event, Namespace, Pod};
use kube::api::{DeleteParams, ListParams, LogParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::{Value, json};

use self::places::places;
use self::pods::{LISTENER, PROBER, STRANGER};
pub(crate) use self::verdict::Check;
use self::verdict::{Counters, Probed};
use super::{fault, objects, until};

/// Where the pods are.
pub(crate) const NAMESPACE: &str = "l2sm-test";
/// The label of a namespace that we made.
const MADE_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "l2smctl");

/// What is tested with.
pub(crate) struct Settings {
    /// The pods' image.
    pub(crate) image: String,
    /// When to give up.
    pub(crate) deadline: Instant,
}

/// Runs all checks; `said` is told what is going on. The pods stay: see [`clean_up`].
///
/// # Errors
/// The checks cannot be made at all.
pub(crate) async fn run(
    client: &Client,
    settings: &Settings,
    said: impl Fn(&str),
) -> Result<Vec<Check>> {
    prepare(client, settings.deadline).await?;
    let (here, there) = places(client).await?;
    said(&format!("pods on {here} and {there}"));
    for object in pods::before(&settings.image, &there) {
        apply(client, object).await?;
    }
    for name in [LISTENER, STRANGER] {
        reach(client, settings, name, "Running").await?;
    }
    let before = counters(client, settings).await?;
    said("probing");
    apply(client, pods::prober(&settings.image, &here)).await?;
    reach(client, settings, PROBER, "Succeeded").await?;
    let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let log = api.logs(PROBER, &LogParams::default()).await.map_err(fault)?;
    let probed = Probed::read(&log);
    // What was sent last is counted in the line after the next.
    let mark = lines(client).await?;
    let last = until(settings.deadline, async || {
        let lines = lines(client).await?;
        let later = mark.iter().zip(&lines).all(|(mark, now)| now.line > mark.line + 1);
        Ok(if later { Ok(lines) } else { Err("the pods report nothing".to_owned()) })
    });
    let last = last.await?;
    Ok(verdict::checks(&probed, before, last))
}

/// Makes the namespace, empty.
///
/// # Errors
/// There is one of that name that is not ours.
async fn prepare(client: &Client, deadline: Instant) -> Result<()> {
    match find(client).await? {
        Found::Foreign => {
            bail!("the namespace {NAMESPACE} exists and is not this test's: remove it first")
        }
        Found::Ours => clean_up(client, deadline).await?,
        Found::Nothing => {}
    }
    let (label, value) = MADE_BY;
    let labels = json!({(label): value, "pod-security.kubernetes.io/enforce": "baseline"});
    let metadata = json!({"name": NAMESPACE, "labels": labels});
    apply(client, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})).await?;
    // Pods are refused before their service account exists.
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
        Api::namespaced(client.clone(), NAMESPACE);
    until(deadline, async || {
        let found = accounts.get_metadata_opt("default").await.map_err(fault)?;
        Ok(found.map(drop).ok_or_else(|| "no service account yet".to_owned()))
    })
    .await
}

/// Whose namespace there is.
enum Found {
    Nothing,
    Ours,
    Foreign,
}

async fn find(client: &Client) -> Result<Found> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let Some(found) = namespaces.get_metadata_opt(NAMESPACE).await.map_err(fault)? else {
        return Ok(Found::Nothing);
    };
    let labels = found.metadata.labels.unwrap_or_default();
    let ours = labels.get(MADE_BY.0).map(String::as_str) == Some(MADE_BY.1);
    Ok(if ours { Found::Ours } else { Found::Foreign })
}

/// Removes the namespace, if it is ours, and all that is in it, and waits until it is gone.
///
/// # Errors
/// The API server refuses it, or it is not gone in time.
pub(crate) async fn clean_up(client: &Client, deadline: Instant) -> Result<()> {
    if !matches!(find(client).await?, Found::Ours) {
        return Ok(());
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match namespaces.delete(NAMESPACE, &DeleteParams::default()).await {
        Ok(_) => {}
        Err(error) if objects::is_absent(&error) => return Ok(()),
        Err(error) => return Err(fault(error)),
    }
    let gone = until(deadline, async || {
        let left = namespaces.get_metadata_opt(NAMESPACE).await.map_err(fault)?;
        Ok(left.map_or(Ok(()), |_| Err("it is still there".to_owned())))
    });
    gone.await.with_context(|| format!("cannot remove the namespace {NAMESPACE}"))
}

async fn apply(client: &Client, object: Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(object).context("an object of ours")?;
    objects::apply(client, &object).await.map(drop)
}

/// Waits until a pod has come as far as `wanted`.
///
/// # Errors
/// It has not in time, with what stood in the way and the last warning about it.
async fn reach(client: &Client, settings: &Settings, name: &str, wanted: &str) -> Result<()> {
    let reached = until(settings.deadline, async || state(client, name, wanted).await).await;
    let Err(why) = reached else { return Ok(()) };
    let events: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
    let about = format!("involvedObject.kind=Pod,involvedObject.name={name},type=Warning");
    // What went wrong counts more than that its events cannot be had.
    let events = events.list(&ListParams::default().fields(&about)).await.ok();
    match events.and_then(|events| last_words(events.items)) {
        Some(words) => bail!("{why}; its last warning: {words}"),
        None => Err(why),
    }
}

/// The newest event, in one line.
fn last_words(events: Vec<Event>) -> Option<String> {
    let last = events.into_iter().max_by_key(|event| {
        let series = event.series.as_ref().and_then(|series| series.last_observed_time.clone());
        let seen = series.or_else(|| event.event_time.clone()).map(|time| time.0);
        let last = event.last_timestamp.clone().map(|time| time.0);
        seen.max(last).max(event.metadata.creation_timestamp.clone().map(|time| time.0))
    })?;
    let words: Vec<_> = [last.reason, last.message].into_iter().flatten().collect();
    words.join(": ").lines().next().map(str::to_owned)
}

/// Whether a pod has come as far as `wanted`; else what it says.
async fn state(client: &Client, name: &str, wanted: &str) -> Result<Result<(), String>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let pod = pods.get(name).await.map_err(fault)?;
    let status = pod.status.unwrap_or_default();
    let phase = status.phase.clone().unwrap_or_default();
    if phase == wanted {
        return Ok(Ok(()));
    }
    if matches!(phase.as_str(), "Failed" | "Succeeded") {
        bail!("the pod {NAMESPACE}/{name} ended: {phase}");
    }
    let waiting = status.container_statuses.into_iter().flatten().next();
    let waiting = waiting.and_then(|container| container.state?.waiting);
    let words = waiting.map(|waiting| [waiting.reason, waiting.message].into_iter().flatten());
    let words: Vec<_> = words.into_iter().flatten().collect();
    let words = words.join(": ");
    let line = words.lines().next().unwrap_or_default();
    Ok(Err(format!("the pod {NAMESPACE}/{name} is {phase} {line}").trim_end().to_owned()))
}

/// The last line of each pod that reports, once both have one.
async fn counters(client: &Client, settings: &Settings) -> Result<[Counters; 2]> {
    until(settings.deadline, async || {
        let lines = lines(client).await?;
        // The first seconds of an interface have frames of its own making.
        let settled = lines.iter().all(|counters| counters.line > 3);
        Ok(if settled { Ok(lines) } else { Err("the pods report nothing".to_owned()) })
    })
    .await
}

async fn lines(client: &Client) -> Result<[Counters; 2]> {
    let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let mut counters = [Counters::default(); 2];
    for (counters, name) in counters.iter_mut().zip([LISTENER, STRANGER]) {
        let last = LogParams { tail_lines: Some(1), ..LogParams::default() };
        let text = api.logs(name, &last).await.map_err(fault)?;
        *counters = Counters::read(&text).unwrap_or_default();
    }
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_warning_is_told_however_it_says_its_time() {
        let old = json!({"reason": "BackOff", "message": "no image", "metadata": {"name": "a"},
            "involvedObject": {}, "lastTimestamp": "2026-01-01T00:00:02Z"});
        let repeated = json!({"reason": "NetworkNotFound", "message": "no 'blue'\nat all",
            "metadata": {"name": "b", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "involvedObject": {}, "eventTime": "2026-01-01T00:00:00.000000Z",
            "series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:09.000000Z"}});
        let read = |events: &[&Value]| -> Vec<Event> {
            let events = events.iter().map(|event| serde_json::from_value((*event).clone()));
            events.collect::<Result<_, _>>().unwrap()
        };
        let last = |events: &[&Value]| last_words(read(events));
        assert_eq!(last(&[&old, &repeated]).as_deref(), Some("NetworkNotFound: no 'blue'"));
        assert_eq!(last(&[&old]).as_deref(), Some("BackOff: no image"));
        assert_eq!(last(&[]), None);
    }
}
