//! What to do with our configuration, and when to give in to somebody who takes it away. Pure.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::list::{OURS, Source};

/// Somebody who has taken ours away this often does not want it.
const TAKEN_TWICE: u32 = 2;
/// After giving in, it is tried again this much later; in place for so long, it is accepted.
const TRUCE: Duration = Duration::from_mins(5);
/// A configuration may be in the middle of being written for so long.
const WRITING: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Nothing.
    Nothing,
    /// Ours is to have this text.
    Write(String),
    /// Ours is to go.
    Remove,
}

/// What became of ours so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// Where it is, for what is said.
    directory: PathBuf,
    /// What was written, and since when it is there.
    written: Option<(String, Instant)>,
    /// How often it was taken away.
    taken: u32,
    /// When we gave in.
    gave_in: Option<Instant>,
    /// Since when the source cannot be followed.
    unusable: Option<Instant>,
}

impl Standing {
    /// Ours in `directory`.
    pub(super) fn within(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), ..Self::default() }
    }

    /// Decides, by the text of ours that is there now; with what stands in the way.
    pub(super) fn decide(
        &mut self,
        ours: Option<&str>,
        source: &Source,
        now: Instant,
    ) -> (Deed, Option<(&'static str, String)>) {
        if !matches!(source, Source::Unusable(_)) {
            self.unusable = None;
        }
        let (text, trouble) = match source {
            Source::Nothing => {
                return self.withdraw(ours, Some(no_configuration(&self.directory)));
            }
            Source::Chained => return self.withdraw(ours, None),
            Source::Unusable(why) => return self.bear_with(ours, why, now),
            Source::List { text, passed_over, before } => {
                let passed_over = passed_over.as_deref().map(around_multus);
                (text, before.as_deref().map(another_first).or(passed_over))
            }
        };
        if ours == Some(text) {
            let since = self.written.take().filter(|(before, _since)| before == text);
            let since = since.map_or(now, |(_text, since)| since);
            if now.duration_since(since) >= TRUCE {
                self.taken = 0;
            }
            self.gave_in = None;
            self.written = Some((text.clone(), since));
            return (Deed::Nothing, trouble);
        }
        // Ours as it was last, for a source that has changed since, was not taken away.
        let untouched = self.written.as_ref().is_none_or(|(before, _since)| ours == Some(before));
        if !untouched {
            self.taken += 1;
            self.written = None;
            if self.taken >= TAKEN_TWICE {
                self.gave_in = Some(now);
            }
        }
        match self.gave_in {
            Some(at) if now.duration_since(at) < TRUCE => (Deed::Nothing, Some(taken_away())),
            given_in => {
                if given_in.is_some() {
                    (self.gave_in, self.taken) = (None, TAKEN_TWICE - 1);
                }
                self.written = Some((text.clone(), now));
                (Deed::Write(text.clone()), trouble)
            }
        }
    }

    /// What was decided could not be done.
    pub(super) fn fail(&mut self) {
        self.written = None;
    }

    /// The cluster's own way, whatever that is, counts more than ours.
    fn bear_with(
        &mut self,
        ours: Option<&str>,
        why: &str,
        now: Instant,
    ) -> (Deed, Option<(&'static str, String)>) {
        let trouble = Some(("Unusable", why.to_owned()));
        let since = *self.unusable.get_or_insert(now);
        if now.duration_since(since) < WRITING {
            return (Deed::Nothing, trouble);
        }
        self.withdraw(ours, trouble)
    }

    fn withdraw(
        &mut self,
        ours: Option<&str>,
        trouble: Option<(&'static str, String)>,
    ) -> (Deed, Option<(&'static str, String)>) {
        self.written = None;
        (if ours.is_some() { Deed::Remove } else { Deed::Nothing }, trouble)
    }
}

fn no_configuration(directory: &Path) -> (&'static str, String) {
    let message = format!(
        "the node has no CNI configuration yet in {}: waiting for the cluster's CNI plugin; a runtime \
         with another directory needs --cni-conf-dir, or another hostPath in the agent's pod",
        directory.display()
    );
    ("NoConfiguration", message)
}

fn another_first(before: &str) -> (&'static str, String) {
    let message = format!(
        "{before} sorts before {OURS}, and the runtime takes the first: pods with networks are \
         attached only once they run; rename {before} so that it sorts behind, as in 10-x.conflist"
    );
    ("AnotherFirst", message)
}

fn taken_away() -> (&'static str, String) {
    let message = format!(
        "somebody removes or renames {OURS}: pods with networks are attached only once they run; \
         with Cilium, set cni.exclusive=false"
    );
    ("TakenAway", message)
}

fn around_multus(multus: &str) -> (&'static str, String) {
    let message = format!(
        "{multus} takes {OURS} for the cluster's own configuration, so Multus is passed over: name \
         the cluster's with Multus' --multus-master-cni-file-name"
    );
    ("MultusGoesThroughL2sm", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Source {
        Source::List { text: text.to_owned(), passed_over: None, before: None }
    }

    fn write(text: &str) -> Deed {
        Deed::Write(text.to_owned())
    }

    #[test]
    fn ours_follows_its_source_and_goes_with_it() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        assert_eq!(standing.decide(None, &list("a"), now), (write("a"), None));
        assert_eq!(standing.decide(Some("a"), &list("a"), now), (Deed::Nothing, None));
        for text in ["b", "c", "d"] {
            let before = standing.written.clone().unwrap().0;
            assert_eq!(standing.decide(Some(&before), &list(text), now), (write(text), None));
        }
        let (deed, trouble) = standing.decide(Some("d"), &Source::Nothing, now);
        assert_eq!((deed, trouble.unwrap().0), (Deed::Remove, "NoConfiguration"));
        assert_eq!(standing.decide(None, &list("a"), now), (write("a"), None), "back again");
    }

    #[test]
    fn another_that_the_runtime_takes_is_told_until_it_is_renamed() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        let second = Source::List {
            text: "a".to_owned(),
            passed_over: Some("00-a-multus.conf".to_owned()),
            before: Some("00-a-multus.conf".to_owned()),
        };
        for (there, deed) in [(None, write("a")), (Some("a"), Deed::Nothing)] {
            let (decided, trouble) = standing.decide(there, &second, now);
            let (reason, message) = trouble.unwrap();
            assert_eq!((decided, reason), (deed, "AnotherFirst"));
            assert!(message.contains("rename 00-a-multus.conf "), "{message}");
        }
        assert_eq!(standing.decide(Some("a"), &list("a"), now), (Deed::Nothing, None));
    }

    #[test]
    fn a_node_without_configuration_names_where_it_looks_and_the_flag() {
        let mut standing = Standing::within(Path::new("/etc/cni/net.d"));
        let (_deed, trouble) = standing.decide(None, &Source::Nothing, Instant::now());
        let message = trouble.unwrap().1;
        assert!(message.contains(" /etc/cni/net.d: ") && message.contains("--cni-conf-dir"));
    }

    #[test]
    fn what_is_taken_away_twice_is_tried_again_only_later() {
        let (mut standing, mut now) = (Standing::default(), Instant::now());
        assert_eq!(standing.decide(None, &list("a"), now).0, write("a"));
        assert_eq!(standing.decide(None, &list("a"), now), (write("a"), None), "once");
        for _look in 0..3 {
            let (deed, trouble) = standing.decide(None, &list("a"), now);
            assert_eq!((deed, trouble.unwrap().0), (Deed::Nothing, "TakenAway"));
        }
        now += TRUCE;
        assert_eq!(standing.decide(None, &list("a"), now), (write("a"), None));
        assert_eq!(standing.decide(None, &list("a"), now).1.unwrap().0, "TakenAway", "at once");
        now += TRUCE;
        assert_eq!(standing.decide(None, &list("a"), now), (write("a"), None));
        assert_eq!(standing.decide(Some("a"), &list("a"), now), (Deed::Nothing, None));
        now += TRUCE;
        assert_eq!(standing.decide(Some("a"), &list("a"), now), (Deed::Nothing, None), "accepted");
        assert_eq!(standing.decide(None, &list("a"), now), (write("a"), None), "counted afresh");
    }

    #[test]
    fn a_source_that_cannot_be_read_changes_nothing_until_it_stays_so() {
        let (mut standing, mut now) = (Standing::default(), Instant::now());
        let bad = Source::Unusable("10-x.conflist: not a CNI configuration".to_owned());
        for (waited, deed) in
            [(Duration::ZERO, Deed::Nothing), (WRITING / 2, Deed::Nothing), (WRITING, Deed::Remove)]
        {
            now += waited;
            let (decided, trouble) = standing.decide(Some("a"), &bad, now);
            assert_eq!((decided, trouble.unwrap().0), (deed, "Unusable"));
        }
        assert_eq!(standing.decide(None, &list("a"), now), (write("a"), None));
        assert_eq!(standing.decide(Some("a"), &bad, now).0, Deed::Nothing, "counted afresh");
    }
}
