//! The whole lab: comes up, is looked at, goes.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::fcntl::{Flock, FlockArg};

use crate::{
    certificates::{Certificates, Subject},
    control_plane,
    machine::{Machine, run, tail, wait},
    node::Node,
    places::{self, CONTROL_PLANE, CONTROL_PLANE_ADDRESS},
    programs,
};

/// Nodes.
const NODES: u8 = 2;

/// The bridge of the underlay, on the control plane's machine.
const BRIDGE: &str = "underlay";

/// Programs that have to be there.
const PROGRAMS: [&str; 11] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "containerd",
    "ctr",
    "runc",
    "kubelet",
    "kube-proxy",
    "iptables",
];

/// The lab: one on this host.
#[derive(Clone, Debug)]
pub struct Lab {
    /// The machine of etcd and the API server, which is no node.
    pub control_plane: Machine,
    /// The nodes, from the first.
    pub nodes: Vec<Node>,
}

impl Lab {
    /// The lab of this host, which need not be up.
    pub fn here() -> Self {
        let control_plane = Machine::named(CONTROL_PLANE);
        Self { control_plane, nodes: (1..=NODES).map(Node::number).collect() }
    }

    /// Brings it up: nodes Ready, images imported.
    ///
    /// # Errors
    /// When one is up already, or something does not start; then nothing is left of it but logs.
    pub fn up() -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "a cluster needs root: it makes namespaces");
        let _lock = lock()?;
        if let Some(owner) = owner() {
            bail!(
                "a cluster is up already, of {owner}: use it, or end it: cargo xtask cluster down"
            );
        }
        for program in PROGRAMS {
            programs::find(program)?;
        }
        let lab = Self::here();
        let up = lab.start();
        match up {
            Ok(()) => Ok(lab),
            Err(error) => Err(match lab.clear() {
                Ok(()) => error,
                Err(also) => error.context(format!("and then {also:#}")),
            }),
        }
    }

    /// Ends it; whether there was anything to end.
    ///
    /// # Errors
    /// When something stays, with what that is.
    pub fn down() -> Result<bool> {
        ensure!(nix::unistd::geteuid().is_root(), "a cluster's end needs root");
        let _lock = lock()?;
        let there = places::state().exists();
        Self::here().clear()?;
        Ok(there)
    }

    /// Runs kubectl as the administrator.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.control_plane.command_in_netns("kubectl")?;
        command.env("KUBECONFIG", places::kubeconfig()).args(arguments).stdin(Stdio::null());
        command.output().context("cannot run kubectl")
    }

    /// Imports image archives on every node.
    ///
    /// # Errors
    /// When one is none.
    pub fn load(&self, archives: &[PathBuf]) -> Result<()> {
        each(&self.nodes, |node| {
            for archive in archives {
                let archive = archive.to_str().context("a strange name")?;
                let arguments = ["-n", "k8s.io", "images", "import", archive];
                node.machine.run("ctr", &arguments)?;
            }
            Ok(())
        })
    }

    fn start(&self) -> Result<()> {
        fs::create_dir_all(places::state()).context("cannot make the lab's directory")?;
        own()?;
        empty(&places::logs())?;
        let certificates = Certificates::new(&places::pki())?;
        self.configure(&certificates)?;
        let mut machines = vec![self.control_plane.clone()];
        machines.extend(self.nodes.iter().map(|node| node.machine.clone()));
        each(&machines, Machine::create)?;
        self.connect()?;
        self.control_plane.start(&control_plane::etcd())?;
        self.control_plane.start(&control_plane::api_server())?;
        each(&self.nodes, |node| node.machine.start(&node.containerd()))?;
        self.load_all_images()?;
        let ready = || Ok(self.kubectl(&["get", "--raw", "/readyz"])?.status.success());
        wait("the API server", ready).with_context(|| tail(CONTROL_PLANE, "kube-apiserver"))?;
        self.control_plane.start(&control_plane::controller_manager())?;
        self.control_plane.start(&control_plane::scheduler())?;
        for node in &self.nodes {
            node.machine.start(&node.kubelet())?;
            node.machine.start(&node.kube_proxy())?;
        }
        self.wait_ready()
    }

    /// Waits until pods can be made: nodes are Ready, and there is a service account for them.
    fn wait_ready(&self) -> Result<()> {
        for node in &self.nodes {
            let name = node.machine.name();
            let ready = "--output=jsonpath={.status.conditions[?(@.type=='Ready')].status}";
            let is_ready = || Ok(self.kubectl(&["get", "node", name, ready])?.stdout == b"True");
            wait(&format!("{name} to be Ready"), is_ready)
                .with_context(|| tail(name, "kubelet"))?;
        }
        let account = || Ok(self.kubectl(&["get", "serviceaccount", "default"])?.status.success());
        wait("a service account", account)
    }

    fn configure(&self, certificates: &Certificates) -> Result<()> {
        let admin = Subject { user: "admin", group: "system:masters", server: &[] };
        control_plane::write(&places::kubeconfig(), &certificates.kubeconfig("admin", admin)?)?;
        control_plane::configure(&self.control_plane, certificates)?;
        self.nodes.iter().try_for_each(|node| node.configure(certificates))
    }

    /// Joins the machines by a bridge; each knows where the others' pods are.
    fn connect(&self) -> Result<()> {
        let centre = &self.control_plane;
        ip(centre, &format!("link add {BRIDGE} type bridge"))?;
        ip(centre, &format!("link set {BRIDGE} up"))?;
        ip(centre, &format!("address add {CONTROL_PLANE_ADDRESS}/24 dev {BRIDGE}"))?;
        for node in &self.nodes {
            let (machine, name) = (&node.machine, node.machine.name());
            let theirs = centre.netns();
            ip(machine, &format!("link add eth0 type veth peer name {name} netns {theirs}"))?;
            ip(centre, &format!("link set {name} master {BRIDGE} up"))?;
            ip(machine, "link set eth0 up")?;
            ip(machine, &format!("address add {}/24 dev eth0", node.address()))?;
            // Services have addresses that nobody has: the kernel wants a route before kube-proxy's
            // rules see a packet.
            ip(machine, &format!("route add default via {CONTROL_PLANE_ADDRESS}"))?;
            machine.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
        }
        for node in &self.nodes {
            let route = format!("route add {} via {}", node.pod_cidr(), node.address());
            ip(centre, &route)?;
            let others = self.nodes.iter().filter(|other| other.address() != node.address());
            others.clone().try_for_each(|other| ip(&other.machine, &route))?;
        }
        Ok(())
    }

    /// Imports what `cargo xtask images` made, once containerd answers.
    fn load_all_images(&self) -> Result<()> {
        for node in &self.nodes {
            let answers = || Ok(node.machine.run("ctr", &["version"]).is_ok());
            let name = node.machine.name();
            wait(&format!("containerd of {name}"), answers)
                .with_context(|| tail(name, "containerd"))?;
        }
        let entries = places::images().into_iter().filter_map(|place| fs::read_dir(place).ok());
        let mut archives: Vec<_> = entries.flatten().flatten().map(|entry| entry.path()).collect();
        archives.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
        self.load(&archives)
    }

    fn clear(&self) -> Result<()> {
        let mut machines = vec![self.control_plane.clone()];
        machines.extend(self.nodes.iter().map(|node| node.machine.clone()));
        each(&machines, Machine::destroy)?;
        match fs::remove_dir_all(places::state()) {
            Err(error) if places::state().exists() => {
                Err(error).context("cannot remove the lab's directory")
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Does the same for each at once.
fn each<T: Sync>(all: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = all.iter().map(|one| scope.spawn(move || work(one))).collect();
        let results: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        let failed = |_panic| anyhow!("a thread failed");
        results.into_iter().try_for_each(|result| result.map_err(failed)?)
    })
}

fn ip(machine: &Machine, arguments: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["-n", &machine.netns()]).args(arguments.split(' '));
    run(&mut command).map(drop)
}

/// Keeps others from changing the lab at the same time.
fn lock() -> Result<Flock<File>> {
    let path = places::state().with_extension("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let busy = |(_file, error)| anyhow!("somebody is bringing a cluster up or down: {error}");
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(busy)
}

/// Says in the lab's directory whose it is.
fn own() -> Result<()> {
    let here = std::env::current_dir().context("no current directory")?;
    let owner = format!("process {} in {}", std::process::id(), here.display());
    fs::write(places::state().join("owner"), owner).context("cannot write the owner")
}

/// Whose lab is up, if one is.
fn owner() -> Option<String> {
    places::state().exists().then(|| {
        let owner = fs::read_to_string(places::state().join("owner"));
        owner.unwrap_or_else(|_| "somebody".to_owned())
    })
}

fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).context("cannot remove old logs")?;
    }
    fs::create_dir_all(directory).context("cannot make the directory of logs")
}
