//! The server's files: certificate, key, and the authorities that clients' certificates come from.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use l2sm_api::grpc::tls::{PemFault, read_certificates, read_key};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::rustls::{
    self, RootCertStore, ServerConfig,
    crypto::ring,
    server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier},
    version::TLS13,
};
use tracing::{info, warn};

/// Protocol of gRPC, as TLS negotiates it.
const HTTP2: &[u8] = b"h2";

/// The server's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// Its certificate, followed by those between it and the authority, if any.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Certificates of the authorities that may have signed clients' certificates.
    pub client_ca: PathBuf,
}

/// Why the files are of no use.
#[derive(Debug, Error)]
pub enum ServerTlsError {
    /// `--tls-cert`.
    #[error("--tls-cert {0}")]
    Cert(PemFault),
    /// `--tls-key`.
    #[error("--tls-key {0}")]
    Key(PemFault),
    /// `--client-ca`.
    #[error("--client-ca {0}")]
    ClientCa(PemFault),
    /// Certificate and key do not fit, or one is of a kind that TLS 1.3 has no use for.
    #[error("--tls-cert {} with --tls-key {}: {why}", cert.display(), key.display())]
    Pair {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        why: rustls::Error,
    },
    /// A certificate that cannot be an authority's.
    #[error("--client-ca {}: {why}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        why: rustls::Error,
    },
    /// No authority can be used.
    #[error("--client-ca {}: {why}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        why: VerifierBuilderError,
    },
}

/// What is known of the three files without reading them: length and time of change.
type Stamp = [Option<(u64, SystemTime)>; 3];

/// The TLS of a server, as its files say.
#[derive(Debug)]
pub struct ServerTls {
    /// Where it is read from again; `None`: whoever made it replaces it.
    files: Option<ServerFiles>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    config: Arc<ServerConfig>,
    /// Of the files when they were last read, also when they were of no use.
    stamp: Stamp,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// See [`ServerTlsError`].
    pub fn open(files: ServerFiles) -> Result<Self, ServerTlsError> {
        let stamp = files.stamp();
        let config = Arc::new(files.load()?);
        Ok(Self { files: Some(files), held: Mutex::new(Held { config, stamp }) })
    }

    /// One without files.
    pub fn fixed(config: ServerConfig) -> Self {
        let held = Held { config: Arc::new(config), stamp: Stamp::default() };
        Self { files: None, held: Mutex::new(held) }
    }

    /// What the next handshakes go by.
    pub fn replace(&self, config: ServerConfig) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.config = Arc::new(config);
    }

    /// What the next handshake goes by: the files as they are now. Where they are of no use, as they
    /// were before, and the log says so once. Blocks on the file system.
    pub fn current(&self) -> Arc<ServerConfig> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(files) = &self.files else { return Arc::clone(&held.config) };
        let stamp = files.stamp();
        if stamp == held.stamp {
            return Arc::clone(&held.config);
        }
        held.stamp = stamp;
        match files.load() {
            Ok(config) => {
                info!(cert = %files.cert.display(), "TLS files are read again");
                held.config = Arc::new(config);
            }
            Err(why) => warn!("{why}; going on with the TLS files as they were"),
        }
        Arc::clone(&held.config)
    }
}

impl ServerFiles {
    fn stamp(&self) -> Stamp {
        let stamp = |path: &Path| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.len(), metadata.modified().ok()?))
        };
        [stamp(&self.cert), stamp(&self.key), stamp(&self.client_ca)]
    }

    fn load(&self) -> Result<ServerConfig, ServerTlsError> {
        let Self { cert, key, client_ca } = self;
        let mut roots = RootCertStore::empty();
        for root in read_certificates(client_ca).map_err(ServerTlsError::ClientCa)? {
            let added = roots.add(root);
            added.map_err(|why| ServerTlsError::Authority { path: client_ca.clone(), why })?;
        }
        let chain = read_certificates(cert).map_err(ServerTlsError::Cert)?;
        let secret = read_key(key).map_err(ServerTlsError::Key)?;
        server_config(roots, chain, secret, false).map_err(|why| match why {
            ConfigError::Authorities(why) => {
                ServerTlsError::Authorities { path: client_ca.clone(), why }
            }
            ConfigError::Pair(why) => {
                ServerTlsError::Pair { cert: cert.clone(), key: key.clone(), why }
            }
        })
    }
}

/// Why certificates are of no use for a server.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No authority can be used.
    #[error("no authority can be used: {0}")]
    Authorities(#[from] VerifierBuilderError),
    /// Certificate and key do not fit, or one is of a kind that TLS 1.3 has no use for.
    #[error("certificate and key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// The TLS of a server with a certificate and its key, for clients whose certificates `roots` signed;
/// with `anonymous` also for those that show none.
///
/// # Errors
/// See [`ConfigError`].
pub fn server_config(
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    anonymous: bool,
) -> Result<ServerConfig, ConfigError> {
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = if anonymous { verifier.allow_unauthenticated() } else { verifier };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier.build()?)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    // A resumed session would not show its certificate again: an expired one would stay good.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
