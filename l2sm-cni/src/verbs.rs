//! The six verbs.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use l2sm_api::{
    cni::{self, Version, code},
    socket::{Answer, Attach, Check, Detach, Gc, Request},
};
use serde_json::{Value, json};

use crate::{
    agent::{Unanswered, ask, leave_note, remove_record, unexpected},
    chained,
    environment::{Add, Environment, Plugged},
    failure::Failure,
    input::Config,
};

/// The agent itself gives ADD up after 20 s, and then undoes it.
pub(crate) const ADD_PATIENCE: Duration = Duration::from_secs(22);
/// The other verbs take a moment only.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Does what a verb says; what to print.
///
/// # Errors
/// What the specification has an error code for.
pub(crate) fn run(verb: &Environment, config: &Config) -> Result<Option<Value>, Failure> {
    let socket = config.rest.socket.clone().unwrap_or_else(|| PathBuf::from(cni::SOCKET));
    if config.rest.network.is_none()
        && let Some(done) = chained::run(verb, config, &socket)
    {
        return done;
    }
    match verb {
        Environment::Add(add) => run_add(add, config, &socket).map(Some),
        Environment::Del(plugged) => run_del(plugged, config, &socket).map(|()| None),
        Environment::Check(plugged) => run_check(plugged, config, &socket).map(|()| None),
        Environment::Gc => run_gc(config, &socket).map(|()| None),
        Environment::Status => run_status(&socket).map(|()| None),
        Environment::Version => Ok(Some(json!({
            "cniVersion": config.version.as_str(),
            "supportedVersions": Version::ALL.map(Version::as_str),
        }))),
    }
}

fn run_add(add: &Add, config: &Config, socket: &Path) -> Result<Value, Failure> {
    chained::record(add, socket);
    let request = Attach {
        network: network(config)?,
        namespace: namespace(config, add.pod.namespace.as_deref()),
        netns: add.netns.clone(),
        ifname: Some(add.plug.ifname.clone()),
        ips: config.rest.runtime_config.ips.clone(),
        mac: config.rest.runtime_config.mac.clone(),
        pod: add.pod.name.clone(),
        container_id: Some(add.plug.container_id.clone()),
        config: Some(config.rest.name.clone()),
        pod_namespace: add.pod.namespace.clone(),
        pod_uid: add.pod.uid.clone(),
    };
    let attached = match ask(socket, &Request::Attach(request), ADD_PATIENCE) {
        Ok(Answer::Attached(attached)) => attached,
        Ok(_other) => return Err(unexpected("not to attach")),
        Err(unanswered) => {
            // It may have been made, or be made yet: nothing must stay behind.
            if matches!(unanswered, Unanswered::Silent(_)) {
                let plugged = Plugged {
                    plug: add.plug.clone(),
                    netns: add.netns.clone(),
                    pod_namespace: add.pod.namespace.clone(),
                };
                leave_note(socket, &add.plug, &release(&plugged, config))?;
            }
            return Err(unanswered.into_failure(socket, code::TRY_AGAIN));
        }
    };
    let before = config.rest.prev_result.clone();
    Ok(cni::result(config.version, before, &add.netns, &attached))
}

/// Succeeds when there is nothing to remove, and when nobody is there to remove it: then the agent
/// does when it is back. The interface goes with its namespace.
fn run_del(plugged: &Plugged, config: &Config, socket: &Path) -> Result<(), Failure> {
    let release = release(plugged, config);
    let asked = ask(socket, &Request::Detach(release.clone()), PATIENCE);
    // Where the pod goes on without this interface, the record is that of its others.
    if !plugged.has_namespace() {
        remove_record(socket, &plugged.plug.container_id);
    }
    match asked {
        Ok(_names) => Ok(()),
        Err(Unanswered::NoAgent(_) | Unanswered::Silent(_)) => {
            leave_note(socket, &plugged.plug, &release)
        }
        Err(Unanswered::Refused(failure)) => Err(failure),
    }
}

fn run_check(plugged: &Plugged, config: &Config, socket: &Path) -> Result<(), Failure> {
    let Plugged { plug, netns, pod_namespace } = plugged;
    let told = config.rest.prev_result.as_ref();
    let (mac, ips) = told.map(|told| cni::told(told, &plug.ifname, netns)).unwrap_or_default();
    let request = Request::Check(Check {
        network: network(config)?,
        namespace: namespace(config, pod_namespace.as_deref()),
        netns: netns.clone(),
        ifname: plug.ifname.clone(),
        mac,
        ips,
    });
    let answer = ask(socket, &request, PATIENCE);
    let answer = answer.map_err(|why| why.into_failure(socket, code::TRY_AGAIN))?;
    let Answer::Checked(damage) = answer else {
        return Err(unexpected("not to check"));
    };
    if damage.is_empty() {
        return Ok(());
    }
    let of = format!("{} of {}", plug.ifname, plug.container_id);
    Err(Failure::new(code::DAMAGED, format!("attachment {of}: {}", damage.join("; "))))
}

/// Without a list of what is valid nothing is known to be stale.
fn run_gc(config: &Config, socket: &Path) -> Result<(), Failure> {
    let Some(valid) = config.rest.valid_attachments.clone() else {
        return Ok(());
    };
    let request = Request::Gc(Gc { config: config.rest.name.clone(), valid });
    match ask(socket, &request, PATIENCE) {
        Ok(Answer::Collected(_gone)) => Ok(()),
        Ok(_other) => Err(unexpected("not to gc")),
        Err(why) => Err(why.into_failure(socket, code::TRY_AGAIN)),
    }
}

fn run_status(socket: &Path) -> Result<(), Failure> {
    let answer = ask(socket, &Request::Status, PATIENCE);
    let answer = answer.map_err(|why| why.into_failure(socket, code::NOT_AVAILABLE))?;
    let Answer::Status(status) = answer else {
        return Err(unexpected("not to status"));
    };
    if status.controller.is_some() {
        return Ok(());
    }
    let message = format!("the agent at {}: no controller is connected", socket.display());
    Err(Failure::new(code::LIMITED, message))
}

fn release(plugged: &Plugged, config: &Config) -> Detach {
    let Plugged { plug, netns, pod_namespace } = plugged;
    Detach {
        network: config.rest.network.clone().filter(|name| !name.is_empty()),
        namespace: namespace(config, pod_namespace.as_deref()),
        netns: netns.clone(),
        ifname: Some(plug.ifname.clone()),
        container_id: Some(plug.container_id.clone()),
    }
}

fn network(config: &Config) -> Result<String, Failure> {
    let network = config.rest.network.clone().filter(|name| !name.is_empty());
    network.ok_or_else(|| {
        Failure::config(
            "network: is required; expected an L2Network's name, or a plugin in the list before",
        )
    })
}

/// The network's namespace: the configuration's, else the pod's, else the agent's choice.
fn namespace(config: &Config, pod: Option<&str>) -> String {
    config.rest.namespace.as_deref().or(pod).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use l2sm_api::socket::{ContainerInterface, PodRecord, pod_record};

    use super::*;

    #[test]
    fn a_pods_record_goes_with_its_namespace_and_not_with_one_interface() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let text = json!({"cniVersion": "1.1.0", "name": "b", "type": "l2sm", "network": "b",
            "socket": socket})
        .to_string();
        let config = crate::input::read(&Environment::Gc, text.as_bytes()).unwrap();
        let plug = ContainerInterface { container_id: "c1".into(), ifname: "net1".into() };
        let stays_after_del = |netns: &Path| {
            crate::agent::write_record(&socket, "c1", &PodRecord::default()).unwrap();
            let netns = netns.display().to_string();
            let plugged = Plugged { plug: plug.clone(), netns, pod_namespace: None };
            assert_eq!(run(&Environment::Del(plugged), &config), Ok(None));
            pod_record(&socket, "c1").exists()
        };
        assert!(stays_after_del(Path::new("/proc/self/ns/net")));
        assert!(!stays_after_del(&directory.path().join("gone")));
        assert!(!stays_after_del(Path::new("")), "as where the runtime knows no path any more");
    }

    #[test]
    fn a_network_is_looked_for_where_the_configuration_says_else_beside_the_pod() {
        let config = |more: &str| {
            let text = format!(
                r#"{{"cniVersion": "1.1.0", "name": "b", "type": "l2sm", "network": "b"{more}}}"#
            );
            crate::input::read(&Environment::Gc, text.as_bytes()).unwrap()
        };
        assert_eq!(namespace(&config(""), Some("shop")), "shop");
        assert_eq!(namespace(&config(r#", "namespace": "net""#), Some("shop")), "net");
        assert_eq!(namespace(&config(""), None), "");
    }
}
