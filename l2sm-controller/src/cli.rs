//! The command line of `l2sm-controller`.

mod certs;

use std::{
    ffi::OsString, io::Write as _, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand, builder::BoolishValueParser};
use l2sm_api::metrics::MetricsListener;
use l2sm_controller::{
    VERSION,
    hub::Hub,
    metrics::HubPages,
    serve::Listener,
    start::{LogFormat, answer_usage, fail, start_log},
    store::RedbStore,
    tls::{ServerFiles, ServerTls},
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// The name in its messages.
const PROGRAM: &str = "l2sm-controller";

/// Keeps the objects of l2sm and tells every node's agent what to do.
#[derive(Debug, Parser)]
#[command(name = "l2sm-controller", version = VERSION, propagate_version = true)]
struct Arguments {
    /// What is logged: error, warn, info, debug, trace, or a filter such as info,h2=warn.
    #[arg(long, global = true, default_value = "info", env = "L2SM_LOG_LEVEL")]
    log_level: String,
    /// How it is logged, on standard error.
    #[arg(long, global = true, default_value = "text", env = "L2SM_LOG_FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serves agents and l2smctl from a store file.
    Serve(Serve),
    Certs(certs::Certs),
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// The store; created when absent.
    #[arg(long, value_name = "FILE.redb", env = "L2SM_STORE")]
    store: PathBuf,
    /// Address and port for agents and l2smctl.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:30808", env = "L2SM_LISTEN")]
    listen: SocketAddr,
    /// Certificate of the server, PEM; read again when it changes.
    #[arg(long, value_name = "FILE", env = "L2SM_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// Private key of the server's certificate, PEM; read again when it changes.
    #[arg(long, value_name = "FILE", env = "L2SM_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Authorities that sign the certificates of agents and l2smctl, PEM; read again on change.
    #[arg(long, value_name = "FILE", env = "L2SM_CLIENT_CA")]
    client_ca: Option<PathBuf>,
    /// Address of /metrics, /healthz and /readyz; none: they are not served.
    #[arg(long, value_name = "IP:PORT", env = "L2SM_METRICS_ADDR")]
    metrics_addr: Option<SocketAddr>,
    /// Serves without TLS, on a loopback address.
    #[arg(long, env = "L2SM_INSECURE", value_parser = BoolishValueParser::new())]
    insecure: bool,
    /// Lets --insecure serve on any address: whoever reaches it controls every network.
    #[arg(long, env = "L2SM_INSECURE_ALLOW_REMOTE", value_parser = BoolishValueParser::new())]
    insecure_allow_remote: bool,
}

/// What is said of TLS.
enum TlsFlags {
    All(ServerFiles),
    /// One flag at least, but this one is missing.
    Some(&'static str),
    None,
}

/// Runs the program; the result is its exit code: 0 done, 1 failed, 2 bad usage.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return answer_usage(PROGRAM, &error),
    };
    let serve = match &arguments.verb {
        Verb::Serve(serve) => serve,
        Verb::Certs(certs) => return print(certs.run()),
    };
    if let Err(why) = serve.check() {
        return fail(PROGRAM, 2, &why);
    }
    if let Err(why) = start_log(&arguments.log_level, arguments.log_format) {
        return fail(PROGRAM, 2, &why);
    }
    match serve.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(PROGRAM, 1, &format!("{why:#}")),
    }
}

fn print(text: anyhow::Result<String>) -> ExitCode {
    let printed = text.and_then(|text| Ok(std::io::stdout().write_all(text.as_bytes())?));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(PROGRAM, 1, &format!("{why:#}")),
    }
}

impl Serve {
    /// Whether it may serve so.
    fn check(&self) -> Result<(), String> {
        let listen = self.listen;
        match (self.tls_files(), self.insecure) {
            (TlsFlags::All(_), false) | (TlsFlags::None, true) => {}
            (TlsFlags::All(_) | TlsFlags::Some(_), true) => {
                return Err(
                    "--insecure serves without TLS, --tls-cert, --tls-key and --client-ca \
                            with it: give the one or the others"
                        .to_owned(),
                );
            }
            (TlsFlags::Some(missing), false) => {
                return Err(format!("cannot serve with TLS: {missing} is missing"));
            }
            (TlsFlags::None, false) => {
                return Err("cannot serve: give --tls-cert, --tls-key and --client-ca \
                            (`l2sm-controller certs` makes them), or --insecure to serve without \
                            TLS on a loopback address"
                    .to_owned());
            }
        }
        if self.insecure && !listen.ip().is_loopback() && !self.insecure_allow_remote {
            return Err(format!(
                "cannot serve --insecure on {listen}: it is not a loopback address; \
                 pass --insecure-allow-remote to let everybody who reaches it in"
            ));
        }
        Ok(())
    }

    fn tls_files(&self) -> TlsFlags {
        let flags = [
            ("--tls-cert", &self.tls_cert),
            ("--tls-key", &self.tls_key),
            ("--client-ca", &self.client_ca),
        ];
        match flags.map(|(_, path)| path.clone()) {
            [Some(cert), Some(key), Some(client_ca)] => {
                TlsFlags::All(ServerFiles { cert, key, client_ca })
            }
            [None, None, None] => TlsFlags::None,
            _ => {
                let missing = flags.iter().find(|(_, path)| path.is_none());
                TlsFlags::Some(missing.map_or("", |(flag, _)| flag))
            }
        }
    }

    fn run(&self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        runtime.block_on(self.serve())
    }

    async fn serve(&self) -> anyhow::Result<()> {
        let tls = match self.tls_files() {
            TlsFlags::All(files) => Some(ServerTls::open(files)?),
            TlsFlags::None | TlsFlags::Some(_) => None,
        };
        let new_source = uuid::Uuid::new_v4().to_string();
        // Before the store is touched: a refused start changes nothing.
        let mut listener = Listener::bind(self.listen)?;
        let metrics = self.metrics_addr.map(MetricsListener::bind).transpose()?;
        let store = RedbStore::open(&self.store, &new_source)?;
        let hub = Arc::new(Hub::open(Box::new(store))?);
        let secure = tls.is_some();
        if let Some(tls) = tls {
            listener = listener.with_tls(tls);
        }
        let scraped_at = metrics.as_ref().and_then(|metrics| metrics.address().ok());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        drop(tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stopped.cancel();
        }));
        let status = hub.status();
        info!(
            version = VERSION,
            address = %listener.address,
            metrics = scraped_at.map(tracing::field::display),
            tls = secure,
            source = hub.source(),
            epoch = hub.epoch(),
            revision = status.revision,
            networks = status.networks,
            attachments = status.attachments,
            "serving"
        );
        let pages = HubPages(Arc::clone(&hub));
        let scraped = async move {
            match metrics {
                Some(metrics) => Box::pin(metrics.serve(pages)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            served = Box::pin(listener.serve(hub, stop)) => served?,
            ended = scraped => ended.context("cannot serve metrics")?,
        }
        info!("stopped");
        Ok(())
    }
}
