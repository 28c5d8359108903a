//! A card without room. In a file of its own: the limit it sets is its whole process's.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use store::Store;

#[test]
fn what_is_there_can_be_read_when_nothing_can_be_written() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path()).unwrap().local().set_password_hash("kept").unwrap();
    // Files get no longer than a page, which is what a full card does to new ones.
    // SAFETY: no handler, so none that could do anything unsafe.
    unsafe {
        nix::sys::signal::signal(nix::sys::signal::SIGXFSZ, nix::sys::signal::SigHandler::SigIgn)
    }
    .unwrap();
    let before = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(4096), ..before }).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(store.damaged().is_none());
    assert_eq!(store.local().password_hash().unwrap().as_deref(), Some("kept"));
    let refused = store.local().set_password_hash("new").unwrap_err().to_string();
    println!("{refused}");
    drop(store);
    setrlimit(Resource::Fsize, before).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.local().password_hash().unwrap().as_deref(), Some("kept"));
    store.local().set_password_hash("new").unwrap();
}
