use std::{fs, path::Path};

use kube_core::Resource;

use super::*;

/// All schemas of a definition, with their paths.
fn fields(kind: Kind) -> Vec<(String, Value)> {
    fn walk(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
        found.push((path.to_owned(), schema.clone()));
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, below) in properties.into_iter().flatten() {
            walk(&format!("{path}.{name}"), below, found);
        }
        if let Some(items) = schema.get("items") {
            walk(&format!("{path}[]"), items, found);
        }
    }
    let definition = definition(kind).unwrap();
    let schema = definition.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap();
    let mut found = Vec::new();
    walk("", schema, &mut found);
    found
}

#[test]
fn what_is_checked_in_is_what_the_types_say() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    for kind in Kind::ALL {
        let file = directory.join(file_name(kind));
        let stored = fs::read_to_string(&file).unwrap_or_default();
        assert!(stored == yaml(kind).unwrap(), "{kind}: run `cargo xtask crds`");
    }
}

#[test]
fn what_is_written_is_yaml_that_says_the_same() {
    for kind in Kind::ALL {
        let read: Value = serde_saphyr::from_str(&yaml(kind).unwrap()).unwrap();
        assert_eq!(read, definition(kind).unwrap(), "{kind}");
    }
}

#[test]
fn no_definition_is_above_200_kib() {
    for kind in Kind::ALL {
        let size = yaml(kind).unwrap().len();
        assert!((1_000..200 * 1_024).contains(&size), "{kind}: {size} bytes");
    }
}

#[test]
fn every_field_is_described_in_words_for_readers_of_kubectl_explain() {
    for kind in Kind::ALL {
        for (path, schema) in fields(kind) {
            let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
            let is_item = path.ends_with("[]");
            assert!(is_item || description.len() > 5, "{kind}{path} has no description");
            let link = description.contains("`]") || description.contains("::");
            assert!(!link, "{kind}{path}: {description}");
        }
    }
}

#[test]
fn names_are_what_kube_derives_and_what_l2smctl_calls_them() {
    fn names<K: Resource<DynamicType = ()>>() -> [String; 4] {
        [K::kind(&()), K::plural(&()), K::group(&()), K::version(&())]
            .map(std::borrow::Cow::into_owned)
    }
    let derived = [
        (Kind::L2Network, names::<L2NetworkResource>()),
        (Kind::L2Attachment, names::<L2AttachmentResource>()),
        (Kind::L2Node, names::<L2NodeResource>()),
        (Kind::ExternalVtep, names::<ExternalVtepResource>()),
        (Kind::Overlay, names::<OverlayResource>()),
        (Kind::NetworkEdgeDevice, names::<NetworkEdgeDeviceResource>()),
    ];
    for (kind, [name, plural, group, version]) in derived {
        assert_eq!((name.as_str(), plural.as_str()), (kind.name(), kind.definition().plural));
        assert_eq!(format!("{group}/{version}"), crate::objects::API_VERSION);
        let definition = definition(kind).unwrap();
        let scope = if kind.is_namespaced() { "Namespaced" } else { "Cluster" };
        assert_eq!(definition.pointer("/spec/scope"), Some(&json!(scope)), "{kind}");
        assert_eq!(definition.pointer("/metadata/name"), Some(&json!(format!("{plural}.{group}"))));
    }
}

#[test]
fn short_names_are_those_of_the_documentation() {
    let short: Vec<&str> = Kind::ALL.map(|kind| kind.definition().short).into();
    assert_eq!(short, ["l2net", "l2att", "l2node", "xvtep", "ovl", "ned"]);
}

#[test]
fn kubectl_prints_the_columns_that_its_users_expect() {
    let printed = |kind| -> Vec<String> {
        let definition = definition(kind).unwrap();
        let columns = definition.pointer("/spec/versions/0/additionalPrinterColumns").unwrap();
        let columns = columns.as_array().unwrap().iter();
        let shown = columns.filter(|column| column.get("priority").is_none());
        shown.map(|column| column.get("name").unwrap().as_str().unwrap().to_owned()).collect()
    };
    let attachment = ["NETWORK", "POD", "NODE", "IFNAME", "IPS", "MAC", "READY"];
    assert_eq!(printed(Kind::L2Attachment), attachment);
    assert_eq!(printed(Kind::L2Network)[..2], ["AVAILABILITY", "CONNECTED_PODS"]);
    assert_eq!(printed(Kind::NetworkEdgeDevice)[..1], ["STATUS"]);
}

#[test]
fn upstreams_defaults_stand_in_the_schema_and_aliased_fields_have_none() {
    let all: Vec<_> = fields(Kind::Overlay).into_iter().chain(fields(Kind::L2Network)).collect();
    let default = |path: &str| {
        let found = all.iter().find(|(at, _)| at == path).unwrap_or_else(|| panic!("{path}"));
        found.1.get("default").cloned()
    };
    for (path, expected) in [
        (".spec.provider.sdnPort", json!("30808")),
        (".spec.provider.dnsPort", json!("30053")),
        (".spec.provider.dnsGrpcPort", json!("30818")),
        (".spec.provider.ofPort", json!("6633")),
        (".spec.monitor.spreadFactor", json!("0.2")),
        (".spec.monitor.exportMetric.method", json!("default")),
        (".spec.monitor.exportMetric.serviceAccount", json!("default")),
        (".spec.ids.enabled", json!(true)),
        (".spec.ids.useEmergingThreatsOpen", json!(true)),
        (".status.internalConnectivity", json!("Unavailable")),
    ] {
        assert_eq!(default(path), Some(expected), "{path}");
    }
    for path in [".spec.provider", ".spec.networkController", ".spec.interfaceNumber"] {
        assert_eq!(default(path), None, "{path}");
    }
}
