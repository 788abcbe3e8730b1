//! From the configurations of a node to ours. Pure.

use std::{collections::BTreeMap, path::Path};

use l2sm_api::cni::{POD_ANNOTATIONS, Version};
use serde_json::{Map, Value, json};

/// Our configuration: before all others, as runtimes take the first.
pub(super) const OURS: &str = "00-l2sm.conflist";
/// Type of our plugin, and the name of its file.
pub(super) const PLUGIN: &str = "l2sm";
/// Endings of configurations (libcni's `ConfFiles`, as containerd and CRI-O call it).
const ENDINGS: [&str; 3] = ["conf", "conflist", "json"];

/// What the others' configurations come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// There is none.
    Nothing,
    /// The first one already has our plugin: nothing to do.
    Chained,
    /// The first one cannot be followed, and why.
    Unusable(String),
    /// What ours must be.
    List {
        /// Its text.
        text: String,
        /// Multus' configuration, which was passed over: it hands pods on to ours.
        passed_over: Option<String>,
        /// The first one, if its name sorts before ours: then runtimes take it, and not ours.
        before: Option<String>,
    },
}

/// Whether a file of this name is a configuration of somebody else's.
pub(super) fn is_others(name: &str) -> bool {
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
    name != OURS && ending.is_some_and(|ending| ENDINGS.contains(&ending))
}

/// What ours must be, by the others' in the order of their names.
pub(super) fn source(files: &BTreeMap<String, Vec<u8>>, socket: Option<&Path>) -> Source {
    let mut passed_over = None;
    for (name, bytes) in files {
        let list = match read(name, bytes) {
            Ok(list) => list,
            Err(why) => return Source::Unusable(format!("{name}: {why}")),
        };
        let plugins = || list.get("plugins").and_then(Value::as_array).into_iter().flatten();
        if plugins().any(|plugin| is_type(plugin, &[PLUGIN])) {
            return Source::Chained;
        }
        if plugins().any(|plugin| is_multus(plugin) && goes_through_us(plugin)) {
            passed_over = Some(name.clone());
            continue;
        }
        let text = append(list, socket).to_string();
        let before = files.keys().next().filter(|first| first.as_str() < OURS).cloned();
        return Source::List { text, passed_over, before };
    }
    match passed_over {
        None => Source::Nothing,
        Some(multus) => Source::Unusable(format!("{multus}: hands pods on to {OURS}")),
    }
}

/// A configuration as a list.
fn read(name: &str, bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let read = serde_json::from_slice::<Map<String, Value>>(bytes);
    let read = read.map_err(|why| format!("not a CNI configuration: {why}"))?;
    let list = if Path::new(name).extension().is_some_and(|ending| ending == "conflist") {
        read
    } else {
        single(&read)
    };
    let text = |key: &str| list.get(key).and_then(Value::as_str).unwrap_or_default();
    let plugins = list.get("plugins").and_then(Value::as_array);
    let typed = |plugin: &Value| plugin.get("type").is_some_and(Value::is_string);
    if !plugins.is_some_and(|plugins| !plugins.is_empty() && plugins.iter().all(typed)) {
        return Err("not a CNI configuration: a plugin without type, or none".to_owned());
    }
    if text("name").is_empty() {
        return Err("not a CNI configuration: no name".to_owned());
    }
    if Version::from_name(text("cniVersion")).is_none() {
        let known = Version::ALL.map(Version::as_str).join(", ");
        return Err(format!("cniVersion {:?}: l2sm speaks {known}", text("cniVersion")));
    }
    Ok(list)
}

/// The list of a single plugin, as libcni makes it (`ConfListFromConf`).
fn single(plugin: &Map<String, Value>) -> Map<String, Value> {
    let kept = ["cniVersion", "name"].into_iter();
    let mut list: Map<String, Value> =
        kept.filter_map(|key| Some((key.to_owned(), plugin.get(key)?.clone()))).collect();
    list.insert("plugins".to_owned(), json!([plugin]));
    list
}

fn append(mut list: Map<String, Value>, socket: Option<&Path>) -> Value {
    let mut ours = json!({"type": PLUGIN, "capabilities": {POD_ANNOTATIONS: true}});
    if let (Some(socket), Some(ours)) = (socket, ours.as_object_mut()) {
        ours.insert("socket".to_owned(), json!(socket));
    }
    if let Some(Value::Array(plugins)) = list.get_mut("plugins") {
        plugins.push(ours);
    }
    Value::Object(list)
}

fn is_type(plugin: &Value, types: &[&str]) -> bool {
    plugin.get("type").and_then(Value::as_str).is_some_and(|of| types.contains(&of))
}

fn is_multus(plugin: &Value) -> bool {
    is_type(plugin, &["multus", "multus-shim"])
}

/// Multus takes the first configuration of the directory for the cluster's, unless told which: ours,
/// in which it stands itself. It names the file, or holds a copy of it.
fn goes_through_us(multus: &Value) -> bool {
    match multus {
        Value::String(text) => text.ends_with(OURS),
        Value::Array(list) => list.iter().any(is_ours_or_through),
        Value::Object(map) => map.values().any(is_ours_or_through),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_ours_or_through(value: &Value) -> bool {
    is_type(value, &[PLUGIN]) || goes_through_us(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, Value)]) -> BTreeMap<String, Vec<u8>> {
        list.iter().map(|(name, value)| ((*name).to_owned(), value.to_string().into())).collect()
    }

    fn calico() -> Value {
        json!({
            "name": "k8s-pod-network", "cniVersion": "0.3.1", "disableCheck": true,
            "plugins": [{"type": "calico", "mtu": 0}, {"type": "portmap", "snat": true}]
        })
    }

    fn chained(source: &Source) -> Value {
        let Source::List { text, .. } = source else { panic!("{source:?}") };
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn ours_is_the_first_of_the_others_with_our_plugin_after_its_last() {
        let both = files(&[("10-calico.conflist", calico()), ("99-x.conf", json!({}))]);
        let list = chained(&source(&both, None));
        let mut expected = calico();
        let ours = json!({"type": "l2sm", "capabilities": {POD_ANNOTATIONS: true}});
        expected["plugins"].as_array_mut().unwrap().push(ours);
        assert_eq!(list, expected);
        let list = chained(&source(&both, Some(Path::new("/x/agent.sock"))));
        assert_eq!(list["plugins"][2]["socket"], "/x/agent.sock");
    }

    #[test]
    fn a_configuration_whose_name_sorts_before_ours_is_named() {
        let before = |names: &[&str]| {
            let list: Vec<_> = names.iter().map(|name| (*name, calico())).collect();
            let source = source(&files(&list), None);
            let Source::List { before, .. } = source else { panic!("{source:?}") };
            before
        };
        for first in ["00-bridge.conflist", "00-flannel.conflist", "0-x.conflist"] {
            assert_eq!(before(&["10-a.conflist", first]).as_deref(), Some(first));
        }
        assert_eq!(before(&["00-multus.conflist", "10-a.conflist"]), None);
    }

    #[test]
    fn a_single_plugin_becomes_a_list() {
        let bridge = json!({"cniVersion": "1.0.0", "name": "b", "type": "bridge", "ipam": {}});
        for name in ["10-b.conf", "10-b.json"] {
            let list = chained(&source(&files(&[(name, bridge.clone())]), None));
            assert_eq!((&list["name"], &list["cniVersion"]), (&json!("b"), &json!("1.0.0")));
            assert_eq!(list["plugins"][0], bridge);
            assert_eq!(list["plugins"][1]["type"], "l2sm");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        let said = |name: &str, text: &str| {
            let files = [(name.to_owned(), text.as_bytes().to_vec())].into();
            let Source::Unusable(why) = source(&files, None) else { panic!("{text}") };
            why
        };
        assert!(said("1.conflist", "{").starts_with("1.conflist: not a CNI configuration: EOF"));
        assert!(said("1.conflist", r#"{"name": "x", "plugins": []}"#).ends_with("or none"));
        assert!(said("1.conf", r#"{"cniVersion": "1.0.0", "name": "x"}"#).ends_with("or none"));
        let newer = r#"{"cniVersion": "2.0.0", "name": "x", "type": "t"}"#;
        assert!(said("1.conf", newer).contains("cniVersion \"2.0.0\": l2sm speaks 0.3.1"));
        assert_eq!(source(&BTreeMap::new(), None), Source::Nothing);
    }

    #[test]
    fn a_list_that_has_our_plugin_is_left_alone() {
        let mut list = calico();
        list["plugins"].as_array_mut().unwrap().push(json!({"type": "l2sm"}));
        assert_eq!(source(&files(&[("05-x.conflist", list)]), None), Source::Chained);
    }

    #[test]
    fn ours_stands_after_multus_and_never_within_a_circle_of_the_two() {
        let multus = |more: Value| {
            let mut all = json!({"cniVersion": "1.0.0", "name": "multus-cni-network",
                "type": "multus-shim"});
            all.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            files(&[("00-multus.conf", all), ("10-calico.conflist", calico())])
        };
        let plain = source(&multus(json!({"clusterNetwork": "/x/10-calico.conflist"})), None);
        let types = |list: &Value| -> Vec<String> {
            let plugins = list["plugins"].as_array().unwrap().iter();
            plugins.map(|plugin| plugin["type"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(types(&chained(&plain)), ["multus-shim", "l2sm"]);
        for circle in [
            json!({"clusterNetwork": "/host/etc/cni/net.d/00-l2sm.conflist"}),
            json!({"delegates": [{"plugins": [{"type": "calico"}, {"type": "l2sm"}]}]}),
        ] {
            let around = source(&multus(circle), None);
            assert_eq!(types(&chained(&around)), ["calico", "portmap", "l2sm"]);
            assert!(
                matches!(around, Source::List { passed_over: Some(of), .. } if of == "00-multus.conf")
            );
        }
    }

    #[test]
    fn only_configurations_of_others_are_read() {
        for name in ["10-a.conf", "10-a.conflist", "10-a.json"] {
            assert!(is_others(name), "{name}");
        }
        for name in [OURS, ".00-l2sm.new", "00-l2sm.conflist.cilium_bak", "multus.d", "conf"] {
            assert!(!is_others(name), "{name}");
        }
    }
}
