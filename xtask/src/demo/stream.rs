//! A TCP transfer inside each network, from one node to the other: as many bytes arrive as were
//! sent, and they are the same.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::checks::Checks;
use super::lab::Lab;
use super::netns;

/// How long is sent.
const TIME: Duration = Duration::from_secs(2);
/// How long anything may stand still.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is sent, and read, at once.
const BLOCK: usize = 128 * 1024;
const PORT: u16 = 7777;

/// What one end saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    bytes: u64,
    sum: u64,
}

/// Sends for two seconds in each network.
pub(crate) fn check(lab: &Lab, checks: &mut Checks) -> Result<()> {
    for network in lab.networks() {
        let (from, to) = lab.distant_pair(network)?;
        let address: SocketAddr = format!("{}:{PORT}", to.ip).parse().context("no address")?;
        let listen = || TcpListener::bind(address).context("cannot listen");
        let listener = netns::inside(&to.netns, listen)?;
        let connect = || Ok(TcpStream::connect_timeout(&address, PATIENCE)?);
        let who = format!("{network}: TCP from {} to {}", from.name, to.name);
        let outcome = netns::inside(&from.netns, connect)
            .context("cannot connect")
            .and_then(|stream| transfer(stream, &listener));
        match outcome {
            Ok((sent, got, took)) => checks.record(sent == got, &describe(&who, sent, got, took)),
            Err(error) => checks.record(false, &format!("{who}: {error:#}")),
        }
    }
    Ok(())
}

fn describe(who: &str, sent: Seen, got: Seen, took: Duration) -> String {
    // Bits in a microsecond are megabits in a second.
    let rate = got.bytes * 8 / u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    format!(
        "{who} for {:.1} s: sent {} bytes, {} arrived ({rate} Mbit/s), checksums {:016x} and {:016x}",
        took.as_secs_f64(),
        sent.bytes,
        got.bytes,
        sent.sum,
        got.sum
    )
}

/// Sends over `stream` and receives at `listener`; what both saw, and how long it took.
fn transfer(stream: TcpStream, listener: &TcpListener) -> Result<(Seen, Seen, Duration)> {
    let began = Instant::now();
    thread::scope(|scope| {
        let sender = scope.spawn(|| send(stream));
        let (accepted, _) = listener.accept().context("cannot accept")?;
        let got = receive(accepted).context("cannot receive");
        let sent = sender.join().map_err(|_panicked| anyhow!("the sender failed"))?;
        Ok((sent.context("cannot send")?, got?, began.elapsed()))
    })
}

fn send(mut stream: TcpStream) -> Result<Seen> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut seen = Seen::default();
    let mut block = pattern();
    let began = Instant::now();
    while began.elapsed() < TIME {
        // No two blocks are the same: one that is lost or doubled shows.
        block.splice(..8, seen.bytes.to_le_bytes());
        stream.write_all(&block)?;
        seen = seen.add(&block);
    }
    stream.shutdown(Shutdown::Write)?;
    // The other end closes when it has read all.
    stream.set_read_timeout(Some(PATIENCE))?;
    let rest = stream.read(&mut [0])?;
    if rest == 0 { Ok(seen) } else { Err(anyhow!("the receiver sent something")) }
}

fn receive(mut stream: TcpStream) -> Result<Seen> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut seen = Seen::default();
    let mut block = vec![0; BLOCK];
    loop {
        let length = fill(&mut stream, &mut block)?;
        seen = seen.add(block.get(..length).unwrap_or_default());
        if length < BLOCK {
            return Ok(seen);
        }
    }
}

/// Reads until `block` is full or the stream ends; how much was read.
fn fill(stream: &mut impl Read, block: &mut [u8]) -> Result<usize> {
    let mut length = 0;
    while let Some(rest) = block.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(length)
}

impl Seen {
    /// With the bytes that come next. The sum depends on every word and its place; whole blocks are
    /// added, but for the last.
    fn add(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let mix = |sum: u64, word: &[u8; 8]| {
            (sum.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let sum = words.iter().chain((!rest.is_empty()).then_some(&last)).fold(self.sum, mix);
        Self { bytes: self.bytes + length, sum }
    }
}

/// Bytes without a pattern that offloads or checksums would not notice (a linear congruential
/// generator, Knuth's constants).
fn pattern() -> Vec<u8> {
    let next = |state: &u64| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    let states = std::iter::successors(Some(1_u64), next);
    states.flat_map(u64::to_be_bytes).take(BLOCK).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_notices_a_changed_and_a_moved_byte() {
        let block = pattern();
        let sum = |block: &[u8]| Seen::default().add(block).sum;
        let mut changed = block.clone();
        changed[4_711] ^= 1;
        assert_ne!(sum(&block), sum(&changed));
        let mut moved = block.clone();
        moved.swap(8, 16);
        assert_ne!(sum(&block), sum(&moved));
        assert_ne!(sum(&[1, 2, 3]), sum(&[1, 2, 4]));
    }

    #[test]
    fn both_ends_see_the_same_over_a_real_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (sent, got, took) = transfer(stream, &listener).unwrap();
        assert_eq!(sent, got);
        assert!(sent.bytes > 0 && took >= TIME);
    }
}
