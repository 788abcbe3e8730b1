//! Somebody else's tc or XDP program: counts the frames that it sees, and lets them pass. Written in
//! instructions, so that it shares nothing with our object.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use nix::{errno::Errno, libc};

use crate::netns::Netns;

/// Commands and constants of `bpf(2)` (`include/uapi/linux/bpf.h`).
const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const MAP_TYPE_ARRAY: u32 = 2;
const PROG_TYPE_SCHED_CLS: u32 = 3;
const PROG_TYPE_XDP: u32 = 6;
const XDP: u32 = 37;
const TCX_INGRESS: u32 = 46;
/// Return codes that let a frame pass.
const TC_ACT_UNSPEC: i32 = -1;
const XDP_PASS: i32 = 2;

/// A counting program on a device; gone when dropped.
#[derive(Debug)]
pub struct Counter {
    map: OwnedFd,
    _program: OwnedFd,
    _link: OwnedFd,
}

impl Counter {
    /// Attaches one as most programs do: behind those that are there (tcx, Linux 6.6).
    pub fn attach(netns: &Netns, device: &str) -> Self {
        Self::attach_as(netns, device, (PROG_TYPE_SCHED_CLS, TCX_INGRESS), TC_ACT_UNSPEC)
    }

    /// Attaches one as the device's XDP program.
    pub fn attach_xdp(netns: &Netns, device: &str) -> Self {
        Self::attach_as(netns, device, (PROG_TYPE_XDP, XDP), XDP_PASS)
    }

    fn attach_as(netns: &Netns, device: &str, (kind, hook): (u32, u32), pass: i32) -> Self {
        let ifindex = netns.ifindex(device);
        let map = open(MAP_CREATE, &words([MAP_TYPE_ARRAY, 4, 8, 1]));
        let program = load(&map, kind, pass);
        let target = [raw(&program), ifindex, hook, 0, 0, 0, 0, 0];
        let link = netns.run(|| open(LINK_CREATE, &words(target)));
        Self { map, _program: program, _link: link }
    }

    /// Frames seen.
    pub fn seen(&self) -> u64 {
        let (key, mut seen) = (0_u32, 0_u64);
        let mut attributes = words([raw(&self.map), 0]);
        attributes.extend(address(&raw const key));
        attributes.extend(address(&raw mut seen));
        attributes.extend([0; 8]);
        bpf(MAP_LOOKUP_ELEM, &attributes);
        seen
    }
}

/// Loads: `map[0] += 1; return pass`.
fn load(map: &OwnedFd, kind: u32, pass: i32) -> OwnedFd {
    let instruction = |code: u8, registers: u8, offset: i16, immediate: i32| {
        let [o0, o1] = offset.to_ne_bytes();
        let [i0, i1, i2, i3] = immediate.to_ne_bytes();
        [code, registers, o0, o1, i0, i1, i2, i3]
    };
    let program = [
        instruction(0x62, 0x0a, -4, 0),              // *(u32 *)(r10 - 4) = 0
        instruction(0xbf, 0xa2, 0, 0),               // r2 = r10
        instruction(0x07, 0x02, 0, -4),              // r2 += -4
        instruction(0x18, 0x11, 0, map.as_raw_fd()), // r1 = map
        instruction(0, 0, 0, 0),                     // (second half)
        instruction(0x85, 0, 0, 1),                  // r0 = bpf_map_lookup_elem(r1, r2)
        instruction(0x15, 0, 2, 0),                  // if r0 == 0 goto +2
        instruction(0xb7, 0x01, 0, 1),               // r1 = 1
        instruction(0xdb, 0x10, 0, 0),               // lock *(u64 *)r0 += r1
        instruction(0xb7, 0, 0, pass),               // r0 = pass
        instruction(0x95, 0, 0, 0),                  // return
    ];
    let length = u32::try_from(program.len()).expect("short");
    let license = c"GPL";
    let mut attributes = words([kind, length]);
    attributes.extend(address(program.as_ptr()));
    attributes.extend(address(license.as_ptr()));
    attributes.extend([0; 16]);
    open(PROG_LOAD, &attributes)
}

fn words<const N: usize>(words: [u32; N]) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_ne_bytes).collect()
}

/// A pointer as the kernel takes it.
fn address<T>(pointer: *const T) -> [u8; 8] {
    u64::try_from(pointer.addr()).expect("64 bits").to_ne_bytes()
}

fn raw(fd: &OwnedFd) -> u32 {
    u32::try_from(fd.as_raw_fd()).expect("not negative")
}

/// A command that returns a new file descriptor.
fn open(command: libc::c_long, attributes: &[u8]) -> OwnedFd {
    let fd = RawFd::try_from(bpf(command, attributes)).expect("a file descriptor");
    // SAFETY: the kernel has just made this file descriptor for us; nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn bpf(command: libc::c_long, attributes: &[u8]) -> libc::c_long {
    // SAFETY: `attributes` is as long as is said, and every pointer in it is to a live value of the
    // length that the command takes: the callers' arrays and locals, and the map's key and value.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), attributes.len()) };
    Errno::result(result).unwrap_or_else(|error| panic!("bpf command {command}: {error}"))
}
