//! Whom all visitors ask, and for what.

use crate::PLACE;
use crate::plan::{Case, Way};
use crate::process::Done;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A connection, with or without TLS.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

pub(super) struct Target {
    port: u16,
    tls: Option<TlsConnector>,
    /// What is sent of HTTP/1.1.
    pub(super) request: Vec<u8>,
    /// What is asked for in HTTP/2.
    pub(super) uri: http::Uri,
    /// Bytes of the answer's content.
    pub(super) size: usize,
    /// One connection per request.
    pub(super) close: bool,
}

impl Target {
    pub(super) fn new(case: &Case, port: u16) -> Done<Self> {
        let tls = match case.way {
            Way::Http | Way::Tcp => None,
            Way::Tls => Some(connector(b"http/1.1")?),
            Way::Http2 => Some(connector(b"h2")?),
        };
        let last = if case.close { "Connection: close\r\n" } else { "" };
        let size = case.size;
        Ok(Self {
            port,
            tls,
            request: format!("GET /{size} HTTP/1.1\r\nHost: bench\r\n{last}\r\n").into_bytes(),
            uri: format!("https://bench/{size}").parse()?,
            size: usize::try_from(size)?,
            close: case.close,
        })
    }

    pub(super) async fn connect(&self) -> Done<Box<dyn Io>> {
        let io = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        io.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(io)) };
        let name = ServerName::try_from("bench")?;
        Ok(Box::new(tls.connect(name, io).await?))
    }
}

fn connector(protocol: &[u8]) -> Done<TlsConnector> {
    let expected = CertificateDer::from_pem_file(Path::new(PLACE).join("tls.pem"))?;
    let provider = Arc::new(crypto::ring::default_provider());
    let trust = Arc::new(ThatOne { expected, provider: Arc::clone(&provider) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(trust)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Trusts the one certificate all proxies have, which nobody has signed but itself.
#[derive(Debug)]
struct ThatOne {
    expected: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ThatOne {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General("this is another certificate".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let all = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, cert, dss, all)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let all = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, cert, dss, all)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
