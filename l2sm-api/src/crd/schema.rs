//! From the schema that kube derives to the one that the API server takes.

use serde_json::{Map, Value, json};

/// What the API server is told about a field beyond its type.
pub(super) struct Amendment {
    at: String,
    with: Value,
}

/// A field with an older spelling, which is accepted as well.
pub(super) struct Renamed {
    /// The object that has it; empty: the root.
    pub at: &'static str,
    /// Its name.
    pub now: &'static str,
    /// The older spelling.
    pub before: &'static str,
    /// One of the two is there always.
    pub required: bool,
}

impl Amendment {
    /// About the field at `path`, as in `spec/topology/links/*/endpointA`: the keys of `with` are
    /// set, `null` takes one away, and rules are added to those that are there.
    pub(super) fn new(path: impl Into<String>, with: Value) -> Self {
        Self { at: path.into(), with }
    }
}

/// The schema without what a cluster does not take, and with all that is said about it.
///
/// # Errors
/// The path of a field that is not in the schema.
pub(super) fn complete(
    mut schema: Value,
    amendments: &[Amendment],
    renamed: &[Renamed],
) -> Result<Value, String> {
    clean(&mut schema);
    if let Some(status) = field(&mut schema, "status") {
        without_defaults(status);
    }
    for amendment in amendments {
        let Some(found) = field(&mut schema, &amendment.at) else {
            return Err(amendment.at.clone());
        };
        merge(found, &amendment.with);
    }
    for renamed in renamed {
        spell_both(&mut schema, renamed)
            .ok_or_else(|| format!("{}/{}", renamed.at, renamed.now))?;
    }
    Ok(schema)
}

/// The value with all keys in order, however the map type of this build keeps them.
pub(super) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().collect();
            fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(fields.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// The schema of the field at a path.
fn field<'a>(schema: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    path.split('/').filter(|name| !name.is_empty()).try_fold(schema, |schema, name| match name {
        "*" => schema.get_mut("items"),
        name => schema.get_mut("properties")?.get_mut(name),
    })
}

/// Formats that only Rust has become ranges. Fields that may be left out are not nullable: the API
/// server then drops a `null` before it checks anything, as we do.
fn clean(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    drop(fields.remove("nullable"));
    if let Some(Value::String(words)) = fields.get_mut("description") {
        // Lines end where the source's do; kubectl breaks them anew.
        let paragraphs = words.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
        *words = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
    if let Some(values) = fields.get_mut("enum").and_then(Value::as_array_mut) {
        values.retain(|value| !value.is_null());
    }
    let format = fields.get("format").and_then(Value::as_str).map(str::to_owned);
    match format.as_deref() {
        Some("uint8") => whole(fields, Some(i64::from(u8::MAX))),
        Some("uint16") => whole(fields, Some(i64::from(u16::MAX))),
        Some("uint32") => whole(fields, Some(i64::from(u32::MAX))),
        Some("uint64") => whole(fields, None),
        Some("ip") => drop(fields.remove("format")),
        _ => {}
    }
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(clean);
    }
    for below in ["items", "additionalProperties"] {
        fields.get_mut(below).into_iter().for_each(clean);
    }
}

fn whole(fields: &mut Map<String, Value>, maximum: Option<i64>) {
    fields.insert("format".to_owned(), "int64".into());
    fields.insert("minimum".to_owned(), 0.into());
    if let Some(maximum) = maximum {
        fields.insert("maximum".to_owned(), maximum.into());
    }
}

/// A status is written by us alone: nothing is filled in.
fn without_defaults(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    drop(fields.remove("default"));
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(without_defaults);
    }
    fields.get_mut("items").into_iter().for_each(without_defaults);
}

fn merge(schema: &mut Value, with: &Value) {
    let (Some(fields), Some(with)) = (schema.as_object_mut(), with.as_object()) else {
        return;
    };
    for (key, value) in with {
        match (fields.get_mut(key), value) {
            (_, Value::Null) => drop(fields.remove(key)),
            (Some(Value::Array(rules)), Value::Array(more)) if key == RULES => {
                rules.extend(more.iter().cloned());
            }
            _ => drop(fields.insert(key.clone(), value.clone())),
        }
    }
}

const RULES: &str = "x-kubernetes-validations";

/// Adds the older spelling of a field, and the rule that only one of the two is there.
fn spell_both(schema: &mut Value, renamed: &Renamed) -> Option<()> {
    let Renamed { now, before, .. } = renamed;
    let owner = field(schema, renamed.at)?;
    let mut older = owner.pointer(&format!("/properties/{now}"))?.clone();
    merge(&mut older, &json!({"description": format!("Older spelling of `{now}`.")}));
    owner.get_mut("properties")?.as_object_mut()?.insert((*before).to_owned(), older);
    if let Some(required) = owner.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|field| field != now);
    }
    if owner.get("required").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        merge(owner, &json!({"required": null}));
    }
    let twice = format!("!(has(self.{now}) && has(self.{before}))");
    let mut rules = vec![json!({
        "rule": twice,
        "message": format!("{now} is given twice: {before} is its older spelling"),
    })];
    if renamed.required {
        let there = format!("has(self.{now}) || has(self.{before})");
        rules.push(json!({"rule": there, "message": format!("{now} is required")}));
    }
    if owner.get(RULES).is_none() {
        merge(owner, &json!({RULES: []}));
    }
    merge(owner, &json!({RULES: rules}));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_spelling_has_all_that_the_newer_has() {
        let schema =
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}});
        let renamed = [Renamed { at: "", now: "a", before: "b", required: true }];
        let amendments = [Amendment::new("a", json!({"minLength": 1}))];

        let schema = complete(schema, &amendments, &renamed).unwrap();

        assert_eq!(schema.pointer("/properties/b/minLength"), Some(&json!(1)));
        assert_eq!(schema.get("required"), None);
        assert_eq!(schema.get(RULES).unwrap().as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_rule_about_no_field_is_an_error() {
        let schema = json!({"properties": {"a": {}}});
        let amendments = [Amendment::new("a/*/c", json!({}))];
        assert_eq!(complete(schema, &amendments, &[]), Err("a/*/c".to_owned()));
    }

    #[test]
    fn unsigned_numbers_keep_their_range() {
        let mut schema = json!({"type": "integer", "format": "uint16", "nullable": true});
        clean(&mut schema);
        let expected =
            json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": 65_535});
        assert_eq!(schema, expected);
    }
}
