//! Whom to believe. Pure.

use l2sm_api::grpc::v1;
use thiserror::Error;

use crate::state::Revision;

/// Why a controller is not followed; the state stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// Another store.
    #[error(
        "it serves another store ({theirs}, not {ours}): keeping the present state; \
         --adopt-controller accepts it once"
    )]
    Foreign {
        /// Source id followed so far.
        ours: String,
        /// Source id of this one.
        theirs: String,
    },
    /// The same store at an earlier time: a restored backup, or a server that should be gone.
    #[error("it is at {theirs}, older than {ours} which is known already: not going back")]
    Older {
        /// Position known.
        ours: Revision,
        /// Position offered.
        theirs: Revision,
    },
    /// Instructions of another source than it said hello with.
    #[error("its instructions are of {theirs}, though it said that it is {ours}")]
    Changed {
        /// Source id of its welcome.
        ours: String,
        /// Source id of its update.
        theirs: String,
    },
    /// No source id.
    #[error("it does not say which store it serves")]
    Nameless,
}

/// What is believed so far.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    known: Option<Revision>,
    adopt: bool,
}

impl Admission {
    /// `known`: position followed so far; `adopt`: another source is accepted once.
    pub fn new(known: Option<Revision>, adopt: bool) -> Self {
        Self { known, adopt }
    }

    /// What to say in hello.
    pub fn known(&self) -> Option<&Revision> {
        self.known.as_ref()
    }

    /// Judges a welcome.
    ///
    /// # Errors
    /// See [`Rejection`].
    pub fn welcome(&self, welcome: &v1::Welcome) -> Result<(), Rejection> {
        if welcome.source.is_empty() {
            return Err(Rejection::Nameless);
        }
        let Some(ours) = &self.known else { return Ok(()) };
        if ours.source != welcome.source {
            let (ours, theirs) = (ours.source.clone(), welcome.source.clone());
            return if self.adopt { Ok(()) } else { Err(Rejection::Foreign { ours, theirs }) };
        }
        if welcome.epoch < ours.epoch {
            let theirs =
                Revision { source: welcome.source.clone(), epoch: welcome.epoch, number: 0 };
            return Err(Rejection::Older { ours: ours.clone(), theirs });
        }
        Ok(())
    }

    /// Judges the revision of complete instructions of the controller that said `welcome`, and
    /// remembers it. Accepting another source uses the consent up.
    ///
    /// # Errors
    /// See [`Rejection`].
    pub fn accept(&mut self, welcome: &v1::Welcome, revision: &Revision) -> Result<(), Rejection> {
        if revision.source != welcome.source {
            let (ours, theirs) = (welcome.source.clone(), revision.source.clone());
            return Err(Rejection::Changed { ours, theirs });
        }
        if let Some(ours) = &self.known {
            if revision < ours {
                return Err(Rejection::Older { ours: ours.clone(), theirs: revision.clone() });
            }
            self.adopt &= ours.source == revision.source;
        }
        self.known = Some(revision.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(source: &str, epoch: u64, number: u64) -> Revision {
        Revision { source: source.to_owned(), epoch, number }
    }

    fn welcome(source: &str, epoch: u64) -> v1::Welcome {
        v1::Welcome { source: source.to_owned(), epoch, ..v1::Welcome::default() }
    }

    #[test]
    fn the_first_controller_is_believed() {
        assert_eq!(Admission::default().welcome(&welcome("a", 1)), Ok(()));
        assert_eq!(Admission::default().welcome(&welcome("", 1)), Err(Rejection::Nameless));
    }

    #[test]
    fn a_foreign_source_is_refused_unless_adopted_once() {
        let strict = Admission::new(Some(at("a", 3, 7)), false);
        assert!(matches!(strict.welcome(&welcome("b", 1)), Err(Rejection::Foreign { .. })));
        let mut adopting = Admission::new(Some(at("a", 3, 7)), true);
        assert_eq!(adopting.welcome(&welcome("b", 1)), Ok(()));
        assert_eq!(adopting.accept(&welcome("b", 1), &at("b", 1, 1)), Ok(()));
        assert!(matches!(adopting.welcome(&welcome("a", 3)), Err(Rejection::Foreign { .. })));
    }

    #[test]
    fn nothing_goes_back() {
        let mut known = Admission::new(Some(at("a", 3, 7)), false);
        assert!(matches!(known.welcome(&welcome("a", 2)), Err(Rejection::Older { .. })));
        assert_eq!(known.welcome(&welcome("a", 3)), Ok(()));
        let older = known.accept(&welcome("a", 3), &at("a", 3, 6));
        assert!(matches!(older, Err(Rejection::Older { .. })));
        assert_eq!(known.accept(&welcome("a", 3), &at("a", 3, 7)), Ok(()));
        assert_eq!(known.accept(&welcome("a", 4), &at("a", 4, 1)), Ok(()), "a newer epoch");
    }

    #[test]
    fn instructions_are_of_the_source_that_said_welcome() {
        let mut known = Admission::default();
        let changed = known.accept(&welcome("a", 1), &at("b", 1, 1));
        assert!(matches!(changed, Err(Rejection::Changed { .. })));
    }
}
