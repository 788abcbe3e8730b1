use super::*;

#[test]
fn the_same_event_has_the_same_name_and_another_one_another() {
    let pod = ObjectKey::new("shop", "a".repeat(253));
    let name = |uid: &str, note: &str| event_name(&pod, uid, "NetworkNotFound", note);
    assert_eq!(name("u1", "x"), name("u1", "x"));
    assert_ne!(name("u1", "x"), name("u2", "x"));
    assert_ne!(name("u1", "x"), name("u1", "y"));
    assert!(name("u1", "x").len() <= 253, "as long as names may be");
}

#[test]
fn a_long_note_is_cut_between_characters() {
    let pod = ObjectKey::new("shop", "a");
    let note = event(&pod, "u1", true, "Any", &"\u{20ac}".repeat(500)).note.unwrap();
    assert!((NOTE_MAX - 3..=NOTE_MAX + 3).contains(&note.len()), "{}", note.len());
    assert!(note.chars().all(|letter| letter == '\u{20ac}'));
}

#[test]
fn a_document_to_apply_names_the_object_that_it_is_for() {
    let object = ObjectRef::new(Kind::L2Network, ObjectKey::new("shop", "blue"));
    let document = document(&object, "u1", &json!({"status": {"vni": 7}}));
    assert_eq!(document["metadata"], json!({"name": "blue", "uid": "u1"}));
    assert_eq!(document["status"]["vni"], 7);
    assert_eq!(document["kind"], "L2Network");
}

#[tokio::test]
async fn writes_about_the_same_are_sent_one_after_the_other_and_failures_are_told() {
    let (to, waiting) = mpsc::unbounded_channel();
    let (failed, mut failures) = mpsc::unbounded_channel();
    let write = |uid: &str, text: &str| Write::NetworkStatus {
        pod: ObjectKey::new("shop", uid),
        uid: uid.into(),
        text: Some(text.into()),
    };
    for (uid, text) in [("a", "1"), ("b", "1")] {
        to.send(write(uid, text)).unwrap();
    }
    let (busy, sent) = (std::cell::RefCell::new(Vec::new()), std::cell::RefCell::new(Vec::new()));
    let (to, busy, sent) = (std::cell::Cell::new(Some(to)), &busy, &sent);
    let send_one = |write: Write| {
        let subject = write.subject();
        assert!(!busy.borrow().contains(&subject), "two at a time: {subject}");
        busy.borrow_mut().push(subject.clone());
        let Write::NetworkStatus { uid, text, .. } = write else { panic!() };
        // What comes while the first ones are under way; then nothing more.
        if let Some(to) = to.take() {
            for text in ["2", "3"] {
                to.send(Write::NetworkStatus {
                    pod: ObjectKey::new("shop", "a"),
                    uid: "a".into(),
                    text: Some(text.into()),
                })
                .unwrap();
            }
        }
        async move {
            tokio::task::yield_now().await;
            busy.borrow_mut().retain(|other| *other != subject);
            let line = format!("{uid} {}", text.unwrap());
            sent.borrow_mut().push(line.clone());
            (subject, line != "b 1")
        }
    };
    send_all(waiting, &failed, send_one).await;
    let sent = sent.take();
    let about_a: Vec<_> = sent.iter().filter(|line| line.starts_with('a')).collect();
    assert_eq!((about_a[0].as_str(), about_a.last().unwrap().as_str()), ("a 1", "a 3"));
    assert!(sent.contains(&"b 1".to_owned()));
    assert_eq!(failures.recv().await.unwrap(), "network-status b");
}
