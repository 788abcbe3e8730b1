//! Manifests: YAML (or JSON) with one or more documents, to checked objects.

use core::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{API_VERSION, DEFAULT_NAMESPACE, FieldError, Kind, Object};

/// A document of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The file it stands in.
    pub file: String,
    /// Which of the file's documents it is, from 1; empty ones do not count.
    pub number: usize,
    /// What it says.
    pub object: Object,
}

/// One thing wrong in a manifest. Prints as one line:
/// `blue.yaml: document 2 (L2Network "blue"): spec.networkCIDR: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// The file; empty: it came without one.
    pub file: String,
    /// Which document, from 1; 0: the file as a whole.
    pub document: usize,
    /// What the document calls itself, as in `L2Network "blue"`; empty: it does not say.
    pub subject: String,
    /// What is wrong.
    pub fault: FieldError,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}: ", self.file)?;
        }
        if self.document > 0 {
            write!(f, "document {}", self.document)?;
            if !self.subject.is_empty() {
                write!(f, " ({})", self.subject)?;
            }
            f.write_str(": ")?;
        }
        self.fault.fmt(f)
    }
}

impl core::error::Error for ManifestError {}

/// The objects of a manifest, in order; documents without a namespace are in `default`.
///
/// # Errors
/// All that is wrong, in all documents; none is to be applied then.
pub fn parse_documents(file: &str, yaml: &str) -> Result<Vec<Document>, Vec<ManifestError>> {
    parse_documents_in(file, yaml, DEFAULT_NAMESPACE)
}

/// As [`parse_documents`], with another namespace for documents that name none.
///
/// # Errors
/// All that is wrong, in all documents; none is to be applied then.
#[expect(clippy::large_stack_frames, reason = "the state of the YAML reader, once")]
pub fn parse_documents_in(
    file: &str,
    yaml: &str,
    default_namespace: &str,
) -> Result<Vec<Document>, Vec<ManifestError>> {
    let mut documents = Vec::new();
    let mut errors = Vec::new();
    let mut reader = yaml.as_bytes();
    // YAML 1.2: a pod may be called `no` or `y`.
    let options = serde_saphyr::options! { strict_booleans: true };
    let values = serde_saphyr::read_with_options::<_, Value>(&mut reader, options);
    let numbered = (1..)
        .zip(values)
        .flat_map(|(number, value)| members(value).into_iter().map(move |member| (number, member)));
    for (number, value) in numbered {
        let file = file.to_owned();
        match read_document(value, default_namespace) {
            Ok(object) => documents.push(Document { file, number, object }),
            Err((subject, faults)) => errors.extend(faults.into_iter().map(|fault| {
                let (file, subject) = (file.clone(), subject.clone());
                ManifestError { file, document: number, subject, fault }
            })),
        }
    }
    if documents.is_empty() && errors.is_empty() {
        errors.push(ManifestError {
            file: file.to_owned(),
            document: 0,
            subject: String::new(),
            fault: FieldError::new("", "holds no object; expected at least one document"),
        });
    }
    if errors.is_empty() { Ok(documents) } else { Err(errors) }
}

/// The objects of a `List`, as `get -o yaml` prints it; the document itself where it is none.
fn members(
    document: Result<Value, serde_saphyr::Error>,
) -> Vec<Result<Value, serde_saphyr::Error>> {
    let mut value = match document {
        Ok(value) if value.get("kind").and_then(Value::as_str) == Some("List") => value,
        other => return vec![other],
    };
    match value.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items.into_iter().map(Ok).collect(),
        _ => vec![Ok(value)],
    }
}

/// The document's object, or what it calls itself and what is wrong.
fn read_document(
    value: Result<Value, serde_saphyr::Error>,
    default_namespace: &str,
) -> Result<Object, (String, Vec<FieldError>)> {
    let value = value.map_err(|why| {
        let why = one_line(&why.without_snippet().to_string());
        (String::new(), vec![FieldError::new("", format!("is not YAML: {why}"))])
    })?;
    let subject = subject(&value);
    read_object(value, default_namespace).map_err(|faults| (subject, faults))
}

/// The object that `value` describes, with defaults filled in. A `status` is ignored, as kubectl
/// does.
///
/// # Errors
/// All that is wrong with it; of its shape, the first.
pub fn read_object(value: Value, default_namespace: &str) -> Result<Object, Vec<FieldError>> {
    let fail = |field: &str, why: String| vec![FieldError::new(field, why)];
    let Value::Object(mut fields) = value else {
        let why = "is not an object; expected apiVersion, kind, metadata and spec".to_owned();
        return Err(fail("", why));
    };
    let Some(Value::String(kind)) = fields.get("kind") else {
        return Err(fail("kind", format!("is required; expected one of {}", kinds())));
    };
    let kind = match Kind::of_manifest(kind) {
        Ok(kind) => kind,
        Err(why) => {
            let field = if matches!(why, super::UnknownKind::Coming(_)) { "" } else { "kind" };
            return Err(fail(field, why.to_string()));
        }
    };
    match fields.get("apiVersion") {
        Some(Value::String(version)) if version == API_VERSION => {}
        Some(other) => {
            return Err(fail(
                "apiVersion",
                format!("{other} is not served here; expected {API_VERSION}"),
            ));
        }
        None => {
            return Err(fail("apiVersion", format!("is required; expected {API_VERSION}")));
        }
    }
    drop(fields.remove("status"));
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| !OF_THE_CLUSTER.contains(&field.as_str()));
    }
    fields.values_mut().for_each(drop_nulls);
    (kind.definition().read)(Value::Object(fields), default_namespace)
}

/// Metadata that only a cluster keeps, as `kubectl get -o yaml` prints them: ignored here.
const OF_THE_CLUSTER: [&str; 7] = [
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "managedFields",
    "ownerReferences",
    "selfLink",
];

/// A field without value, as templates leave it behind, is a field that is not there: so a cluster
/// reads it too.
pub(crate) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What a document calls itself, as in `L2Network "blue"`.
pub fn subject(value: &Value) -> String {
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
    match (text("/kind"), text("/metadata/name")) {
        (Some(kind), Some(name)) => format!("{kind} {name:?}"),
        (Some(kind), None) => kind.to_owned(),
        (None, _) => String::new(),
    }
}

/// Reads a type; errors name the field and what was expected.
pub(crate) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Vec<FieldError>> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        vec![field_error(&path, &one_line(&error.into_inner().to_string()))]
    })
}

/// Puts serde's messages into the words used here.
fn field_error(path: &str, message: &str) -> FieldError {
    let path = if path == "." { "" } else { path };
    let below = |field: &str| {
        let last = path.rsplit('.').next().unwrap_or_default();
        if path.is_empty() {
            field.to_owned()
        } else if last == field {
            path.to_owned()
        } else {
            format!("{path}.{field}")
        }
    };
    let quoted = |rest: &str| rest.split('`').next().unwrap_or_default().to_owned();
    let expected = |rest: &str| {
        rest.split_once("expected ")
            .map_or("no more fields".to_owned(), |(_, names)| names.replace('`', ""))
    };
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let why = format!("is not a field; expected {}", expected(rest));
        return FieldError::new(below(&quoted(rest)), why);
    }
    if let Some(rest) = message.strip_prefix("missing field `") {
        return FieldError::new(below(&quoted(rest)), "is required");
    }
    if let Some(rest) = message.strip_prefix("duplicate field `") {
        return FieldError::new(below(&quoted(rest)), "is given twice (under two spellings)");
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        let why = format!("{:?} is not one; expected {}", quoted(rest), expected(rest));
        return FieldError::new(path, why);
    }
    if let Some(rest) =
        message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: "))
        && let Some((found, expected)) = rest.split_once(", expected ")
    {
        let expected = in_words(expected);
        return FieldError::new(
            path,
            format!("found {}; expected {expected}", found.replace('`', "")),
        );
    }
    FieldError::new(path, message)
}

/// What serde expects, for people who do not know Rust's types.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a boolean" => "true or false",
        "struct" | "a map" => "an object",
        other => other,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn kinds() -> String {
    Kind::ALL.map(Kind::name).join(", ")
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
