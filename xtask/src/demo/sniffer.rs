//! Listens on every interface of pods, below IP, for frames that carry a mark.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::lab::Pod;
use super::netns;

/// How often a listening thread looks whether it is still wanted.
const TURN: TimeVal = TimeVal::new(0, 50_000);
/// How often a count is looked at that is waited for.
const POLL: Duration = Duration::from_millis(10);
/// Room for all frames of a check, bytes.
const BUFFER: usize = 8 << 20;

/// Counts marked frames in one pod, in and out, until it is dropped.
pub(crate) struct Sniffer {
    /// The pod.
    pub(crate) pod: String,
    count: Arc<AtomicU64>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sniffer {
    /// Listens in `pod` for frames that contain `mark`.
    pub(crate) fn start(pod: &Pod, mark: &'static [u8]) -> Result<Self> {
        let listen = || listen().with_context(|| format!("cannot listen in {}", pod.name));
        let socket = netns::inside(&pod.netns, listen)?;
        let count = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = mpsc::channel();
        let counter = Arc::clone(&count);
        let thread = thread::spawn(move || {
            let mut frame = vec![0; 65_536];
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                if carries(&socket, &mut frame, mark) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self { pod: pod.name.clone(), count, stop: Some(stop), thread: Some(thread) })
    }

    /// Frames seen so far.
    pub(crate) fn seen(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A thread that panicked has counted nothing more; the check that reads it has failed.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Waits until `condition` holds; whether it does within `patience`.
pub(crate) fn wait_for(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

/// A packet socket: not bound to a device, it sees those of all.
fn listen() -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
    setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TURN)?;
    Ok(socket)
}

/// Whether the next frame carries the mark; not, when none comes.
fn carries(socket: &OwnedFd, frame: &mut [u8], mark: &[u8]) -> bool {
    // No frame for a turn, or an interface that is gone: nothing that is counted.
    let Ok(length) = recv(socket.as_raw_fd(), frame, MsgFlags::empty()) else { return false };
    let frame = frame.get(..length).unwrap_or_default();
    frame.windows(mark.len()).any(|window| window == mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_condition_or_the_deadline() {
        let mut turns = 0;
        assert!(wait_for(Duration::from_secs(5), || {
            turns += 1;
            turns > 2
        }));
        assert!(!wait_for(Duration::ZERO, || false));
    }
}
