//! The node's certificate, from the operator: a key is made here, and signed for who shows the token
//! of the agent's own pod. Good for a day, renewed at two thirds.

mod validity;

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use l2sm_api::grpc::{
    tls::{PemFault, read_certificates},
    v1::{SignReply, SignRequest, bootstrap_client::BootstrapClient},
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use thiserror::Error;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tonic::{
    Status,
    transport::{Certificate, ClientTlsConfig},
};

use self::validity::Validity;
use crate::{
    controller::{ConnectError, Troubles, connect_with, serving, wait_for},
    files::{FileError, write_secret},
};

/// The operator answers within this, or another one is asked.
const PATIENCE: Duration = Duration::from_secs(10);
/// The clock is looked at this often: it may be set.
const LOOK: Duration = Duration::from_mins(1);
/// A certificate that was refused is not asked for again within this.
const PAUSE: Duration = Duration::from_secs(10);
/// Others that one asks in turn, each being told of the next.
const HOPS: u32 = 3;

/// What is needed for a certificate.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Operators, tried in order.
    pub urls: Vec<String>,
    /// Authorities that sign operators' certificates, PEM.
    pub ca: PathBuf,
    /// The operator's name in its certificate; `None`: the URL's host.
    pub server_name: Option<String>,
    /// The token's file.
    pub token: PathBuf,
    /// Where certificate and key go, both in one file.
    pub file: PathBuf,
}

/// What those who use the certificate are told, and tell.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Rises with each certificate; 0: there is none yet.
    pub issued: watch::Sender<u64>,
    /// The certificate was refused: another one is needed at once.
    pub refused: Arc<Notify>,
    /// Why there is none.
    pub troubles: watch::Sender<Troubles>,
}

/// Why there is no certificate.
#[derive(Debug, Error)]
enum BootstrapError {
    #[error("--tls-ca {0}")]
    Ca(#[from] PemFault),
    #[error("--tls-bootstrap-token {}: {why}", path.display())]
    Token { path: PathBuf, why: std::io::Error },
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}", .0.message())]
    Status(#[from] Status),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("make a key: {0}")]
    Key(#[from] rcgen::Error),
    #[error("the operator's answer is no certificate that is good now")]
    Useless,
    #[error(transparent)]
    File(#[from] FileError),
}

impl Bootstrap {
    /// Keeps a good certificate in its file, for as long as the agent runs.
    pub async fn run(self, exchange: Exchange) {
        let mut attempts = 0;
        let mut refused = false;
        if self.held().is_some_and(|held| !held.is_over(SystemTime::now())) {
            exchange.issued.send_modify(|issued| *issued += 1);
        }
        loop {
            let due = self.held().map_or(SystemTime::UNIX_EPOCH, Validity::renewal);
            let left = due.duration_since(SystemTime::now()).unwrap_or_default();
            if !refused && !left.is_zero() {
                tokio::select! {
                    () = sleep(left.min(LOOK)) => {}
                    () = exchange.refused.notified() => refused = true,
                }
                continue;
            }
            if self.renew(&exchange).await {
                (attempts, refused) = (0, false);
                // Who is refused all the same is refused for another reason.
                sleep(PAUSE).await;
            } else {
                attempts += 1;
                sleep(wait_for(attempts)).await;
            }
        }
    }

    /// Validity of the certificate that is there.
    fn held(&self) -> Option<Validity> {
        let chain = read_certificates(&self.file).ok()?;
        Validity::of(chain.first()?)
    }

    /// Gets a new one from the first operator that signs; whether there is one.
    async fn renew(&self, exchange: &Exchange) -> bool {
        for url in &self.urls {
            match Box::pin(self.renew_from(url)).await {
                Ok(()) => {
                    tracing::info!("{url}: a new certificate of this node");
                    exchange.issued.send_modify(|issued| *issued += 1);
                    return true;
                }
                Err(why) => {
                    let text = format!("{url}: no certificate for this node: {why}");
                    let mut news = false;
                    exchange.troubles.send_modify(|troubles| {
                        news = troubles.insert(url.clone(), text.clone()).as_ref() != Some(&text);
                    });
                    if news {
                        tracing::warn!("{text}");
                    }
                }
            }
        }
        false
    }

    async fn renew_from(&self, url: &str) -> Result<(), BootstrapError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        // The operator knows whose it is.
        let request = CertificateParams::default().serialize_request(&pair)?;
        let reply = self.sign(url, request.der().to_vec()).await?;
        let text = format!("{}{}", reply.certificate, pair.serialize_pem());
        let new = text.as_bytes();
        if Validity::of_pem(new).is_none_or(|of| of.is_over(SystemTime::now())) {
            return Err(BootstrapError::Useless);
        }
        Ok(write_secret(&self.file, new)?)
    }

    async fn sign(&self, first: &str, csr: Vec<u8>) -> Result<SignReply, BootstrapError> {
        let mut url = first.to_owned();
        let mut hops = 0;
        loop {
            let asked = timeout(PATIENCE, self.sign_once(&url, first, csr.clone())).await;
            match asked.map_err(|_elapsed| BootstrapError::Silent)? {
                Err(BootstrapError::Status(status)) => match serving(&url, &status) {
                    Some(next) if hops < HOPS => (url, hops) = (next, hops + 1),
                    _ => return Err(status.into()),
                },
                answered => return answered,
            }
        }
    }

    #[expect(clippy::large_stack_frames, reason = "a future: its caller has it on the heap")]
    async fn sign_once(
        &self,
        url: &str,
        first: &str,
        csr: Vec<u8>,
    ) -> Result<SignReply, BootstrapError> {
        read_certificates(&self.ca)?;
        let ca = fs::read(&self.ca)
            .map_err(|why| PemFault::Unreadable { path: self.ca.clone(), why })?;
        let token = fs::read_to_string(&self.token)
            .map_err(|why| BootstrapError::Token { path: self.token.clone(), why })?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        let channel = connect_with(url, Some(tls), first, self.server_name.as_deref()).await?;
        let request = SignRequest { token: token.trim().to_owned(), csr };
        let mut client = BootstrapClient::new(channel);
        Ok(client.sign(request).await?.into_inner())
    }
}
