//! Which of the sites behind one address a request means (RFC 9110 7.2).

use std::collections::HashMap;
use std::sync::Arc;

/// The sites of one listener by host name.
#[derive(Debug)]
pub(crate) struct HostTable<S> {
    exact: HashMap<String, Arc<S>>,
    /// Without the `*`, such as `.example.org`; the longest first.
    below: Vec<(String, Arc<S>)>,
    fallback: Option<Arc<S>>,
}

impl<S> HostTable<S> {
    /// A table of sites with the hosts that lead to each. A host that two sites claim goes to
    /// the first. What no site claims goes to the first site without hosts, or, if every site
    /// has hosts, to the first site: a visitor by IP address, or a balancer's check, should
    /// see a site rather than an error.
    pub(crate) fn new<'a>(sites: impl IntoIterator<Item = (&'a [String], Arc<S>)>) -> Self {
        let mut table = Self { exact: HashMap::new(), below: Vec::new(), fallback: None };
        let mut first = None;
        for (hosts, site) in sites {
            if hosts.is_empty() && table.fallback.is_none() {
                table.fallback = Some(site.clone());
            }
            for host in hosts {
                let host = host.to_ascii_lowercase();
                match host.strip_prefix('*') {
                    Some(below) => {
                        if table.below.iter().all(|(known, _)| known != below) {
                            table.below.push((below.to_owned(), site.clone()));
                        }
                    }
                    None => {
                        table.exact.entry(host).or_insert_with(|| site.clone());
                    }
                }
            }
            first.get_or_insert(site);
        }
        table.below.sort_by_key(|(below, _)| std::cmp::Reverse(below.len()));
        table.fallback = table.fallback.or(first);
        table
    }

    /// The site for a host name that [`host_name`] returned.
    pub(crate) fn find(&self, host: &str) -> Option<&Arc<S>> {
        if self.exact.is_empty() && self.below.is_empty() {
            return self.fallback.as_ref();
        }
        let host = host.to_ascii_lowercase();
        self.exact
            .get(&host)
            .or_else(|| {
                let below = |(end, _): &&(String, Arc<S>)| {
                    host.len() > end.len() && host.ends_with(end.as_str())
                };
                self.below.iter().find(below).map(|(_, site)| site)
            })
            .or(self.fallback.as_ref())
    }
}

/// The host out of a `Host` field or an authority, without port and trailing dot; None when it
/// is not one (RFC 3986 3.2.2). An empty field is a host: nobody's.
pub(crate) fn host_name(field: &[u8]) -> Option<&str> {
    let field = std::str::from_utf8(field).ok()?.trim_matches([' ', '\t']);
    let (host, port) = if field.starts_with('[') {
        let end = field.find(']')?;
        let (literal, rest) = field.split_at(end + 1);
        let address = literal.get(1..end)?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        (literal, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        match field.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (field, None),
        }
    };
    let port_ok = port.is_none_or(|p| p.len() <= 5 && p.bytes().all(|b| b.is_ascii_digit()));
    let name_ok = host.starts_with('[')
        || host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&b));
    (port_ok && name_ok).then(|| host.strip_suffix('.').unwrap_or(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(sites: &[(&str, &[&str])]) -> HostTable<String> {
        let sites: Vec<(Vec<String>, Arc<String>)> = sites
            .iter()
            .map(|(name, hosts)| {
                (hosts.iter().map(|h| (*h).to_owned()).collect(), Arc::new((*name).to_owned()))
            })
            .collect();
        HostTable::new(sites.iter().map(|(h, s)| (h.as_slice(), s.clone())))
    }

    fn found<'a>(table: &'a HostTable<String>, host: &str) -> &'a str {
        table.find(host_name(host.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn by_name() {
        let t = table(&[
            ("a", &["a.org", "www.a.org"]),
            ("any", &[]),
            ("wild", &["*.a.org"]),
            ("deep", &["*.b.a.org"]),
            ("late", &["a.org"]),
        ]);
        for (host, want) in [
            ("a.org", "a"),
            ("A.ORG", "a"),
            ("a.org.", "a"),
            ("a.org:8080", "a"),
            ("A.org.:80", "a"),
            ("www.a.org", "a"),
            ("x.a.org", "wild"),
            ("x.y.a.org", "wild"),
            ("x.b.a.org", "deep"),
            ("b.a.org", "wild"),
            (".a.org", "any"),
            ("xa.org", "any"),
            ("", "any"),
            ("192.0.2.1", "any"),
            ("[::1]:80", "any"),
        ] {
            assert_eq!(found(&t, host), want, "{host}");
        }
    }

    #[test]
    fn without_a_catch_all_the_first_site_answers() {
        let t = table(&[("a", &["a.org"]), ("b", &["b.org"])]);
        assert_eq!(found(&t, "b.org"), "b");
        assert_eq!(found(&t, "c.org"), "a");
        assert!(table(&[]).find("a").is_none());
    }

    #[test]
    fn fields_that_are_no_host() {
        for bad in [
            "a b", "a/b", "a@b", "a:b", "a:80:80", "[::1", "[x]", "[::1]x", "a:999999", "a\\b",
            "a?b", "<a>",
        ] {
            assert_eq!(host_name(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(host_name(b"\xff"), None);
        assert_eq!(host_name(b"a.org:"), Some("a.org"));
        assert_eq!(host_name(b" a.org "), Some("a.org"));
    }
}
