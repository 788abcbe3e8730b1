//! Annotations that are JSON.

use serde_json::Value;

use super::Entry;
use crate::objects::manifest::{drop_nulls, from_value};

/// Fields that an entry may have.
const FIELDS: [&str; 7] = ["name", "ips", "ifname", "interface", "namespace", "mac", "optional"];

/// The entries of a JSON array of objects. Unless `strict`, fields that we do not know are others'.
pub(super) fn entries(text: &str, strict: bool) -> Result<Vec<Entry>, String> {
    let items: Vec<Value> =
        serde_json::from_str(text).map_err(|why| format!("is no JSON array: {why}"))?;
    (1..).zip(items).map(|(number, item)| entry(number, item, strict)).collect()
}

fn entry(number: usize, mut item: Value, strict: bool) -> Result<Entry, String> {
    drop_nulls(&mut item);
    let Some(fields) = item.as_object_mut() else {
        return Err(format!(
            r#"entry {number}: {item} is no object; expected one, as in {{"name": "blue"}}"#
        ));
    };
    if !strict {
        fields.retain(|field, _| FIELDS.contains(&field.as_str()));
    }
    from_value(item).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        format!("entry {number}: {}", faults.join(", "))
    })
}
