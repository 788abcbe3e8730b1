//! What the environment asks for.

use std::path::Path;

use l2sm_api::socket::ContainerInterface;

use crate::failure::Failure;

/// Keys of `CNI_ARGS` that are known: Kubernetes runtimes set them.
const NAMESPACE: &str = "K8S_POD_NAMESPACE";
const NAME: &str = "K8S_POD_NAME";
const UID: &str = "K8S_POD_UID";
const SANDBOX: &str = "K8S_POD_INFRA_CONTAINER_ID";
/// With a true value, unknown keys are no error.
const IGNORE_UNKNOWN: &str = "IgnoreUnknown";

/// Longest container id: with the interface name it makes a file name.
const CONTAINER_MAX: usize = 200;
/// Longest interface name (`IFNAMSIZ` with its end).
const IFNAME_MAX: usize = 15;

/// A verb and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Environment {
    /// ADD.
    Add(Add),
    /// DEL. The namespace may be gone, and its path empty.
    Del(Plugged),
    /// CHECK.
    Check(Plugged),
    /// GC.
    Gc,
    /// STATUS.
    Status,
    /// VERSION.
    Version,
}

/// Parameters of ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Add {
    pub(crate) plug: ContainerInterface,
    pub(crate) netns: String,
    pub(crate) pod: Pod,
}

/// Parameters of DEL and CHECK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plugged {
    pub(crate) plug: ContainerInterface,
    pub(crate) netns: String,
    /// Namespace of the pod.
    pub(crate) pod_namespace: Option<String>,
}

impl Plugged {
    /// Whether its namespace is there.
    pub(crate) fn has_namespace(&self) -> bool {
        Path::new(&self.netns).exists()
    }
}

/// The pod that `CNI_ARGS` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) uid: Option<String>,
}

impl Environment {
    /// Reads the variables that the verb needs.
    ///
    /// # Errors
    /// One is missing or wrong.
    pub(crate) fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let needed = |name: &str| {
            let value = variable(name).filter(|value| !value.is_empty());
            value.ok_or_else(|| Failure::environment(format!("{name}: is required; it is not set")))
        };
        let plug = || -> Result<ContainerInterface, Failure> {
            let container_id = check_container(needed("CNI_CONTAINERID")?)?;
            Ok(ContainerInterface { container_id, ifname: check_ifname(needed("CNI_IFNAME")?)? })
        };
        // Only the namespace matters to them, and DEL must not fail for anything else.
        let pod_namespace = || find_namespace(&variable("CNI_ARGS").unwrap_or_default());
        let verb = needed("CNI_COMMAND")?;
        match verb.as_str() {
            "ADD" => {
                let pod = read_args(&variable("CNI_ARGS").unwrap_or_default())?;
                Ok(Self::Add(Add { plug: plug()?, netns: needed("CNI_NETNS")?, pod }))
            }
            "DEL" => {
                let netns = variable("CNI_NETNS").unwrap_or_default();
                Ok(Self::Del(Plugged { plug: plug()?, netns, pod_namespace: pod_namespace() }))
            }
            "CHECK" => {
                let netns = needed("CNI_NETNS")?;
                Ok(Self::Check(Plugged { plug: plug()?, netns, pod_namespace: pod_namespace() }))
            }
            "GC" => Ok(Self::Gc),
            "STATUS" => Ok(Self::Status),
            "VERSION" => Ok(Self::Version),
            other => Err(Failure::environment(format!(
                "CNI_COMMAND: {other} is unknown; expected ADD, DEL, CHECK, GC, STATUS or VERSION"
            ))),
        }
    }
}

/// The specification's form: letters, digits, `_`, `.` and `-`, the first a letter or digit. So it
/// is a file name too.
fn check_container(id: String) -> Result<String, Failure> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let first = id.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    if first && id.bytes().all(fits) && id.len() <= CONTAINER_MAX {
        return Ok(id);
    }
    Err(Failure::environment(format!(
        "CNI_CONTAINERID: {id:?} is no container id; expected at most {CONTAINER_MAX} letters, \
         digits, '_', '.' and '-', the first a letter or digit"
    )))
}

/// What the kernel takes (`dev_valid_name`).
fn check_ifname(name: String) -> Result<String, Failure> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':');
    if name.len() <= IFNAME_MAX && name.bytes().all(fits) && name != "." && name != ".." {
        return Ok(name);
    }
    Err(Failure::environment(format!(
        "CNI_IFNAME: {name:?} is no interface name; expected at most {IFNAME_MAX} letters and \
         digits, without '/' and ':'"
    )))
}

/// The pod's namespace in `CNI_ARGS`.
fn find_namespace(text: &str) -> Option<String> {
    let mut pairs = text.split(';').filter_map(|pair| pair.split_once('='));
    let found = pairs.rfind(|(key, value)| *key == NAMESPACE && !value.is_empty());
    found.map(|(_key, value)| value.to_owned())
}

/// `KEY=VALUE;...`. As the specification's own library does, a key that is not known is an error
/// unless the runtime says that it need not be.
fn read_args(text: &str) -> Result<Pod, Failure> {
    let mut pod = Pod::default();
    let (mut lenient, mut unknown) = (false, None);
    for pair in text.split(';').filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else {
            let message = format!("CNI_ARGS: {pair:?}: expected KEY=VALUE pairs, joined by ';'");
            return Err(Failure::environment(message));
        };
        let some = Some(value.to_owned()).filter(|value| !value.is_empty());
        match key {
            NAMESPACE => pod.namespace = some,
            NAME => pod.name = some,
            UID => pod.uid = some,
            SANDBOX => {}
            IGNORE_UNKNOWN => lenient = matches!(value, "1" | "true"),
            other => unknown = Some(other.to_owned()),
        }
    }
    match unknown.filter(|_key| !lenient) {
        None => Ok(pod),
        Some(key) => Err(Failure::environment(format!(
            "CNI_ARGS: {key} is unknown; add IgnoreUnknown=1 to have it ignored"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, Failure> {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        Environment::read(&|name| variables.get(name).map(ToString::to_string))
    }

    const ADD: [(&str, &str); 4] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/a"),
        ("CNI_IFNAME", "net1"),
    ];

    #[test]
    fn each_variable_that_add_needs_is_named_when_it_is_missing() {
        assert!(read(&ADD).is_ok());
        for (name, _value) in ADD {
            let rest: Vec<_> = ADD.into_iter().filter(|(of, _value)| *of != name).collect();
            let failure = read(&rest).unwrap_err();
            assert_eq!(failure.code, 4);
            assert!(failure.message.starts_with(name), "{failure:?}");
        }
    }

    #[test]
    fn del_and_check_know_the_pod_s_namespace_whatever_else_the_arguments_say() {
        for verb in ["DEL", "CHECK"] {
            let mut variables = ADD;
            variables[0].1 = verb;
            let strange = "FOO=1;K8S_POD_NAMESPACE=shop;nonsense";
            let all: Vec<_> = variables.into_iter().chain([("CNI_ARGS", strange)]).collect();
            let (Environment::Del(of) | Environment::Check(of)) = read(&all).unwrap() else {
                panic!("{verb}");
            };
            assert_eq!(of.pod_namespace.as_deref(), Some("shop"));
        }
    }

    #[test]
    fn del_needs_no_namespace_and_status_needs_nothing() {
        let del = read(&[("CNI_COMMAND", "DEL"), ADD[1], ADD[3]]).unwrap();
        assert!(matches!(del, Environment::Del(of) if of.netns.is_empty()));
        assert_eq!(read(&[("CNI_COMMAND", "STATUS")]), Ok(Environment::Status));
        assert_eq!(read(&[("CNI_COMMAND", "PLAY")]).unwrap_err().code, 4);
    }

    #[test]
    fn ids_and_names_that_are_no_file_names_are_refused() {
        for id in ["../x", "a/b", "-a", "", "a b"] {
            let environment = [ADD[0], ("CNI_CONTAINERID", id), ADD[2], ADD[3]];
            assert_eq!(read(&environment).unwrap_err().code, 4, "{id}");
        }
        for name in ["..", "a/b", "a:b", "a b", "a-name-too-long-"] {
            let environment = [ADD[0], ADD[1], ADD[2], ("CNI_IFNAME", name)];
            assert_eq!(read(&environment).unwrap_err().code, 4, "{name}");
        }
    }

    #[test]
    fn the_pod_is_read_from_the_arguments() {
        let pod = read_args("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;X=y").unwrap();
        assert_eq!((pod.namespace.as_deref(), pod.name.as_deref()), (Some("shop"), Some("web")));
        assert_eq!(pod.uid, None);
        assert_eq!(read_args("").unwrap(), Pod::default());
        assert!(
            read_args("K8S_POD_NAM=web").unwrap_err().message.contains("K8S_POD_NAM is unknown")
        );
        assert_eq!(read_args("web").unwrap_err().code, 4);
    }
}
