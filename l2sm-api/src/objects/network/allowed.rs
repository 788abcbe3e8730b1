//! Which namespaces' pods may join a network.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

/// Which namespaces' pods may join a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum AllowedNamespaces {
    /// The network's own.
    #[default]
    #[serde(serialize_with = "as_same")]
    Same,
    /// All.
    #[serde(serialize_with = "as_all")]
    All,
    /// Those with these labels.
    Selector(LabelSelector),
}

/// Kubernetes' label selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LabelSelector {
    /// Labels that must be there with these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements that must all hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelRequirement>,
}

/// One requirement of a [`LabelSelector`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelRequirement {
    /// Label.
    pub key: String,
    /// How it relates to `values`.
    pub operator: LabelOperator,
    /// Values of `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// How a label relates to values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LabelOperator {
    /// Is one of them.
    In,
    /// Is none of them.
    NotIn,
    /// Is there.
    Exists,
    /// Is not there.
    DoesNotExist,
}

impl<'de> Deserialize<'de> for AllowedNamespaces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match &value {
            Value::String(text) if text == "Same" => Ok(Self::Same),
            Value::String(text) if text == "All" => Ok(Self::All),
            Value::Object(_) => {
                let selector = LabelSelector::deserialize(value).map_err(D::Error::custom)?;
                Ok(Self::Selector(selector))
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                let why = "is not one; expected Same, All or a label selector";
                Err(D::Error::custom(format!("{value} {why}")))
            }
        }
    }
}
fn as_same<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("Same")
}

fn as_all<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("All")
}
