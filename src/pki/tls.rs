//! TLS that follows its files.
//!
//! Every handshake uses the present certificate, roots and revocation lists, so that no daemon has
//! to be restarted when they change. TLS does not check open connections again: whoever accepted
//! them waits for [`Tls::changed`], asks [`Tls::check`], and cuts those that would be refused now.
//!
//! No session is resumed, in either direction: a ticket would let in somebody who was revoked
//! since. A full handshake costs about a millisecond, and agents and operators have one connection
//! each. Only TLS 1.3 is spoken: both sides are ours or new, and it encrypts client certificates,
//! which earlier versions send in the clear.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    ServerConfig, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use tokio::sync::watch;

use super::material::{Material, Stamp, TlsError, TlsFiles};
use crate::identity::Identity;

/// HTTP/2, and HTTP/1.1 for clients without it.
pub const HTTP: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// TLS that follows its files. A clone is the same one.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    /// The files that were read last, valid or not; locked while files are read.
    tried: Mutex<Stamp>,
    changed: watch::Sender<u64>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Fails if one can't be read, or is not what it should be.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let stamp = files.stamp();
        let material = files.read(&provider, Timestamp::now())?;
        material.warn();
        let current = Arc::new(Current(ArcSwap::from_pointee(material)));
        let changed = watch::Sender::new(0);
        Ok(Self(Arc::new(Inner { files, provider, current, tried: Mutex::new(stamp), changed })))
    }

    /// Returns a configuration that accepts connections of clients with an identity.
    ///
    /// # Errors
    /// Fails only if the cryptography provider has no TLS 1.3; the one that is built in does.
    pub fn server(&self, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.0.provider));
        let builder =
            builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(unsupported)?;
        let current = &self.0.current;
        let mut config =
            builder.with_client_cert_verifier(current.clone()).with_cert_resolver(current.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        // Each is what rustls does by itself or what follows from the other. Let nobody change one
        // of them without a thought.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Arc::new(config))
    }

    /// Returns a configuration that connects to a controller.
    ///
    /// # Errors
    /// Fails only if the cryptography provider has no TLS 1.3; the one that is built in does.
    pub fn client(&self, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.0.provider));
        let builder =
            builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(unsupported)?;
        let current = &self.0.current;
        // Not dangerous: it asks rustls' own verifier, the newest one.
        let builder = builder.dangerous().with_custom_certificate_verifier(current.clone());
        let mut config = builder.with_client_cert_resolver(current.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// Checks whether an open connection would be let in now. `chain` is as rustls'
    /// `peer_certificates` returns it.
    ///
    /// # Errors
    /// Fails if the certificate was revoked or has expired, or if its CA is no longer trusted.
    pub fn check(&self, chain: &[CertificateDer<'_>]) -> Result<Identity, Error> {
        let (end, between) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        self.0.current.client(end, between, UnixTime::now())
    }

    /// Whether a certificate was revoked; the chain is as for [`Self::check`].
    pub fn is_revoked(&self, chain: &[CertificateDer<'_>]) -> bool {
        matches!(self.check(chain), Err(Error::InvalidCertificate(CertificateError::Revoked)))
    }

    /// Returns a count of changes. Ask [`Self::check`] about each connection when it changes, and
    /// every now and then, since certificates also expire.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// The own certificate.
    pub fn certificate(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.current.0.load().own)
    }

    /// Returns when the own certificate expires.
    pub fn ends(&self) -> Timestamp {
        self.0.current.0.load().valid.1
    }

    /// Reads the files again, whether they seem to have changed or not.
    ///
    /// # Errors
    /// Fails if something is wrong with them; then TLS goes on with what it had.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.0.reload(false).map(|_| ())
    }

    /// How often daemons look at the files.
    pub const LOOK: Duration = Duration::from_secs(5);

    /// Checks the files for changes at intervals, as long as a clone of this lives. A file that is
    /// not valid changes nothing and is logged.
    pub fn follow(&self, every: Duration) -> impl Future<Output = ()> + Send + 'static {
        let inner = Arc::downgrade(&self.0);
        async move {
            let mut ticks = crate::service::every(every);
            loop {
                ticks.tick().await;
                let Some(inner) = Weak::upgrade(&inner) else { return };
                inner.look();
            }
        }
    }
}

impl Inner {
    fn look(&self) {
        match self.reload(true) {
            Ok(false) => {}
            Ok(true) => tracing::info!(
                certificate = %self.files.certificate.display(), "certificates and revocation \
                    lists were read again"
            ),
            Err(error) => tracing::error!(
                %error, "certificates or revocation lists changed, but are not right; all goes on \
                    with the old ones"
            ),
        }
    }

    /// Reads the files if they have changed. They are small.
    fn reload(&self, only_if_changed: bool) -> Result<bool, TlsError> {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.files.stamp();
        if only_if_changed && stamp == *tried {
            return Ok(false);
        }
        // So that a wrong file is told of once.
        *tried = stamp;
        let now = Timestamp::now();
        let material = self.files.read(&self.provider, now)?;
        let old = self.current.0.load().valid;
        if material.valid.1 < now && old.1 > now {
            return Err(TlsError::Together(format!(
                "{} ended at {}, and the one in use is valid",
                self.files.certificate.display(),
                material.valid.1
            )));
        }
        material.warn();
        self.current.0.store(Arc::new(material));
        self.changed.send_modify(|count| *count += 1);
        Ok(true)
    }
}

impl Material {
    fn warn(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }
}

fn unsupported(error: Error) -> TlsError {
    TlsError::Together(error.to_string())
}

/// What a handshake uses; replaced as a whole at each change.
#[derive(Debug)]
struct Current(ArcSwap<Material>);

impl Current {
    /// Returns a client's identity, if it may come in.
    fn client(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Identity, Error> {
        self.0.load().clients.verify_client_cert(end, between, now)?;
        // Whoever has no identity can do nothing. So a listener can't forget to ask.
        Identity::of_certificate(end)
            .inspect_err(|error| tracing::info!(%error, "a client was not let in"))
            .map_err(|error| {
                Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
            })
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().own))
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().own))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Current {
    /// Sends no hints: clients have one certificate for this, and hints can't change with the
    /// roots.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let who = self.client(end, between, now);
        who.map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().clients.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().clients.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().clients.supported_verify_schemes()
    }
}

impl ServerCertVerifier for Current {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.load().servers.verify_server_cert(end, between, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().servers.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().servers.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().servers.supported_verify_schemes()
    }
}
