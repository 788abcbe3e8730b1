//! The text files of the repository.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::command;

/// A text file.
pub(super) struct Source {
    /// Relative to the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// Whether it is a Rust source.
    pub(super) fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }
}

/// All text files that git tracks, or would track at the next `git add`.
///
/// # Errors
/// When git fails, or a file that is there cannot be read.
pub(super) fn all() -> Result<Vec<Source>> {
    let mut git = command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]);
    let list = command::read(&mut git)?;
    let sources = list.split_terminator('\0').filter_map(|path| read(path).transpose());
    sources.collect()
}

/// The file, unless it is gone, no file (a symbolic link to a directory) or not text.
fn read(path: &str) -> Result<Option<Source>> {
    if !fs::metadata(path).is_ok_and(|meta| meta.is_file()) {
        return Ok(None);
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {path}"))?;
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    Ok(text.map(|text| Source { path: path.to_owned(), text }))
}
