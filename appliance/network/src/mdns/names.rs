//! The names and records of this node. Pure.

use crate::dns::{A, IN, NSEC, Name, PTR, Record, SRV, TXT};
use model::DeviceId;
use std::net::Ipv4Addr;

/// The unique-record bit of a class (RFC 6762 10.2).
pub(crate) const FLUSH: u16 = 0x8000;
/// RFC 6762 10: names that depend on an address, and the others.
const HOST_TTL: u32 = 120;
const OTHER_TTL: u32 = 4500;
/// The page.
const PORT: u16 = 1936;
/// What kind of service this node announces.
pub(crate) const SERVICES: [&str; 2] = ["_http", BOARD];
/// The one by which boards find each other.
pub(crate) const BOARD: &str = "_bramble";
/// Longer words are cut: a pair has at most 255 bytes (RFC 6763 6.1).
const LONGEST: usize = 64;
/// The name that several nodes share.
const ALIAS: &str = "bramble";

/// What a board says of itself to whoever looks for boards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The fingerprint of its key.
    pub device: DeviceId,
    /// It is somebody's already.
    pub claimed: bool,
    /// What board it is; empty where unknown.
    pub model: String,
    /// The release it runs.
    pub release: String,
}

/// The names of a node with this label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    label: String,
    about: Option<About>,
}

pub(crate) fn alias() -> Name {
    Name::of([ALIAS, "local"])
}

/// What service types there are (RFC 6763 9).
pub(crate) fn services() -> Name {
    Name::of(["_services", "_dns-sd", "_udp", "local"])
}

pub(crate) fn service(kind: &str) -> Name {
    Name::of([kind, "_tcp", "local"])
}

impl Names {
    /// `number` 1 is the host name itself, the others are for when it is taken.
    pub(crate) fn new(host_name: &str, number: u32, about: Option<About>) -> Self {
        // A host name's first label; what is no letter, digit or hyphen is left out.
        let fits = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
        let label: String =
            host_name.split('.').next().unwrap_or_default().chars().filter(fits).take(50).collect();
        let label = if label.is_empty() { "node".to_owned() } else { label };
        let label = if number < 2 { label } else { format!("{label}-{number}") };
        Self { label, about }
    }

    /// RFC 6763 6.
    fn text(&self, kind: &str) -> Vec<u8> {
        let mut pairs = vec!["path=/".to_owned()];
        if let Some(about) = self.about.as_ref().filter(|_| kind == BOARD) {
            let cut = |text: &str| -> String {
                let mut short = String::new();
                for letter in text.chars().filter(|c| !c.is_control()) {
                    if short.len() + letter.len_utf8() > LONGEST {
                        break;
                    }
                    short.push(letter);
                }
                short
            };
            let state = if about.claimed { "member" } else { "unclaimed" };
            pairs.push(format!("v={}", cut(&about.release)));
            pairs.push(format!("id={}", about.device));
            pairs.push(format!("state={state}"));
            pairs.push(format!("name={}", self.label));
            pairs.push(format!("model={}", cut(&about.model)));
        }
        let mut text = Vec::new();
        for pair in pairs {
            text.push(u8::try_from(pair.len()).unwrap_or(0));
            text.extend(pair.into_bytes());
        }
        text
    }

    /// The host name is the shared name as well.
    pub(crate) fn is_alias(&self) -> bool {
        self.label.eq_ignore_ascii_case(ALIAS)
    }

    pub(crate) fn host(&self) -> Name {
        Name::of([self.label.as_str(), "local"])
    }

    pub(crate) fn instance(&self, kind: &str) -> Name {
        Name::under(&self.label, &service(kind))
    }

    /// Records nobody else may have: address, place and text of each service.
    pub(crate) fn unique(&self, address: Ipv4Addr) -> Vec<Record> {
        let mut records = vec![host_record(self.host(), address)];
        for kind in SERVICES {
            let mut place = [[0; 2], [0; 2], PORT.to_be_bytes()].concat(); // priority, weight
            place.extend(self.host().bytes());
            let record = |of, ttl, data| Record {
                name: self.instance(kind),
                kind: of,
                class: IN | FLUSH,
                ttl,
                data,
            };
            records.push(record(SRV, HOST_TTL, place));
            records.push(record(TXT, OTHER_TTL, self.text(kind)));
        }
        records
    }

    /// Records several nodes have: who offers a service, and which services there are.
    pub(crate) fn shared(&self) -> Vec<Record> {
        let pointer = |name, to: &Name| Record {
            name,
            kind: PTR,
            class: IN,
            ttl: OTHER_TTL,
            data: to.bytes(),
        };
        let offers = SERVICES.map(|kind| pointer(service(kind), &self.instance(kind)));
        let kinds = SERVICES.map(|kind| pointer(services(), &service(kind)));
        offers.into_iter().chain(kinds).collect()
    }
}

pub(crate) fn host_record(name: Name, address: Ipv4Addr) -> Record {
    Record { class: IN | FLUSH, ..Record::a(name, HOST_TTL, address) }
}

/// "There is an address of the fourth version and nothing else" (RFC 6762 6.1), so that nobody
/// waits for one of the sixth.
pub(crate) fn nothing_else(name: Name) -> Record {
    let mut data = name.bytes();
    data.extend([0, 1, 0x80 >> A]); // window 0, one byte, the bit of A
    Record { name, kind: NSEC, class: IN | FLUSH, ttl: HOST_TTL, data }
}
