//! The object with the programs of test runs, loaded on its own with its own maps.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, Pod, TestRunOptions, TestRunResult,
    maps::{Array, HashMap, Map, MapData, ProgramArray},
    programs::{SchedClassifier, TestRun, Xdp},
};
use l2sm_common::{abi, maps::ConfigEntry};

/// The programs, with those of the feature `bench`.
const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/l2sm.o"));
/// `TC_ACT_REDIRECT`: what a program says that found where a frame goes.
pub(super) const REDIRECT: u32 = 7;
/// `TC_ACT_UNSPEC` as the kernel returns it.
pub(super) const UNSPEC: u32 = u32::MAX;
/// `TC_ACT_SHOT`: what a program says that has copied a frame, or dropped it.
pub(super) const SHOT: u32 = 2;
/// `XDP_DROP`.
pub(super) const XDP_DROP: u32 = 1;
/// The program that drops before the kernel has an skb.
const UPLINK_XDP: &str = "l2sm_uplink_xdp";
/// Bytes of `__sk_buff`, and where it has `ingress_ifindex` and `ifindex`.
const CONTEXT: usize = 192;
const INGRESS: usize = 36;
const IFINDEX: usize = 40;

/// The loaded object.
pub(super) struct Object {
    ebpf: Ebpf,
    /// Tail calls end when the array is gone.
    _progs: ProgramArray<MapData>,
}

/// What one test run says.
pub(super) struct Ran {
    /// Mean time of the program.
    pub(super) time: Duration,
    /// Its last return code.
    pub(super) code: u32,
    /// The frame afterwards.
    pub(super) bytes: Vec<u8>,
}

impl Object {
    /// Loads the programs that tail calls reach, and `more`.
    pub(super) fn load(more: &[&str]) -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(OBJECT).context("cannot load the programs' maps")?;
        let progs = ebpf.take_map("PROGS").context("the object has no PROGS")?;
        let mut progs = ProgramArray::try_from(progs)?;
        for (index, name) in abi::PROGS {
            let program = classifier(&mut ebpf, name)?;
            program.load().with_context(|| format!("the kernel refuses {name}"))?;
            progs.set(index, program.fd()?, 0)?;
        }
        let early: &mut Xdp = ebpf.program_mut(UPLINK_XDP).context("no XDP program")?.try_into()?;
        early.load().with_context(|| format!("the kernel refuses {UPLINK_XDP}"))?;
        for name in more {
            let program = classifier(&mut ebpf, name)?;
            program.load().with_context(|| format!("the kernel refuses {name}"))?;
        }
        Ok(Self { ebpf, _progs: progs })
    }

    /// A program.
    pub(super) fn program(&mut self, name: &str) -> Result<&mut SchedClassifier> {
        classifier(&mut self.ebpf, name)
    }

    /// Runs a program on a frame that came in by a device of this namespace.
    pub(super) fn run(
        &mut self,
        name: &str,
        frame: &[u8],
        ifindex: u32,
        repeat: u32,
    ) -> Result<Ran> {
        self.run_relayed(name, frame, ifindex, 0, repeat)
    }

    /// The same on a frame that came in by another device before (`ingress`), and leaves by this one.
    pub(super) fn run_relayed(
        &mut self,
        name: &str,
        frame: &[u8],
        ifindex: u32,
        ingress: u32,
        repeat: u32,
    ) -> Result<Ran> {
        let mut context = [0; CONTEXT];
        for (at, device) in [(INGRESS, ingress), (IFINDEX, ifindex)] {
            let field = context.get_mut(at..at + 4).context("the context is too short")?;
            field.copy_from_slice(&device.to_ne_bytes());
        }
        run(self.program(name)?, name, frame, Some(&context), repeat)
    }

    /// Runs `l2sm_uplink_xdp` on a frame that came in by the loopback device: a test run knows no other
    /// that has its queues ready.
    pub(super) fn run_early(&mut self, frame: &[u8], repeat: u32) -> Result<Ran> {
        let program = self.ebpf.program_mut(UPLINK_XDP).context("no XDP program")?;
        let program: &mut Xdp = program.try_into()?;
        run(program, UPLINK_XDP, frame, None, repeat)
    }

    /// Writes the settings.
    pub(super) fn configure(&mut self, entry: ConfigEntry) -> Result<()> {
        let mut config: Array<_, ConfigEntry> = self.map("CONFIG")?.try_into()?;
        config.set(0, entry, 0).context("cannot write CONFIG")
    }

    /// Puts entries into a hash map.
    pub(super) fn put<K: Pod, V: Pod>(
        &mut self,
        name: &str,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<()> {
        let mut map: HashMap<_, K, V> = self.map(name)?.try_into()?;
        for (key, value) in entries {
            map.insert(key, value, 0).with_context(|| format!("cannot write {name}"))?;
        }
        Ok(())
    }

    /// A map.
    pub(super) fn map(&mut self, name: &str) -> Result<&mut Map> {
        self.ebpf.map_mut(name).with_context(|| format!("the object has no {name}"))
    }
}

fn run(
    program: &impl for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
    name: &str,
    frame: &[u8],
    context: Option<&[u8]>,
    repeat: u32,
) -> Result<Ran> {
    let mut bytes = vec![0; frame.len() + 256];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut bytes),
        ctx_in: context,
        repeat,
        ..TestRunOptions::default()
    };
    let run = program.test_run(options).with_context(|| format!("cannot run {name}"))?;
    bytes.truncate(usize::try_from(run.data_size_out)?);
    Ok(Ran { time: run.duration, code: run.return_value, bytes })
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program =
        ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
    Ok(program.try_into()?)
}
