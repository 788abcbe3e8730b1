//! TCP with every byte checked.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::netns::Netns;

/// A block of the stream: its number, then a fixed pattern.
const BLOCK: usize = 64 * 1024;

/// A finished transfer.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Bytes, all of them as sent.
    pub bytes: u64,
    /// From connection to the last byte.
    pub took: Duration,
}

impl Transfer {
    /// Gbit/s.
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a figure to print")]
    pub fn gigabits(&self) -> f64 {
        self.bytes as f64 * 8.0 / 1e9 / self.took.as_secs_f64()
    }
}

/// Time that a transfer may take: at a hundredth of what it is here it counts as stalled.
const LONGEST: Duration = Duration::from_mins(2);

/// Sends `bytes` (a whole number of 64 KiB blocks) from one namespace to `address` in another;
/// panics where a byte differs, nothing moves for ten seconds, or it takes longer than two minutes.
pub fn transfer(from: &Netns, to: &Netns, address: &str, bytes: u64) -> Transfer {
    let blocks = bytes / u64::try_from(BLOCK).expect("small");
    run((from, |stream| send(stream, blocks)), (to, |stream| receive(stream, blocks)), address).1
}

/// As [`transfer`], but the bytes come back to who connected.
pub fn fetch(client: &Netns, server: &Netns, address: &str, bytes: u64) -> Transfer {
    let blocks = bytes / u64::try_from(BLOCK).expect("small");
    run(
        (client, |stream| receive(stream, blocks)),
        (server, |stream| send(stream, blocks)),
        address,
    )
    .0
}

/// Connects two namespaces, each with what it does there.
fn run<C: Send, S: Send>(
    client: (&Netns, impl FnOnce(TcpStream) -> C + Send),
    server: (&Netns, impl FnOnce(TcpStream) -> S + Send),
    address: &str,
) -> (C, S) {
    let address: IpAddr = address.parse().expect("an address");
    let bind = || TcpListener::bind(SocketAddr::new(address, 0)).expect("can listen");
    let listener = server.0.run(bind);
    let target = listener.local_addr().expect("bound");
    thread::scope(|scope| {
        let worker = scope.spawn(move || server.1(listener.accept().expect("a connection").0));
        let connected = client.0.run(|| {
            let patience = Duration::from_secs(5);
            client.1(TcpStream::connect_timeout(&target, patience).expect("connects"))
        });
        let result = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (connected, result)
    })
}

fn send(mut stream: TcpStream, blocks: u64) {
    stream.set_write_timeout(Some(Duration::from_secs(10))).expect("can be set");
    let mut block = pattern();
    for number in 0..blocks {
        block[..8].copy_from_slice(&number.to_be_bytes());
        stream.write_all(&block).unwrap_or_else(|error| panic!("block {number}: {error}"));
    }
}

fn receive(mut stream: TcpStream, blocks: u64) -> Transfer {
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("can be set");
    let started = Instant::now();
    let mut expected = pattern();
    let mut block = vec![0; BLOCK];
    for number in 0..blocks {
        expected[..8].copy_from_slice(&number.to_be_bytes());
        stream.read_exact(&mut block).unwrap_or_else(|error| panic!("block {number}: {error}"));
        assert!(block == expected, "block {number} differs");
        assert!(started.elapsed() < LONGEST, "only {number} of {blocks} blocks in {LONGEST:?}");
    }
    let end = stream.read(&mut block).expect("the end");
    assert_eq!(end, 0, "bytes after the last block");
    let bytes = blocks * u64::try_from(BLOCK).expect("small");
    Transfer { bytes, took: started.elapsed() }
}

/// Bytes without a short period, so that a shifted copy differs.
fn pattern() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = (0..BLOCK / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()
    });
    words.collect()
}
