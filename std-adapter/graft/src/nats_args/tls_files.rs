//! The files of TLS, looked at before anything is connected: the client would complain only then,
//! and without a file's name.

use std::path::Path;

use anyhow::{Context, Error, Result, anyhow, bail};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::text_file;

/// # Errors
///
/// The file has no certificates of authorities, or one that is damaged.
pub(super) fn check_authorities(path: &Path) -> Result<()> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = store.add(certificate);
        added
            .with_context(|| format!("{} has a certificate that can't be used", path.display()))?;
    }
    Ok(())
}

/// # Errors
///
/// The files have no certificate and no private key, or they don't belong together.
pub(super) fn check_certificate(cert: &Path, key: &Path) -> Result<()> {
    let certificates = certificates(cert)?;
    let private_key = PrivateKeyDer::from_pem_slice(&read(key)?);
    let private_key = private_key.map_err(|error| explain(error, key, "private key"))?;
    CertifiedKey::from_der(certificates, private_key, &ring::default_provider()).with_context(
        || {
            format!(
                "the certificate in {} and the key in {} can't be used",
                cert.display(),
                key.display()
            )
        },
    )?;
    Ok(())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| explain(error, path, "certificate"))?;
    if certificates.is_empty() {
        bail!("{} has no certificate in PEM form", path.display());
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    text_file::read_regular(path).with_context(|| format!("could not read {}", path.display()))
}

/// Adds which file it was, and what was looked for in it.
fn explain(error: pem::Error, path: &Path, what: &str) -> Error {
    match error {
        pem::Error::NoItemsFound => anyhow!("{} has no {what} in PEM form", path.display()),
        error => Error::new(error).context(format!("{} is damaged", path.display())),
    }
}
