//! What is remembered of each interface, as a text of one line each:
//! `eth0 confirmed 192.168.1.10/24 - 192.168.1.1` and, while a change is tried, another one with
//! `trying`. A dash stands for nothing. Pure.

use crate::trial::way::Way;
use std::collections::BTreeMap;
use std::fmt::Display;

/// No board has so many interfaces.
const MOST: usize = 64;

/// What was confirmed last, and what is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) confirmed: Way,
    pub(crate) trying: Option<Way>,
}

pub(crate) type Records = BTreeMap<String, Record>;

pub(crate) fn write(records: &Records) -> String {
    let mut text = String::new();
    for (interface, record) in records {
        let mut line = |what: &str, way: &Way| {
            fn or_dash(value: Option<impl Display>) -> String {
                value.map_or_else(|| "-".to_owned(), |v| v.to_string())
            }
            let (address, gateway) = (or_dash(way.address), or_dash(way.gateway));
            let cluster = or_dash(way.cluster);
            text.push_str(&format!("{interface} {what} {address} {gateway} {cluster}\n"));
        };
        line("confirmed", &record.confirmed);
        if let Some(trying) = &record.trying {
            line("trying", trying);
        }
    }
    text
}

/// What cannot be read is as if it had never been written.
pub(crate) fn read(text: &str) -> Records {
    let mut records = Records::new();
    for line in text.lines().take(MOST) {
        let words: Vec<&str> = line.split(' ').collect();
        let [interface, what, address, gateway, cluster] = words.as_slice() else { continue };
        let Some(way) = way([address, gateway, cluster]) else { continue };
        match *what {
            "confirmed" => {
                records.entry((*interface).to_owned()).or_default().confirmed = way;
            }
            "trying" => {
                if let Some(record) = records.get_mut(*interface) {
                    record.trying = Some(way);
                }
            }
            _ => {}
        }
    }
    records
}

fn way([address, gateway, cluster]: [&str; 3]) -> Option<Way> {
    fn value<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
        if text == "-" { Some(None) } else { text.parse().ok().map(Some) }
    }
    Some(Way { address: value(address)?, gateway: value(gateway)?, cluster: value(cluster)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_noise_is_nothing() {
        let way = |address: &str, gateway: Option<&str>| Way {
            address: address.parse().ok(),
            gateway: gateway.map(|g| g.parse().unwrap()),
            cluster: "192.168.1.1".parse().ok(),
        };
        let records: Records = [
            (
                "eth0".to_owned(),
                Record {
                    confirmed: way("192.168.1.10/24", None),
                    trying: Some(way("192.168.9.9/24", Some("192.168.9.1"))),
                },
            ),
            ("wlan0".to_owned(), Record::default()),
        ]
        .into();
        let text = write(&records);
        assert_eq!(read(&text), records);
        assert_eq!(text.lines().next(), Some("eth0 confirmed 192.168.1.10/24 - 192.168.1.1"));
        for noise in ["", "eth0", "eth0 confirmed x - -", "eth0 trying - - -", "\0\n \n  \n"] {
            assert_eq!(read(noise), Records::new(), "{noise:?}");
        }
    }
}
