//! Whom a client's certificate names.

use l2sm_api::grpc::tls::{Identity, IdentityFault};
use thiserror::Error;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// Why a certificate, though signed by an authority that we trust, names nobody.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubjectFault {
    /// No URI of ours.
    #[error("its certificate names nobody: it has no URI l2sm://node/NAME or l2sm://admin/NAME")]
    Nobody,
    /// A URI of ours that is malformed.
    #[error("its certificate: {0}")]
    Malformed(#[from] IdentityFault),
    /// Which one would it be?
    #[error("its certificate names more than one: {0} and {1}")]
    Several(Identity, Identity),
    /// No certificate, or not a whole one.
    #[error("its certificate cannot be read")]
    Unreadable,
}

/// Whom the certificate `der` names: its one URI of scheme `l2sm`.
///
/// # Errors
/// See [`SubjectFault`].
pub fn subject(der: &[u8]) -> Result<Identity, SubjectFault> {
    let (_, certificate) =
        parse_x509_certificate(der).map_err(|_malformed| SubjectFault::Unreadable)?;
    let names = certificate.subject_alternative_name();
    let names = names.map_err(|_malformed| SubjectFault::Unreadable)?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let mut found: Option<Identity> = None;
    for name in names {
        let GeneralName::URI(uri) = name else { continue };
        if !Identity::claims(uri) {
            continue;
        }
        let identity = uri.parse::<Identity>()?;
        if let Some(first) = found {
            return Err(SubjectFault::Several(first, identity));
        }
        found = Some(identity);
    }
    found.ok_or(SubjectFault::Nobody)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn of(uris: &[&str]) -> Result<Identity, SubjectFault> {
        let mut params = CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        subject(certificate.der())
    }

    #[test]
    fn a_certificate_names_exactly_one() {
        let n1 = "l2sm://node/n1".parse::<Identity>().unwrap();
        assert_eq!(of(&["https://x.example/", "l2sm://node/n1"]), Ok(n1.clone()));
        assert_eq!(of(&[]), Err(SubjectFault::Nobody));
        assert_eq!(of(&["https://x.example/"]), Err(SubjectFault::Nobody));
        let admin = "l2sm://admin/a".parse().unwrap();
        let both = of(&["l2sm://node/n1", "l2sm://admin/a"]);
        assert_eq!(both, Err(SubjectFault::Several(n1, admin)));
        assert!(matches!(of(&["L2SM://admin/a"]), Err(SubjectFault::Malformed(_))));
        assert_eq!(subject(b"no certificate"), Err(SubjectFault::Unreadable));
    }
}
