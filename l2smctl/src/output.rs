//! How results are shown: tables for people, JSON and YAML for programs.

pub(crate) mod json;
pub(crate) mod table;

use clap::ValueEnum;

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

/// A way to show a state (`-o`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateFormat {
    /// Lines for people.
    #[default]
    Table,
    /// The same with all columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// A way to show one answer (`-o`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswerFormat {
    /// Lines for people.
    #[default]
    Table,
    /// JSON.
    Json,
}
