//! Conditions in the status of an object, as Kubernetes has them.

use serde_json::Value;

/// The conditions of an object.
pub(crate) fn all(object: &Value) -> impl Iterator<Item = &Value> {
    object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten()
}

/// Why the condition `name` has not the status `wanted`; `None` when it has.
///
/// A condition that was made for an older `metadata.generation` says nothing about this one.
pub(crate) fn obstacle(object: &Value, name: &str, wanted: &str) -> Option<String> {
    let Some(condition) = all(object).find(|found| text(found, "type").eq_ignore_ascii_case(name))
    else {
        return Some(format!("it has no condition {name} yet"));
    };
    let observed = condition.get("observedGeneration").and_then(Value::as_u64);
    let generation = object.pointer("/metadata/generation").and_then(Value::as_u64);
    if observed.zip(generation).is_some_and(|(observed, generation)| observed < generation) {
        return Some("its last change is not looked at yet".to_owned());
    }
    if text(condition, "status").eq_ignore_ascii_case(wanted) {
        return None;
    }
    let words = [text(condition, "reason"), text(condition, "message")];
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let why = if words.is_empty() { "no reason given".to_owned() } else { words.join(": ") };
    Some(format!("{name} is {}: {why}", text(condition, "status")))
}

/// A text of a condition; empty when it has none.
pub(crate) fn text<'a>(condition: &'a Value, field: &str) -> &'a str {
    condition.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn network(status: &str, observed: u64) -> Value {
        json!({
            "metadata": {"generation": 2},
            "status": {"conditions": [{
                "type": "Ready", "status": status, "reason": "NotProgrammed",
                "message": "waiting for n2", "observedGeneration": observed,
            }]},
        })
    }

    #[test]
    fn nothing_is_in_the_way_of_a_condition_that_holds() {
        assert_eq!(obstacle(&network("True", 2), "Ready", "True"), None);
        assert_eq!(obstacle(&network("True", 2), "ready", "true"), None);
    }

    #[test]
    fn the_obstacle_is_what_the_condition_says() {
        assert_eq!(
            obstacle(&network("False", 2), "Ready", "True").unwrap(),
            "Ready is False: NotProgrammed: waiting for n2"
        );
        assert!(obstacle(&network("True", 2), "Other", "True").unwrap().contains("no condition"));
    }

    #[test]
    fn a_condition_of_an_older_generation_does_not_count() {
        assert!(obstacle(&network("True", 1), "Ready", "True").unwrap().contains("last change"));
    }
}
