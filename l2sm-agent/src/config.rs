//! Flags, environment and defaults.

mod kubernetes;

use std::{
    convert::Infallible,
    ffi::OsString,
    fs,
    net::{AddrParseError, IpAddr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use clap::{
    Args, CommandFactory as _, Parser, Subcommand, ValueEnum, builder::BoolishValueParser,
    error::ErrorKind,
};
use l2sm_api::grpc::tls::ClientFiles;
use l2sm_common::abi;
use thiserror::Error;

pub use self::kubernetes::CniDirs;
use crate::netlink::underlay::XdpMode;

/// Maps whose size may be chosen, and the most entries that each may have. `SEGMENTS` has as many as
/// there are counter slots.
pub const SIZED_MAPS: [(&str, u32); 9] = [
    ("PORTS", 1 << 20),
    ("SEGMENTS", 4_096),
    ("FDB", 1 << 24),
    ("NEIGH", 1 << 24),
    ("VTEPS", 1 << 20),
    ("SOURCES", 1 << 20),
    ("MEMBERS", 1 << 24),
    ("FLOOD", 1 << 20),
    ("DROPS", 1 << 20),
];

/// Version and git revision, as `0.1.0 (git 0123456789ab)`.
pub const fn version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), " (git ", env!("L2SM_GIT_REVISION"), ")")
}

/// The l2sm node daemon: makes the pods' interfaces and keeps the BPF maps as the controller says.
#[derive(Clone, Debug, Parser)]
#[command(name = "l2sm-agent", version = version(), args_conflicts_with_subcommands = true)]
pub struct Config {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

impl Config {
    /// Reads the command line. Options may stand on either side of the subcommand.
    ///
    /// # Errors
    /// Help and version, or what is wrong with it.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let read = Self::try_parse_from(&arguments);
        let before = |why: &clap::Error| why.kind() == ErrorKind::ArgumentConflict;
        if !read.as_ref().is_err_and(before) {
            return read;
        }
        let Some(ordered) = with_subcommand_first(arguments) else { return read };
        Self::try_parse_from(ordered)
    }

    /// What to do: `run`, where nothing else is said.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or_else(|| Command::Run(Box::new(self.run)))
    }
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Follow the controller (the default).
    Run(Box<Run>),
    /// Remove all that the agent owns from this node, and only that.
    Cleanup(Cleanup),
    /// Tell whether this node can do what the agent needs; changes nothing.
    Check(Check),
    /// Mount a bpffs on /sys/fs/bpf where none is, for an agent in a container.
    Mount(Mount),
}

/// Flags of `run`.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// Name of this node, as the controller knows it [default: `$NODE_NAME`, else the host name]
    #[arg(long, env = "L2SM_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// Controller to follow, https://HOST:PORT; repeatable, tried in order
    #[arg(long, env = "L2SM_CONTROLLER", value_name = "URL", value_delimiter = ',',
        value_parser = with_brackets)]
    pub controller: Vec<String>,
    /// How controllers are told from impostors, and this node from others.
    #[command(flatten)]
    pub tls: Tls,
    /// Allow http:// controllers: no encryption, no authentication
    #[arg(long, env = "L2SM_INSECURE", value_parser = BoolishValueParser::new())]
    pub insecure: bool,
    /// Accept once a controller with another store than the one followed before
    #[arg(long, env = "L2SM_ADOPT_CONTROLLER", value_parser = BoolishValueParser::new())]
    pub adopt_controller: bool,
    /// Device that tunnels leave by; repeatable [default: that of the route to the controller]
    #[arg(long, env = "L2SM_UNDERLAY_DEVICE", value_name = "DEVICE", value_delimiter = ',')]
    pub underlay_device: Vec<String>,
    /// Own tunnel address, IPv4 or IPv6; repeatable [default: of the underlay device]
    #[arg(long, env = "L2SM_VTEP_IP", value_name = "ADDRESS", value_delimiter = ',')]
    pub vtep_ip: Vec<IpAddr>,
    /// UDP port of tunnels
    #[arg(long, env = "L2SM_VXLAN_PORT", value_name = "PORT", default_value_t = abi::UDP_PORT,
        value_parser = clap::value_parser!(u16).range(1..))]
    pub vxlan_port: u16,
    /// skb mark bit of the slow path
    #[arg(long, env = "L2SM_MARK", value_name = "BIT", default_value = "0x2000",
        value_parser = parse_mark)]
    pub mark: u32,
    /// Where tunnel packets to be dropped are dropped by XDP
    #[arg(long, env = "L2SM_XDP", value_name = "MODE", value_enum, default_value_t = XdpMode::Auto)]
    pub xdp: XdpMode,
    /// Address of /metrics, /healthz and /readyz
    #[arg(
        long,
        env = "L2SM_METRICS_ADDR",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:9477",
        value_parser = parse_address
    )]
    pub metrics_addr: SocketAddr,
    /// Entries of a map that is made now, as FDB=65536; repeatable [default: as in docs/operations.md]
    #[arg(long, env = "L2SM_MAP_CAPACITY", value_name = "MAP=N", value_delimiter = ',',
        value_parser = parse_capacity)]
    pub map_capacity: Vec<(&'static str, u32)>,
    /// Remove programs, pins and devices on a clean stop
    #[arg(long, env = "L2SM_DETACH_ON_EXIT", value_parser = BoolishValueParser::new())]
    pub detach_on_exit: bool,
    /// Where the container runtime's files are.
    #[command(flatten)]
    pub cni: CniDirs,
    /// CNI plugin to install [default: l2sm-cni beside this program]
    #[arg(long, env = "L2SM_CNI_PLUGIN", value_name = "FILE", requires = "cni_conf_dir")]
    pub cni_plugin: Option<PathBuf>,
    /// Where things are.
    #[command(flatten)]
    pub places: Places,
    /// What is logged.
    #[command(flatten)]
    pub log: Log,
}

/// Files of TLS, for https:// controllers.
#[derive(Clone, Debug, Args)]
pub struct Tls {
    /// Authorities that sign controllers' certificates, PEM; read again with each connection
    #[arg(long, env = "L2SM_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Certificate of this node, PEM; read again with each connection
    #[arg(long, env = "L2SM_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of this node's certificate, PEM; read again with each connection
    #[arg(long, env = "L2SM_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Token of this pod's service account, for the audience l2sm, in place of certificate and key:
    /// the operator signs those that the agent makes
    #[arg(long, env = "L2SM_TLS_BOOTSTRAP_TOKEN", value_name = "FILE",
        conflicts_with_all = ["tls_cert", "tls_key"])]
    pub tls_bootstrap_token: Option<PathBuf>,
    /// The controllers' name in their certificates [default: the URL's host]
    #[arg(long, env = "L2SM_TLS_SERVER_NAME", value_name = "NAME")]
    pub tls_server_name: Option<String>,
}

impl Tls {
    /// The files; those that the operator signs are in `state_dir`.
    ///
    /// # Errors
    /// One was not given: its flag.
    pub fn files(&self, state_dir: &Path) -> Result<ClientFiles, &'static str> {
        let ca = self.tls_ca.clone().ok_or("--tls-ca")?;
        if self.tls_bootstrap_token.is_some() {
            let both = certificate_path(state_dir);
            return Ok(ClientFiles { ca, cert: both.clone(), key: both });
        }
        Ok(ClientFiles {
            ca,
            cert: self.tls_cert.clone().ok_or("--tls-cert")?,
            key: self.tls_key.clone().ok_or("--tls-key")?,
        })
    }
}

/// Flags of `check`.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// Format of what is found
    #[arg(short, long, value_enum, default_value_t = CheckOutput::Table)]
    pub output: CheckOutput,
    /// Device that tunnels leave by; repeatable [default: of the default route]
    #[arg(long, env = "L2SM_UNDERLAY_DEVICE", value_name = "DEVICE", value_delimiter = ',')]
    pub underlay_device: Vec<String>,
    /// Own tunnel address; repeatable [default: of the underlay device]
    #[arg(long, env = "L2SM_VTEP_IP", value_name = "ADDRESS", value_delimiter = ',')]
    pub vtep_ip: Vec<IpAddr>,
    /// UDP port of tunnels
    #[arg(long, env = "L2SM_VXLAN_PORT", value_name = "PORT", default_value_t = abi::UDP_PORT,
        value_parser = clap::value_parser!(u16).range(1..))]
    pub vxlan_port: u16,
    /// Where tunnel packets to be dropped are dropped by XDP
    #[arg(long, env = "L2SM_XDP", value_name = "MODE", value_enum, default_value_t = XdpMode::Auto)]
    pub xdp: XdpMode,
    /// Where things are.
    #[command(flatten)]
    pub places: Places,
    /// What is logged.
    #[command(flatten)]
    pub log: Log,
}

/// Format of what `check` finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckOutput {
    /// A line each.
    Table,
    /// A list of objects with `name`, `verdict` and `what`.
    Json,
}

/// Flags of `mount`.
#[derive(Clone, Debug, Args)]
pub struct Mount {
    /// What is logged.
    #[command(flatten)]
    pub log: Log,
}

/// Flags of `cleanup`.
#[derive(Clone, Debug, Args)]
pub struct Cleanup {
    /// Where the container runtime's files are.
    #[command(flatten)]
    pub cni: CniDirs,
    /// Where things are.
    #[command(flatten)]
    pub places: Places,
    /// What is logged.
    #[command(flatten)]
    pub log: Log,
}

/// Where things are.
#[derive(Clone, Debug, Args)]
pub struct Places {
    /// Directory of pinned maps and links
    #[arg(long, env = "L2SM_BPFFS", value_name = "DIR", default_value = "/sys/fs/bpf/l2sm")]
    pub bpffs: PathBuf,
    /// Socket for the CNI plugin and l2smctl
    #[arg(long, env = "L2SM_SOCKET", value_name = "PATH", default_value = "/run/l2sm/agent.sock")]
    pub socket: PathBuf,
    /// Directory of what survives a restart [default: the socket's]
    #[arg(long, env = "L2SM_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

impl Places {
    /// Directory of what survives a restart.
    pub fn state_dir(&self) -> &Path {
        let of_socket = self.socket.parent().filter(|parent| !parent.as_os_str().is_empty());
        self.state_dir.as_deref().or(of_socket).unwrap_or(Path::new("."))
    }
}

/// What is logged.
#[derive(Clone, Debug, Args)]
pub struct Log {
    /// error, warn, info, debug, trace, or a filter, as `info,l2sm::drops=debug`
    #[arg(long, env = "L2SM_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
    /// Format of log lines
    #[arg(long, env = "L2SM_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Flags that contradict themselves or cannot be followed; exit code 2.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum UsageError {
    /// No `--controller`.
    #[error("no controller: name one with --controller https://HOST:PORT")]
    NoController,
    /// TLS needs files.
    #[error(
        "--controller {url}: {missing} is missing; https:// needs --tls-ca, --tls-cert and \
         --tls-key (`l2sm-controller certs` makes the files), or --tls-ca and --tls-bootstrap-token"
    )]
    NoTls {
        /// The controller.
        url: String,
        /// The first flag that is missing.
        missing: &'static str,
    },
    /// Plain HTTP needs consent.
    #[error(
        "--controller {0}: http:// is neither encrypted nor authenticated; allow it with --insecure"
    )]
    Insecure(String),
    /// Neither scheme.
    #[error("--controller {0}: expected https://HOST:PORT, or http://HOST:PORT with --insecure")]
    NotAUrl(String),
    /// The host name cannot be read.
    #[error("no node name: name it with --node-name")]
    NoNodeName,
    /// No name that an object could have.
    #[error("--node-name {name:?}: {why}")]
    NodeName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Run {
    /// Checks what clap cannot.
    ///
    /// # Errors
    /// See [`UsageError`].
    pub fn check(&self) -> Result<(), UsageError> {
        if self.controller.is_empty() {
            return Err(UsageError::NoController);
        }
        self.controller.iter().try_for_each(|url| self.check_controller(url))
    }

    /// Name of this node.
    ///
    /// # Errors
    /// None was given, and the host has none.
    pub fn node(&self) -> Result<String, UsageError> {
        let of_host = || fs::read_to_string("/proc/sys/kernel/hostname").ok();
        self.node_name
            .clone()
            .or_else(|| std::env::var("NODE_NAME").ok())
            .or_else(of_host)
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .ok_or(UsageError::NoNodeName)
            .and_then(|name| match l2sm_api::objects::field::name_fault(&name) {
                None => Ok(name),
                Some(why) => Err(UsageError::NodeName { name, why }),
            })
    }

    fn check_controller(&self, url: &str) -> Result<(), UsageError> {
        if host_and_port(url).is_none() {
            return Err(UsageError::NotAUrl(url.to_owned()));
        }
        if is_secure(url) {
            let missing = |missing| UsageError::NoTls { url: url.to_owned(), missing };
            return self.tls.files(self.places.state_dir()).map(drop).map_err(missing);
        }
        if self.insecure { Ok(()) } else { Err(UsageError::Insecure(url.to_owned())) }
    }
}

/// Where certificate and key are that the operator signs, in the directory of what survives a restart.
pub fn certificate_path(state_dir: &Path) -> PathBuf {
    state_dir.join("node.pem")
}

/// Whether a URL stands for TLS.
pub fn is_secure(url: &str) -> bool {
    url.starts_with("https://")
}

/// `HOST:PORT` of an `https://` or `http://` URL; an IPv6 host keeps its brackets.
pub fn host_and_port(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let rest = rest.trim_end_matches('/');
    let (host, port) = rest.rsplit_once(':')?;
    let fits = !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok();
    fits.then_some(rest)
}

/// A URL whose IPv6 host has its brackets: Kubernetes' variables (`..._SERVICE_HOST`) have none.
#[expect(clippy::unnecessary_wraps, reason = "as clap calls it")]
fn with_brackets(url: &str) -> Result<String, Infallible> {
    let bare = url.split_once("://").and_then(|(scheme, rest)| {
        let (host, port) = rest.rsplit_once(':')?;
        host.parse::<Ipv6Addr>().is_ok().then(|| format!("{scheme}://[{host}]:{port}"))
    });
    Ok(bare.unwrap_or_else(|| url.to_owned()))
}

/// The same for an address.
fn parse_address(text: &str) -> Result<SocketAddr, AddrParseError> {
    text.parse().or_else(|why| {
        let bare = text.rsplit_once(':').and_then(|(host, port)| {
            Some(SocketAddr::new(host.parse::<Ipv6Addr>().ok()?.into(), port.parse().ok()?))
        });
        bare.ok_or(why)
    })
}

/// The arguments with the subcommand before its options; `None`: there is no subcommand in them.
fn with_subcommand_first(mut arguments: Vec<OsString>) -> Option<Vec<OsString>> {
    let command = Config::command();
    let names = |argument: &OsString| {
        command.get_subcommands().any(|subcommand| *argument == *subcommand.get_name())
    };
    // The program's own name comes first.
    let place = 1 + arguments.iter().skip(1).position(names)?;
    arguments.get_mut(1..=place)?.rotate_right(1);
    Some(arguments)
}

/// A map whose size may be chosen, and its entries.
fn parse_capacity(text: &str) -> Result<(&'static str, u32), String> {
    let (name, entries) = text.split_once('=').ok_or("expected MAP=ENTRIES, as in FDB=65536")?;
    let Some((map, most)) = SIZED_MAPS.into_iter().find(|(map, _most)| *map == name) else {
        let names = SIZED_MAPS.map(|(map, _most)| map).join(", ");
        return Err(format!("{name} is none of {names}"));
    };
    let entries = entries.parse().ok().filter(|entries| (1..=most).contains(entries));
    Ok((map, entries.ok_or_else(|| format!("{map} takes 1 to {most} entries"))?))
}

fn parse_mark(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    match parsed {
        Ok(mark) if mark.is_power_of_two() => Ok(mark),
        Ok(_) | Err(_) => Err("expected one bit, as in 0x2000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Run {
        let args = ["l2sm-agent"].iter().chain(args);
        match Config::try_parse_from(args).unwrap().into_command() {
            Command::Run(run) => *run,
            Command::Cleanup(_) | Command::Check(_) | Command::Mount(_) => panic!("expected run"),
        }
    }

    #[test]
    fn run_is_what_happens_without_a_subcommand() {
        let plain = run(&["--controller", "http://[::1]:30808", "--insecure"]);
        assert_eq!(plain.check(), Ok(()));
        assert_eq!(plain.vxlan_port, 7000);
        assert_eq!((plain.mark, plain.xdp), (0x2000, XdpMode::Auto));
        let named = run(&["run", "--controller", "http://10.0.0.1:1", "--vxlan-port", "4789"]);
        assert_eq!(named.vxlan_port, 4789);
    }

    #[test]
    fn options_stand_on_either_side_of_the_subcommand() {
        let read = |line: &str| {
            Config::read(line.split_whitespace().map(OsString::from)).map(Config::into_command)
        };
        let lines = ["l2sm-agent --bpffs /x cleanup", "l2sm-agent cleanup --bpffs /x"];
        for line in lines {
            let Ok(Command::Cleanup(cleanup)) = read(line) else {
                panic!("{line}: {:?}", read(line))
            };
            assert_eq!(cleanup.places.bpffs, Path::new("/x"));
        }
        let Ok(Command::Run(both)) = read("l2sm-agent --mark 4 run --vxlan-port 9 --xdp native")
        else {
            panic!()
        };
        assert_eq!((both.mark, both.vxlan_port, both.xdp), (4, 9, XdpMode::Native));
        let why = read("l2sm-agent --vxlan-port 9 cleanup").unwrap_err().to_string();
        assert!(why.starts_with("error: unexpected argument '--vxlan-port' found"), "{why}");
    }

    #[test]
    fn http_needs_consent_and_https_three_files() {
        let url = "http://10.0.0.1:30808";
        let refused = run(&["--controller", url]).check();
        assert_eq!(refused, Err(UsageError::Insecure(url.to_owned())));
        let url = "https://10.0.0.1:30808";
        let mut args = vec!["--controller", url, "--tls-ca", "ca.crt", "--tls-cert", "n1.crt"];
        let refused = run(&args).check();
        let missing = "--tls-key";
        assert_eq!(refused, Err(UsageError::NoTls { url: url.to_owned(), missing }));
        args.extend(["--tls-key", "n1.key"]);
        assert_eq!(run(&args).check(), Ok(()));
        let token = ["--controller", url, "--tls-ca", "ca.crt", "--tls-bootstrap-token", "token"];
        assert_eq!(run(&token).check(), Ok(()));
        let files = run(&token).tls.files(Path::new("/run/x")).unwrap();
        assert_eq!((files.cert.as_path(), &files.key), (Path::new("/run/x/node.pem"), &files.cert));
        assert_eq!(run(&[]).check(), Err(UsageError::NoController));
    }

    #[test]
    fn a_controller_must_have_host_and_port() {
        for url in [
            "10.0.0.1:30808",
            "http://10.0.0.1",
            "https://h",
            "http://:1",
            "http://h:x",
            "ftp://h:1",
        ] {
            let refused = run(&["--controller", url, "--insecure"]).check();
            assert_eq!(refused, Err(UsageError::NotAUrl(url.to_owned())));
        }
    }

    #[test]
    fn an_ipv6_host_need_not_have_its_brackets() {
        for (given, url) in [
            ("https://fd00::5:30808", "https://[fd00::5]:30808"),
            ("https://[fd00::5]:30808", "https://[fd00::5]:30808"),
            ("https://10.96.0.5:30808", "https://10.96.0.5:30808"),
        ] {
            assert_eq!(run(&["--controller", given]).controller, [url]);
        }
        let address = run(&["--metrics-addr", "fd00::5:9477"]).metrics_addr;
        assert_eq!(address, "[fd00::5]:9477".parse().unwrap());
    }

    #[test]
    fn a_capacity_names_a_map_and_a_number_in_its_range() {
        assert_eq!(parse_capacity("FDB=8"), Ok(("FDB", 8)));
        for text in ["FDB", "FDB=0", "FDB=x", "SEGMENTS=4097", "CONFIG=2", "fdb=8"] {
            assert!(parse_capacity(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mark_is_one_bit() {
        assert_eq!(parse_mark("0x4000"), Ok(0x4000));
        assert_eq!(parse_mark("8"), Ok(8));
        for text in ["0", "0x3000", "x", "-1"] {
            assert!(parse_mark(text).is_err(), "{text}");
        }
    }

    #[test]
    fn state_lives_beside_the_socket_unless_told() {
        let beside = run(&["--socket", "/run/x/agent.sock"]);
        assert_eq!(beside.places.state_dir(), Path::new("/run/x"));
        let told = run(&["--state-dir", "/var/lib/l2sm"]);
        assert_eq!(told.places.state_dir(), Path::new("/var/lib/l2sm"));
    }
}
