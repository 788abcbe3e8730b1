//! Positions in a controller's history.

use core::{cmp::Ordering, fmt};

use super::v1;

/// A position in a controller's history. Those of different sources do not compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision {
    /// Made with the store.
    pub source: String,
    /// Rises with each start of a server on that store.
    pub epoch: u64,
    /// Rises with each change.
    pub number: u64,
}

impl PartialOrd for Revision {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.source == other.source)
            .then(|| (self.epoch, self.number).cmp(&(other.epoch, other.number)))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.source, self.epoch, self.number)
    }
}

impl From<v1::Revision> for Revision {
    fn from(message: v1::Revision) -> Self {
        let v1::Revision { source, epoch, number } = message;
        Self { source, epoch, number }
    }
}

impl From<Revision> for v1::Revision {
    fn from(revision: Revision) -> Self {
        let Revision { source, epoch, number } = revision;
        Self { source, epoch, number }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_sources_revisions_compare() {
        let at = |source: &str, epoch, number| Revision { source: source.into(), epoch, number };
        assert!(at("a", 1, 9) < at("a", 2, 3));
        assert!(at("a", 2, 3) < at("a", 2, 4));
        assert_eq!(at("a", 1, 1).partial_cmp(&at("b", 1, 1)), None);
    }
}
