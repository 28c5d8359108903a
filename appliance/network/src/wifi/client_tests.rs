//! Each command against a real wpa_supplicant, with its driver `none`, in a network namespace of
//! its own. Needs root.

use super::*;
use crate::wifi::command::Field;
use crate::wifi::station::{self, Entry};
use model::{Secret, WifiNetwork};
use nix::sched::{CloneFlags, unshare};
use std::process::{Child, Command as Process, Stdio};
use std::time::Instant;

/// Killed when dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// On a thread of its own inside a new namespace: both ends are there, and an abstract address
/// belongs to a namespace.
fn inside(test: impl AsyncFnOnce(&Client, &Monitor, &Path) + Send + 'static) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("global");
    let path = socket.clone();
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let add = ["link", "add", "radio0", "type", "veth", "peer", "name", "radio1"];
        assert!(Process::new("ip").args(add).status().unwrap().success());
        let daemon = Process::new("wpa_supplicant")
            .args(["-D", "none", "-G", "0", "-g"])
            .arg(&path)
            .stdout(Stdio::null())
            .spawn();
        let _daemon = Daemon(daemon.expect("wpa_supplicant is installed"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let begun = Instant::now();
            let (client, monitor) = loop {
                match connect(&path).await {
                    Ok(both) => break both,
                    Err(error) => {
                        assert!(begun.elapsed() < PATIENCE, "it never answers: {error}");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            };
            test(&client, &monitor, &path).await;
        });
    });
    thread.join().unwrap();
    drop(directory);
}

fn network(passphrase: &str, hidden: bool) -> Entry {
    Entry::new(&WifiNetwork {
        ssid: "caf\u{e9} \"x\" \\ y".parse().unwrap(),
        passphrase: Secret::new(passphrase),
        hidden,
    })
}

async fn take(client: &Client) {
    let add = Command::InterfaceAdd { interface: "radio0".into(), driver: "none" };
    client.ask(&add).await.unwrap();
}

#[test]
fn it_understands_every_word() {
    inside(async |client, _, _| {
        assert!(matches!(client.to("radio0", Ask::Ping).await, Err(Error::NoInterface)));
        take(client).await;
        let to = |ask| client.to("radio0", ask);
        assert_eq!(to(Ask::Ping).await.unwrap(), "PONG\n");
        to(Ask::SaeBothWays).await.unwrap();
        to(Ask::Country("DE".into())).await.unwrap();
        to(Ask::Country("00".into())).await.unwrap();
        for passphrase in ["", "pa\"ss wo#rd\\ \"", &"x".repeat(63), &"0a".repeat(32)] {
            for hidden in [false, true] {
                let entry = network(passphrase, hidden);
                let id = client.add_network("radio0").await.unwrap();
                for field in station::fields(&entry) {
                    to(Ask::Set(id, field)).await.unwrap();
                }
                for field in [Field::OnlyOn(Some(2437)), Field::OnlyOn(None), Field::Priority(3)] {
                    to(Ask::Set(id, field)).await.unwrap();
                }
                let mark = to(Ask::MarkOf(id)).await.unwrap();
                assert!(mark.contains(&crate::wifi::command::mark_text(entry.mark)), "{mark}");
                let networks = reply::networks(&to(Ask::Networks).await.unwrap());
                assert_eq!(networks, [id]);
                to(Ask::Enable(id)).await.unwrap();
                to(Ask::Select(id)).await.unwrap();
                to(Ask::Disable(id)).await.unwrap();
                to(Ask::DisableAll).await.unwrap();
                to(Ask::Remove(id)).await.unwrap();
                assert!(matches!(to(Ask::Remove(id)).await, Err(Error::Refused(_))));
            }
        }
        let id = client.add_network("radio0").await.unwrap();
        for field in station::access_point(&network("setup passphrase", false), 2437) {
            to(Ask::Set(id, field)).await.unwrap();
        }
        to(Ask::ApScan(2)).await.unwrap();
        to(Ask::ApScan(1)).await.unwrap();
        to(Ask::RemoveAll).await.unwrap();
        to(Ask::Reconnect).await.unwrap();
        to(Ask::Scan(Vec::new())).await.unwrap();
        // Without a radio: understood, and refused.
        for ask in [Ask::Signal, Ask::ChannelSwitch { frequency: 2462 }, Ask::FirstStation] {
            assert!(matches!(to(ask).await, Err(Error::Refused(_))));
        }
        assert!(client.seen("radio0").await.unwrap().is_empty());
        assert_eq!(client.stations("radio0").await.unwrap(), 0);
        assert!(!reply::association(&to(Ask::Status).await.unwrap()).completed);
        client.ask(&Command::InterfaceRemove { interface: "radio0".into() }).await.unwrap();
        let again = Command::InterfaceRemove { interface: "radio0".into() };
        assert!(matches!(client.ask(&again).await, Err(Error::Refused(_))));
    });
}

#[test]
fn a_hidden_name_is_looked_for() {
    inside(async |client, _, _| {
        take(client).await;
        let names = vec![b"caf\xc3\xa9 x".to_vec(), vec![0xff; 32]];
        client.to("radio0", Ask::Scan(names)).await.unwrap();
    });
}

#[test]
fn events_say_whose_they_are() {
    inside(async |client, monitor, path| {
        take(client).await;
        let id = client.add_network("radio0").await.unwrap();
        for field in station::fields(&network("a passphrase", false)) {
            client.to("radio0", Ask::Set(id, field)).await.unwrap();
        }
        client.to("radio0", Ask::Select(id)).await.unwrap();
        let begun = Instant::now();
        loop {
            let (interface, event) = monitor.next().await.unwrap();
            assert_eq!(interface.as_deref(), Some("radio0"));
            if event == Event::ScanFailed {
                break; // the driver cannot
            }
            assert!(begun.elapsed() < PATIENCE);
        }
        // A second one who listens hears the same.
        let (_, second) = connect(path).await.unwrap();
        client.to("radio0", Ask::Scan(Vec::new())).await.unwrap();
        timeout(PATIENCE, second.next()).await.unwrap().unwrap();
    });
}

#[tokio::test]
async fn nobody_there_is_an_error_and_not_a_wait() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("global");
    assert!(matches!(connect(&path).await, Err(Error::Gone(_))));
    // A socket nobody reads any more.
    drop(StdDatagram::bind(&path).unwrap());
    assert!(matches!(connect(&path).await, Err(Error::Gone(_))));
}
