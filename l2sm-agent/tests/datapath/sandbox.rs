//! A network namespace and a pin directory for one test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
    time::{Duration, Instant},
};

use aya::programs::{
    SchedClassifier, TcAttachType,
    links::{FdLink, PinnedLink},
};
use l2sm_agent::datapath::{KernelDatapath, ensure_bpffs};
use l2sm_common::ids::IfIndex;
use l2sm_core::image::{Hook, Program};
use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};

/// How long the kernel may take for what it does in its own time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Needs root. Runs a test in a thread of its own, which has a network namespace of its own: it ends with the
/// thread, whatever happens.
pub(crate) fn sandboxed(name: &str, test: impl FnOnce(&Sandbox) + Send) {
    let bpffs = PathBuf::from(format!("/sys/fs/bpf/l2sm-test-{}-{name}", process::id()));
    let result = thread::scope(|scope| {
        let test = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ensure_bpffs(&bpffs).unwrap();
            test(&Sandbox { bpffs: bpffs.clone() });
        };
        scope.spawn(test).join()
    });
    remove_tree(&bpffs);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// Where one test does what it likes.
pub(crate) struct Sandbox {
    bpffs: PathBuf,
}

impl Sandbox {
    pub(crate) fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    /// What an agent does when it starts.
    pub(crate) fn open(&self) -> KernelDatapath {
        let mut datapath = KernelDatapath::open(&self.bpffs).unwrap();
        assert!(datapath.take_over().unwrap().is_empty());
        datapath
    }

    pub(crate) fn link_pin(&self, hook: Hook) -> PathBuf {
        self.bpffs.join(format!("links/{}-{}", hook.device.0, hook.program.name()))
    }

    /// The kernel's number of a pinned link.
    pub(crate) fn link_id(&self, hook: Hook) -> u32 {
        FdLink::from(PinnedLink::from_pin(self.link_pin(hook)).unwrap()).info().unwrap().id()
    }

    /// Attaches somebody else's program before all others on a device, and pins its link; its number.
    pub(crate) fn foreign_program(&self, device: &str) -> u32 {
        let directory = self.bpffs.join("foreign");
        fs::create_dir_all(&directory).unwrap();
        let mut object = aya::EbpfLoader::new()
            .default_map_pin_directory(&directory)
            .load(l2sm_agent::datapath::OBJECT)
            .unwrap();
        let program = object.program_mut("l2sm_tunnel_rx").unwrap();
        let program: &mut SchedClassifier = program.try_into().unwrap();
        program.load().unwrap();
        let link = program.attach(device, TcAttachType::Ingress).unwrap();
        let link = FdLink::try_from(program.take_link(link).unwrap()).unwrap();
        link.pin(directory.join("link")).unwrap();
        program.info().unwrap().id()
    }
}

/// Makes a veth `name`, with other end `name` + `p`; its hook as a port.
pub(crate) fn port(name: &str) -> Hook {
    run("ip", &["link", "add", name, "type", "veth", "peer", "name", &format!("{name}p")]);
    hook(name, Program::PortRx)
}

pub(crate) fn hook(device: &str, program: Program) -> Hook {
    Hook { device: IfIndex(if_nametoindex(device).unwrap()), program }
}

/// The tcx programs on a device, in the order that they run.
pub(crate) fn programs(device: &str) -> Vec<u32> {
    let (_, programs) = SchedClassifier::query_tcx(device, TcAttachType::Ingress).unwrap();
    programs.iter().map(aya::programs::ProgramInfo::id).collect()
}

/// The ingress filters on a device, as tc prints them.
pub(crate) fn filters(device: &str) -> Vec<String> {
    let printed = run("tc", &["filter", "show", "dev", device, "ingress"]);
    printed.lines().filter(|line| line.contains("handle")).map(str::to_owned).collect()
}

/// Pins a map of somebody else.
pub(crate) fn pin_foreign_map(path: &Path) {
    let path = path.to_str().unwrap();
    let kind = ["type", "array", "key", "4", "value", "4", "entries", "1", "name", "theirs"];
    let arguments: Vec<&str> = ["map", "create", path].into_iter().chain(kind).collect();
    run("bpftool", &arguments);
}

/// Runs a program in the test's namespace; what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Waits for what the kernel does in its own time.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::yield_now();
    }
}

/// Removes a directory with all pins in it.
fn remove_tree(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            remove_tree(&path);
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    if directory.exists() {
        fs::remove_dir(directory).unwrap();
    }
}
