//! The kernel object loaded on its own, with its own maps: for running programs on bytes
//! (`BPF_PROG_TEST_RUN`).

use std::{collections::BTreeMap, time::Duration};

use aya::{
    Ebpf, EbpfLoader, Pod, TestRunOptions,
    maps::{Array, HashMap, MapData, PerCpuArray, PerCpuHashMap, ProgramArray, RingBuf},
    programs::{LinkOrder, SchedClassifier, TcAttachType, TestRun as _, Xdp, tc::TcAttachOptions},
};
use l2sm_agent::datapath::OBJECT;
use l2sm_common::{
    abi,
    event::{DropEvent, EventLimit},
    forward::memory::MemoryTables,
    maps::{ConfigEntry, DropKey, LocalEntry, PortEntry, Tally, Traffic, port_flags},
    reason::DropReason,
    wire::{ethernet, ip},
};

/// Bytes of `__sk_buff` up to and with `gso_size`.
const CONTEXT: usize = 192;
/// Offsets in `__sk_buff` (`include/uapi/linux/bpf.h`).
const MARK: usize = 8;
const IFINDEX: usize = 40;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;

/// The loaded object.
pub struct Object {
    ebpf: Ebpf,
    /// Tail calls end when the array is gone.
    progs: ProgramArray<MapData>,
}

/// A frame for a test run.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The program.
    pub program: &'a str,
    /// The bytes.
    pub bytes: &'a [u8],
    /// The device it comes in by.
    pub ifindex: u32,
    /// `skb->mark`.
    pub mark: u32,
    /// Segment size of an aggregated frame; 0: none.
    pub gso_size: u32,
}

/// What the kernel did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The program's return code.
    pub code: u32,
    /// The frame afterwards.
    pub bytes: Vec<u8>,
    /// `skb->mark` afterwards.
    pub mark: u32,
}

impl Object {
    /// Loads every program, with small maps; the agent's capacities are tested with the agent.
    pub fn load() -> Self {
        Self::load_sized(&[])
    }

    /// The same, with these sizes of maps besides.
    pub fn load_sized(sizes: &[(&str, u32)]) -> Self {
        let mut loader = EbpfLoader::new();
        for name in ["FDB", "NEIGH", "MEMBERS", "DROPS", "FLOOD", "SOURCES", "VTEPS"] {
            loader.map_max_entries(name, 1024);
        }
        for (name, entries) in sizes {
            loader.map_max_entries(name, *entries);
        }
        let mut ebpf = loader.load(OBJECT).expect("the object loads");
        let progs = ebpf.take_map("PROGS").expect("the object has it");
        let mut progs = ProgramArray::try_from(progs).expect("a program array");
        for (index, name) in abi::PROGS {
            let program = program(&mut ebpf, name);
            program.load().unwrap_or_else(|error| panic!("{name}: {error:?}"));
            let fd = program.fd().expect("loaded").try_clone().expect("can be duplicated");
            progs.set(index, &fd, 0).expect("within capacity");
        }
        for name in [abi::UPLINK_XDP, abi::UPLINK_XDP_GENERIC] {
            let load = xdp(&mut ebpf, name).load();
            load.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
        Self { ebpf, progs }
    }

    /// Verified instructions and translated size (bytes) of each program.
    pub fn costs(&mut self) -> BTreeMap<String, (u32, u32)> {
        let programs = self.ebpf.programs().map(|(name, program)| {
            let info = program.info().expect("loaded");
            let verified = info.verified_instruction_count().expect("the kernel says");
            let size = info.size_translated().expect("the kernel says");
            (name.to_owned(), (verified, size))
        });
        programs.collect()
    }

    /// Fills the maps with what the host's tables hold.
    pub fn fill(&mut self, tables: &MemoryTables) {
        let mut config: Array<_, ConfigEntry> = self.map("CONFIG");
        config.set(0, tables.config.expect("configured"), 0).expect("can be set");
        self.put("PORTS", &tables.ports);
        self.put("SEGMENTS", &tables.segments);
        self.put("FDB", &tables.fdb);
        self.put("NEIGH", &tables.neigh);
        self.put("VTEPS", &tables.vteps);
        self.put("MEMBERS", &tables.members);
        self.put("SOURCES", &tables.sources);
        let locals = tables.locals.iter().map(|key| (*key, LocalEntry { flags: 0 })).collect();
        self.put("LOCALS", &locals);
        self.put("UPLINKS", &tables.uplinks);
    }

    /// Puts entries into a hash map.
    pub fn put<K: Pod + Ord, V: Pod>(&mut self, name: &str, entries: &BTreeMap<K, V>) {
        let mut map: HashMap<_, K, V> = self.map(name);
        for (key, value) in entries {
            map.insert(*key, *value, 0).expect("has room");
        }
    }

    /// Runs a program on a frame; `None` where the kernel makes no test frame of such bytes: shorter
    /// than the IP header that their EtherType announces.
    pub fn run(&mut self, run: &Run<'_>) -> Option<Ran> {
        let mut context = [0; CONTEXT];
        put_word(&mut context, MARK, run.mark);
        put_word(&mut context, IFINDEX, run.ifindex);
        put_word(&mut context, GSO_SIZE, run.gso_size);
        put_word(&mut context, GSO_SEGS, u32::from(run.gso_size != 0));
        let mut after = [0; CONTEXT];
        let mut bytes = vec![0; run.bytes.len() + 256];
        let options = TestRunOptions {
            data_in: Some(run.bytes),
            data_out: Some(&mut bytes),
            ctx_in: Some(&context),
            ctx_out: Some(&mut after),
            ..TestRunOptions::default()
        };
        let result = program(&mut self.ebpf, run.program).test_run(options);
        let result = match result {
            Ok(result) => result,
            Err(_refused) if run.bytes.len() < ethernet::LEN + ip::V6_LEN => return None,
            Err(error) => panic!("{run:?}: {error:?}"),
        };
        bytes.truncate(usize::try_from(result.data_size_out).expect("small"));
        Some(Ran { code: result.return_value, bytes, mark: word(&after, MARK) })
    }

    /// Runs an XDP program on a frame: its return code, and the frame afterwards.
    pub fn run_xdp(&mut self, name: &str, bytes: &[u8], ifindex: u32) -> (u32, Vec<u8>) {
        let length = u32::try_from(bytes.len()).expect("short");
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index.
        let context: Vec<u8> =
            [0, length, 0, ifindex, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        let mut after = vec![0; bytes.len() + 256];
        let options = TestRunOptions {
            data_in: Some(bytes),
            data_out: Some(&mut after),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let result = xdp(&mut self.ebpf, name).test_run(options);
        let result = result.unwrap_or_else(|error| panic!("{bytes:x?}: {error:?}"));
        after.truncate(usize::try_from(result.data_size_out).expect("small"));
        (result.return_value, after)
    }

    /// Counters that are not zero, by slot; and zeroes them.
    pub fn take_traffic(&mut self, slots: u32) -> BTreeMap<u32, Traffic> {
        let mut map: PerCpuArray<_, Traffic> = self.map("TRAFFIC");
        let mut moved = BTreeMap::new();
        for slot in 0..slots {
            let values = map.get(&slot, 0).expect("within capacity");
            let sum = values.iter().fold(Traffic::default(), |sum, part| add(&sum, part));
            if sum != Traffic::default() {
                moved.insert(slot, sum);
                let zero = vec![Traffic::default(); values.len()];
                let zero = aya::maps::PerCpuValues::try_from(zero).expect("one a CPU");
                map.set(slot, zero, 0).expect("within capacity");
            }
        }
        moved
    }

    /// Drops by slot and reason; and forgets them.
    pub fn take_drops(&mut self) -> BTreeMap<DropKey, u64> {
        let mut map: PerCpuHashMap<_, DropKey, u64> = self.map("DROPS");
        let entries: Vec<_> = map.iter().map(|entry| entry.expect("can be read")).collect();
        let mut drops = BTreeMap::new();
        for (key, values) in entries {
            map.remove(&key).expect("is there");
            drops.insert(key, values.iter().sum());
        }
        drops
    }

    /// Runs a program on the same frame many times; its last code, and the mean time of a run.
    pub fn time(&mut self, program_name: &str, bytes: &[u8], times: u32) -> (u32, Duration) {
        let options =
            TestRunOptions { data_in: Some(bytes), repeat: times, ..TestRunOptions::default() };
        let result = program(&mut self.ebpf, program_name).test_run(options);
        let result = result.unwrap_or_else(|error| panic!("{program_name}: {error:?}"));
        (result.return_value, result.duration)
    }

    /// Attaches a program to what comes in by a device of the calling thread's namespace.
    pub fn attach(&mut self, program_name: &str, device: &str) {
        let order = TcAttachOptions::TcxOrder(LinkOrder::first());
        let program = program(&mut self.ebpf, program_name);
        let attached = program.attach_with_options(device, TcAttachType::Ingress, order);
        attached.unwrap_or_else(|error| panic!("{program_name} to {device}: {error:?}"));
    }

    /// Runs a program on the same frame many times, in one system call.
    pub fn repeat(&mut self, program_name: &str, bytes: &[u8], times: u32) {
        self.time(program_name, bytes, times);
    }

    /// The records of drops in the ring; and takes them out.
    pub fn take_events(&mut self) -> Vec<DropEvent> {
        let mut ring: RingBuf<&mut MapData> = self.map("EVENTS");
        let mut events = Vec::new();
        while let Some(record) = ring.next() {
            events.push(DropEvent::from_bytes(&record).expect("a record of ours"));
        }
        events
    }

    /// Records that the ring had no room for.
    pub fn lost_events(&mut self) -> u64 {
        let map: PerCpuArray<_, EventLimit> = self.map("EVENT_LIMIT");
        let numbers = DropReason::ALL.iter().map(|reason| reason.number());
        let lost = numbers.map(|number| {
            let cpus = map.get(&number, 0).expect("within capacity");
            cpus.iter().map(|limit| u64::from(limit.lost)).sum::<u64>()
        });
        lost.sum()
    }

    /// Whether a port is marked as a forwarder; and forgets it.
    pub fn take_forwarder(&mut self, ifindex: u32) -> bool {
        let mut map: HashMap<_, u32, PortEntry> = self.map("PORTS");
        let Ok(port) = map.get(&ifindex, 0) else {
            return false;
        };
        let marked = port.flags & port_flags::FORWARDER != 0;
        let unmarked = PortEntry { flags: port.flags & !port_flags::FORWARDER, ..port };
        map.insert(ifindex, unmarked, 0).expect("is there");
        marked
    }

    fn map<'a, M>(&'a mut self, name: &str) -> M
    where
        M: TryFrom<&'a mut aya::maps::Map>,
        M::Error: std::fmt::Debug,
    {
        let map = self.ebpf.map_mut(name).unwrap_or_else(|| panic!("no map {name}"));
        M::try_from(map).expect("of that type")
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        for (index, _name) in abi::PROGS {
            self.progs.clear_index(&index).expect("within capacity");
        }
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut SchedClassifier {
    let program = ebpf.program_mut(name).unwrap_or_else(|| panic!("no program {name}"));
    program.try_into().expect("a classifier")
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut Xdp {
    let program = ebpf.program_mut(name).expect("the object has it");
    program.try_into().expect("an XDP program")
}

fn put_word(context: &mut [u8], at: usize, word: u32) {
    context[at..at + 4].copy_from_slice(&word.to_ne_bytes());
}

fn word(context: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(context[at..at + 4].try_into().expect("four bytes"))
}

fn add(a: &Traffic, b: &Traffic) -> Traffic {
    let sum =
        |a: Tally, b: Tally| Tally { packets: a.packets + b.packets, bytes: a.bytes + b.bytes };
    Traffic {
        from_port: sum(a.from_port, b.from_port),
        to_port: sum(a.to_port, b.to_port),
        from_vtep: sum(a.from_vtep, b.from_vtep),
        to_vtep: sum(a.to_vtep, b.to_vtep),
        slow_sent: sum(a.slow_sent, b.slow_sent),
        slow_handed_up: sum(a.slow_handed_up, b.slow_handed_up),
        slow_received: sum(a.slow_received, b.slow_received),
        answered: sum(a.answered, b.answered),
    }
}
