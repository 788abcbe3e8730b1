//! A client's side: its files, and what a failed connection means.

use std::{error::Error as StdError, path::PathBuf};

use thiserror::Error;
use tonic::transport::{Certificate, ClientTlsConfig, Identity as Keys};

use super::files::{PemFault, read, read_certificates, read_key};

/// What rustls says before the name of an alert (RFC 8446 section 6.2) that the other side sent.
const ALERT: &str = "received fatal alert: ";

/// The files with which a program proves who it is, and checks who a controller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// Certificates of the authorities that may have signed the controller's.
    pub ca: PathBuf,
    /// Own certificate, followed by those between it and the authority, if any.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why there is no connection, in words that name the file and the cure.
#[derive(Debug, Error)]
pub enum ClientTlsError {
    /// `--tls-ca`.
    #[error("--tls-ca {0}")]
    Ca(PemFault),
    /// `--tls-cert`.
    #[error("--tls-cert {0}")]
    Cert(PemFault),
    /// `--tls-key`.
    #[error("--tls-key {0}")]
    Key(PemFault),
}

impl ClientFiles {
    /// Reads the files as they are now.
    ///
    /// # Errors
    /// One is of no use; the error names it.
    pub fn load(&self) -> Result<ClientTlsConfig, ClientTlsError> {
        read_certificates(&self.ca).map_err(ClientTlsError::Ca)?;
        read_certificates(&self.cert).map_err(ClientTlsError::Cert)?;
        read_key(&self.key).map_err(ClientTlsError::Key)?;
        let ca = read(&self.ca).map_err(ClientTlsError::Ca)?;
        let cert = read(&self.cert).map_err(ClientTlsError::Cert)?;
        let key = read(&self.key).map_err(ClientTlsError::Key)?;
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        Ok(config.identity(Keys::from_pem(cert, key)))
    }

    /// Whether `why`, the end of an attempt to connect, is that the server does not accept the
    /// certificate.
    pub fn is_refused(why: &(dyn StdError + 'static)) -> bool {
        causes(why).contains(ALERT)
    }

    /// What `why`, the end of an attempt to connect, means: what is wrong and what helps. `None`: it
    /// has nothing to do with TLS.
    pub fn explain(&self, why: &(dyn StdError + 'static)) -> Option<String> {
        self.explain_text(&causes(why))
    }

    fn explain_text(&self, said: &str) -> Option<String> {
        if said.contains("KeyMismatch") {
            let (key, cert) = (self.key.display(), self.cert.display());
            return Some(format!("--tls-key {key} does not belong to --tls-cert {cert}"));
        }
        let after = |marker: &str| {
            let (_, rest) = said.split_once(marker)?;
            rest.lines().next()
        };
        if let Some(alert) = after(ALERT) {
            // Layers above rustls quote its words.
            let end = alert.find(|letter: char| !letter.is_ascii_alphanumeric());
            return Some(self.explain_alert(end.map_or(alert, |end| alert.split_at(end).0)));
        }
        if let Some(fault) = after("invalid peer certificate: ") {
            return Some(self.explain_fault(fault));
        }
        // What rustls says of a peer that answers with something else.
        let other = ["InvalidContentType", "corrupt message", "HTTP/2 was not negotiated"];
        let speaks_other = other.iter().any(|marker| said.contains(marker));
        speaks_other
            .then(|| "it does not speak TLS: is it a controller that serves --insecure?".to_owned())
    }

    /// What the controller holds against our certificate (RFC 8446 section 6.2).
    fn explain_alert(&self, alert: &str) -> String {
        let cert = self.cert.display();
        let why = match alert {
            "CertificateExpired" => {
                "it has expired, or a clock is wrong; `l2sm-controller certs` renews it"
            }
            "UnknownCA" | "DecryptError" | "BadCertificate" => {
                "it is not signed by the controller's --client-ca; use one that is"
            }
            "UnsupportedCertificate" => "it is not a client's; use the node's or an admin's",
            "CertificateRequired" => "it wants one; give it with --tls-cert and --tls-key",
            alert => return format!("the controller ends the handshake: TLS alert {alert}"),
        };
        format!("the controller refuses --tls-cert {cert}: {why}")
    }

    /// What we hold against the controller's certificate.
    fn explain_fault(&self, fault: &str) -> String {
        let has = |part: &str| fault.contains(part);
        if has("UnknownIssuer") || has("BadSignature") {
            let ca = self.ca.display();
            return format!("the controller's certificate is not signed by --tls-ca {ca}");
        }
        if has("xpired") {
            return "the controller's certificate has expired, or a clock is wrong; \
                    `l2sm-controller certs --server NAME` renews it"
                .to_owned();
        }
        if has("not valid for name") {
            return format!(
                "the controller's {fault}; `l2sm-controller certs --server NAME` makes one that is"
            );
        }
        format!("the controller's certificate is not accepted: {fault}")
    }
}

/// What an error and those below it say, a line each.
fn causes(why: &(dyn StdError + 'static)) -> String {
    let mut said = String::new();
    let mut cause = Some(why);
    while let Some(this) = cause {
        said = format!("{said}\n{this}");
        cause = this.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(said: &str) -> Option<String> {
        let files = ClientFiles {
            ca: "/c/ca.crt".into(),
            cert: "/c/n1.crt".into(),
            key: "/c/n1.key".into(),
        };
        files.explain_text(said)
    }

    #[test]
    fn each_failure_names_the_file_and_the_cure() {
        for (said, words) in [
            ("received fatal alert: CertificateExpired", ["/c/n1.crt", "expired"]),
            ("a\nKind, \"received fatal alert: UnknownCA\" }))\nb", ["/c/n1.crt", "--client-ca"]),
            ("invalid peer certificate: UnknownIssuer", ["/c/ca.crt", "not signed"]),
            ("invalid peer certificate: certificate expired: x", ["expired", "certs"]),
            ("keys may not be consistent: KeyMismatch", ["/c/n1.key", "/c/n1.crt"]),
            ("received corrupt message of type InvalidContentType", ["TLS", "--insecure"]),
        ] {
            let text = explained(said).unwrap();
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
        assert_eq!(explained("Connection refused (os error 111)"), None);
    }
}
