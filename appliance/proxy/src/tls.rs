//! TLS towards visitors: which certificate is shown, and what is spoken inside.
//!
//! All of it is made once for each change of settings and held by the frontend, so that another
//! certificate needs no other listener, and connections that run go on with what they have.

use crate::live::lock;
use model::{Certificate, CertificateFacts, Mode, Name, Order, TlsVersion};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{Error, InconsistentKeys, ServerConfig};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

/// Tickets that a TLS 1.3 visitor gets: one is enough for the next connection, and one more for
/// another at the same time.
const TICKETS: usize = 2;

/// Why a certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unusable {
    /// `key` or `chain`.
    pub(crate) field: &'static str,
    /// What is wrong, for the operator.
    pub(crate) problem: String,
}

/// A certificate that can be shown.
#[derive(Debug)]
pub(crate) struct Usable {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    /// Certificates of the chain that do not lead to its issuer: their places and whose they are.
    strangers: Vec<(usize, String)>,
}

/// Reads a certificate and its key, sees that they belong together, and puts the chain in order.
pub(crate) fn load(certificate: &Certificate) -> Result<Usable, Unusable> {
    let of_chain = |problem: String| Unusable { field: "chain", problem };
    let of_key = |problem: String| Unusable { field: "key", problem };
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| {
        of_chain(format!("this is no proper PEM text ({error}); copy it again, as a whole"))
    })?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.reveal().as_bytes())
        .map_err(|_| of_key("the key cannot be read; copy it again, as a whole".to_owned()))?;
    let key = ring::default_provider().key_provider.load_private_key(key).map_err(|error| {
        of_key(format!(
            "this kind of key cannot be used ({error}); RSA with 2048 to 8192 bits, ECDSA on P-256 or P-384 and Ed25519 can"
        ))
    })?;
    let fits = |chain: Vec<CertificateDer<'static>>| {
        let certified = CertifiedKey::new(chain, Arc::clone(&key));
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
            Err(error) => Err(error),
        }
    };
    // The key says which one is the site's own, wherever it stands.
    let own = chain.iter().position(|c| fits(vec![c.clone()]).is_ok());
    let Some(own) = own else {
        return Err(match chain.first().map(|c| fits(vec![c.clone()])) {
            Some(Err(error)) if !matches!(error, Error::InconsistentKeys(_)) => {
                of_chain(format!("the first certificate cannot be used: {error}"))
            }
            _ => of_key(
                "this key does not belong to the first certificate, nor to another of the chain"
                    .to_owned(),
            ),
        });
    };
    let ders: Vec<Vec<u8>> = chain.iter().map(|c| c.to_vec()).collect();
    let order = Order::of(&ders, Some(own));
    let unreadable = || of_chain("the site's own certificate cannot be read".to_owned());
    let facts = ders.get(own).and_then(|own| CertificateFacts::read(own)).ok_or_else(unreadable)?;
    let chain = order.chain.iter().filter_map(|at| chain.get(*at).cloned()).collect();
    let key = fits(chain).map_err(|error| of_chain(error.to_string()))?;
    Ok(Usable { key: Arc::new(key), names: facts.names, strangers: order.strangers })
}

/// What is said of a chain that leads elsewhere as well. Visitors are not shown those parts: it
/// keeps a new certificate from being taken, and none that is in use from being shown.
pub(crate) fn strangers(usable: &Usable) -> Option<Unusable> {
    let (at, whose) = usable.strangers.first()?;
    let problem = format!(
        "certificate {} of the chain, of {whose}, does not lead from the site's own to its issuer; leave it out",
        at + 1
    );
    Some(Unusable { field: "chain", problem })
}

/// What the operator is told of one that is over in so many days, or is already.
pub(crate) fn date_sentence(certificate: &Certificate, left: i64) -> String {
    let name = &certificate.name;
    match left {
        ..0 => format!("Certificate {name} has expired: browsers warn visitors. Replace it."),
        0 => format!("Certificate {name} expires today: replace it, or browsers warn visitors."),
        1 => format!("Certificate {name} expires tomorrow: replace it, or browsers warn visitors."),
        _ => format!(
            "Certificate {name} expires in {left} days: replace it before browsers warn visitors."
        ),
    }
}

/// Certificates that are read already, and what tickets are sealed with: the same for all
/// threads and all settings, so that a change costs no visitor a new handshake.
#[derive(Debug, Default)]
pub(crate) struct Store {
    loaded: Mutex<HashMap<Name, (Certificate, Arc<Usable>)>>,
    ticketer: OnceLock<Option<Arc<dyn ProducesTickets>>>,
}

impl Store {
    /// What a frontend does with TLS; a certificate that cannot be used is left out and named.
    pub(crate) fn frontend(
        &self,
        settings: &model::Frontend,
        certificates: &[Certificate],
        problems: &mut Vec<String>,
    ) -> Option<Arc<ServerConfig>> {
        let mut all = Vec::new();
        for certificate in certificates {
            match self.get(certificate) {
                Ok(usable) => all.push(usable),
                Err(unusable) => {
                    let name = &certificate.name;
                    problems.push(format!(
                        "certificate {name} is not shown to visitors of frontend {}, others are: {}",
                        settings.name, unusable.problem
                    ));
                }
            }
        }
        match self.config(settings, Choice::new(all, settings.strict_sni)) {
            Ok(config) => Some(Arc::new(config)),
            Err(error) => {
                let name = &settings.name;
                problems.push(format!("frontend {name} cannot speak TLS: {error}"));
                None
            }
        }
    }

    /// Forgets what is used no more.
    pub(crate) fn retain(&self, used: &[&Certificate]) {
        lock(&self.loaded).retain(|_, (known, _)| used.contains(&&*known));
    }

    fn get(&self, certificate: &Certificate) -> Result<Arc<Usable>, Unusable> {
        let mut loaded = lock(&self.loaded);
        match loaded.get(&certificate.name) {
            Some((known, usable)) if known == certificate => Ok(Arc::clone(usable)),
            _ => {
                let usable = Arc::new(load(certificate)?);
                let entry = (certificate.clone(), Arc::clone(&usable));
                loaded.insert(certificate.name.clone(), entry);
                Ok(usable)
            }
        }
    }

    fn config(&self, settings: &model::Frontend, choice: Choice) -> Result<ServerConfig, Error> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let versions: &[_] = match settings.ssl_min_ver {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(choice));
        config.alpn_protocols = match (settings.mode, settings.http2) {
            (Mode::Http, true) => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            (Mode::Http, false) => vec![b"http/1.1".to_vec()],
            _ => Vec::new(),
        };
        // Sessions live in tickets: nothing is kept here for visitors who may never come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if let Some(ticketer) = self.ticketer.get_or_init(|| ring::Ticketer::new().ok()) {
            config.ticketer = Arc::clone(ticketer);
            config.send_tls13_tickets = TICKETS;
        }
        Ok(config)
    }
}

/// The certificates of a frontend.
#[derive(Debug)]
struct Choice {
    all: Vec<Arc<Usable>>,
    by_name: HashMap<String, Vec<usize>>,
    strict: bool,
}

impl Choice {
    fn new(all: Vec<Arc<Usable>>, strict: bool) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, usable) in all.iter().enumerate() {
            for name in &usable.names {
                by_name.entry(name.clone()).or_default().push(index);
            }
        }
        Self { all, by_name, strict }
    }

    /// Those for this name: with exactly it, or else with a `*` for its first label (RFC 9525
    /// 6.3); without any the first of all, unless that is not wanted (HAProxy `strict-sni`).
    fn fitting(&self, name: Option<&str>) -> Vec<&Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase);
        let wild = || {
            let (_, rest) = name.as_deref()?.split_once('.')?;
            self.by_name.get(&format!("*.{rest}"))
        };
        let exact = name.as_ref().and_then(|name| self.by_name.get(name));
        match exact.or_else(wild) {
            Some(found) => found.iter().filter_map(|i| self.all.get(*i)).map(|u| &u.key).collect(),
            None if self.strict => Vec::new(),
            None => self.all.first().map(|u| &u.key).into_iter().collect(),
        }
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fitting = self.fitting(hello.server_name());
        // There may be one with an RSA and one with an ECDSA key.
        let mut able =
            fitting.iter().filter(|key| key.key.choose_scheme(hello.signature_schemes()).is_some());
        able.next().or(fitting.first()).map(|key| Arc::clone(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Pem, Secret};

    fn made(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        Certificate {
            name: "test".parse().unwrap(),
            chain: made.cert.pem(),
            key: Secret::new(made.signing_key.serialize_pem()),
        }
    }

    #[test]
    fn key_and_chain_must_belong_together() {
        let (one, two) = (made(&["a.example"]), made(&["b.example"]));
        assert_eq!(load(&one).unwrap().names, ["a.example"]);
        let with = |chain: String, key: &Certificate| {
            load(&Certificate { chain, key: key.key.clone(), ..Certificate::default() })
        };
        let foreign = with(one.chain.clone(), &two).unwrap_err();
        assert_eq!(foreign.field, "key");
        assert!(foreign.problem.contains("does not belong"), "{}", foreign.problem);
        let turned = with(format!("{}{}", one.chain, two.chain), &two).unwrap();
        assert_eq!(
            (turned.names.as_slice(), turned.key.cert.len()),
            (&["b.example".to_owned()][..], 1)
        );
        let stranger = strangers(&turned).unwrap();
        assert_eq!(stranger.field, "chain");
        assert!(stranger.problem.contains("certificate 1 of the chain"), "{}", stranger.problem);
        assert!(strangers(&load(&one).unwrap()).is_none());
        let cut = with(one.chain.replacen('M', "!", 1), &one).unwrap_err();
        assert_eq!(cut.field, "chain");
        let broken = Certificate { key: Secret::new("nothing"), ..one };
        assert_eq!(load(&broken).unwrap_err().field, "key");
    }

    /// Root, intermediate and site, as PEM, and the site's key.
    fn issued() -> ([String; 3], Secret) {
        use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
        let params = |names: &[&str], called: &str, ca: bool| {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name.push(DnType::CommonName, called);
            if ca {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }
            params
        };
        let keys = || KeyPair::generate().unwrap();
        let (root_key, middle_key, site_key) = (keys(), keys(), keys());
        let root = params(&[], "Root", true);
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let root = Issuer::new(root, root_key);
        let middle = params(&[], "Middle", true);
        let middle_pem = middle.signed_by(&middle_key, &root).unwrap().pem();
        let middle = Issuer::new(middle, middle_key);
        let site = params(&["site.example"], "Site", false);
        let site_pem = site.signed_by(&site_key, &middle).unwrap().pem();
        ([root_pem, middle_pem, site_pem], Secret::new(site_key.serialize_pem()))
    }

    #[test]
    fn a_chain_is_put_in_order_and_strangers_are_named() {
        let ([root, middle, site], key) = issued();
        let stranger = made(&["b.example"]).chain;
        let with = |parts: &[&String]| Certificate {
            chain: parts.iter().map(|p| p.as_str()).collect(),
            key: key.clone(),
            ..Certificate::default()
        };
        let der = |pem: &String| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let whole = [der(&site), der(&middle), der(&root)];
        for (parts, shown, wrong) in [
            (vec![&site, &middle, &root], 3, None),
            (vec![&root, &middle, &site], 3, None),
            (vec![&middle, &site, &root], 3, None),
            (vec![&middle, &site], 2, None),
            (vec![&site], 1, None),
            // The same one twice is no stranger.
            (vec![&site, &middle, &middle, &site], 2, None),
            (vec![&site, &stranger, &middle], 2, Some("certificate 2 of the chain")),
            (vec![&stranger, &middle, &site], 2, Some("certificate 1 of the chain")),
            // Without what lies between, the root leads nowhere.
            (vec![&site, &root], 1, Some("certificate 2 of the chain, of Root")),
        ] {
            let certificate = with(&parts);
            let usable = load(&certificate).unwrap();
            assert_eq!(usable.key.cert, whole[..shown], "{shown}");
            assert_eq!(usable.names, ["site.example"]);
            let found = strangers(&usable).map(|s| s.problem);
            match wrong {
                None => {
                    assert_eq!(found, None);
                    // What the form stores is in this order, and so is what pages say of it.
                    let stored = Pem::read(&certificate.chain).in_order();
                    let all: Vec<_> = CertificateDer::pem_slice_iter(stored.as_bytes()).collect();
                    let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
                    assert_eq!(all, whole[..shown]);
                    assert_eq!(certificate.facts().unwrap().names, ["site.example"]);
                }
                Some(part) => assert!(found.as_ref().unwrap().contains(part), "{found:?}"),
            }
        }
        let order = |parts: &[&String]| {
            let all: Vec<Vec<u8>> = parts.iter().map(|p| der(p).to_vec()).collect();
            Order::of(&all, None)
        };
        assert_eq!(order(&[&site]).missing.as_deref(), Some("Middle"));
        assert_eq!(order(&[&root, &site, &middle]).missing, None);
        assert_eq!(Order::of(&[vec![1, 2, 3]], None), Order::default());
    }

    #[test]
    fn names_are_looked_up_exactly_then_with_a_star_then_not_at_all() {
        let usable = |names: &[&str]| Arc::new(load(&made(names)).unwrap());
        let all = vec![usable(&["example.org"]), usable(&["*.example.org", "Www.Example.net"])];
        let (first, second) = (Arc::clone(&all[0].key), Arc::clone(&all[1].key));
        let lenient = Choice::new(all.clone(), false);
        let strict = Choice::new(all, true);
        for (name, want) in [
            (Some("example.org"), Some(&first)),
            (Some("EXAMPLE.org"), Some(&first)),
            (Some("a.example.org"), Some(&second)),
            (Some("www.example.net"), Some(&second)),
            (Some("a.b.example.org"), None),
            (Some("example.com"), None),
            (None, None),
        ] {
            let found = |choice: &Choice| choice.fitting(name).first().map(|k| Arc::as_ptr(k));
            assert_eq!(found(&strict), want.map(Arc::as_ptr), "{name:?}");
            assert_eq!(found(&lenient), Some(Arc::as_ptr(want.unwrap_or(&first))), "{name:?}");
        }
    }
}
