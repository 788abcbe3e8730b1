//! The command line of `l2sm-operator`.

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, ValueEnum, builder::BoolishValueParser};
use ipnet::IpNet;
use kube::{Client, Config};
use l2sm_controller::{
    VERSION,
    start::{LogFormat, answer_usage, fail, start_log},
};
use l2sm_operator::{
    app::{self, Options},
    ask::READ,
    term::Settings,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// The name in its messages.
const PROGRAM: &str = "l2sm-operator";

/// Attaches pods to l2sm's networks, by their annotations, and tells every node's agent what to do.
#[derive(Debug, Parser)]
#[command(name = "l2sm-operator", version = VERSION)]
struct Arguments {
    /// What is logged: error, warn, info, debug, trace, or a filter such as info,h2=warn.
    #[arg(long, default_value = "info", env = "L2SM_LOG_LEVEL")]
    log_level: String,
    /// How it is logged, on standard error.
    #[arg(long, default_value = "text", env = "L2SM_LOG_FORMAT")]
    log_format: LogFormat,
    /// Its namespace: of the Lease, and of the Secret with the authority.
    #[arg(long, value_name = "NAMESPACE", default_value = "l2sm-system", env = "L2SM_NAMESPACE")]
    namespace: String,
    /// Address and port for agents.
    #[arg(long, value_name = "IP:PORT", default_value = "[::]:30808", env = "L2SM_LISTEN")]
    listen: SocketAddr,
    /// Address and port of /metrics, /healthz and /readyz; without it there are none.
    #[arg(long, value_name = "IP:PORT", env = "L2SM_METRICS_ADDR")]
    metrics_addr: Option<SocketAddr>,
    /// Whether others like it may run: only the holder of a Lease serves and writes.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        default_value_t = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        env = "L2SM_LEADER_ELECTION"
    )]
    leader_election: bool,
    /// How pods are attached: by the plugin in the nodes' CNI lists, or by Multus, for which it keeps
    /// a NAD per network.
    #[arg(long, default_value = "chained", env = "L2SM_ATTACH_MODE")]
    attach_mode: AttachMode,
    /// A range where nodes may have VTEPs, besides at their own addresses; repeatable.
    #[arg(long, value_name = "CIDR", env = "L2SM_VTEP_CIDR", value_delimiter = ',')]
    vtep_cidr: Vec<IpNet>,
    /// Looks networks up by bare name in all namespaces, as upstream does.
    #[arg(long, env = "L2SM_COMPAT_LOOKUP", value_parser = BoolishValueParser::new())]
    compat_lookup: bool,
    /// Service account of the agents; their tokens are good for certificates.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "l2sm-agent",
        env = "L2SM_AGENT_SERVICE_ACCOUNT"
    )]
    agent_service_account: String,
    /// Its pod's name.
    #[arg(long, value_name = "NAME", env = "POD_NAME", hide = true)]
    pod_name: Option<String>,
    /// Its pod's address: there agents find it while it holds the Lease.
    #[arg(long, value_name = "IP", env = "POD_IP", hide = true)]
    pod_ip: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AttachMode {
    Chained,
    Multus,
}

/// Runs the program; the result is its exit code: 0 done, 1 failed, 2 bad usage.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return answer_usage(PROGRAM, &error),
    };
    if let Err(why) = start_log(&arguments.log_level, arguments.log_format) {
        return fail(PROGRAM, 2, &why);
    }
    match arguments.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(PROGRAM, 1, &format!("{why:#}")),
    }
}

impl Arguments {
    fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        runtime.block_on(self.operate())
    }

    #[expect(clippy::large_stack_frames, reason = "the client of the cluster, once at start")]
    async fn operate(self) -> anyhow::Result<()> {
        let mut config =
            Config::infer().await.context("no cluster: neither in one, nor KUBECONFIG")?;
        // A watch of an API server that hangs ends too, and begins again.
        config.read_timeout = Some(READ);
        config.reset_reader_on_write = true;
        let client = Client::try_from(config).context("cannot use the cluster's configuration")?;
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
        Box::pin(app::run(client, self.options(), stop)).await?;
        info!("stopped");
        Ok(())
    }

    fn options(self) -> Options {
        let name = self.pod_name.unwrap_or_else(|| "l2sm-operator".to_owned());
        // Another process of the same name is another candidate.
        let unique = uuid::Uuid::new_v4().simple().to_string();
        Options {
            identity: format!("{name}_{}", unique.get(..8).unwrap_or_default()),
            agent_account: format!(
                "system:serviceaccount:{}:{}",
                self.namespace, self.agent_service_account
            ),
            namespace: self.namespace,
            listen: self.listen,
            metrics: self.metrics_addr,
            leader_election: self.leader_election,
            address: self.pod_ip,
            settings: Settings {
                source: String::new(),
                vtep_cidrs: self.vtep_cidr,
                compat_lookup: self.compat_lookup,
                keep_nads: self.attach_mode == AttachMode::Multus,
            },
        }
    }
}
