//! The controller, through its gRPC service `l2sm.v1.Objects`.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use l2sm_api::grpc::tls::{ClientFiles, wants_tls};
use l2sm_api::grpc::v1::objects_client::ObjectsClient;
use l2sm_api::grpc::v1::{
    Applied, ApplyRequest, DeleteRequest, ListRequest, ObjectRef, StatusReply, StatusRequest,
};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::lab::plan::{CONTROLLER_PORT, UNDERLAY, netns_path};

/// Where a controller is looked for unless it is said where.
pub(crate) const DEFAULT_SERVER: &str = "127.0.0.1:30808";
/// The word for the controller of the lab of this machine.
const LAB: &str = "lab";

/// Where a controller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// `https://host:port` or `http://host:port`.
    url: String,
    /// The scheme was not given: `https` with files for it, else `http`.
    bare: bool,
    /// The network namespace from which it is reached, if it is not ours.
    netns: Option<PathBuf>,
    /// Files for `https`.
    tls: Option<ClientFiles>,
}

impl Server {
    /// Reads what the user gave: `https://host:port`, `http://host:port`, `host:port`, or `lab`.
    /// Nothing at all, as in an empty variable, stands for the default.
    ///
    /// # Errors
    /// What was expected, when `text` is none of them.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == LAB {
            return Ok(Self::of_lab());
        }
        let text = if text.is_empty() { DEFAULT_SERVER } else { text };
        let expected = || {
            format!(
                "expected https://HOST:PORT, http://HOST:PORT, or `{LAB}` for the lab's controller"
            )
        };
        let (url, bare) = match text.split_once("://") {
            Some(("http" | "https", _)) => (text.to_owned(), false),
            Some(_) => return Err(expected()),
            None => (format!("http://{text}"), true),
        };
        let endpoint = Endpoint::from_shared(url.clone()).map_err(|_invalid| expected())?;
        match endpoint.uri().port_u16() {
            Some(_) => Ok(Self { url, bare, netns: None, tls: None }),
            None => Err(expected()),
        }
    }

    /// The controller of this machine.
    pub(crate) fn of_machine() -> Self {
        let url = format!("http://{DEFAULT_SERVER}");
        Self { url, bare: true, netns: None, tls: None }
    }

    /// The controller of the lab of this machine, which only its underlay reaches.
    pub(crate) fn of_lab() -> Self {
        let url = format!("http://127.0.0.1:{CONTROLLER_PORT}");
        Self { url, bare: false, netns: Some(netns_path(UNDERLAY)), tls: None }
    }

    /// The same with files for `https`; a server of which no scheme was given is one then.
    ///
    /// # Errors
    /// The scheme is `https`, and there is no file: what must be given.
    pub(crate) fn with_tls(mut self, tls: Result<ClientFiles, &str>) -> Result<Self, String> {
        if self.bare && tls.is_ok() {
            self.url = self.url.replacen("http://", "https://", 1);
        }
        if self.url.starts_with("https://") {
            let missing = |flag| {
                format!(
                    "--server {}: {flag} is missing; https:// needs --tls-ca, \
                --tls-cert and --tls-key (`l2sm-controller certs` makes the files)",
                    self.url
                )
            };
            self.tls = Some(tls.map_err(missing)?);
        }
        Ok(self)
    }

    /// Connects, and does `work` with the connection; each call may take `timeout`.
    ///
    /// # Errors
    /// When there is no controller; those of `work`.
    pub(crate) fn with<T: Send>(
        &self,
        timeout: Duration,
        work: impl AsyncFnOnce(&mut Client) -> Result<T> + Send,
    ) -> Result<T> {
        // A thread of its own: only that enters the other namespace.
        let result = thread::scope(|scope| {
            let ours = scope.spawn(|| {
                self.enter()?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.context("cannot start the runtime")?.block_on(async {
                    let mut client = Box::pin(self.connect(timeout)).await?;
                    work(&mut client).await
                })
            });
            ours.join()
        });
        result.unwrap_or_else(|_panicked| Err(anyhow!("talking to the controller failed")))
    }

    fn enter(&self) -> Result<()> {
        let Some(netns) = &self.netns else {
            return Ok(());
        };
        if !nix::unistd::geteuid().is_root() {
            bail!("cannot enter the lab: only root can");
        }
        let file = File::open(netns)
            .map_err(|_absent| anyhow!("no lab is up: `l2smctl lab up` builds one"))?;
        setns(file, CloneFlags::CLONE_NEWNET).context("cannot enter the lab")
    }

    #[expect(clippy::large_stack_frames, reason = "a future: its caller has it on the heap")]
    async fn connect(&self, timeout: Duration) -> Result<Client> {
        let endpoint = Endpoint::from_shared(self.url.clone()).context("not a URL")?;
        let mut endpoint = endpoint.connect_timeout(timeout).timeout(timeout);
        if let Some(files) = &self.tls {
            endpoint = endpoint
                .tls_config(files.load()?.timeout(timeout))
                .map_err(|error| self.unreachable(&error))?;
        }
        let channel = endpoint.connect().await.map_err(|error| self.unreachable(&error))?;
        // A list of every object of a large cluster is larger than the usual 4 MiB.
        let stub = ObjectsClient::new(channel).max_decoding_message_size(usize::MAX);
        Ok(Client { stub, server: self.url.clone(), tls: self.tls.clone() })
    }

    fn unreachable(&self, error: &tonic::transport::Error) -> anyhow::Error {
        if let Some(what) = self.tls.as_ref().and_then(|files| files.explain(error)) {
            return anyhow!("{}: {what}", self.url);
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let cure = match self.netns {
            Some(_) => "`l2smctl lab status` says more",
            None => {
                "start one with `l2sm-controller serve --store l2sm.redb --insecure`, or say with \
                 --server where it is"
            }
        };
        let what = format!("cannot reach a controller at {}: {cause}; {cure}", self.url);
        Unreachable(what).into()
    }
}

/// Nobody serves there.
#[derive(Clone, Debug)]
pub(crate) struct Unreachable(String);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}

/// A connection to a controller.
#[derive(Debug)]
pub(crate) struct Client {
    stub: ObjectsClient<Channel>,
    server: String,
    tls: Option<ClientFiles>,
}

impl Client {
    /// Creates or updates objects, given as JSON: all, or none.
    pub(crate) async fn apply(
        &mut self,
        objects: Vec<String>,
        dry_run: bool,
    ) -> Result<Vec<Applied>> {
        let reply = self.stub.apply(ApplyRequest { objects, dry_run }).await;
        Ok(self.answer(reply)?.applied)
    }

    /// The objects of a kind; an empty namespace or name stands for all.
    pub(crate) async fn list(
        &mut self,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Vec<Value>> {
        let (kind, namespace, name) = (kind.into(), namespace.into(), name.into());
        let reply = self.stub.list(ListRequest { kind, namespace, name }).await;
        let objects = self.answer(reply)?.objects;
        let values = objects.iter().map(|text| serde_json::from_str(text));
        values.collect::<Result<_, _>>().context("the controller sent an object that is not JSON")
    }

    /// Removes objects: all, or none.
    pub(crate) async fn delete(&mut self, request: DeleteRequest) -> Result<Vec<ObjectRef>> {
        let reply = self.stub.delete(request).await;
        Ok(self.answer(reply)?.deleted)
    }

    /// The controller's own state.
    pub(crate) async fn status(&mut self) -> Result<StatusReply> {
        let reply = self.stub.status(StatusRequest {}).await;
        self.answer(reply)
    }

    fn answer<T>(&self, reply: Result<tonic::Response<T>, Status>) -> Result<T> {
        match reply {
            Ok(reply) => Ok(reply.into_inner()),
            // A certificate that the controller refuses shows with the first answer.
            Err(status) => match self.tls.as_ref().and_then(|files| files.explain(&status)) {
                Some(what) => Err(anyhow!("{}: {what}", self.server)),
                None => Err(refusal(&self.server, &status)),
            },
        }
    }
}

/// What a status means to the user.
fn refusal(server: &str, status: &Status) -> anyhow::Error {
    let message = status.message();
    let is_broken = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal);
    if is_broken && wants_tls(server) {
        return anyhow!(
            "{server}: the server wants TLS: give --server as https://, and --tls-ca, --tls-cert \
             and --tls-key"
        );
    }
    match status.code() {
        Code::Unimplemented => {
            anyhow!("the controller at {server} cannot do that: is it an older version?")
        }
        Code::Cancelled | Code::DeadlineExceeded => {
            anyhow!("no answer from the controller at {server} in time: {message}")
        }
        Code::Unavailable | Code::Unknown | Code::Internal => {
            anyhow!("the controller at {server} failed: {message}")
        }
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::DataLoss
        | Code::Unauthenticated => anyhow!("{message}"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn servers_are_urls_with_a_port_or_the_lab() {
        let url = |text| Server::parse(text).map(|server| server.url);
        assert_eq!(url(DEFAULT_SERVER).as_deref(), Ok("http://127.0.0.1:30808"));
        assert_eq!(url("10.0.0.1:30808").as_deref(), Ok("http://10.0.0.1:30808"));
        assert_eq!(url("http://[::1]:30808").as_deref(), Ok("http://[::1]:30808"));
        assert!(Server::parse("lab").unwrap().netns.is_some());
        assert_eq!(Server::parse(""), Ok(Server::of_machine()));
        assert_eq!(url("https://host:1").as_deref(), Ok("https://host:1"));
        for text in ["host", "http://host", "ftp://host:1", "https://host", "a b:1"] {
            assert!(Server::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn https_needs_files_and_files_without_a_scheme_mean_https() {
        let files =
            || ClientFiles { ca: "ca.crt".into(), cert: "a.crt".into(), key: "a.key".into() };
        let with = |text: &str, tls| Server::parse(text).unwrap().with_tls(tls);
        let missing = with("https://h:1", Err("--tls-key")).unwrap_err();
        assert!(missing.contains("--tls-key is missing"), "{missing}");
        assert_eq!(with("https://h:1", Ok(files())).unwrap().tls, Some(files()));
        assert_eq!(with("h:1", Ok(files())).unwrap().url, "https://h:1");
        assert_eq!(with("h:1", Err("--tls-ca")).unwrap().url, "http://h:1");
        assert_eq!(with("http://h:1", Ok(files())).unwrap().tls, None, "as it was said");
        assert_eq!(with("lab", Ok(files())).unwrap(), Server::of_lab());
    }

    #[test]
    fn a_port_where_nobody_listens_is_named_with_the_cure() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let server = Server::parse(&address.to_string()).unwrap();
        let error =
            server.with(Duration::from_secs(5), async |client| client.status().await).unwrap_err();
        assert!(error.is::<Unreachable>());
        let text = format!("{error:#}");
        let begin = format!("cannot reach a controller at http://{address}: Connection refused");
        assert!(text.starts_with(&begin), "{text}");
        assert!(text.contains("l2sm-controller serve"), "{text}");
    }

    #[test]
    fn refusals_are_the_controllers_own_words() {
        let refused = refusal("http://h:1", &Status::invalid_argument("blue: spec.vni: taken"));
        assert_eq!(refused.to_string(), "blue: spec.vni: taken");
        let broken = refusal("http://h:1", &Status::internal("disk full"));
        assert_eq!(broken.to_string(), "the controller at http://h:1 failed: disk full");
    }
}
