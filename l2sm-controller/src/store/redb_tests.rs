use super::{super::MemoryStore, *};

fn batch(number: u64) -> Batch {
    Batch {
        put: vec![(format!("L2Network/default/n{number}"), "{}".to_owned())],
        remove: if number > 2 {
            vec![format!("L2Network/default/n{}", number - 2)]
        } else {
            vec![]
        },
        revision: number,
        last_vni: 1_048_576,
    }
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l2sm.redb");
    (dir, path)
}

#[test]
fn a_store_opened_again_has_everything_and_the_next_epoch() {
    let (_dir, path) = file();
    let mut store = RedbStore::open(&path, "source-1").unwrap();
    for number in 1..=4 {
        store.commit(&batch(number)).unwrap();
    }
    drop(store);
    let contents = RedbStore::open(&path, "source-2").unwrap().load().unwrap();
    assert_eq!(contents.meta.source, "source-1");
    assert_eq!((contents.meta.epoch, contents.meta.revision), (2, 4));
    assert_eq!(contents.meta.last_vni, 1_048_576);
    let keys: Vec<_> = contents.objects.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["L2Network/default/n3", "L2Network/default/n4"]);
}

#[test]
fn the_twin_in_memory_does_the_same() {
    let (_dir, path) = file();
    let mut file = RedbStore::open(&path, "s").unwrap();
    let mut memory = MemoryStore::new("s");
    for number in 1..=5 {
        file.commit(&batch(number)).unwrap();
        memory.commit(&batch(number)).unwrap();
        assert_eq!(file.load().unwrap(), memory.load().unwrap());
    }
}

#[test]
fn a_file_that_is_no_store_is_left_alone() {
    let (_dir, path) = file();
    let text = "not a store at all, and longer than a header of redb ".repeat(200);
    std::fs::write(&path, &text).unwrap();
    let error = RedbStore::open(&path, "s").unwrap_err().to_string();
    assert!(error.contains("l2sm.redb is not a store of l2sm: "), "{error}");
    assert!(!error.contains('\n'));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_database_of_somebody_else_is_left_alone() {
    let (_dir, path) = file();
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = TableDefinition::<&str, &str>::new("songs");
    drop(transaction.open_table(table).unwrap());
    transaction.commit().unwrap();
    drop(database);
    let before = std::fs::read(&path).unwrap();
    let error = RedbStore::open(&path, "s").unwrap_err().to_string();
    assert!(
        error.ends_with("is not a store of l2sm: it is a database with tables songs"),
        "{error}"
    );
    assert!(std::fs::read(&path).unwrap() == before, "the file changed");
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let (_dir, path) = file();
    let store = RedbStore::open(&path, "s").unwrap();
    let transaction = store.begin().unwrap();
    transaction.open_table(META).unwrap().insert("schema", "99").unwrap();
    transaction.commit().unwrap();
    drop(store);
    let before = std::fs::read(&path).unwrap();
    let error = RedbStore::open(&path, "s").unwrap_err().to_string();
    assert!(
        error.ends_with("was written by a newer version: it has schema 99, this version knows 1"),
        "{error}"
    );
    assert!(std::fs::read(&path).unwrap() == before, "the file changed");
}

#[test]
fn a_store_is_open_once() {
    let (_dir, path) = file();
    let _first = RedbStore::open(&path, "s").unwrap();
    let error = RedbStore::open(&path, "s").unwrap_err().to_string();
    assert!(error.ends_with("is in use: another controller has it open"), "{error}");
}

#[test]
fn a_file_that_cannot_be_made_is_named() {
    let (dir, _) = file();
    let error = RedbStore::open(&dir.path().join("no/l2sm.redb"), "s").unwrap_err().to_string();
    assert!(error.starts_with("cannot open ") && error.contains("no/l2sm.redb: "), "{error}");
}

#[test]
fn an_empty_file_becomes_a_store() {
    let (_dir, path) = file();
    std::fs::write(&path, "").unwrap();
    assert_eq!(RedbStore::open(&path, "s").unwrap().load().unwrap().meta.epoch, 1);
}
