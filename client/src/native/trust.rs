//! Whom a native client believes to be its server.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};

use super::link::LinkError;

/// Whom to believe.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Whom the operating system believes.
    System,
    /// Servers with a certificate from one of these authorities.
    Roots(Vec<CertificateDer<'static>>),
    /// Servers whose certificate has one of these SHA-256 hashes (of its DER form), as a server with a certificate of
    /// its own making tells them; names and dates are not looked at.
    Hashes(Vec<[u8; 32]>),
}

impl Trust {
    /// A TLS 1.3 configuration that speaks one of these protocols.
    ///
    /// # Errors
    /// TLS can't be set up.
    pub fn config(&self, protocols: &[&[u8]]) -> Result<ClientConfig, LinkError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(LinkError::tls)?;
        let mut config = match self {
            Self::Hashes(hashes) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(KnownHashes {
                    hashes: hashes.clone(),
                    provider,
                }))
                .with_no_client_auth(),
            Self::System | Self::Roots(_) => builder
                .with_root_certificates(self.roots()?)
                .with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore, LinkError> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::Roots(certificates) => {
                for certificate in certificates {
                    roots.add(certificate.clone()).map_err(LinkError::tls)?;
                }
            }
            // Authorities that can't be read are left out, as browsers do.
            Self::System | Self::Hashes(_) => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        Ok(roots)
    }
}

/// Believes certificates by their hash, like a browser's `serverCertificateHashes`.
#[derive(Debug)]
struct KnownHashes {
    hashes: Vec<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for KnownHashes {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let hash: [u8; 32] = Sha256::digest(end_entity.as_ref()).into();
        if self.hashes.contains(&hash) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
