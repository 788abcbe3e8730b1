//! Certificates and keys in PEM files; a fault names the file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};
use thiserror::Error;

/// Why a file is of no use.
#[derive(Debug, Error)]
pub enum PemFault {
    /// The file cannot be read.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// No certificate, or no key, is in it.
    #[error("{}: holds no {what} in PEM form", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// It is cut off or damaged.
    #[error("{}: is not whole: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// All certificates of a file: at least one.
///
/// # Errors
/// See [`PemFault`].
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|why| damaged(path, &why))?;
    let empty = || PemFault::Empty { path: path.to_owned(), what: "certificate" };
    if found.is_empty() { Err(empty()) } else { Ok(found) }
}

/// The first private key of a file.
///
/// # Errors
/// See [`PemFault`].
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemFault> {
    let text = read(path)?;
    let first = PrivateKeyDer::pem_slice_iter(&text).next();
    let empty = || PemFault::Empty { path: path.to_owned(), what: "private key" };
    first.ok_or_else(empty)?.map_err(|why| damaged(path, &why))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, PemFault> {
    fs::read(path).map_err(|why| PemFault::Unreadable { path: path.to_owned(), why })
}

fn damaged(path: &Path, why: &pem::Error) -> PemFault {
    PemFault::Damaged { path: path.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_the_file() {
        let directory = std::env::temp_dir().join(format!("l2sm-api-pem-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("x.crt");
        let said = |text: &str| {
            fs::write(&path, text).unwrap();
            let why = read_certificates(&path).unwrap_err().to_string();
            assert!(why.starts_with(&path.display().to_string()), "{why}");
            why
        };
        assert!(said("hello").ends_with("holds no certificate in PEM form"));
        assert!(said("-----BEGIN CERTIFICATE-----\nAAAA\n").contains("is not whole"));
        let why = read_key(&path).unwrap_err().to_string();
        assert!(why.contains("is not whole") || why.contains("holds no private key"), "{why}");
        fs::remove_dir_all(&directory).unwrap();
        let why = read_key(&path).unwrap_err().to_string();
        assert!(why.ends_with("No such file or directory (os error 2)"), "{why}");
    }
}
