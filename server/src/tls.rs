//! TLS: one certificate for page, WebSocket and WebTransport, exchangeable while the server runs.
//!
//! TLS 1.3 only, by rustls with ring. The certificate is the operator's, read again when its files change, or one of our
//! own ([`crate::certificate`]), which then serves WebTransport alone. New connections get what is current; those that
//! stand are not disturbed.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificate::{CertificateError, Rotation};
use crate::config::TlsFiles;

/// How often files and the clock are looked at.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Largest PEM file that is read.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// No certificate to serve with.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it all")]
pub enum TlsError {
    #[error(
        "cannot read {path} ({reason}); check --tls-cert and --tls-key, and that this user may read them"
    )]
    Read { path: String, reason: String },
    #[error("{path} holds no {what} in PEM form; check --tls-cert and --tls-key")]
    Empty { path: String, what: &'static str },
    #[error(
        "the certificate {certificate} and the key {key} can't be used together ({reason}); check that they are a pair"
    )]
    NoPair {
        certificate: String,
        key: String,
        reason: String,
    },
    #[error(transparent)]
    SelfSigned(Box<dyn std::error::Error + Send + Sync>),
    #[error("TLS can't be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl From<CertificateError> for TlsError {
    fn from(error: CertificateError) -> Self {
        Self::SelfSigned(Box::new(error))
    }
}

/// Where the certificate comes from.
#[derive(Debug)]
enum Source {
    Files {
        files: TlsFiles,
        seen: Mutex<[Option<Stamp>; 2]>,
    },
    OwnMaking(Mutex<Rotation>),
}

/// What tells a changed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
}

/// The certificate in use.
#[derive(Debug)]
pub(crate) struct Certificates {
    source: Source,
    current: Arc<Current>,
    hashes: ArcSwap<Vec<[u8; 32]>>,
    provider: Arc<CryptoProvider>,
}

/// What rustls asks at each handshake.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificates {
    /// The operator's certificate.
    pub(crate) fn from_files(files: TlsFiles) -> Result<Self, TlsError> {
        let provider = provider();
        let seen = stamps(&files);
        let pair = read_pair(&files, &provider)?;
        Ok(Self {
            current: Arc::new(Current(ArcSwap::from_pointee(pair))),
            hashes: ArcSwap::default(),
            source: Source::Files {
                files,
                seen: Mutex::new(seen),
            },
            provider,
        })
    }

    /// A certificate of our own, kept in a folder if there is one.
    pub(crate) fn of_own_making(folder: Option<&Path>) -> Result<Self, TlsError> {
        let provider = provider();
        let mut rotation = Rotation::load(folder);
        rotation.advance(unix_s())?;
        let pair = own_pair(&rotation, &provider)?;
        Ok(Self {
            current: Arc::new(Current(ArcSwap::from_pointee(pair))),
            hashes: ArcSwap::from_pointee(rotation.hashes()),
            source: Source::OwnMaking(Mutex::new(rotation)),
            provider,
        })
    }

    /// The page is served with it too.
    pub(crate) fn is_operators(&self) -> bool {
        matches!(self.source, Source::Files { .. })
    }

    /// Hashes that a page must name to connect; none for an operator's certificate, which browsers trust by themselves.
    pub(crate) fn hashes(&self) -> Arc<Vec<[u8; 32]>> {
        self.hashes.load_full()
    }

    /// Looks whether the certificate is to be exchanged, and does so. Blocks for a few file operations.
    pub(crate) fn check(&self) {
        match &self.source {
            Source::Files { files, seen } => {
                let now = stamps(files);
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                if *seen != now {
                    *seen = now;
                    drop(seen);
                    self.reload();
                }
            }
            Source::OwnMaking(rotation) => {
                let mut rotation = rotation.lock().unwrap_or_else(PoisonError::into_inner);
                let advanced = rotation.advance(unix_s()).map_err(TlsError::from);
                match advanced.and_then(|changed| {
                    changed
                        .then(|| own_pair(&rotation, &self.provider))
                        .transpose()
                }) {
                    Ok(None) => {}
                    Ok(Some(pair)) => {
                        // Named before it is used.
                        self.hashes.store(Arc::new(rotation.hashes()));
                        self.current.0.store(Arc::new(pair));
                        tracing::info!("the self-signed certificate was renewed");
                    }
                    Err(error) => {
                        tracing::error!(%error, "the self-signed certificate could not be renewed; it is tried again");
                    }
                }
            }
        }
    }

    /// Reads the operator's files again, changed or not. A pair that can't be used changes nothing.
    pub(crate) fn reload(&self) {
        let Source::Files { files, .. } = &self.source else {
            return;
        };
        match read_pair(files, &self.provider) {
            Ok(pair) => {
                self.current.0.store(Arc::new(pair));
                tracing::info!(certificate = %files.certificate.display(), "the certificate was read again");
            }
            Err(error) => {
                tracing::error!(%error, "the changed certificate can't be used; the one before it stays in use until the files are corrected");
            }
        }
    }

    /// For a listener that speaks these protocols.
    pub(crate) fn server_config(
        &self,
        protocols: &[&[u8]],
    ) -> Result<rustls::ServerConfig, TlsError> {
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn unix_s() -> i64 {
    (crate::clock::unix_ms() / 1000) as i64
}

fn own_pair(rotation: &Rotation, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let own = rotation
        .current()
        .ok_or(rustls::Error::NoCertificatesPresented)?;
    Ok(CertifiedKey::from_der(
        vec![own.certificate.clone()],
        own.key.clone_key(),
        provider,
    )?)
}

fn stamps(files: &TlsFiles) -> [Option<Stamp>; 2] {
    [&files.certificate, &files.key].map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some(Stamp {
            modified: metadata.modified().ok(),
            len: metadata.len(),
        })
    })
}

fn read_pair(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let name = |path: &Path| path.display().to_string();
    let certificate_pem = read_pem(&files.certificate)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&certificate_pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Read {
            path: name(&files.certificate),
            reason: error.to_string(),
        })?;
    if chain.is_empty() {
        return Err(TlsError::Empty {
            path: name(&files.certificate),
            what: "certificate",
        });
    }
    let key =
        PrivateKeyDer::from_pem_slice(&read_pem(&files.key)?).map_err(|_| TlsError::Empty {
            path: name(&files.key),
            what: "private key",
        })?;
    // Also checks that the key is the certificate's.
    CertifiedKey::from_der(chain, key, provider).map_err(|error| TlsError::NoPair {
        certificate: name(&files.certificate),
        key: name(&files.key),
        reason: error.to_string(),
    })
}

fn read_pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read;

    let mut pem = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut pem))
        .map_err(|error| TlsError::Read {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_pair(folder: &Path, name: &str) -> TlsFiles {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a pair");
        let files = TlsFiles {
            certificate: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        };
        fs::write(&files.certificate, made.cert.pem()).expect("a file");
        fs::write(&files.key, made.signing_key.serialize_pem()).expect("a file");
        files
    }

    fn in_use(certificates: &Certificates) -> CertificateDer<'static> {
        certificates.current.0.load().cert[0].clone()
    }

    #[test]
    fn changed_files_are_taken_over_and_broken_ones_are_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = write_pair(folder.path(), "a.example");
        let certificates = Certificates::from_files(files.clone()).expect("a pair");
        let first = in_use(&certificates);
        assert!(certificates.hashes().is_empty());

        certificates.check();
        assert_eq!(in_use(&certificates), first, "nothing has changed");

        write_pair(folder.path(), "another-name.example");
        certificates.check();
        let second = in_use(&certificates);
        assert_ne!(second, first);

        let key = fs::read(&files.key).expect("the key");
        write_pair(folder.path(), "a-third-name-that-is-longer.example");
        fs::write(&files.key, [&key[..], b"\n"].concat()).expect("a file");
        certificates.check();
        assert_eq!(in_use(&certificates), second, "the key is another's");

        fs::remove_file(&files.certificate).expect("the file");
        certificates.check();
        assert_eq!(in_use(&certificates), second, "the file is gone");

        write_pair(folder.path(), "b.example");
        certificates.check();
        assert_ne!(in_use(&certificates), second, "corrected");
    }

    #[test]
    fn files_that_are_no_pair_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = write_pair(folder.path(), "a.example");
        let refused = |files: &TlsFiles| {
            Certificates::from_files(files.clone())
                .expect_err("can't be used")
                .to_string()
        };
        let swapped = TlsFiles {
            certificate: files.key.clone(),
            key: files.certificate.clone(),
        };
        assert!(refused(&swapped).contains("no certificate"));
        let keyless = TlsFiles {
            key: files.certificate.clone(),
            ..files.clone()
        };
        assert!(refused(&keyless).contains("no private key"));
        let missing = TlsFiles {
            certificate: folder.path().join("missing.pem"),
            ..files.clone()
        };
        assert!(refused(&missing).contains("missing.pem"));
        let other = tempfile::tempdir().expect("a temporary folder");
        let mixed = TlsFiles {
            key: write_pair(other.path(), "a.example").key,
            ..files
        };
        assert!(refused(&mixed).contains("are a pair"));
    }

    #[test]
    fn our_own_names_its_hash() {
        let certificates = Certificates::of_own_making(None).expect("can be made");
        assert_eq!(certificates.hashes().len(), 1);
        certificates.check();
        assert_eq!(certificates.hashes().len(), 1);
        let config = certificates.server_config(&[b"h3"]).expect("can be set up");
        assert_eq!(config.alpn_protocols, [b"h3".to_vec()]);
    }
}
