//! JSON and YAML: one object as it is, several as a Kubernetes `List`.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

/// What is shown for `objects`: the object itself when one was asked for by name, else a `List`.
pub(crate) fn listed(mut objects: Vec<Value>, by_name: bool) -> Value {
    match objects.len() {
        1 if by_name => objects.remove(0),
        _ => json!({
            "apiVersion": "v1",
            "kind": "List",
            "metadata": {"resourceVersion": ""},
            "items": objects,
        }),
    }
}

/// `value` as indented JSON without a line end.
pub(crate) fn text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).context("cannot write JSON")
}

/// `value` as YAML that ends with a line end.
pub(crate) fn yaml(value: &impl Serialize) -> Result<String> {
    let mut text = serde_saphyr::to_string(value).context("cannot write YAML")?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_by_name_is_itself_and_anything_else_is_a_list() {
        let object = json!({"kind": "L2Network"});
        assert_eq!(listed(vec![object.clone()], true), object);
        assert_eq!(listed(vec![object.clone()], false)["items"], json!([object]));
        assert_eq!(listed(Vec::new(), false)["items"], json!([]));
    }

    #[test]
    fn yaml_is_read_back_as_what_was_written() {
        let value = json!({"spec": {"vni": 7, "cidr": "10.0.0.0/24", "yes": "no", "on": "0x10"}});
        let text = yaml(&value).unwrap();
        assert_eq!(serde_saphyr::from_str::<Value>(&text).unwrap(), value, "{text}");
    }
}
