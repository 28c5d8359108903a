//! A double of wpa_supplicant that speaks its control protocol, with a made-up air around it.
//! Words and their order are those of wpa_supplicant 2.10.

use std::collections::BTreeMap;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// An access point of somebody else.
#[derive(Clone, Debug)]
pub(crate) struct Bss {
    pub(crate) ssid: &'static str,
    pub(crate) frequency: u32,
    pub(crate) level: i32,
    pub(crate) flags: &'static str,
    pub(crate) passphrase: &'static str,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) enabled: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Interface {
    pub(crate) networks: BTreeMap<u32, Network>,
    next: u32,
    /// The network it is on, or is the access point of, and its frequency.
    pub(crate) on: Option<(u32, u32)>,
    pub(crate) country: Option<String>,
    /// How often it lost its network or stopped being an access point.
    pub(crate) losses: u32,
    /// A wrong key keeps a network from being tried again.
    disabled: Vec<u32>,
}

impl Interface {
    fn access_point(&self) -> bool {
        self.on.is_some_and(|(id, _)| {
            self.networks.get(&id).is_some_and(|n| n.fields.get("mode").is_some_and(|m| m == "2"))
        })
    }

    pub(crate) fn ssids(&self) -> Vec<String> {
        let mut list: Vec<&Network> = self.networks.values().collect();
        list.sort_by_key(|n| {
            std::cmp::Reverse(n.fields.get("priority").and_then(|p| p.parse::<u32>().ok()))
        });
        list.iter().map(|n| name(n)).collect()
    }
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) air: Vec<Bss>,
    pub(crate) interfaces: BTreeMap<String, Interface>,
    /// Every command, without the interface in front.
    pub(crate) heard: Vec<String>,
    /// Interfaces the driver has; others cannot be added.
    pub(crate) devices: Vec<String>,
    /// CHAN_SWITCH is refused.
    pub(crate) stubborn: bool,
    /// When something is said.
    due: Vec<(Instant, String)>,
}

/// A running one; gone when dropped, as if it had been killed.
pub(crate) struct Supplicant {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Supplicant {
    pub(crate) fn start(path: &Path, world: &Arc<Mutex<World>>) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (world, stopped) = (world.clone(), stop.clone());
        let thread = std::thread::spawn(move || serve(&socket, &world, &stopped));
        Self { path: path.to_owned(), stop, thread: Some(thread) }
    }
}

impl Drop for Supplicant {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
        let _ = std::fs::remove_file(&self.path);
    }
}

fn serve(socket: &UnixDatagram, world: &Mutex<World>, stop: &AtomicBool) {
    let mut listeners: Vec<SocketAddr> = Vec::new();
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let answer = if text == "ATTACH" {
                listeners.push(from.clone());
                "OK\n".to_owned()
            } else {
                world.lock().unwrap().answer(&text)
            };
            let _ = socket.send_to_addr(answer.as_bytes(), &from);
        }
        let mut world = world.lock().unwrap();
        let now = Instant::now();
        let (due, later) =
            std::mem::take(&mut world.due).into_iter().partition(|(at, _)| now >= *at);
        world.due = later;
        drop(world);
        for (_, text) in due {
            listeners.retain(|to| socket.send_to_addr(text.as_bytes(), to).is_ok());
        }
    }
    // Killed: what it had is gone.
    let mut world = world.lock().unwrap();
    world.interfaces.clear();
    world.due.clear();
}

fn name(network: &Network) -> String {
    let hex = network.fields.get("ssid").cloned().unwrap_or_default();
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    String::from_utf8(bytes).unwrap()
}

impl World {
    pub(crate) fn shared(air: Vec<Bss>, devices: &[&str]) -> Arc<Mutex<Self>> {
        let devices = devices.iter().map(ToString::to_string).collect();
        Arc::new(Mutex::new(Self { air, devices, ..Self::default() }))
    }

    fn say(&mut self, interface: &str, after: u64, text: &str) {
        let at = Instant::now() + Duration::from_millis(after);
        self.due.push((at, format!("IFNAME={interface} <3>{text}")));
    }

    fn answer(&mut self, text: &str) -> String {
        let Some(rest) = text.strip_prefix("IFNAME=") else {
            self.heard.push(text.to_owned());
            return self.global(text);
        };
        let (interface, command) = rest.split_once(' ').unwrap();
        self.heard.push(command.to_owned());
        if !self.interfaces.contains_key(interface) {
            return "FAIL-NO-IFNAME-MATCH\n".to_owned();
        }
        self.to(interface, command).unwrap_or_else(|| "FAIL\n".to_owned())
    }

    fn global(&mut self, text: &str) -> String {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let done = match word {
            "PING" => return "PONG\n".to_owned(),
            "INTERFACE_ADD" => {
                let name = rest.split('\t').next().unwrap();
                let free =
                    self.devices.iter().any(|d| d == name) && !self.interfaces.contains_key(name);
                if free {
                    self.interfaces.insert(name.to_owned(), Interface::default());
                }
                free
            }
            "INTERFACE_REMOVE" => self.interfaces.remove(rest).is_some(),
            other => panic!("unknown command {other}"),
        };
        if done { "OK\n" } else { "FAIL\n" }.to_owned()
    }

    fn to(&mut self, interface: &str, command: &str) -> Option<String> {
        let words: Vec<&str> = command.splitn(4, ' ').collect();
        let held = self.interfaces.get_mut(interface)?;
        let id = || words.get(1)?.parse::<u32>().ok();
        let ok = Some("OK\n".to_owned());
        match words[0] {
            "PING" => Some("PONG\n".to_owned()),
            "SCAN" => {
                if held.access_point() {
                    return None;
                }
                self.say(interface, 50, "CTRL-EVENT-SCAN-STARTED ");
                self.say(interface, 150, "CTRL-EVENT-SCAN-RESULTS ");
                ok
            }
            "BSS" => Some(self.list(words[1])),
            "STATUS" => Some(self.status(interface)),
            "SIGNAL_POLL" => {
                held.on?;
                Some("RSSI=-47\nLINKSPEED=65\nNOISE=9999\nFREQUENCY=2462\n".to_owned())
            }
            "LIST_NETWORKS" => {
                let mut text = "network id / ssid / bssid / flags\n".to_owned();
                for (id, network) in &held.networks {
                    text.push_str(&format!("{id}\t{}\tany\t\n", name(network)));
                }
                Some(text)
            }
            "ADD_NETWORK" => {
                let id = held.next;
                held.next += 1;
                held.networks.insert(id, Network::default());
                Some(format!("{id}\n"))
            }
            "SET_NETWORK" => {
                let fields = &mut held.networks.get_mut(&id()?)?.fields;
                fields.insert(words[2].to_owned(), words[3].to_owned());
                ok
            }
            "GET_NETWORK" => held.networks.get(&id()?)?.fields.get(words[2]).cloned(),
            "ENABLE_NETWORK" => {
                held.networks.get_mut(&id()?)?.enabled = true;
                self.associate(interface);
                ok
            }
            "SELECT_NETWORK" => {
                let id = id()?;
                held.networks.get(&id)?;
                for (other, network) in &mut held.networks {
                    network.enabled = *other == id;
                }
                held.disabled.clear();
                self.leave(interface, |on| on != id);
                self.associate(interface);
                ok
            }
            "DISABLE_NETWORK" => {
                if words[1] == "all" {
                    held.networks.values_mut().for_each(|n| n.enabled = false);
                    self.leave(interface, |_| true);
                } else {
                    let id = id()?;
                    held.networks.get_mut(&id)?.enabled = false;
                    self.leave(interface, |on| on == id);
                }
                ok
            }
            "REMOVE_NETWORK" => {
                if words[1] == "all" {
                    self.leave(interface, |_| true);
                    self.interfaces.get_mut(interface)?.networks.clear();
                } else {
                    let id = id()?;
                    self.leave(interface, |on| on == id);
                    self.interfaces.get_mut(interface)?.networks.remove(&id)?;
                }
                ok
            }
            "SET" => {
                if words[1] == "country" {
                    held.country = Some(words[2].to_owned());
                }
                ok
            }
            "AP_SCAN" | "RECONNECT" => ok,
            "CHAN_SWITCH" => {
                if self.stubborn || !held.access_point() {
                    return None;
                }
                let frequency = words[2].parse().unwrap();
                held.on = held.on.map(|(id, _)| (id, frequency));
                self.say(interface, 100, &format!("AP-CSA-FINISHED freq={frequency} dfs=0"));
                ok
            }
            "STA-FIRST" => held.access_point().then(|| "02:00:00:00:02:00\nflags=\n".to_owned()),
            "STA-NEXT" => None,
            other => panic!("unknown command {other}"),
        }
    }

    /// At most two a time, as if they were long.
    fn list(&self, range: &str) -> String {
        let from = range.strip_prefix("RANGE=").unwrap().strip_suffix('-').unwrap();
        let from: usize = from.parse().unwrap();
        let mut text = String::new();
        for (id, bss) in self.air.iter().enumerate().skip(from).take(2) {
            let end = if id + 1 == self.air.len() { "####" } else { "====" };
            text.push_str(&format!(
                "id={id}\nbssid=02:00:00:00:01:{id:02x}\nfreq={}\nlevel={}\nage=0\nflags={}\n\
                 ssid={}\n{end}\n",
                bss.frequency, bss.level, bss.flags, bss.ssid
            ));
        }
        text
    }

    fn status(&self, interface: &str) -> String {
        let held = &self.interfaces[interface];
        match held.on {
            Some((id, frequency)) => {
                let mode = if held.access_point() { "AP" } else { "station" };
                format!(
                    "bssid=02:00:00:00:01:00\nfreq={frequency}\nssid={}\nid={id}\nmode={mode}\n\
                     pairwise_cipher=CCMP\ngroup_cipher=CCMP\nkey_mgmt=WPA2-PSK\n\
                     wpa_state=COMPLETED\naddress=02:00:00:00:00:00\n",
                    name(&held.networks[&id])
                )
            }
            None => "wpa_state=DISCONNECTED\naddress=02:00:00:00:00:00\n".to_owned(),
        }
    }

    fn leave(&mut self, interface: &str, which: impl Fn(u32) -> bool) {
        let held = self.interfaces.get_mut(interface).unwrap();
        if held.on.is_some_and(|(id, _)| which(id)) {
            let access_point = held.access_point();
            held.on = None;
            held.losses += 1;
            let text = if access_point {
                "AP-DISABLED "
            } else {
                "CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=3 locally_generated=1"
            };
            self.say(interface, 0, text);
        }
    }

    /// Another access point of this radio, on one channel with it.
    fn channel(&self, except: &str) -> Option<u32> {
        let others = self.interfaces.iter().filter(|(name, _)| *name != except);
        others.filter_map(|(_, i)| i.on).map(|(_, frequency)| frequency).next()
    }

    fn associate(&mut self, interface: &str) {
        let channel = self.channel(interface);
        let air = self.air.clone();
        let held = self.interfaces.get_mut(interface).unwrap();
        if held.on.is_some() {
            return;
        }
        let mut candidates: Vec<(u32, Network)> = held
            .networks
            .iter()
            .filter(|(id, n)| n.enabled && !held.disabled.contains(id))
            .map(|(id, n)| (*id, n.clone()))
            .collect();
        candidates.sort_by_key(|(_, n)| {
            std::cmp::Reverse(n.fields.get("priority").and_then(|p| p.parse::<u32>().ok()))
        });
        for (id, network) in candidates {
            let field = |key: &str| network.fields.get(key).map(String::as_str);
            if field("mode") == Some("2") {
                let frequency = field("frequency").unwrap().parse().unwrap();
                held.on = Some((id, frequency));
                self.say(interface, 100, "AP-ENABLED ");
                return;
            }
            let only = field("freq_list").filter(|f| *f != "0").map(|f| f.parse::<u32>().unwrap());
            let found = air
                .iter()
                .find(|b| b.ssid == name(&network) && only.is_none_or(|only| only == b.frequency));
            let Some(bss) = found else { continue };
            let temp = |why: &str| {
                format!(
                    "CTRL-EVENT-SSID-TEMP-DISABLED id={id} ssid=\"{}\" auth_failures=1 \
                     duration=10 reason={why}",
                    bss.ssid
                )
            };
            let psk = field("psk").unwrap_or_default().to_owned();
            if channel.is_some_and(|c| c != bss.frequency) {
                self.say(interface, 300, &temp("CONN_FAILED"));
            } else if psk != format!("\"{}\"", bss.passphrase) {
                held.disabled.push(id);
                self.say(
                    interface,
                    200,
                    "CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=15",
                );
                self.say(interface, 300, &temp("WRONG_KEY"));
            } else {
                held.on = Some((id, bss.frequency));
                self.say(
                    interface,
                    200,
                    &format!(
                        "CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:01:00 completed \
                         [id={id} id_str=]"
                    ),
                );
            }
            return;
        }
        self.say(interface, 100, "CTRL-EVENT-NETWORK-NOT-FOUND ");
    }
}

pub(crate) fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap()
}
