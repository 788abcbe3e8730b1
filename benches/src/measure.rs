//! What the figures are: name, unit, and which way is better.

use serde::Serialize;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
}

impl Better {
    /// As bars are written.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Lower => "<=",
            Self::Higher => ">=",
        }
    }
}

/// A figure that a row yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Its name, in `results.json` and for `--only`.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
}

/// Less is better.
pub const fn lower(name: &'static str, unit: &'static str) -> Measure {
    Measure { name, unit, better: Better::Lower }
}

/// More is better.
pub const fn higher(name: &'static str, unit: &'static str) -> Measure {
    Measure { name, unit, better: Better::Higher }
}
