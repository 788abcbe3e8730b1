//! Certificates: an authority in a Secret, this server's own certificate, and those of nodes.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context as _, bail};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use l2sm_api::grpc::tls::{Identity, Role};
use l2sm_controller::tls::server_config;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls_pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, pem::PemObject as _,
};
use serde_json::json;
use time::{Duration, OffsetDateTime};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tracing::info;
use uuid::Uuid;
use x509_parser::{parse_x509_certificate, pem::parse_x509_pem};

use crate::{api_store::MANAGER, ask::ask};

/// Name of the Secret with the authority, and of the `ConfigMap` with what agents may know of it.
pub const NAME: &str = "l2sm-ca";
const CERT: &str = "ca.crt";
const KEY: &str = "ca.key";
/// The authority before this one: what it signed stays good.
const PREVIOUS: &str = "previous.crt";
/// The authority after this one: told to everybody well before it signs.
const NEXT_CERT: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
/// How long an authority is good.
const AUTHORITY: Duration = Duration::days(3650);
/// An authority that ends within this has a next one.
const PREPARE: Duration = Duration::days(365);
/// An authority that ends within this signs no more: the next one does.
const ROTATE: Duration = Duration::days(180);
/// How long this server's certificate is good.
const SERVER: Duration = Duration::days(30);
/// How long a node's certificate is good.
const NODE: Duration = Duration::hours(24);
/// A clock elsewhere may be behind by this.
const SKEW: Duration = Duration::hours(1);

/// An authority that signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    key: String,
    previous: Option<String>,
    next: Option<(String, String)>,
    ends: OffsetDateTime,
}

/// A process' part in keeping the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It holds the Lease: it makes the authority, and replaces it before it ends.
    Holder,
    /// It starts: it makes the authority where there is none, for nobody could take the Lease without.
    Starter,
    /// It takes what is there.
    Follower,
}

/// What to do about the Secret.
enum Step {
    /// It is as it must be.
    Keep(Box<Authority>),
    /// There is none.
    Create(Secret),
    /// It must be another one, of the same version.
    Replace(Secret),
}

impl Authority {
    /// The authority in the Secret. Whether it is made where there is none, and replaced before it ends,
    /// is the caller's part.
    ///
    /// # Errors
    /// The Secret cannot be read or written, is not there, or holds something else.
    pub async fn open(
        client: &Client,
        namespace: &str,
        now: OffsetDateTime,
        part: Part,
    ) -> anyhow::Result<Self> {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let parameters =
            PostParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
        // Another operator may make or replace it at the same time: then that one's is taken.
        for _ in 0..5 {
            let found =
                ask(secrets.get_opt(NAME)).await.context("cannot read the Secret l2sm-ca")?;
            let written = match decide(found.as_ref(), namespace, now, part)? {
                Step::Keep(authority) => return Ok(*authority),
                Step::Create(new) => {
                    info!("making an authority");
                    ask(secrets.create(&parameters, &new)).await
                }
                Step::Replace(new) => {
                    info!("the authority ends: the next one is prepared");
                    ask(secrets.replace(NAME, &parameters, &new)).await
                }
            };
            match written {
                Ok(secret) => return Self::read(&secret),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(why) => return Err(why).context("cannot write the Secret l2sm-ca"),
            }
        }
        bail!("cannot write the Secret l2sm-ca: others write it all the time")
    }

    fn read(secret: &Secret) -> anyhow::Result<Self> {
        let data = secret.data.clone().unwrap_or_default();
        let text = |name: &str| -> anyhow::Result<Option<String>> {
            let bytes = data.get(name).map(|bytes| bytes.0.clone());
            bytes
                .map(String::from_utf8)
                .transpose()
                .with_context(|| format!("Secret l2sm-ca: {name} is no text"))
        };
        let need = |name: &str| {
            text(name)?.with_context(|| {
                format!("Secret l2sm-ca has no {name}: delete it to have one made")
            })
        };
        let certificate = need(CERT)?;
        let key = need(KEY)?;
        let pair = KeyPair::from_pem(&key).context("Secret l2sm-ca: ca.key is no private key")?;
        let ends = end_of(&certificate).context("Secret l2sm-ca: ca.crt is no certificate")?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, pair)
            .context("Secret l2sm-ca: ca.crt is no authority's certificate")?;
        let next = text(NEXT_CERT)?.zip(text(NEXT_KEY)?);
        Ok(Self { issuer, key, certificate, previous: text(PREVIOUS)?, next, ends })
    }

    /// The Secret as it must be from now on, where that is another one: first a next authority is
    /// told, much later it signs.
    fn rotated(&self, namespace: &str, now: OffsetDateTime) -> anyhow::Result<Option<Secret>> {
        let left = self.ends - now;
        let own = (self.certificate.clone(), self.key.clone());
        Ok(match &self.next {
            _ if left > PREPARE => None,
            None => Some(secret(namespace, &own, self.previous.as_deref(), Some(&make(now)?))),
            Some(next) if left <= ROTATE => {
                Some(secret(namespace, next, Some(&self.certificate), None))
            }
            Some(_) => None,
        })
    }

    /// What others must trust, PEM: this authority, the next one and the one before.
    pub fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|(certificate, _)| certificate.as_str());
        let all = [Some(self.certificate.as_str()), next, self.previous.as_deref()];
        let all = all.into_iter().flatten().map(|pem| format!("{}\n", pem.trim_end()));
        all.collect()
    }

    /// Publishes what agents must trust, for their first contact.
    ///
    /// # Errors
    /// The `ConfigMap` cannot be written.
    pub async fn publish(&self, client: &Client, namespace: &str) -> anyhow::Result<()> {
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let bundle = self.bundle();
        let held = ask(maps.get_opt(NAME)).await.context("cannot read the ConfigMap l2sm-ca")?;
        let held = held.and_then(|held| held.data).unwrap_or_default();
        if held.get(CERT) == Some(&bundle) {
            return Ok(());
        }
        let patch = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": NAME}, "data": {CERT: bundle},
        });
        let parameters = PatchParams::apply(MANAGER).force();
        ask(maps.patch(NAME, &parameters, &Patch::Apply(&patch)))
            .await
            .context("cannot write the ConfigMap l2sm-ca")?;
        Ok(())
    }

    /// The TLS of this server, as of `now`: good under the names of the operator's Service, and at
    /// `address`.
    ///
    /// # Errors
    /// Something cannot be signed.
    pub fn server(
        &self,
        namespace: &str,
        address: Option<IpAddr>,
        now: OffsetDateTime,
    ) -> anyhow::Result<ServerConfig> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let service = MANAGER;
        let mut names = vec![
            service.to_owned(),
            format!("{service}.{namespace}"),
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
        ];
        names.extend(address.map(|address| address.to_string()));
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = named("operator");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.limit(&mut params, now, SERVER);
        let certificate = params.signed_by(&pair, &self.issuer)?;
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(self.bundle().as_bytes()) {
            roots.add(root.context("an authority's certificate is damaged")?)?;
        }
        let key = PrivateKeyDer::from_pem_slice(pair.serialize_pem().as_bytes())
            .context("the server's key is damaged")?;
        Ok(server_config(roots, vec![certificate.der().clone()], key, true)?)
    }

    /// A certificate for a node's key, PEM. Of the request only the key counts.
    ///
    /// # Errors
    /// It is no request, or the key did not sign it.
    pub fn sign_node(&self, csr: &[u8], node: &str, now: OffsetDateTime) -> anyhow::Result<String> {
        let der = CertificateSigningRequestDer::from(csr.to_vec());
        let mut request = CertificateSigningRequestParams::from_der(&der)
            .context("csr: it is no certificate signing request")?;
        let identity = Identity { role: Role::Node, name: node.to_owned() };
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("node {node}"));
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.limit(&mut params, now, NODE);
        request.params = params;
        Ok(request.signed_by(&self.issuer)?.pem())
    }

    fn limit(&self, params: &mut CertificateParams, now: OffsetDateTime, good: Duration) {
        params.serial_number = Some(serial());
        params.not_before = now - SKEW;
        // A certificate that outlives its authority is good for nothing.
        params.not_after = (now + good).min(self.ends);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
    }
}

fn decide(
    found: Option<&Secret>,
    namespace: &str,
    now: OffsetDateTime,
    part: Part,
) -> anyhow::Result<Step> {
    let Some(found) = found else {
        if part == Part::Follower {
            bail!("there is no Secret l2sm-ca: the holder of the lease makes one");
        }
        return Ok(Step::Create(secret(namespace, &make(now)?, None, None)));
    };
    let authority = Authority::read(found)?;
    let new = if part == Part::Holder { authority.rotated(namespace, now)? } else { None };
    Ok(match new {
        Some(mut new) => {
            new.metadata.resource_version.clone_from(&found.metadata.resource_version);
            Step::Replace(new)
        }
        None => Step::Keep(Box::new(authority)),
    })
}

/// Certificate and key of a new authority, PEM.
fn make(now: OffsetDateTime) -> anyhow::Result<(String, String)> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let id = Uuid::new_v4().simple().to_string();
    let mut params = CertificateParams::default();
    // A name of its own: two authorities of one name cannot be told apart.
    params.distinguished_name =
        named(&format!("l2sm authority {}", id.get(..8).unwrap_or_default()));
    params.serial_number = Some(serial());
    params.not_before = now - SKEW;
    params.not_after = now + AUTHORITY;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&pair)?;
    Ok((certificate.pem(), pair.serialize_pem()))
}

fn secret(
    namespace: &str,
    (certificate, key): &(String, String),
    previous: Option<&str>,
    next: Option<&(String, String)>,
) -> Secret {
    let mut data = BTreeMap::from([
        (CERT.to_owned(), ByteString(certificate.clone().into_bytes())),
        (KEY.to_owned(), ByteString(key.clone().into_bytes())),
    ]);
    if let Some(previous) = previous {
        data.insert(PREVIOUS.to_owned(), ByteString(previous.as_bytes().to_vec()));
    }
    if let Some((certificate, key)) = next {
        data.insert(NEXT_CERT.to_owned(), ByteString(certificate.as_bytes().to_vec()));
        data.insert(NEXT_KEY.to_owned(), ByteString(key.as_bytes().to_vec()));
    }
    Secret {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "l2sm");
    // RFC 5280 appendix A.1: ub-common-name is 64.
    subject.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    subject
}

/// 128 random bits, positive (RFC 5280 section 4.1.2.2).
fn serial() -> SerialNumber {
    let mut bytes = *Uuid::new_v4().as_bytes();
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    SerialNumber::from_slice(&bytes)
}

fn end_of(certificate: &str) -> anyhow::Result<OffsetDateTime> {
    let (_, pem) = parse_x509_pem(certificate.as_bytes())?;
    let (_, parsed) = parse_x509_certificate(&pem.contents)?;
    Ok(parsed.validity().not_after.to_datetime())
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
