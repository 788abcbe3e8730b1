//! When conditions changed last.

use std::collections::BTreeMap;

use jiff::Timestamp;
use l2sm_api::objects::{Condition, ConditionStatus};

/// When conditions changed last, by the UID of their object: as it was seen here. Kept in memory;
/// after a restart the times begin anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transitions {
    seen: BTreeMap<String, BTreeMap<String, (ConditionStatus, Timestamp)>>,
}

impl Transitions {
    /// Fills in when each condition of an object changed last: `now` where its status is not what it
    /// was when it was looked at before. A condition that has gone is forgotten.
    pub fn observe(&mut self, uid: &str, conditions: &mut [Condition], now: Timestamp) {
        let before = self.seen.remove(uid).unwrap_or_default();
        let mut seen = BTreeMap::new();
        for condition in conditions {
            let held =
                before.get(&condition.kind).filter(|(status, _)| *status == condition.status);
            let since = held.map_or(now, |(_, since)| *since);
            condition.last_transition_time = Some(since);
            seen.insert(condition.kind.clone(), (condition.status, since));
        }
        self.seen.insert(uid.to_owned(), seen);
    }

    /// What was seen of an object before this process looked: its conditions as they were written.
    pub fn recall(&mut self, uid: &str, conditions: &[Condition]) {
        let known = conditions.iter().filter_map(|condition| {
            let since = condition.last_transition_time?;
            Some((condition.kind.clone(), (condition.status, since)))
        });
        self.seen.entry(uid.to_owned()).or_insert_with(|| known.collect());
    }

    /// An object is gone.
    pub fn forget(&mut self, uid: &str) {
        drop(self.seen.remove(uid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_time_stays_until_the_status_flips() {
        let mut transitions = Transitions::default();
        let mut look = |ready: bool, now: i64| {
            let mut conditions = [Condition::ready(ready, "Any", format!("at {now}"))];
            transitions.observe("uid", &mut conditions, at(now));
            conditions[0].last_transition_time.unwrap().as_second()
        };
        assert_eq!(look(false, 10), 10);
        assert_eq!(look(false, 20), 10);
        assert_eq!(look(true, 30), 30);
        assert_eq!(look(true, 40), 30);
        assert_eq!(look(false, 50), 50);
    }

    #[test]
    fn objects_conditions_and_those_gone_have_times_of_their_own() {
        let mut transitions = Transitions::default();
        let other = Condition::new("PortMismatch", ConditionStatus::True, "OtherPort", "");
        let mut both = [Condition::ready(true, "Any", ""), other.clone()];
        transitions.observe("one", &mut both[..1], at(1));
        transitions.observe("one", &mut both, at(2));
        let times = both.each_ref().map(|seen| seen.last_transition_time.unwrap().as_second());
        assert_eq!(times, [1, 2]);
        transitions.observe("one", &mut both[..1], at(3));
        transitions.observe("one", &mut both, at(4));
        assert_eq!(both[1].last_transition_time, Some(at(4)), "it was away");
        transitions.observe("two", &mut both, at(5));
        assert_eq!(both[0].last_transition_time, Some(at(5)));
        transitions.forget("one");
        transitions.observe("one", &mut both, at(6));
        assert_eq!(both[0].last_transition_time, Some(at(6)));
    }
}
