//! Whether the cluster's definitions of our kinds are new enough.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use l2sm_api::objects::Kind;

use crate::ask::ask;

/// The annotation that carries the version.
const ANNOTATION: &str = "l2sm.l2sm.k8s.local/schema-version";
/// The version that this operator needs.
pub const NEEDED: u32 = 1;

/// Asks the cluster for the definitions of all kinds.
///
/// # Errors
/// One is missing or too old: in words that name the file to apply.
pub async fn check(client: &Client) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for kind in Kind::ALL {
        let plural = kind.definition().plural;
        let name = format!("{plural}.l2sm.l2sm.k8s.local");
        let found = ask(api.get_opt(&name)).await?;
        let version = found.map(|found| {
            let annotations = found.metadata.annotations.unwrap_or_default();
            annotations.get(ANNOTATION).and_then(|text| text.parse().ok()).unwrap_or(0)
        });
        if let Some(why) = fault(plural, version) {
            anyhow::bail!(why);
        }
    }
    Ok(())
}

/// What is wrong with a definition of that version; `None` stands for one that is not there.
fn fault(plural: &str, version: Option<u32>) -> Option<String> {
    match version {
        Some(version) if version >= NEEDED => None,
        Some(version) => Some(format!(
            "the definition of {plural} has schema version {version}, this operator needs {NEEDED}: \
             apply deploy/crds/{plural}.yaml of its release"
        )),
        None => Some(format!(
            "the cluster does not know {plural}: apply deploy/crds/{plural}.yaml of this release"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_or_missing_definition_names_the_file_to_apply() {
        assert_eq!(fault("l2networks", Some(NEEDED)), None);
        assert_eq!(fault("l2networks", Some(NEEDED + 1)), None, "additive");
        for bad in [Some(0), None] {
            let why = fault("l2networks", bad).unwrap();
            assert!(why.contains("apply deploy/crds/l2networks.yaml"), "{why}");
        }
    }
}
