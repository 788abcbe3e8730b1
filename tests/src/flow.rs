//! A steady flow of numbered datagrams: what was lost, and what came twice.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt};

use crate::netns::Netns;

/// A flow under way.
pub struct Flow {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
    sent_all: Arc<AtomicBool>,
    receiver: JoinHandle<Vec<u32>>,
}

/// A flow's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Datagrams sent.
    pub sent: u64,
    /// Never received.
    pub lost: u64,
    /// Received more than once.
    pub doubled: u64,
}

impl Flow {
    /// Starts sending `rate` datagrams a second to `address` in namespace `to`.
    pub fn start(from: &Netns, to: &Netns, address: &str, rate: u32) -> Self {
        let address: IpAddr = address.parse().expect("an address");
        let receiver = to.run(|| UdpSocket::bind(SocketAddr::new(address, 0)).expect("can bind"));
        let target = receiver.local_addr().expect("bound");
        // As much as a receiver needs that gets no processor for a while: `net.core.rmem_max` is no bound.
        setsockopt(&receiver, sockopt::RcvBufForce, &(64 << 20)).expect("tests need root");
        let sender = from.run(|| {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).expect("can bind");
            socket.connect(target).expect("a route");
            socket
        });
        let (stop, sent_all) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let (stopped, complete) = (Arc::clone(&stop), Arc::clone(&sent_all));
        let sender = thread::spawn(move || send(&sender, rate, &stopped));
        let receiver = thread::spawn(move || receive(&receiver, &complete));
        Self { stop, sender, sent_all, receiver }
    }

    /// Ends it, and counts.
    pub fn finish(self) -> Account {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("sends");
        self.sent_all.store(true, Ordering::Relaxed);
        let mut seen = vec![0_u32; usize::try_from(sent).expect("fits")];
        for number in self.receiver.join().expect("receives") {
            seen[usize::try_from(number).expect("fits")] += 1;
        }
        let count = |which: fn(&&u32) -> bool| {
            u64::try_from(seen.iter().filter(which).count()).expect("fits")
        };
        Account { sent, lost: count(|times| **times == 0), doubled: count(|times| **times > 1) }
    }
}

/// One send call of `count` datagrams of `size` bytes, each beginning with its number: the kernel
/// segments them late (`UDP_SEGMENT`, Linux 4.18).
pub fn send_segmented(target: &str, size: u16, count: u8) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("can bind");
    socket.connect(target).expect("a route");
    setsockopt(&socket, sockopt::UdpGsoSegment, &size.into()).expect("the kernel segments");
    let mut datagrams = vec![0; usize::from(size) * usize::from(count)];
    for (number, datagram) in (0..count).zip(datagrams.chunks_mut(usize::from(size))) {
        datagram[0] = number;
    }
    let sent = socket.send(&datagrams).expect("sends");
    assert_eq!(sent, datagrams.len());
}

/// Sends the numbers 0.. at a steady rate; how many.
fn send(socket: &UdpSocket, rate: u32, stop: &AtomicBool) -> u64 {
    let started = Instant::now();
    let mut next = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        let due = started + Duration::from_secs(1) * next / rate;
        let now = Instant::now();
        if due > now {
            thread::sleep(due - now);
        }
        socket.send(&next.to_be_bytes()).unwrap_or_else(|error| panic!("datagram {next}: {error}"));
        next += 1;
    }
    u64::from(next)
}

/// The numbers received until all are sent and nothing comes for a second.
fn receive(socket: &UdpSocket, sent_all: &AtomicBool) -> Vec<u32> {
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("can be set");
    let mut numbers = Vec::new();
    let mut datagram = [0; 4];
    loop {
        // Looked at first: what is sent after it is waited for once more.
        let is_last = sent_all.load(Ordering::Relaxed);
        match socket.recv(&mut datagram) {
            Ok(length) => {
                assert_eq!(length, datagram.len(), "nobody else speaks");
                numbers.push(u32::from_be_bytes(datagram));
            }
            Err(error) if error.kind() != ErrorKind::WouldBlock => {
                panic!("cannot receive: {error}")
            }
            Err(_silence) if is_last => return numbers,
            Err(_silence) => {}
        }
    }
}
