//! What must hold for a store: order, durability, damage, one user at a time.

use control::{Author, Commit, NewRevision, Piece, Storage};
use model::{Revision, Settings};
use std::fs;
use store::{DataLock, Store, StoreError};

fn commit(storage: &mut impl Storage, number: u64, name: &str) -> Result<(), String> {
    let mut settings = Settings::default();
    settings.cluster.name = name.parse().ok();
    let author = Author::Operator("10.0.0.9".into());
    let new = NewRevision {
        revision: Revision(number),
        author: &author,
        sentence: "named the cluster",
        settings: &settings,
    };
    let commit = Commit { revision: Some(new), piece: Piece::Append(name.as_bytes()) };
    storage.commit(&commit).map_err(|e| e.to_string())
}

#[test]
fn revisions_stay_in_order_and_are_never_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let mut revisions = Store::open(dir.path()).unwrap().revisions();
    assert!(revisions.newest().unwrap().is_none());
    commit(&mut revisions, 1, "one").unwrap();
    commit(&mut revisions, 2, "two").unwrap();
    assert!(commit(&mut revisions, 2, "again").is_err());

    let store = Store::open(dir.path()).unwrap();
    assert!(store.damaged().is_none());
    let mut again = store.revisions();
    let newest = again.newest().unwrap().unwrap();
    assert_eq!(newest.revision, Revision(2));
    assert_eq!(newest.settings.cluster.name.unwrap().as_str(), "two");
    let history = again.history(10).unwrap();
    assert_eq!(history.iter().map(|r| r.revision.0).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(history[0].author, Author::Operator("10.0.0.9".into()));
    assert_eq!(again.history(1).unwrap().len(), 1);
    assert!(again.revision(Revision(3)).unwrap().is_none());

    // What is refused leaves the document alone as well, and a whole one replaces the pieces.
    assert_eq!(again.document().unwrap(), [b"one", b"two"]);
    again.commit(&Commit { revision: None, piece: Piece::Whole(b"all") }).unwrap();
    again.commit(&Commit { revision: None, piece: Piece::Append(b"more") }).unwrap();
    assert_eq!(again.document().unwrap(), [b"all".to_vec(), b"more".to_vec()]);
    assert!(again.keys().unwrap().is_none());
    again.set_keys(b"secret").unwrap();
    assert_eq!(store.revisions().keys().unwrap().unwrap(), b"secret");

    let raw = rusqlite::Connection::open(dir.path().join("bramble.db")).unwrap();
    for sql in ["DELETE FROM revisions", "UPDATE revisions SET sentence = ''"] {
        let error = raw.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("never"), "{error}");
    }
}

#[test]
fn damage_is_set_aside() {
    let whole = tempfile::tempdir().unwrap();
    commit(&mut Store::open(whole.path()).unwrap().revisions(), 1, "one").unwrap();
    let raw = rusqlite::Connection::open(whole.path().join("bramble.db")).unwrap();
    raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(raw);
    let good = fs::read(whole.path().join("bramble.db")).unwrap();

    let zeroed: Vec<u8> = good.iter().map(|_| 0x55).collect();
    let mut torn = good.clone();
    torn.truncate(good.len() / 2);
    let mut scribbled = good.clone();
    for byte in &mut scribbled[4096..] {
        *byte = byte.wrapping_add(13);
    }
    for (what, bytes) in [("noise", zeroed), ("torn", torn), ("scribbled", scribbled)] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("bramble.db"), &bytes).unwrap();
        let store = Store::open(dir.path()).unwrap();
        let aside = store.damaged().unwrap_or_else(|| panic!("{what}: not noticed"));
        assert_eq!(fs::read(aside).unwrap().len(), bytes.len(), "{what}: the evidence is kept");
        assert!(store.revisions().newest().unwrap().is_none());
        assert!(store.local().password_hash().unwrap().is_none());
        drop(store);
        assert!(Store::open(dir.path()).unwrap().damaged().is_none(), "{what}: only once");
    }
}

#[test]
fn a_document_from_another_world_counts_as_damage() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let raw = rusqlite::Connection::open(dir.path().join("bramble.db")).unwrap();
    raw.execute("INSERT INTO revisions VALUES (1, 0, '\"local\"', '', '{\"nodes\": 7}')", [])
        .unwrap();
    drop(raw);
    assert!(Store::open(dir.path()).unwrap().damaged().is_some());
}

#[test]
fn a_newer_schema_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let raw = rusqlite::Connection::open(dir.path().join("bramble.db")).unwrap();
    raw.pragma_update(None, "user_version", 999).unwrap();
    drop(raw);
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Newer { found: 999, .. })));
}

#[test]
fn local_values() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();

    let local = store.local();
    assert!(local.forget_password("boot 0").unwrap());
    assert!(local.claim("first").unwrap());
    assert!(!local.password_is_forgotten().unwrap());
    assert!(!local.claim("second").unwrap());
    assert_eq!(local.password_hash().unwrap().as_deref(), Some("first"));
    assert_eq!(local.agreed_password_hash().unwrap(), None);
    local.agree_on_password_hash("agreed").unwrap();
    assert!(local.forget_password("boot 1").unwrap());
    assert!(local.password_is_forgotten().unwrap());
    assert_eq!(local.password_hash().unwrap(), None);
    assert!(local.claim("anew").unwrap());
    assert!(!local.forget_password("boot 1").unwrap(), "the same order once more");
    assert!(!local.password_is_forgotten().unwrap());
    local.set_password_hash("first").unwrap();
    local.set_password_hash("third").unwrap();
    local.set_node_id(&"web01".parse().unwrap()).unwrap();
    assert_eq!(
        Store::open(dir.path()).unwrap().local().node_id().unwrap().unwrap().as_str(),
        "web01"
    );
}

#[test]
fn one_process_per_directory_and_no_reader_beside_the_owner() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let lock = DataLock::take(dir.path()).unwrap();
    assert!(matches!(DataLock::take(dir.path()), Err(StoreError::InUse(_))));
    drop(lock);
    DataLock::take(dir.path()).unwrap();
    drop(Store::open(dir.path()).unwrap());
    let mode = fs::metadata(dir.path().join("bramble.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
