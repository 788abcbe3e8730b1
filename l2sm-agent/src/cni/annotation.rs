//! The annotation `l2sm/networks`, as far as a node needs it.

use serde::Deserialize;

/// An entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    #[serde(alias = "interface")]
    pub(super) ifname: Option<String>,
    pub(super) optional: bool,
}

/// Its entries.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(text: &str) -> Result<Vec<Entry>, String> {
    let text = text.trim();
    if text.starts_with('[') {
        return serde_json::from_str(text).map_err(|why| why.to_string());
    }
    if text.starts_with('{') {
        return Err("expected a JSON array, or names separated by commas".to_owned());
    }
    let names = text.split(',').map(str::trim);
    Ok(names.map(|name| Entry { name: name.to_owned(), ..Entry::default() }).collect())
}
