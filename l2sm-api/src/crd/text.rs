//! How a definition is written.

use serde_json::Value;

/// What stands above every generated file.
const HEAD: &str = "# Generated from the types of l2sm-api by `cargo xtask crds`.\n";

/// A definition as YAML, for readers of YAML 1.1 and 1.2.
pub(super) fn yaml(definition: &Value) -> Result<String, serde_saphyr::SerializeError> {
    let options =
        serde_saphyr::ser_options! { compact_list_indent: true, prefer_block_scalars: false };
    let body = serde_saphyr::to_string_with_options(definition, options)?;
    Ok(format!("{HEAD}{}\n", body.trim_end()))
}
