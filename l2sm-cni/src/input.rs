//! The network configuration on standard input.

use l2sm_api::cni::{NetworkConfig, Version, code};
use serde_json::{Value, error::Category};

use crate::{environment::Environment, failure::Failure};

/// A configuration that is complete for its verb.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) version: Version,
    pub(crate) rest: NetworkConfig,
}

/// The version that the input names, if it is one of ours.
pub(crate) fn version(input: &[u8]) -> Option<Version> {
    let input: Value = serde_json::from_slice(input).ok()?;
    Version::from_name(input.get("cniVersion")?.as_str()?)
}

/// Reads the configuration for a verb.
///
/// # Errors
/// It is not JSON, of another version, or incomplete.
pub(crate) fn read(verb: &Environment, input: &[u8]) -> Result<Config, Failure> {
    if matches!(verb, Environment::Version) {
        return read_version(input);
    }
    let value = parse(input)?;
    let version = check_version(&value)?;
    check_verb(verb, version)?;
    let rest: NetworkConfig = serde_json::from_value(value)
        .map_err(|why| Failure::config(format!("network configuration: {why}")))?;
    if rest.name.is_empty() {
        return Err(Failure::config("name: is required; expected a name for this configuration"));
    }
    Ok(Config { version, rest })
}

/// Whoever asks for the versions need not know them.
fn read_version(input: &[u8]) -> Result<Config, Failure> {
    if !input.trim_ascii().is_empty() {
        parse(input)?;
    }
    let version = version(input).unwrap_or(Version::NEWEST);
    Ok(Config { version, rest: NetworkConfig::default() })
}

fn parse(input: &[u8]) -> Result<Value, Failure> {
    let unreadable = |why: &str| Failure::new(code::DECODE, format!("standard input: {why}"));
    match serde_json::from_slice::<Value>(input) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_other) => Err(unreadable("expected a JSON object, a network configuration")),
        Err(why) if input.trim_ascii().is_empty() && why.classify() == Category::Eof => {
            Err(unreadable("empty; expected a network configuration in JSON"))
        }
        Err(why) => Err(unreadable(&format!("not JSON: {why}"))),
    }
}

fn check_version(config: &Value) -> Result<Version, Failure> {
    let Some(name) = config.get("cniVersion") else {
        return Err(Failure::version("cniVersion: is required; it is not there"));
    };
    let known = name.as_str().and_then(Version::from_name);
    known.ok_or_else(|| Failure::version(format!("cniVersion: {name} is not supported")))
}

/// Verbs came with versions.
fn check_verb(verb: &Environment, version: Version) -> Result<(), Failure> {
    let (name, since) = match verb {
        Environment::Check(..) => ("CHECK", Version::V0_4_0),
        Environment::Gc => ("GC", Version::V1_1_0),
        Environment::Status => ("STATUS", Version::V1_1_0),
        Environment::Add(_) | Environment::Del(..) | Environment::Version => return Ok(()),
    };
    if version >= since {
        return Ok(());
    }
    Err(Failure::version(format!("cniVersion: {version} has no {name}; it came with {since}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(verb: &Environment, input: &str) -> Failure {
        read(verb, input.as_bytes()).unwrap_err()
    }

    #[test]
    fn what_is_not_json_is_told_from_what_is_wrong() {
        let gc = Environment::Gc;
        for input in ["", "{", "[]", "nonsense"] {
            assert_eq!(failure(&gc, input).code, 6, "{input}");
        }
        let wrong = r#"{"cniVersion": "1.1.0", "name": "blue", "network": 5}"#;
        assert_eq!(failure(&gc, wrong).code, 7);
        assert_eq!(failure(&gc, r#"{"cniVersion": "1.1.0"}"#).code, 7);
    }

    #[test]
    fn another_version_is_told_which_there_are() {
        for input in ["{}", r#"{"cniVersion": "0.2.0"}"#, r#"{"cniVersion": 1}"#] {
            let failure = failure(&Environment::Gc, input);
            assert_eq!(failure.code, 1, "{input}");
            assert_eq!(failure.details, "supported: 0.3.1, 0.4.0, 1.0.0, 1.1.0");
        }
    }

    #[test]
    fn a_verb_needs_a_version_that_has_it() {
        let failure = failure(&Environment::Status, r#"{"cniVersion": "1.0.0", "name": "blue"}"#);
        assert_eq!(failure.code, 1);
        assert_eq!(failure.message, "cniVersion: 1.0.0 has no STATUS; it came with 1.1.0");
    }

    #[test]
    fn whoever_asks_for_the_versions_need_not_know_them() {
        for input in ["", "{}", r#"{"cniVersion": "9.0.0"}"#] {
            let config = read(&Environment::Version, input.as_bytes()).unwrap();
            assert_eq!(config.version, Version::NEWEST, "{input}");
        }
        assert_eq!(failure(&Environment::Version, "nonsense").code, 6);
    }
}
