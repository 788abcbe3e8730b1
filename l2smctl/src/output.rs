//! How results are shown: tables for people, JSON and YAML for programs.

pub(crate) mod json;
pub(crate) mod table;

use std::fmt::Display;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::say::{self, say};

/// A way to show objects (`-o`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The most important columns.
    #[default]
    Table,
    /// All columns.
    Wide,
    /// JSON: the object, or a List of several.
    Json,
    /// YAML of the same.
    Yaml,
    /// Kind and name only, a line each.
    Name,
}

/// A way to show one answer (`-o`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswerFormat {
    /// Lines for people.
    #[default]
    Table,
    /// The same with all columns, where the table leaves some out.
    Wide,
    /// JSON.
    Json,
    /// YAML of the same.
    Yaml,
}

impl AnswerFormat {
    /// Shows an answer: `text`, whose lines are whole, or what `value` says to programs.
    ///
    /// # Errors
    /// The value cannot be written.
    pub(crate) fn show(self, value: &impl Serialize, text: impl Display) -> Result<()> {
        match self {
            Self::Table | Self::Wide => say::text(format_args!("{text}")),
            Self::Json => say!("{}", json::text(value)?),
            Self::Yaml => say::text(format_args!("{}", json::yaml(value)?)),
        }
        Ok(())
    }
}
