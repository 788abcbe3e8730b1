//! Certificates for use without Kubernetes: an authority in a directory, and what it signs.
//!
//! Keys are ECDSA P-256, mode 0600, and never replaced: what is asked for again gets a new
//! certificate for the key that is there. An authority that is there is used again.

mod authority;
mod directory;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
};

use l2sm_api::grpc::tls::{Identity, Role};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, SanType};
use thiserror::Error;
use time::OffsetDateTime;

use self::{authority::Authority, directory::Directory};

/// Names by which a server is always reached from its own machine.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertsOrder {
    /// Where the files are.
    pub directory: PathBuf,
    /// Nodes that get a certificate each.
    pub nodes: BTreeSet<String>,
    /// Admins that get a certificate each; none: `admin`, where that has none.
    pub admins: BTreeSet<String>,
    /// Host names and addresses by which the server is reached, besides those of its own machine;
    /// none: its certificate is made only where there is none.
    pub servers: BTreeSet<String>,
    /// How long the certificates are good, days.
    pub days: u32,
}

/// What was done with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// What it is, in words.
    pub what: String,
    /// It is as it was before.
    pub kept: bool,
}

/// Why there are no certificates, or not all.
#[derive(Debug, Error)]
pub enum CertsError {
    /// A file cannot be read or written.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// Something else is in a file.
    #[error("{}: is no {what}: {why}; move it away to have a new one made", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Why it is not.
        why: String,
    },
    /// One half of the authority is missing.
    #[error(
        "{}: is missing, though {} is there: put it back, or move both away and give every program \
         its new files", missing.display(), there.display()
    )]
    Half {
        /// What is not there.
        missing: PathBuf,
        /// What is.
        there: PathBuf,
    },
    /// The authority's own certificate has expired.
    #[error(
        "{}: has expired: move it and its key away to have new ones made, and give every program \
         its new files", .0.display()
    )]
    Expired(PathBuf),
    /// A name that cannot stand in a certificate.
    #[error("{0:?} is neither a host name nor an address")]
    NotAHost(String),
    /// It cannot be signed.
    #[error("cannot make the certificate of {what}: {why}")]
    Signing {
        /// Whose.
        what: String,
        /// Why.
        why: rcgen::Error,
    },
}

/// Makes what is asked for, as of `now`; the result is every file it stands in, in order.
///
/// # Errors
/// See [`CertsError`]. What was written before stays: doing it again goes on from there.
pub fn make(order: &CertsOrder, now: OffsetDateTime) -> Result<Vec<Written>, CertsError> {
    let directory = Directory::open(&order.directory)?;
    let mut written = Vec::new();
    let authority = Authority::open(&directory, now, order.days, &mut written)?;
    if !order.servers.is_empty() || !directory.has("server.crt") {
        let params = server_params(&order.servers)?;
        let what = "the server";
        authority.issue(&directory, "server", what, params, &mut written)?;
    }
    for node in &order.nodes {
        let identity = Identity { role: Role::Node, name: node.clone() };
        issue_client(&authority, &directory, &identity, &mut written)?;
    }
    let mut admins = order.admins.clone();
    if admins.is_empty() && !directory.has("admin.crt") {
        admins.insert("admin".to_owned());
    }
    for admin in &admins {
        let identity = Identity { role: Role::Admin, name: admin.clone() };
        issue_client(&authority, &directory, &identity, &mut written)?;
    }
    Ok(written)
}

/// The path of a certificate without its ending: `DIR/node-n1`, `DIR/admin`.
pub fn stem(directory: &Path, identity: &Identity) -> PathBuf {
    directory.join(stem_name(identity))
}

fn stem_name(identity: &Identity) -> String {
    let word = identity.role.word();
    if identity.name == word { word.to_owned() } else { format!("{word}-{}", identity.name) }
}

fn issue_client(
    authority: &Authority,
    directory: &Directory,
    identity: &Identity,
    written: &mut Vec<Written>,
) -> Result<(), CertsError> {
    let what = format!("{} {}", identity.role.word(), identity.name);
    let fail = |why| CertsError::Signing { what: what.clone(), why };
    let mut params = named(&what);
    let uri = identity.to_string().try_into().map_err(fail)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    authority.issue(directory, &stem_name(identity), &what, params, written)
}

fn server_params(servers: &BTreeSet<String>) -> Result<CertificateParams, CertsError> {
    let mut params = named("controller");
    let names: BTreeSet<&str> = servers.iter().map(String::as_str).chain(LOOPBACK).collect();
    for name in names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_no_address) => SanType::DnsName(host_name(name)?),
        });
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn host_name(name: &str) -> Result<rcgen::string::Ia5String, CertsError> {
    let not_a_host = || CertsError::NotAHost(name.to_owned());
    if rustls_pki_types::DnsName::try_from(name).is_err() {
        return Err(not_a_host());
    }
    name.try_into().map_err(|_not_ascii| not_a_host())
}

/// Parameters with a common name that people recognise.
fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "l2sm");
    // RFC 5280 appendix A.1: ub-common-name is 64.
    let short: String = name.chars().take(64).collect();
    subject.push(DnType::CommonName, short);
    params.distinguished_name = subject;
    params
}

#[cfg(test)]
#[path = "certs_tests.rs"]
mod tests;
