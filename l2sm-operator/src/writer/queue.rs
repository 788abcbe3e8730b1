//! What waits to be written: one after the other about the same, and of those that wait the latest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Write;

/// Writes that wait, in the order in which their subjects came.
#[derive(Debug, Default)]
pub(super) struct Queue {
    order: VecDeque<String>,
    waiting: BTreeMap<String, Write>,
    under_way: BTreeSet<String>,
}

impl Queue {
    /// One more; it takes the place of one about the same that still waits.
    pub(super) fn push(&mut self, write: Write) {
        let subject = write.subject();
        if self.waiting.insert(subject.clone(), write).is_none() {
            self.order.push_back(subject);
        }
    }

    /// The next one that may be sent; nothing about the same is sent until it is [`Self::done`].
    pub(super) fn next(&mut self) -> Option<Write> {
        let at = self.order.iter().position(|subject| !self.under_way.contains(subject))?;
        let subject = self.order.remove(at)?;
        let write = self.waiting.remove(&subject)?;
        self.under_way.insert(subject);
        Some(write)
    }

    /// What is about `subject` was sent.
    pub(super) fn done(&mut self, subject: &str) {
        self.under_way.remove(subject);
    }
}

#[cfg(test)]
mod tests {
    use l2sm_core::model::ObjectKey;

    use super::*;

    fn write(uid: &str, text: &str) -> Write {
        let pod = ObjectKey::new("shop", uid);
        Write::NetworkStatus { pod, uid: uid.into(), text: Some(text.into()) }
    }

    #[test]
    fn of_two_writes_about_the_same_the_second_waits_for_the_first() {
        let mut queue = Queue::default();
        queue.push(write("a", "1"));
        assert_eq!(queue.next(), Some(write("a", "1")));
        queue.push(write("a", "2"));
        queue.push(write("b", "1"));
        assert_eq!(queue.next(), Some(write("b", "1")), "others do not wait");
        assert_eq!(queue.next(), None);
        queue.done(&write("a", "1").subject());
        assert_eq!(queue.next(), Some(write("a", "2")));
    }

    #[test]
    fn of_those_that_wait_the_latest_is_sent_in_the_place_of_the_first() {
        let mut queue = Queue::default();
        for (uid, text) in [("a", "1"), ("b", "1"), ("a", "2"), ("a", "3")] {
            queue.push(write(uid, text));
        }
        assert_eq!(queue.next(), Some(write("a", "3")));
        assert_eq!(queue.next(), Some(write("b", "1")));
        assert_eq!(queue.next(), None);
    }
}
