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
