//! Under which names the page may be opened.
//!
//! A page on the internet can point its own name at a local address (DNS rebinding); the browser
//! then takes our page for its own. Such a name is refused before anything else is looked at. An
//! IP address in the `Host` field cannot be pointed anywhere and is always fine.

use http::{HeaderMap, Uri, header};
use model::Settings;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The name of a `Host` field or of an authority, without its port.
pub(crate) fn name_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(name, _)| name);
    }
    authority.split_once(':').map_or(authority, |(name, _)| name)
}

/// The authority a request names: one `Host` field, and nothing else in the request line.
pub(crate) fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    // RFC 9112 3.2: more than one Host field is answered with an error, and a request line with
    // an authority of its own must agree here, where nothing is forwarded.
    let alone = hosts.next().is_none();
    let agrees = uri.authority().is_none_or(|a| a.as_str().eq_ignore_ascii_case(host));
    (alone && agrees).then_some(host)
}

/// May the page be opened under this name?
pub(crate) fn allowed(name: &str, settings: &Settings) -> bool {
    if name.parse::<Ipv4Addr>().is_ok() || name.parse::<Ipv6Addr>().is_ok() {
        return true;
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let plain = name.strip_suffix(".local").unwrap_or(&name);
    name == "localhost"
        // What a board answers to before it has a name of its own, and beside it.
        || plain == "bramble"
        || settings.nodes.iter().any(|n| n.name.as_str().eq_ignore_ascii_case(plain))
        || settings.admin.hosts.iter().any(|h| h.eq_ignore_ascii_case(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_ports() {
        for (authority, name) in [
            ("192.168.1.14:1936", "192.168.1.14"),
            ("[::1]:1936", "::1"),
            ("lbmaster", "lbmaster"),
            ("LbMaster.local:1936", "LbMaster.local"),
        ] {
            assert_eq!(name_of(authority), name);
        }
    }

    #[test]
    fn strangers_are_refused() {
        let mut settings = Settings::default();
        settings
            .nodes
            .push(model::Node { name: "LbMaster".parse().unwrap(), ..Default::default() });
        settings.admin.hosts.push("Admin.example.org".into());
        for good in [
            "10.0.0.1",
            "192.168.19.36",
            "::1",
            "localhost",
            "lbmaster",
            "LBMASTER.local",
            "bramble.local",
            "admin.example.org.",
        ] {
            assert!(allowed(good, &settings), "{good}");
        }
        for bad in [
            "evil.example",
            "lbmaster.evil",
            "",
            "10.0.0.1.evil",
            "local",
            ".local",
            "bramble.evil",
        ] {
            assert!(!allowed(bad, &settings), "{bad}");
        }
    }

    #[test]
    fn one_host_only() {
        let mut headers = HeaderMap::new();
        assert_eq!(authority(&Uri::from_static("/"), &headers), None);
        headers.append("host", "a".parse().unwrap());
        assert_eq!(authority(&Uri::from_static("/"), &headers), Some("a"));
        assert_eq!(authority(&Uri::from_static("http://b/"), &headers), None);
        headers.append("host", "a".parse().unwrap());
        assert_eq!(authority(&Uri::from_static("/"), &headers), None);
    }
}
