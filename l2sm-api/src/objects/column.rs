//! How objects are listed: the columns of each kind, by `l2smctl` and by `kubectl`.

use jiff::Timestamp;
use serde_json::Value;

use super::kind::Kind;

/// One column of a listing.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its head.
    pub name: &'static str,
    /// Shown with `-o wide` only.
    pub wide: bool,
    /// What its cells show.
    pub shows: Shows,
}

/// What the cells of a column show.
#[derive(Clone, Copy, Debug)]
pub enum Shows {
    /// The text at a JSON pointer.
    Text(&'static str),
    /// How many items the list at a JSON pointer has.
    Count(&'static str),
    /// `status` of the condition of this type.
    Condition(&'static str),
    /// How long ago the object was made.
    Age,
    /// What a function makes of the object's JSON.
    Computed(fn(&Value) -> String),
}

/// What stands in a cell without value.
pub const NONE: &str = "<none>";

/// The columns of a kind. The namespace is not among them: who lists several adds it.
pub fn columns(kind: Kind) -> &'static [Column] {
    kind.definition().columns
}

impl Column {
    /// The name of the object, first of every kind.
    pub(super) const NAME: Self = Self::text("NAME", "/metadata/name");

    /// How long ago the object was made.
    pub(super) const AGE: Self = Self::new("AGE", Shows::Age);

    /// The condition `Ready`.
    pub(super) const READY: Self = Self::new("READY", Shows::Condition("Ready"));

    /// A column that is always shown.
    pub(super) const fn new(name: &'static str, shows: Shows) -> Self {
        Self { name, wide: false, shows }
    }

    /// A column with the text at a JSON pointer.
    pub(super) const fn text(name: &'static str, pointer: &'static str) -> Self {
        Self::new(name, Shows::Text(pointer))
    }

    /// The column, shown with `-o wide` only.
    pub(super) const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }

    /// The cell of an object, at a time.
    pub fn cell(&self, object: &Value, now: Timestamp) -> String {
        match self.shows {
            Shows::Text(pointer) => text(object, pointer),
            Shows::Count(pointer) => count(object, pointer),
            Shows::Condition(kind) => condition(object, kind),
            Shows::Age => age(object, now),
            Shows::Computed(compute) => compute(object),
        }
    }
}

/// The text at a JSON pointer: strings bare, lists separated by commas.
fn text(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        None | Some(Value::Null) => NONE.to_owned(),
        Some(Value::String(text)) if text.is_empty() => NONE.to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.is_empty() => NONE.to_owned(),
        Some(Value::Array(items)) => {
            let items: Vec<_> = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect();
            items.join(",")
        }
        Some(other) => other.to_string(),
    }
}

/// How many items the list at a JSON pointer has.
fn count(object: &Value, pointer: &str) -> String {
    let items = object.pointer(pointer).and_then(Value::as_array);
    items.map_or_else(|| NONE.to_owned(), |items| items.len().to_string())
}

/// `status` of a condition.
fn condition(object: &Value, kind: &str) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
        .and_then(|condition| condition.get("status").and_then(Value::as_str))
        .unwrap_or("Unknown")
        .to_owned()
}

/// How long ago the object was made, as kubectl says it.
fn age(object: &Value, now: Timestamp) -> String {
    let made = object.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
    let Some(made) = made.and_then(|text| text.parse::<Timestamp>().ok()) else {
        return NONE.to_owned();
    };
    let seconds = now.as_second().saturating_sub(made.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ages_are_said_as_kubectl_says_them() {
        let object = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}});
        for (now, said) in [
            ("2026-01-01T00:00:00Z", "0s"),
            ("2026-01-01T00:01:59Z", "119s"),
            ("2026-01-01T00:02:00Z", "2m"),
            ("2026-01-01T03:00:00Z", "3h"),
            ("2026-01-05T00:00:00Z", "4d"),
            ("2025-12-31T00:00:00Z", "0s"),
        ] {
            assert_eq!(age(&object, now.parse().unwrap()), said, "{now}");
        }
        assert_eq!(age(&json!({}), Timestamp::UNIX_EPOCH), NONE);
    }

    #[test]
    fn lists_numbers_and_missing_values_have_a_text() {
        let object = json!({"a": ["x", "y"], "b": 7, "c": "", "d": []});
        assert_eq!(text(&object, "/a"), "x,y");
        assert_eq!(text(&object, "/b"), "7");
        for pointer in ["/c", "/d", "/e"] {
            assert_eq!(text(&object, pointer), NONE, "{pointer}");
        }
    }

    #[test]
    fn every_kind_begins_with_its_name() {
        let object = json!({"metadata": {"name": "blue"}});
        for kind in Kind::ALL {
            let first = columns(kind).first().unwrap();
            assert_eq!(first.name, "NAME");
            assert_eq!(first.cell(&object, Timestamp::UNIX_EPOCH), "blue");
        }
    }
}
