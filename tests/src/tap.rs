//! A cable between two namespaces that ends in taps, as a virtual machine's: every frame passes
//! through a program, so what arrives was segmented and summed by the kernel that sent it.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{errno::Errno, libc};

use crate::netns::Netns;

/// The cable; cut when dropped.
#[derive(Debug)]
pub struct Cable {
    stop: Arc<AtomicBool>,
    largest: Arc<AtomicUsize>,
    workers: Vec<JoinHandle<()>>,
}

impl Cable {
    /// Makes a tap in each namespace, sets both up, and copies frames between them.
    pub fn join(a: (&Netns, &str), b: (&Netns, &str)) -> Self {
        Self::join_as(libc::IFF_TAP, a, b)
    }

    /// The same with devices that carry packets without a link-layer header, as a `WireGuard` device does.
    pub fn join_bare(a: (&Netns, &str), b: (&Netns, &str)) -> Self {
        Self::join_as(libc::IFF_TUN, a, b)
    }

    fn join_as(kind: libc::c_int, a: (&Netns, &str), b: (&Netns, &str)) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let largest = Arc::new(AtomicUsize::new(0));
        let [a, b] = [a, b].map(|(netns, name)| {
            let tap = netns.run(|| open(name, kind));
            netns.ip(&format!("link set {name} up"));
            Arc::new(tap)
        });
        let workers = [(&a, &b), (&b, &a)].map(|(from, to)| {
            let (from, to) = (Arc::clone(from), Arc::clone(to));
            let (stop, largest) = (Arc::clone(&stop), Arc::clone(&largest));
            thread::spawn(move || copy(&from, &to, &stop, &largest))
        });
        Self { stop, largest, workers: workers.into() }
    }

    /// Length of the largest frame that passed, bytes.
    pub fn largest(&self) -> usize {
        self.largest.load(Ordering::Relaxed)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            // One that panicked has said so.
            drop(worker.join());
        }
    }
}

/// Makes a device of this kind in the calling thread's namespace.
fn open(name: &str, kind: libc::c_int) -> File {
    let tap = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .expect("the kernel has taps");
    // `struct ifreq`: 16 bytes of name, then the flags.
    let mut request = [0_u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    let flags = u16::try_from(kind | libc::IFF_NO_PI).expect("two bits");
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the request is as large as `struct ifreq` and outlives the call.
    let done = unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
    Errno::result(done).expect("tests need root");
    tap
}

fn copy(from: &File, to: &File, stop: &AtomicBool, largest: &AtomicUsize) {
    let mut frame = vec![0; 70_000];
    let (mut from, mut to) = (from, to);
    while !stop.load(Ordering::Relaxed) {
        match from.read(&mut frame) {
            Ok(length) => {
                largest.fetch_max(length, Ordering::Relaxed);
                // A full queue at the other end loses the frame, as a wire would.
                drop(to.write(&frame[..length]));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_micros(50));
            }
            Err(error) => panic!("cannot read a tap: {error}"),
        }
    }
}
