//! The cluster's certificates and kubeconfigs, made anew for each lab.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD as STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use crate::{machine::Machine, places};

/// Where machines have certificates.
const INSTALLED: &str = "/etc/kubernetes/pki";

/// An authority and what it has signed, in a directory.
pub struct Certificates {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// Who a certificate is for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The user, as Kubernetes takes the common name.
    pub user: &'a str,
    /// The user's groups; none: empty.
    pub group: &'a str,
    /// Addresses and names of a server; none for a client.
    pub server: &'a [&'a str],
}

impl Certificates {
    /// Makes an authority in `directory`, and the key that signs tokens of service accounts.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn new(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).context("cannot make the directory of certificates")?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name = name("kubernetes", "");
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = params.self_signed(&key).context("cannot sign the authority")?;
        write(directory, "ca.crt", &certificate.pem())?;
        write(directory, "ca.key", &key.serialize_pem())?;
        let tokens = KeyPair::generate().context("cannot make a key")?;
        write(directory, "tokens.key", &tokens.serialize_pem())?;
        write(directory, "tokens.pub", &tokens.public_key_pem())?;
        Ok(Self { directory: directory.to_owned(), issuer: Issuer::new(params, key) })
    }

    /// Signs `stem.crt` for a new `stem.key`.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn sign(&self, stem: &str, subject: Subject<'_>) -> Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(subject.user, subject.group);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !subject.server.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        for name in subject.server {
            let san = match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_name) => SanType::DnsName((*name).try_into().context("not a host's name")?),
            };
            params.subject_alt_names.push(san);
        }
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("cannot sign")?;
        write(&self.directory, &format!("{stem}.crt"), &certificate.pem())?;
        write(&self.directory, &format!("{stem}.key"), &key.serialize_pem())
    }

    /// Signs a client's certificate and makes the kubeconfig that holds it.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn kubeconfig(&self, stem: &str, subject: Subject<'_>) -> Result<String> {
        self.sign(stem, subject)?;
        let data = |name: &str| {
            let text = fs::read_to_string(self.directory.join(name));
            text.map(|text| STANDARD.encode(text)).with_context(|| format!("cannot read {name}"))
        };
        let server = format!("https://{}:{}", places::CONTROL_PLANE_ADDRESS, places::API_PORT);
        let cluster = serde_json::json!({
            "server": server, "certificate-authority-data": data("ca.crt")?,
        });
        let user = serde_json::json!({
            "client-certificate-data": data(&format!("{stem}.crt"))?,
            "client-key-data": data(&format!("{stem}.key"))?,
        });
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "l2sm",
            "clusters": [{"name": "l2sm", "cluster": cluster}],
            "users": [{"name": "l2sm", "user": user}],
            "contexts": [{"name": "l2sm", "context": {"cluster": "l2sm", "user": "l2sm"}}],
        });
        // JSON is YAML.
        Ok(config.to_string())
    }

    /// Copies files of it to where a machine's services read them.
    ///
    /// # Errors
    /// When one is not there.
    pub fn give(&self, machine: &Machine, names: &[&str]) -> Result<()> {
        let directory = machine.own_file(INSTALLED);
        fs::create_dir_all(&directory).context("cannot make the directory of certificates")?;
        for name in names {
            fs::copy(self.directory.join(name), directory.join(name))
                .with_context(|| format!("cannot copy {name}"))?;
        }
        Ok(())
    }
}

/// Where a machine has a file that was given to it.
pub fn installed(name: &str) -> String {
    format!("{INSTALLED}/{name}")
}

fn name(user: &str, group: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if !group.is_empty() {
        name.push(DnType::OrganizationName, group);
    }
    name.push(DnType::CommonName, user);
    name
}

fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(directory.join(name), text).with_context(|| format!("cannot write {name}"))
}
