//! The server's own certificate, for WebTransport on a machine without one from an authority.
//!
//! Browsers accept a self-signed certificate whose hash the page names (`serverCertificateHashes`) if its key is ECDSA
//! P-256 and it is valid for at most 14 days. So it is made for 13 and replaced by itself: shortly before the change the
//! next one is made and named beside the current one, so that a page that asked just before can connect just after.
//! Both are one PEM file each, readable by this user alone; [`crate::tls`] puts them to use.

use std::fs;
use std::io;
use std::path::Path;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::secret_file;

const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;
/// Validity before now: clocks of browsers may be behind.
const BACKDATED_S: i64 = HOUR_S;
/// Validity altogether; 14 days is what browsers take.
const VALIDITY_S: i64 = 13 * DAY_S;
/// Before its end by this much a certificate is no longer used.
const SWITCH_BEFORE_END_S: i64 = 3 * DAY_S;
/// Before its end by this much the next one is made and named to pages.
const PREPARE_BEFORE_END_S: i64 = SWITCH_BEFORE_END_S + HOUR_S;

/// Line of the file, before its PEM blocks, that says when the certificate ends: seconds since 1970 UTC.
const END_FIELD: &str = "not-after-unix: ";
const CURRENT_FILE: &str = "self-signed.pem";
const NEXT_FILE: &str = "self-signed-next.pem";

/// A certificate of our own making, and its key.
#[derive(Debug)]
pub(crate) struct SelfSigned {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// Last second of its validity, seconds since 1970 UTC.
    pub(crate) end_unix_s: i64,
    pem: String,
}

/// The certificate can't be made or kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("a certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("a certificate could not be made: the clock says {0} s since 1970; correct it")]
    Clock(i64),
    #[error("the certificate could not be written to {path}: {source}; make its folder writable", path = path.display())]
    Write {
        path: std::path::PathBuf,
        source: io::Error,
    },
}

impl SelfSigned {
    /// A fresh one, for this machine's own names.
    pub(crate) fn make(now_unix_s: i64) -> Result<Self, CertificateError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let begin = now_unix_s - BACKDATED_S;
        let end_unix_s = begin + VALIDITY_S;
        let at = |unix_s| {
            OffsetDateTime::from_unix_timestamp(unix_s)
                .map_err(|_| CertificateError::Clock(now_unix_s))
        };
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        for ip in [[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()] {
            params.subject_alt_names.push(SanType::IpAddress(ip));
        }
        params.not_before = at(begin)?;
        params.not_after = at(end_unix_s)?;
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "Chalkboard");
        params.distinguished_name = name;
        let certificate = params.self_signed(&key)?;
        let pem = format!(
            "{END_FIELD}{end_unix_s}\n{}{}",
            certificate.pem(),
            key.serialize_pem()
        );
        Ok(Self {
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            end_unix_s,
            pem,
        })
    }

    /// SHA-256 of the certificate, as pages name it.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.certificate).into()
    }

    fn parse(pem: String) -> Option<Self> {
        let end = pem.lines().next()?.strip_prefix(END_FIELD)?;
        Some(Self {
            certificate: CertificateDer::from_pem_slice(pem.as_bytes()).ok()?,
            key: PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?,
            end_unix_s: end.parse().ok()?,
            pem,
        })
    }

    /// What was kept in a file; `None` where there is none or it can't be read: a new one is as good.
    fn load(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let certificate = Self::parse(text);
        if certificate.is_none() {
            tracing::warn!(path = %path.display(), "a kept certificate can't be read; a new one takes its place");
        }
        certificate
    }

    /// Keeps it in a file that only this user can read, whole or not at all.
    fn save(&self, path: &Path) -> Result<(), CertificateError> {
        secret_file::write(path, self.pem.as_bytes()).map_err(|source| CertificateError::Write {
            path: path.to_owned(),
            source,
        })
    }
}

/// What is to be done with the certificates at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Nothing.
    Keep,
    /// Make the next one and name it beside the current one.
    Prepare,
    /// Use the next one from now on.
    Switch,
    /// Make a current one.
    Make,
}

impl Plan {
    /// For certificates that end at these times.
    fn new(now_unix_s: i64, current_end: Option<i64>, next_end: Option<i64>) -> Self {
        // One that begins in the future comes from a clock that was wrong.
        let is_usable =
            |end: i64| now_unix_s < end - SWITCH_BEFORE_END_S && now_unix_s >= end - VALIDITY_S;
        let is_next_usable = next_end.is_some_and(is_usable);
        match current_end.filter(|end| is_usable(*end)) {
            Some(end) if now_unix_s >= end - PREPARE_BEFORE_END_S && !is_next_usable => {
                Self::Prepare
            }
            Some(_) => Self::Keep,
            None if is_next_usable => Self::Switch,
            None => Self::Make,
        }
    }
}

/// The current certificate and, around a change, the next; kept in a folder if there is one.
#[derive(Debug)]
pub(crate) struct Rotation {
    folder: Option<std::path::PathBuf>,
    current: Option<SelfSigned>,
    next: Option<SelfSigned>,
}

impl Rotation {
    /// What the folder holds. Call [`Rotation::advance`] before using it.
    pub(crate) fn load(folder: Option<&Path>) -> Self {
        let load = |name| folder.and_then(|folder| SelfSigned::load(&folder.join(name)));
        Self {
            current: load(CURRENT_FILE),
            next: load(NEXT_FILE),
            folder: folder.map(Path::to_owned),
        }
    }

    /// Makes, prepares or changes certificates as the time demands; `true` if anything has changed.
    pub(crate) fn advance(&mut self, now_unix_s: i64) -> Result<bool, CertificateError> {
        let end = |certificate: &Option<SelfSigned>| certificate.as_ref().map(|c| c.end_unix_s);
        match Plan::new(now_unix_s, end(&self.current), end(&self.next)) {
            Plan::Keep => return Ok(false),
            Plan::Prepare => {
                let next = SelfSigned::make(now_unix_s)?;
                self.keep(&next, NEXT_FILE)?;
                self.next = Some(next);
            }
            Plan::Switch => {
                if let Some(next) = self.next.take() {
                    self.keep(&next, CURRENT_FILE)?;
                    self.current = Some(next);
                    self.remove_next();
                }
            }
            Plan::Make => {
                let current = SelfSigned::make(now_unix_s)?;
                self.keep(&current, CURRENT_FILE)?;
                self.current = Some(current);
                self.next = None;
                self.remove_next();
            }
        }
        Ok(true)
    }

    /// The one to use.
    pub(crate) fn current(&self) -> Option<&SelfSigned> {
        self.current.as_ref()
    }

    /// Hashes for pages: of the current one, then of the next.
    pub(crate) fn hashes(&self) -> Vec<[u8; 32]> {
        self.current
            .iter()
            .chain(&self.next)
            .map(SelfSigned::hash)
            .collect()
    }

    fn keep(&self, certificate: &SelfSigned, name: &str) -> Result<(), CertificateError> {
        match &self.folder {
            Some(folder) => certificate.save(&folder.join(name)),
            None => Ok(()),
        }
    }

    fn remove_next(&self) {
        if let Some(folder) = &self.folder {
            // Still there, it is found to be in use or out of date.
            let _ = fs::remove_file(folder.join(NEXT_FILE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn plans_follow_the_time() {
        let end = NOW + VALIDITY_S - BACKDATED_S;
        let at = |now, current, next| Plan::new(now, current, next);
        assert_eq!(at(NOW, None, None), Plan::Make);
        assert_eq!(at(NOW, Some(end), None), Plan::Keep);
        assert_eq!(
            at(end - PREPARE_BEFORE_END_S - 1, Some(end), None),
            Plan::Keep
        );
        assert_eq!(
            at(end - PREPARE_BEFORE_END_S, Some(end), None),
            Plan::Prepare
        );
        let next = end - PREPARE_BEFORE_END_S - BACKDATED_S + VALIDITY_S;
        assert_eq!(
            at(end - PREPARE_BEFORE_END_S + 1, Some(end), Some(next)),
            Plan::Keep
        );
        assert_eq!(
            at(end - SWITCH_BEFORE_END_S - 1, Some(end), Some(next)),
            Plan::Keep
        );
        assert_eq!(
            at(end - SWITCH_BEFORE_END_S, Some(end), Some(next)),
            Plan::Switch
        );
        assert_eq!(at(end - SWITCH_BEFORE_END_S, Some(end), None), Plan::Make);
        assert_eq!(at(next, Some(end), Some(next)), Plan::Make, "off for weeks");
        assert_eq!(
            at(NOW - 365 * DAY_S, Some(end), None),
            Plan::Make,
            "made by a wrong clock"
        );
    }

    #[test]
    fn validity_stays_below_what_browsers_take() {
        const { assert!(VALIDITY_S <= 13 * DAY_S) };
        let made = SelfSigned::make(NOW).expect("a certificate");
        assert_eq!(made.end_unix_s, NOW - BACKDATED_S + VALIDITY_S);
    }

    #[test]
    fn a_kept_certificate_is_used_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut first = Rotation::load(Some(folder.path()));
        assert!(first.advance(NOW).expect("can be written"));
        let mut again = Rotation::load(Some(folder.path()));
        assert!(!again.advance(NOW + DAY_S).expect("nothing to do"));
        assert_eq!(again.hashes(), first.hashes());
        assert_eq!(again.hashes().len(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(folder.path().join(CURRENT_FILE))
                .expect("the file")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_change_is_announced_before_it_happens() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut rotation = Rotation::load(Some(folder.path()));
        rotation.advance(NOW).expect("can be written");
        let old = rotation.hashes();
        let end = rotation.current().expect("made").end_unix_s;
        assert!(
            rotation
                .advance(end - PREPARE_BEFORE_END_S)
                .expect("can be written")
        );
        let both = rotation.hashes();
        assert_eq!(both.len(), 2);
        assert_eq!(both[0], old[0]);
        // A restart in between keeps both.
        let mut rotation = Rotation::load(Some(folder.path()));
        assert!(
            !rotation
                .advance(end - PREPARE_BEFORE_END_S + 60)
                .expect("nothing to do")
        );
        assert_eq!(rotation.hashes(), both);
        assert!(
            rotation
                .advance(end - SWITCH_BEFORE_END_S)
                .expect("can be written")
        );
        assert_eq!(rotation.hashes(), both[1..]);
        let rotation = Rotation::load(Some(folder.path()));
        assert_eq!(rotation.hashes(), both[1..]);
    }

    #[test]
    fn a_damaged_file_is_replaced() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join(CURRENT_FILE), "not-after-unix: soon\n").expect("a file");
        let mut rotation = Rotation::load(Some(folder.path()));
        assert!(rotation.advance(NOW).expect("can be written"));
        assert_eq!(rotation.hashes().len(), 1);
    }
}
