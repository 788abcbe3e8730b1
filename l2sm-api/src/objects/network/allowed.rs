//! Which namespaces' pods may join a network.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use crate::objects::FieldError;

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
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
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

impl AllowedNamespaces {
    /// Whether pods of the namespace `pods`, with these labels on the namespace, may join a network
    /// in the namespace `own`. Its own namespace always may.
    pub fn admits(&self, own: &str, pods: &str, labels: &BTreeMap<String, String>) -> bool {
        own == pods
            || match self {
                Self::Same => false,
                Self::All => true,
                Self::Selector(selector) => selector.selects(labels),
            }
    }

    /// What is wrong with it, below the field `path`.
    pub(super) fn faults(&self, path: &str) -> Vec<FieldError> {
        let Self::Selector(selector) = self else {
            return Vec::new();
        };
        let requirements = selector.match_expressions.iter().enumerate();
        requirements
            .flat_map(|(index, requirement)| {
                requirement.faults(&format!("{path}.matchExpressions[{index}]"))
            })
            .collect()
    }
}

impl LabelSelector {
    /// Whether it selects what has these labels. The empty selector selects all.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

impl LabelRequirement {
    /// As in Kubernetes: what does not have the label is not in any list.
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            LabelOperator::In => listed,
            LabelOperator::NotIn => !listed,
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }

    fn faults(&self, field: &str) -> Vec<FieldError> {
        let mut faults = Vec::new();
        if self.key.is_empty() {
            faults.push(FieldError::new(format!("{field}.key"), "is required"));
        }
        let takes_values = matches!(self.operator, LabelOperator::In | LabelOperator::NotIn);
        if takes_values == self.values.is_empty() {
            let why = if takes_values {
                "is required with In and NotIn"
            } else {
                "has no meaning with Exists and DoesNotExist; expected none"
            };
            faults.push(FieldError::new(format!("{field}.values"), why));
        }
        faults
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn admits(allowed: &str, pods: &str, pairs: &[(&str, &str)]) -> bool {
        let allowed: AllowedNamespaces = serde_json::from_str(allowed).unwrap();
        allowed.admits("shop", pods, &labels(pairs))
    }

    #[test]
    fn a_networks_own_namespace_always_may_join() {
        for allowed in [r#""Same""#, r#""All""#, r#"{"matchLabels": {"team": "a"}}"#] {
            assert!(admits(allowed, "shop", &[]), "{allowed}");
        }
    }

    #[test]
    fn others_may_join_as_the_network_says() {
        assert!(!admits(r#""Same""#, "lab", &[]));
        assert!(admits(r#""All""#, "lab", &[]));
        assert!(admits("{}", "lab", &[]), "the empty selector selects all");
        let by_label = r#"{"matchLabels": {"team": "a"}}"#;
        assert!(admits(by_label, "lab", &[("team", "a"), ("env", "dev")]));
        assert!(!admits(by_label, "lab", &[("team", "b")]));
        assert!(!admits(by_label, "lab", &[]));
    }

    #[test]
    fn requirements_hold_as_in_kubernetes() {
        let admits = |operator: &str, values: &str, pairs: &[(&str, &str)]| {
            let requirement =
                format!(r#"{{"key": "env", "operator": "{operator}", "values": {values}}}"#);
            admits(&format!(r#"{{"matchExpressions": [{requirement}]}}"#), "lab", pairs)
        };
        let (dev, none): (&[_], &[_]) = (&[("env", "dev")], &[]);
        assert!(admits("In", r#"["dev", "test"]"#, dev) && !admits("In", r#"["dev"]"#, none));
        assert!(!admits("NotIn", r#"["dev"]"#, dev) && admits("NotIn", r#"["dev"]"#, none));
        assert!(admits("Exists", "[]", dev) && !admits("Exists", "[]", none));
        assert!(!admits("DoesNotExist", "[]", dev) && admits("DoesNotExist", "[]", none));
    }
}
