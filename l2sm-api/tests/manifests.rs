//! The table of manifests: what is accepted, and what is refused and why. A cluster must say the
//! same of each with its definitions (the cluster tests ask it).

use l2sm_api::objects::{parse_documents, read_object};
use serde_json::Value;

const ACCEPTED: &str = include_str!("manifests/accepted.yaml");
const REFUSED: &str = include_str!("manifests/refused.yaml");
const UPSTREAM: &str = include_str!("manifests/upstream.yaml");

#[test]
fn what_the_table_accepts_is_accepted_and_read_back_from_what_was_written() {
    for (name, text) in [("accepted.yaml", ACCEPTED), ("upstream.yaml", UPSTREAM)] {
        let documents = parse_documents(name, text).unwrap_or_else(|errors| panic!("{errors:#?}"));
        assert!(documents.len() >= 2, "{name}");
        for document in documents {
            let json = serde_json::from_str(&document.object.to_json().unwrap()).unwrap();
            assert_eq!(read_object(json, "default"), Ok(document.object));
        }
    }
}

#[test]
fn what_the_table_refuses_is_refused_for_the_field_that_it_names() {
    let documents = documents(REFUSED).unwrap();
    assert!(documents.len() > 100, "{}", documents.len());
    let mut wrong = Vec::new();
    for document in documents {
        let text =
            |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        let (name, field) = (text("/metadata/name"), text("/metadata/annotations/field"));
        match read_object(document, "default") {
            Ok(_) => wrong.push(format!("{name}: accepted")),
            Err(faults) if faults.iter().any(|fault| fault.field.starts_with(&field)) => {}
            Err(faults) => wrong.push(format!("{name}: expected {field}, found {faults:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_two_documents_of_the_table_have_one_name() {
    let mut names = std::collections::BTreeSet::new();
    for document in documents(ACCEPTED).unwrap().into_iter().chain(documents(REFUSED).unwrap()) {
        let name = document.pointer("/metadata/name").unwrap().to_string();
        assert!(names.insert(name.clone()), "{name}");
    }
}

fn documents(text: &str) -> Result<Vec<Value>, serde_saphyr::Error> {
    serde_saphyr::from_multiple(text)
}
