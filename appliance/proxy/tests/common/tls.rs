//! Certificates, and visitors who speak TLS.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use super::{PATIENCE, name, settings};
use model::{Certificate, Secret, Server, Settings};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

/// A certificate of its own for these names.
pub fn certificate(called: &str, names: &[&str]) -> Certificate {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    Certificate {
        name: name(called),
        chain: made.cert.pem(),
        key: Secret::new(made.signing_key.serialize_pem()),
    }
}

/// One balancer with one frontend that speaks TLS on `port` with these certificates.
pub fn secure(port: u16, servers: Vec<Server>, certificates: Vec<Certificate>) -> Settings {
    let mut settings = settings(port, servers);
    let front = &mut settings.frontends[0];
    front.bind = vec![format!("127.0.0.1:{port} ssl").parse().unwrap()];
    front.certificates = certificates.iter().map(|c| c.name.clone()).collect();
    settings.certificates = certificates;
    let problems = model::check(&settings);
    assert!(problems.iter().all(|p| !p.path.contains("certificates")), "{problems:?}");
    settings
}

/// Believes everybody: what is shown is compared by the tests.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

pub fn client(
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A visitor of today.
pub fn modern() -> Arc<ClientConfig> {
    client(rustls::ALL_VERSIONS, &[])
}

/// A connection with TLS.
pub struct Tls {
    pub io: StreamOwned<ClientConnection, TcpStream>,
}

impl Tls {
    /// Shakes hands; `host` goes into SNI unless it is an address.
    pub fn to(port: u16, host: &str, config: &Arc<ClientConfig>) -> std::io::Result<Self> {
        Self::over(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?, host, config)
    }

    pub fn over(
        mut socket: TcpStream,
        host: &str,
        config: &Arc<ClientConfig>,
    ) -> std::io::Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let host = ServerName::try_from(host.to_owned()).unwrap();
        let mut tls = ClientConnection::new(Arc::clone(config), host).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Self { io: StreamOwned::new(tls, socket) })
    }

    /// Was this certificate shown?
    pub fn was_shown(&self, certificate: &Certificate) -> bool {
        let shown = self.io.conn.peer_certificates().unwrap_or_default();
        let chain = model::Pem::read(&certificate.chain).certificates();
        shown.iter().map(|c| c.to_vec()).collect::<Vec<_>>() == chain
    }

    /// One response with a length.
    pub fn answer(&mut self) -> std::io::Result<(String, Vec<u8>)> {
        let mut all = Vec::new();
        let mut part = [0_u8; 32 * 1024];
        loop {
            if let Some(end) = all.windows(4).position(|w: &[u8]| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&all[..end + 4]).into_owned();
                let length: usize = head
                    .lines()
                    .find_map(|l| l.strip_prefix("Content-Length: "))
                    .map_or(0, |l| l.parse().unwrap());
                if all.len() >= end + 4 + length {
                    return Ok((head, all.split_off(end + 4)));
                }
            }
            match self.io.read(&mut part)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => all.extend_from_slice(&part[..n]),
            }
        }
    }

    pub fn get(&mut self, path: &str) -> std::io::Result<(String, Vec<u8>)> {
        self.io.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())?;
        self.answer()
    }

    /// Everything until the other side says farewell; an error when it leaves without.
    pub fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.io.read_to_end(&mut all)?;
        Ok(all)
    }
}
