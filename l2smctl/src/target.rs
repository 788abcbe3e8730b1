//! Which objects a command is about: `KIND`, `KIND NAME…` or `KIND/NAME…`.

use l2sm_api::objects::{API_VERSION, Kind};

/// Objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The kind.
    pub(crate) kind: Kind,
    /// The object; `None`: all of the kind.
    pub(crate) name: Option<String>,
}

/// Reads the words of a command line.
///
/// # Errors
/// One line: what is not a kind, or what was expected.
pub(crate) fn parse(words: &[String]) -> Result<Vec<Target>, String> {
    let Some((first, names)) = words.split_first() else {
        return Err("no kind given: expected KIND, KIND NAME or KIND/NAME".to_owned());
    };
    if first.contains('/') {
        return words.iter().map(|word| slashed(word)).collect();
    }
    if let Some(word) = names.iter().find(|name| name.contains('/')) {
        return Err(format!("{word}: expected a name, since {first} says the kind already"));
    }
    let kinds = first.split(',').map(find).collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() {
        return Ok(kinds.into_iter().map(|kind| Target { kind, name: None }).collect());
    }
    let of_kind = |kind: &Kind| {
        let kind = *kind;
        names.iter().map(move |name| Target { kind, name: Some(name.clone()) })
    };
    Ok(kinds.iter().flat_map(of_kind).collect())
}

/// As [`parse`], for commands about objects by name only.
///
/// # Errors
/// As those of [`parse`], and when a name is missing.
pub(crate) fn parse_named(words: &[String]) -> Result<Vec<(Kind, String)>, String> {
    let named = parse(words)?.into_iter().map(|target| {
        let kind = target.kind;
        let name = target.name.ok_or_else(|| format!("{kind}: expected a name after the kind"))?;
        Ok((kind, name))
    });
    named.collect()
}

/// How kubectl names an object: `l2network.l2sm.l2sm.k8s.local/blue`.
pub(crate) fn full_name(kind: Kind, name: &str) -> String {
    format!("{}/{name}", qualified(kind))
}

/// How kubectl names a kind: `l2network.l2sm.l2sm.k8s.local`.
pub(crate) fn qualified(kind: Kind) -> String {
    let group = API_VERSION.split('/').next().unwrap_or_default();
    format!("{}.{group}", kind.definition().singular)
}

fn slashed(word: &str) -> Result<Target, String> {
    let (kind, name) = word
        .split_once('/')
        .filter(|(_, name)| !name.is_empty())
        .ok_or_else(|| format!("{word}: expected KIND/NAME, as the first is"))?;
    Ok(Target { kind: find(kind)?, name: Some(name.to_owned()) })
}

/// The kind that the user means; the group may follow, as kubectl prints it.
fn find(name: &str) -> Result<Kind, String> {
    let bare = name.split_once('.').map_or(name, |(bare, _)| bare);
    Kind::find(bare).map_err(|unknown| unknown.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(line: &str) -> Result<Vec<(Kind, Option<String>)>, String> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let targets = parse(&words)?.into_iter();
        Ok(targets.map(|target| (target.kind, target.name)).collect())
    }

    #[test]
    fn kinds_and_names_are_read_as_kubectl_reads_them() {
        let blue = Some("blue".to_owned());
        let red = Some("red".to_owned());
        assert_eq!(targets("networks"), Ok(vec![(Kind::L2Network, None)]));
        assert_eq!(
            targets("net,nodes").unwrap_err().split(';').next(),
            Some("\"net\" is not a kind")
        );
        assert_eq!(targets("l2net,nodes"), Ok(vec![(Kind::L2Network, None), (Kind::L2Node, None)]));
        let both = Ok(vec![(Kind::L2Network, blue), (Kind::L2Network, red)]);
        assert_eq!(targets("L2Network blue red"), both);
        assert_eq!(targets("l2network/blue l2net/red"), both);
        assert_eq!(targets("l2network.l2sm.l2sm.k8s.local/blue networks/red"), both);
    }

    #[test]
    fn mixed_forms_are_refused() {
        assert!(targets("").unwrap_err().starts_with("no kind given"));
        assert!(targets("l2network blue l2network/red").unwrap_err().contains("expected a name"));
        assert!(targets("l2network/blue red").unwrap_err().contains("expected KIND/NAME"));
        assert!(targets("l2network/").unwrap_err().contains("expected KIND/NAME"));
    }

    #[test]
    fn a_missing_name_is_an_error_where_one_is_needed() {
        let words = ["nodes".to_owned()];
        assert_eq!(parse_named(&words).unwrap_err(), "L2Node: expected a name after the kind");
    }

    #[test]
    fn what_is_printed_is_read_back() {
        let name = full_name(Kind::L2Attachment, "a-net1-0123ab");
        assert_eq!(targets(&name), Ok(vec![(Kind::L2Attachment, Some("a-net1-0123ab".into()))]));
    }
}
