//! Chained mode: the last plugin of the cluster's own list. What to join is in the pod's annotation;
//! the result is that of the plugins before, as it came. A pod without the annotation is none of our
//! business: nobody is asked, and nothing of ours can keep it from starting or ending.

use std::{path::Path, time::Duration};

use l2sm_api::{
    annotation::read_networks,
    cni::{NETWORKS_ANNOTATION, code},
    socket::{Answer, ContainerInterface, Detach, PodPlug, PodRecord, Request},
};
use serde_json::Value;

use crate::{
    agent::{Unanswered, ask, leave_note, remove_record, unexpected, write_record},
    environment::{Add, Environment, Plugged},
    failure::Failure,
    input::Config,
    verbs::{ADD_PATIENCE, PATIENCE},
};

/// A pod that ends does not wait for us: a note does as well.
const DEL_PATIENCE: Duration = Duration::from_secs(5);

/// Does what a verb says, without a network of its own; `None`: it is done as ever, or there is no
/// plugin before that had a result.
pub(crate) fn run(
    verb: &Environment,
    config: &Config,
    socket: &Path,
) -> Option<Result<Option<Value>, Failure>> {
    match verb {
        Environment::Add(add) => {
            let before = config.rest.prev_result.clone()?;
            let done = run_add(add, config, socket);
            Some(done.map(|()| Some(Value::Object(before))))
        }
        Environment::Del(Plugged { plug, netns, .. }) => {
            run_del(plug, netns, config, socket);
            Some(Ok(None))
        }
        Environment::Check(Plugged { plug, netns, .. }) => {
            Some(run_check(plug, netns, config, socket).map(|()| None))
        }
        // A runtime asks for the status of a whole list, and would take the node for broken. What is
        // stale the agent finds by itself.
        Environment::Status | Environment::Gc => Some(Ok(None)),
        Environment::Version => None,
    }
}

/// Writes the pod down, so that it can be attached later too. Without the record it still can, if
/// less surely: no reason to keep a pod from starting.
pub(crate) fn record(add: &Add, socket: &Path) {
    let Some(pod_uid) = add.pod.uid.clone() else { return };
    let record = PodRecord {
        netns: add.netns.clone(),
        pod_uid,
        namespace: add.pod.namespace.clone().unwrap_or_default(),
        pod: add.pod.name.clone().unwrap_or_default(),
    };
    drop(write_record(socket, &add.plug.container_id, &record));
}

fn run_add(add: &Add, config: &Config, socket: &Path) -> Result<(), Failure> {
    record(add, socket);
    let Some(networks) = networks(config) else { return Ok(()) };
    let joined = join(add, networks, socket);
    if joined.is_err() {
        remove_record(socket, &add.plug.container_id);
    }
    joined
}

fn join(add: &Add, networks: &str, socket: &Path) -> Result<(), Failure> {
    let Some(pod_uid) = add.pod.uid.clone() else {
        let message = "CNI_ARGS: K8S_POD_UID is required for a pod with networks; it is not set";
        return Err(Failure::environment(message));
    };
    let plug = PodPlug {
        container_id: add.plug.container_id.clone(),
        netns: add.netns.clone(),
        pod_uid,
        namespace: add.pod.namespace.clone().unwrap_or_default(),
        pod: add.pod.name.clone().unwrap_or_default(),
        networks: networks.to_owned(),
    };
    match ask(socket, &Request::AttachPod(plug), ADD_PATIENCE) {
        Ok(Answer::PodAttached(_interfaces)) => Ok(()),
        Ok(_other) => Err(unexpected("not to attachpod")),
        // By the record, the agent attaches it once it is back.
        Err(Unanswered::NoAgent(_)) if !holds(networks) => Ok(()),
        Err(unanswered) => {
            if matches!(unanswered, Unanswered::Silent(_)) {
                leave_note(socket, &add.plug, &release(&add.plug, &add.netns))?;
            }
            Err(unanswered.into_failure(socket, code::TRY_AGAIN))
        }
    }
}

/// Whether the annotation has an entry that a pod does not start without. One that cannot be read
/// holds it: the agent says what is wrong.
fn holds(networks: &str) -> bool {
    read_networks(networks).map_or(true, |entries| entries.iter().any(|entry| !entry.optional))
}

/// Who had the annotation has attachments, which should be gone before the namespace is. Of the others
/// the agent notices that the record goes.
fn run_del(plug: &ContainerInterface, netns: &str, config: &Config, socket: &Path) {
    if networks(config).is_some() {
        let release = release(plug, netns);
        let asked = ask(socket, &Request::Detach(release.clone()), DEL_PATIENCE);
        if let Err(Unanswered::NoAgent(_) | Unanswered::Silent(_)) = asked {
            // Without the note, the interfaces go with their namespace.
            drop(leave_note(socket, plug, &release));
        }
    }
    remove_record(socket, &plug.container_id);
}

fn run_check(
    plug: &ContainerInterface,
    netns: &str,
    config: &Config,
    socket: &Path,
) -> Result<(), Failure> {
    let Some(networks) = networks(config) else { return Ok(()) };
    let request = PodPlug {
        container_id: plug.container_id.clone(),
        netns: netns.to_owned(),
        networks: networks.to_owned(),
        ..PodPlug::default()
    };
    let answer = ask(socket, &Request::CheckPod(request), PATIENCE);
    let answer = answer.map_err(|why| why.into_failure(socket, code::TRY_AGAIN))?;
    let Answer::Checked(damage) = answer else {
        return Err(unexpected("not to checkpod"));
    };
    if damage.is_empty() {
        return Ok(());
    }
    let message = format!("networks of {}: {}", plug.container_id, damage.join("; "));
    Err(Failure::new(code::DAMAGED, message))
}

/// The annotation, where it names something.
fn networks(config: &Config) -> Option<&str> {
    let annotations = &config.rest.runtime_config.pod_annotations;
    let networks = annotations.get(NETWORKS_ANNOTATION).map(String::as_str);
    networks.filter(|networks| !networks.trim().is_empty())
}

/// All that the container has.
fn release(plug: &ContainerInterface, netns: &str) -> Detach {
    Detach {
        netns: netns.to_owned(),
        container_id: Some(plug.container_id.clone()),
        ..Detach::default()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use l2sm_api::cni::{NetworkConfig, Version};
    use serde_json::json;

    use super::*;
    use crate::environment::Pod;

    struct Bench {
        directory: tempfile::TempDir,
        config: Config,
    }

    fn bench(annotation: Option<&str>) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let before = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.2/24"}], "x": [1]});
        let mut rest = NetworkConfig {
            name: "cluster".to_owned(),
            prev_result: before.as_object().cloned(),
            ..NetworkConfig::default()
        };
        let value = annotation.map(|value| (NETWORKS_ANNOTATION.to_owned(), value.to_owned()));
        rest.runtime_config.pod_annotations.extend(value);
        Bench { directory, config: Config { version: Version::V1_0_0, rest } }
    }

    impl Bench {
        fn socket(&self) -> PathBuf {
            self.directory.path().join("agent.sock")
        }

        fn run(&self, verb: &Environment) -> Result<Option<Value>, Failure> {
            run(verb, &self.config, &self.socket()).unwrap()
        }

        fn record(&self) -> Option<PodRecord> {
            let bytes = std::fs::read(self.directory.path().join("pods/c1")).ok()?;
            Some(serde_json::from_slice(&bytes).unwrap())
        }
    }

    fn plugged(netns: &str) -> Plugged {
        Plugged { plug: plug(), netns: netns.to_owned(), pod_namespace: None }
    }

    fn plug() -> ContainerInterface {
        ContainerInterface { container_id: "c1".to_owned(), ifname: "eth0".to_owned() }
    }

    fn add() -> Environment {
        let pod = Pod {
            namespace: Some("shop".to_owned()),
            name: Some("web".to_owned()),
            uid: Some("u-1".to_owned()),
        };
        Environment::Add(Add { plug: plug(), netns: "/run/netns/a".to_owned(), pod })
    }

    #[test]
    fn a_pod_without_the_annotation_starts_and_ends_without_us() {
        for annotation in [None, Some(" ")] {
            let bench = bench(annotation);
            // Whoever opened this socket would wait: nobody accepts.
            let _listener = std::os::unix::net::UnixListener::bind(bench.socket()).unwrap();
            let result = bench.run(&add()).unwrap().unwrap();
            assert_eq!(Some(result), bench.config.rest.prev_result.clone().map(Value::Object));
            let record = bench.record().unwrap();
            assert_eq!((record.pod_uid.as_str(), record.netns.as_str()), ("u-1", "/run/netns/a"));
            for verb in [Environment::Status, Environment::Gc] {
                assert_eq!(bench.run(&verb), Ok(None));
            }
            assert_eq!(bench.run(&Environment::Check(plugged("/run/netns/a"))), Ok(None));
            assert_eq!(bench.run(&Environment::Del(plugged(""))), Ok(None));
            assert_eq!(bench.record(), None);
            assert!(!bench.directory.path().join("releases").exists());
        }
    }

    #[test]
    fn an_annotated_pod_without_agent_fails_at_once_and_leaves_nothing() {
        let bench = bench(Some("blue"));
        let failure = bench.run(&add()).unwrap_err();
        assert_eq!(failure.code, 11);
        assert!(failure.message.starts_with("no agent at "), "{failure:?}");
        assert_eq!(bench.record(), None);
    }

    #[test]
    fn what_holds_no_pod_needs_no_agent_and_the_record_stays() {
        for annotation in ["[]", ",", r#"[{"name": "blue", "optional": true}]"#] {
            let bench = bench(Some(annotation));
            let result = bench.run(&add()).unwrap().unwrap();
            assert_eq!(Some(result), bench.config.rest.prev_result.clone().map(Value::Object));
            assert_eq!(bench.record().unwrap().pod_uid, "u-1", "{annotation}");
        }
        for annotation in ["[{", r#"[{"name": "blue", "optional": true}, {"name": "red"}]"#] {
            let bench = bench(Some(annotation));
            assert_eq!(bench.run(&add()).unwrap_err().code, 11, "{annotation}");
            assert_eq!(bench.record(), None);
        }
    }

    #[test]
    fn an_annotated_pod_ends_without_agent_and_leaves_a_note() {
        let bench = bench(Some("blue"));
        assert_eq!(bench.run(&Environment::Del(plugged("/run/netns/a"))), Ok(None));
        let note = std::fs::read(bench.directory.path().join("releases/c1-eth0.json")).unwrap();
        let note: Detach = serde_json::from_slice(&note).unwrap();
        assert_eq!(
            (note.container_id.as_deref(), note.ifname, note.network),
            (Some("c1"), None, None)
        );
    }

    #[test]
    fn without_a_plugin_before_there_is_nothing_to_pass_on() {
        let mut bench = bench(None);
        bench.config.rest.prev_result = None;
        assert!(run(&add(), &bench.config, &bench.socket()).is_none());
        assert!(run(&Environment::Version, &bench.config, &bench.socket()).is_none());
    }

    #[test]
    fn a_record_that_cannot_be_written_stops_no_pod() {
        let bench = bench(None);
        std::fs::write(bench.directory.path().join("pods"), "a file in its place").unwrap();
        assert!(bench.run(&add()).is_ok());
    }
}
