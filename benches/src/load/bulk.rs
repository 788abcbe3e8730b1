//! Bulk TCP: as much as goes through, by large writes or by messages.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    thread,
};

use anyhow::{Context as _, Result};

use super::{Crew, Ends, Slot, Window, processor::Processors, window::join};

/// Bytes of a write where no message size is asked for.
pub const WRITE: usize = 128 * 1024;
/// Bytes of a read at most.
const READ: usize = 256 * 1024;

/// What goes through.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Connections side by side.
    pub streams: usize,
    /// Bytes of a write.
    pub write: usize,
}

/// One slot; work is bytes that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Bulk {
    /// What was done, and what it took.
    pub window: Window,
    /// Segments that arrived out of order, over the whole slot.
    pub out_of_order: u64,
    /// Bytes that arrived over the whole slot.
    pub bytes: u64,
}

impl Bulk {
    /// Gbit/s.
    pub fn gigabits(&self) -> f64 {
        self.window.rate() * 8.0 / 1e9
    }

    /// CPU seconds for 10^9 bytes.
    pub fn cpu_per_gigabyte(&self) -> Option<f64> {
        self.window.cpu_per_unit()
    }

    /// Segments out of order for 10^9 bytes.
    pub fn reorder_per_gigabyte(&self) -> Option<f64> {
        (self.bytes > 0).then(|| self.out_of_order as f64 / (self.bytes as f64 / 1e9))
    }
}

/// Runs one slot.
///
/// # Errors
/// No connection, or it stalls.
pub fn run(
    ends: &Ends<'_>,
    processors: Processors,
    shape: Shape,
    softirq: &[String],
    slot: Slot,
) -> Result<Bulk> {
    let listener = ends.listen()?;
    let streams: Vec<_> =
        (0..shape.streams).map(|_| ends.connect(&listener)).collect::<Result<_>>()?;
    let before = out_of_order(ends)?;
    let crew = Crew::new(ends, softirq);
    let (window, bytes) = thread::scope(|scope| {
        let mut senders = Vec::new();
        let mut receivers = Vec::new();
        for (client, server) in streams {
            let first = processors.first;
            receivers.push(crew.spawn(scope, processors.of_servers(), |crew| take(server, crew)));
            senders.push(crew.spawn(scope, first, move |crew| send(client, shape.write, crew)));
        }
        let window = crew.watch(slot);
        for sender in senders {
            join(sender)?;
        }
        let bytes: Result<Vec<u64>> = receivers.into_iter().map(join).collect();
        Ok::<_, anyhow::Error>((window?.with_work("byte")?, bytes?.into_iter().sum()))
    })?;
    Ok(Bulk { window, out_of_order: out_of_order(ends)? - before, bytes })
}

fn send(mut stream: TcpStream, write: usize, crew: &Crew) -> Result<()> {
    let block = vec![7; write];
    while !crew.is_over() {
        stream.write_all(&block).context("a transfer stalls")?;
    }
    Ok(())
}

/// Reads until the sender closes; how much.
fn take(mut stream: TcpStream, crew: &Crew) -> Result<u64> {
    let mut block = vec![0; READ];
    let mut bytes = 0;
    loop {
        let length = match stream.read(&mut block) {
            Ok(0) => return Ok(bytes),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.context("a transfer stalls")? as u64,
        };
        bytes += length;
        crew.count(length);
    }
}

/// `TCPOFOQueue` of the server's end: segments that came before others that were sent first.
fn out_of_order(ends: &Ends<'_>) -> Result<u64> {
    let path = "/proc/thread-self/net/netstat";
    let text = ends.server.run(|| Ok(fs::read_to_string(path)?))?;
    counter(&text, "TcpExt:", "TCPOFOQueue").with_context(|| format!("{path} has no TCPOFOQueue"))
}

/// A counter of a file that has names on one line and values on the next.
fn counter(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let place = names.split_whitespace().position(|word| word == name)?;
    values.split_whitespace().nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::counter;

    #[test]
    fn a_counter_is_found_under_its_name() {
        let text = "TcpExt: A B TCPOFOQueue\nTcpExt: 1 2 33\nIpExt: A\nIpExt: 9\n";
        assert_eq!(counter(text, "TcpExt:", "TCPOFOQueue"), Some(33));
        assert_eq!(counter(text, "IpExt:", "A"), Some(9));
        assert_eq!(counter(text, "TcpExt:", "C"), None);
    }
}
