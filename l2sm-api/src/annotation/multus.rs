//! Multus' annotation, as far as it concerns us: how many interfaces it makes, what they are
//! called, and which of them are ours.

use super::{Entry, at_most, json};

/// The entries of Multus' annotation: a JSON array, or `[namespace/]name[@interface]` separated by
/// commas. Fields that only Multus knows are left to it.
///
/// # Errors
/// What is wrong, in words; Multus then makes nothing either.
pub fn read_multus(text: &str) -> Result<Vec<Entry>, String> {
    // As Multus tells the two forms apart.
    let entries: Vec<_> = if text.contains(['[', '{', '"']) {
        json::entries(text, false)?.into_iter().map(without_empty).collect()
    } else {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        (1..)
            .zip(items)
            .map(|(number, item)| short_form(item).map_err(|why| format!("entry {number}: {why}")))
            .collect::<Result<_, _>>()?
    };
    at_most(entries.len())?;
    Ok(entries)
}

/// To Multus an empty text is one that is not given.
fn without_empty(entry: Entry) -> Entry {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    Entry {
        namespace: given(entry.namespace),
        ifname: given(entry.ifname),
        mac: given(entry.mac),
        ..entry
    }
}

fn short_form(item: &str) -> Result<Entry, String> {
    let (path, ifname) = match item.split_once('@') {
        Some((path, ifname)) => (path.trim(), Some(ifname.trim().to_owned())),
        None => (item, None),
    };
    let (namespace, name) = match path.split_once('/') {
        Some((namespace, name)) => (Some(namespace.trim().to_owned()), name.trim()),
        None => (None, path),
    };
    let empty = |text: &Option<String>| text.as_deref() == Some("");
    if name.is_empty() || name.contains('/') || empty(&namespace) || empty(&ifname) {
        return Err(format!(
            "{item:?} is no network; expected namespace/name@interface, where all but the name may be left out"
        ));
    }
    Ok(Entry { name: name.to_owned(), namespace, ifname, ..Entry::default() })
}
