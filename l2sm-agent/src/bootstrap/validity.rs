//! How long a certificate is good. Pure.

use std::time::{Duration, SystemTime};

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{parse_x509_certificate, time::ASN1Time};

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    from: SystemTime,
    until: SystemTime,
}

impl Validity {
    /// Of a certificate; `None`: it is none.
    pub(super) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_rest, certificate) = parse_x509_certificate(der).ok()?;
        let validity = certificate.validity();
        Some(Self { from: time(validity.not_before)?, until: time(validity.not_after)? })
    }

    /// Of the first certificate in a text.
    pub(super) fn of_pem(text: &[u8]) -> Option<Self> {
        Self::of(&CertificateDer::pem_slice_iter(text).next()?.ok()?)
    }

    /// When it is to be renewed: at two thirds.
    pub(super) fn renewal(self) -> SystemTime {
        let whole = self.until.duration_since(self.from).unwrap_or_default();
        self.from + whole * 2 / 3
    }

    /// Whether it is not good any more, or not yet.
    pub(super) fn is_over(self, now: SystemTime) -> bool {
        !(self.from..self.until).contains(&now)
    }
}

fn time(at: ASN1Time) -> Option<SystemTime> {
    let seconds = u64::try_from(at.timestamp()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_time() {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2030, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 4);
        let pair = KeyPair::generate().unwrap();
        let pem = format!("{}{}", params.self_signed(&pair).unwrap().pem(), pair.serialize_pem());
        let validity = Validity::of_pem(pem.as_bytes()).unwrap();
        let day = Duration::from_hours(24);
        let from = SystemTime::UNIX_EPOCH + day * 21_915;
        assert_eq!(validity, Validity { from, until: from + day * 3 });
        assert_eq!(validity.renewal(), from + day * 2);
        assert!(!validity.is_over(from + day));
        assert!(validity.is_over(from + day * 3) && validity.is_over(from - day));
        assert_eq!(Validity::of_pem(b"nothing"), None);
    }
}
