//! The authority: made once, used again.

use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use x509_parser::{parse_x509_certificate, pem::parse_x509_pem};

use super::{CertsError, Written, directory::Directory, named};

/// How long the authority's own certificate is good at least, days.
const AUTHORITY_DAYS: i64 = 3650;
/// A clock elsewhere may be behind by this.
const SKEW: Duration = Duration::hours(1);

/// An authority that signs.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl Authority {
    /// The one in `directory`, or a new one, whose certificates are good for `days` from `now`.
    pub(super) fn open(
        directory: &Directory,
        now: OffsetDateTime,
        days: u32,
        written: &mut Vec<Written>,
    ) -> Result<Self, CertsError> {
        let (crt, key) = ("ca.crt", "ca.key");
        let half = |missing: &str, there: &str| CertsError::Half {
            missing: directory.path(missing),
            there: directory.path(there),
        };
        let kept = directory.has(crt);
        let not_before = now - SKEW;
        let not_after = now + Duration::days(days.into());
        let (issuer, ends) = match (directory.read(crt)?, directory.read(key)?) {
            (Some(_), None) => return Err(half(key, crt)),
            (None, Some(_)) => return Err(half(crt, key)),
            (Some(certificate), Some(secret)) => reopen(directory, &certificate, &secret)?,
            (None, None) => {
                let ends = not_after.max(now + Duration::days(AUTHORITY_DAYS));
                (create(directory, not_before, ends)?, ends)
            }
        };
        if ends <= now {
            return Err(CertsError::Expired(directory.path(crt)));
        }
        for (name, what) in [(crt, "certificate of the authority"), (key, "key of the authority")] {
            written.push(Written { path: directory.path(name), what: what.to_owned(), kept });
        }
        // A certificate that outlives its authority is good for nothing.
        Ok(Self { issuer, not_before, not_after: not_after.min(ends) })
    }

    /// Signs a certificate for the key `stem.key`, which is made where there is none.
    pub(super) fn issue(
        &self,
        directory: &Directory,
        stem: &str,
        what: &str,
        mut params: CertificateParams,
        written: &mut Vec<Written>,
    ) -> Result<(), CertsError> {
        let fail = |why| CertsError::Signing { what: what.to_owned(), why };
        let (crt, key) = (format!("{stem}.crt"), format!("{stem}.key"));
        let there = directory.read(&key)?;
        let kept = there.is_some();
        let pair = match there {
            Some(pem) => read_pair(directory, &key, &pem)?,
            None => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fail)?,
        };
        params.serial_number = Some(serial());
        params.not_before = self.not_before;
        params.not_after = self.not_after;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&pair, &self.issuer).map_err(fail)?;
        if !kept {
            directory.create_key(&key, &pair.serialize_pem())?;
        }
        directory.replace_cert(&crt, &certificate.pem())?;
        let until = self.not_after.date();
        let told = format!("certificate of {what}, good until {until}");
        written.push(Written { path: directory.path(&crt), what: told, kept: false });
        let told = format!("key of {what}");
        written.push(Written { path: directory.path(&key), what: told, kept });
        Ok(())
    }
}

fn create(
    directory: &Directory,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
) -> Result<Issuer<'static, KeyPair>, CertsError> {
    let fail = |why| CertsError::Signing { what: "the authority".to_owned(), why };
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fail)?;
    // A name of its own: two authorities of one name cannot be told apart when one is refused.
    let id = Uuid::new_v4().simple().to_string();
    let mut params = named(&format!("l2sm authority {}", id.get(..8).unwrap_or_default()));
    params.serial_number = Some(serial());
    params.not_before = not_before;
    params.not_after = not_after;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&pair).map_err(fail)?;
    directory.create_key("ca.key", &pair.serialize_pem())?;
    directory.replace_cert("ca.crt", &certificate.pem())?;
    Ok(Issuer::new(params, pair))
}

/// The authority that is there, and when it ends.
fn reopen(
    directory: &Directory,
    certificate: &str,
    secret: &str,
) -> Result<(Issuer<'static, KeyPair>, OffsetDateTime), CertsError> {
    let unreadable = |why: String| CertsError::Unreadable {
        path: directory.path("ca.crt"),
        what: "certificate of an authority",
        why,
    };
    let pair = read_pair(directory, "ca.key", secret)?;
    let (_, pem) =
        parse_x509_pem(certificate.as_bytes()).map_err(|why| unreadable(why.to_string()))?;
    let (_, parsed) =
        parse_x509_certificate(&pem.contents).map_err(|why| unreadable(why.to_string()))?;
    if parsed.public_key().subject_public_key.data.as_ref() != pair.public_key_raw() {
        return Err(unreadable("ca.key is not its key".to_owned()));
    }
    let ends = parsed.validity().not_after.to_datetime();
    let issuer = Issuer::from_ca_cert_pem(certificate, pair);
    Ok((issuer.map_err(|why| unreadable(why.to_string()))?, ends))
}

fn read_pair(directory: &Directory, name: &str, pem: &str) -> Result<KeyPair, CertsError> {
    KeyPair::from_pem(pem).map_err(|why| CertsError::Unreadable {
        path: directory.path(name),
        what: "private key",
        why: why.to_string(),
    })
}

/// 128 random bits, positive (RFC 5280 section 4.1.2.2).
fn serial() -> SerialNumber {
    let mut bytes = *Uuid::new_v4().as_bytes();
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    SerialNumber::from_slice(&bytes)
}
