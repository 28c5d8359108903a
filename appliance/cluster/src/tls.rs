//! TLS 1.3 between any two boards (RFC 8446).
//!
//! Both ends show a raw public key (RFC 7250) and prove to have its other half; no certificates,
//! no names, no dates: boards without a clock chip start in 1970. Every Ed25519 key gets through
//! here. What its owner may do is decided afterwards, from its fingerprint. Nothing is resumed,
//! so a board that was removed has to show its key again.

use crate::error::HandshakeError;
use crate::identity::{Identity, IdentityError, fingerprint};
use model::DeviceId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::ring::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::ring::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, Error,
    ServerConfig, SignatureScheme,
};
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// What is drawn from a connection to bind a proof to it (RFC 8446 7.5).
const EXPORTER: &[u8] = b"EXPORTER-bramble-node-channel";

/// Both ends of connections, with one board's key.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

/// A connection over which both ends have proved their keys.
pub(crate) struct Session<S> {
    pub(crate) stream: TlsStream<S>,
    /// The board at the other end.
    pub(crate) device: DeviceId,
    /// The same 32 bytes at both ends and nowhere else.
    pub(crate) binding: [u8; 32],
}

impl Tls {
    pub(crate) fn new(identity: &Identity) -> Result<Self, IdentityError> {
        let provider = Arc::new(CryptoProvider {
            // The Pis before the fifth have no AES in hardware.
            cipher_suites: vec![TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![kx_group::X25519],
            ..default_provider()
        });
        let unusable = |_| IdentityError("TLS cannot be set up with this board's key");
        let any = Arc::new(AnyBoard(provider.clone()));
        let key = identity.certified.clone();
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(any.clone())
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key.clone())));
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(any)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key)));
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        Ok(Self { connector: Arc::new(client).into(), acceptor: Arc::new(server).into() })
    }

    /// Calls over a connection.
    pub(crate) async fn call<S>(&self, io: S) -> Result<Session<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // Never sent and never looked at.
        let nobody = ServerName::from(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        session(TlsStream::Client(self.connector.connect(nobody, io).await?))
    }

    /// Answers a call.
    pub(crate) async fn answer<S>(&self, io: S) -> Result<Session<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        session(TlsStream::Server(self.acceptor.accept(io).await?))
    }
}

fn session<S>(stream: TlsStream<S>) -> Result<Session<S>, HandshakeError> {
    let (_, common) = stream.get_ref();
    let device = device(common).ok_or(HandshakeError::Garbage)?;
    let binding = match &stream {
        TlsStream::Client(client) => {
            client.get_ref().1.export_keying_material([0; 32], EXPORTER, None)
        }
        TlsStream::Server(server) => {
            server.get_ref().1.export_keying_material([0; 32], EXPORTER, None)
        }
    };
    let binding = binding.map_err(|_| HandshakeError::Garbage)?;
    Ok(Session { stream, device, binding })
}

fn device(common: &CommonState) -> Option<DeviceId> {
    fingerprint(common.peer_certificates()?.first()?)
}

/// Lets every board through that proves to have the key it shows.
#[derive(Debug)]
struct AnyBoard(Arc<CryptoProvider>);

impl AnyBoard {
    fn look(&self, key: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
        match fingerprint(key) {
            Some(_) if others.is_empty() => Ok(()),
            _ => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
        }
    }

    fn signed(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }
}

fn too_old() -> Error {
    Error::General("TLS 1.2 is not spoken here".to_owned())
}

impl ServerCertVerifier for AnyBoard {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.look(key, others).map(|()| ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(message, key, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for AnyBoard {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.look(key, others).map(|()| ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(message, key, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::sign::CertifiedKey;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn board() -> (Tls, DeviceId) {
        let identity = Identity::read(&Identity::generate().unwrap()).unwrap();
        (Tls::new(&identity).unwrap(), identity.device().clone())
    }

    #[tokio::test]
    async fn both_ends_learn_who_the_other_is() {
        let ((caller, caller_id), (called, called_id)) = (board(), board());
        let (a, b) = duplex(1 << 16);
        let (a, b) = tokio::join!(caller.call(a), called.answer(b));
        let (mut a, mut b) = (a.unwrap(), b.unwrap());
        assert_eq!((&a.device, &b.device), (&called_id, &caller_id));
        assert_eq!(a.binding, b.binding);
        a.stream.write_all(b"hi").await.unwrap();
        a.stream.flush().await.unwrap();
        b.stream.read_exact(&mut [0; 2]).await.unwrap();
        // Every connection has a binding of its own.
        let (c, d) = duplex(1 << 16);
        let (c, _d) = tokio::join!(caller.call(c), called.answer(d));
        assert_ne!(c.unwrap().binding, a.binding);
    }

    #[tokio::test]
    async fn a_key_that_is_only_shown_is_no_key() {
        // A board that shows the public key of another and signs with its own.
        let (called, _) = board();
        let shown = Identity::read(&Identity::generate().unwrap()).unwrap();
        let own = Identity::read(&Identity::generate().unwrap()).unwrap();
        let forged = CertifiedKey::new(shown.certified.cert.clone(), own.certified.key.clone());
        let forger = Tls::new(&Identity { certified: Arc::new(forged), ..shown }).unwrap();
        let (a, b) = duplex(1 << 16);
        let (_, answered) = tokio::join!(forger.call(a), called.answer(b));
        assert!(answered.is_err());
        let (a, b) = duplex(1 << 16);
        let (calling, _) = tokio::join!(called.call(a), forger.answer(b));
        assert!(calling.is_err());
    }
}
