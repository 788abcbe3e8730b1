//! Manifests that the user names: files, directories, standard input. All are read and checked
//! before anything is sent.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use l2sm_api::objects::{DEFAULT_NAMESPACE, Document, parse_documents_in};

/// Endings of files that are read in a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// The documents of all `sources`; those that name no namespace are in `namespace`.
///
/// # Errors
/// All that is wrong in all of them, a line each.
pub(crate) fn read(sources: &[String], namespace: Option<&str>) -> Result<Vec<Document>> {
    let mut files = Vec::new();
    for source in sources {
        files.extend(texts(source)?);
    }
    parse(&files, namespace)
}

/// The documents of one text of our own, as the JSON that is sent.
pub(crate) fn read_text(name: &str, text: &str) -> Result<Vec<String>> {
    json(&parse(&[(name.to_owned(), text.to_owned())], None)?)
}

/// Documents as the JSON that is sent.
pub(crate) fn json(documents: &[Document]) -> Result<Vec<String>> {
    let texts = documents.iter().map(|document| document.object.to_json());
    texts.collect::<Result<_, _>>().context("cannot write JSON")
}

/// A controller's errors, a line each, with the file and its document in place of the document's
/// number among all that were sent.
pub(crate) fn locate(message: &str, documents: &[Document]) -> String {
    let located = message.lines().map(|line| {
        let found = line.strip_prefix("document ").and_then(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let (number, rest) = rest.split_at(end);
            let document = documents.get(number.parse::<usize>().ok()?.checked_sub(1)?)?;
            Some(format!("{}: document {}{rest}", document.file, document.number))
        });
        found.unwrap_or_else(|| line.to_owned())
    });
    located.collect::<Vec<_>>().join("\n")
}

fn parse(files: &[(String, String)], namespace: Option<&str>) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    let mut errors = Vec::new();
    for (file, text) in files {
        match parse_documents_in(file, text, namespace.unwrap_or(DEFAULT_NAMESPACE)) {
            Ok(parsed) => documents.extend(parsed),
            Err(found) => errors.extend(found.iter().map(ToString::to_string)),
        }
    }
    errors.extend(documents.iter().filter_map(|document| elsewhere(document, namespace?)));
    if errors.is_empty() { Ok(documents) } else { Err(anyhow!(errors.join("\n"))) }
}

/// The error of a document in another namespace than the one asked for, as kubectl has it.
fn elsewhere(document: &Document, namespace: &str) -> Option<String> {
    let Document { file, number, object } = document;
    let found = &object.metadata().namespace;
    (object.kind().is_namespaced() && found != namespace).then(|| {
        format!(
            "{file}: document {number} ({} {:?}): metadata.namespace: is {found:?}; expected \
             {namespace:?}, as --namespace says",
            object.kind(),
            object.metadata().name
        )
    })
}

/// Names and texts of a source's files.
fn texts(source: &str) -> Result<Vec<(String, String)>> {
    if source == "-" {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.context("cannot read standard input")?;
        return Ok(vec![("standard input".to_owned(), text)]);
    }
    let path = Path::new(source);
    let files = if path.is_dir() { manifests_in(path)? } else { vec![path.to_owned()] };
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file);
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        Ok((file.display().to_string(), text))
    };
    files.into_iter().map(read).collect()
}

/// The manifests in a directory, by name; not those further down.
fn manifests_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read {}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!(
            "no manifest in {}: expected files ending in .yaml, .yml or .json",
            directory.display()
        );
    }
    files.sort_unstable();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, more: &str) -> String {
        format!(
            "apiVersion: l2sm.l2sm.k8s.local/v1\nkind: L2Network\nmetadata: {{name: {name}{more}}}\nspec: {{type: vnet}}\n"
        )
    }

    fn write(directory: &Path, name: &str, text: &str) -> String {
        let file = directory.join(name);
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    #[test]
    fn a_directory_is_read_in_the_order_of_names() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "b.yml", &network("two", ""));
        write(directory.path(), "a.yaml", &network("one", ""));
        write(directory.path(), "notes.txt", "not read");
        let documents = read(&[directory.path().display().to_string()], None).unwrap();
        let names: Vec<_> =
            documents.iter().map(|document| document.object.metadata().name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
    }

    #[test]
    fn everything_wrong_in_every_file_is_said_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let one = write(directory.path(), "one.yaml", &network("UPPER", ""));
        let two = write(directory.path(), "two.yaml", "kind: Pod\n");
        let good = write(directory.path(), "good.yaml", &network("good", ""));
        let error = read(&[one.clone(), good, two.clone()], None).unwrap_err().to_string();
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), 2, "{error}");
        assert!(lines[0].starts_with(&format!("{one}: document 1 (L2Network \"UPPER\"): ")));
        assert!(lines[1].starts_with(&format!("{two}: document 1 (Pod): kind: ")));
    }

    #[test]
    fn another_namespace_than_the_one_asked_for_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = write(directory.path(), "a.yaml", &network("a", ", namespace: red"));
        assert!(read(std::slice::from_ref(&file), None).is_ok());
        assert!(read(std::slice::from_ref(&file), Some("red")).is_ok());
        let error = read(&[file], Some("blue")).unwrap_err().to_string();
        assert!(error.contains("metadata.namespace: is \"red\"; expected \"blue\""), "{error}");
    }

    #[test]
    fn the_controllers_errors_get_the_file_back() {
        let text = format!("{}---\n{}", network("a", ""), network("b", ""));
        let first = ("one.yaml".to_owned(), network("z", ""));
        let documents = parse(&[first, ("two.yaml".to_owned(), text)], None).unwrap();
        assert_eq!(
            locate("document 3 (L2Network \"b\"): spec.vni: taken\nother", &documents),
            "two.yaml: document 2 (L2Network \"b\"): spec.vni: taken\nother"
        );
        assert_eq!(locate("document 9: x", &documents), "document 9: x");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = format!("{:#}", read(&["/nonexistent.yaml".into()], None).unwrap_err());
        assert!(error.starts_with("cannot read /nonexistent.yaml: No such file"), "{error}");
    }
}
