//! Requests and answers, one after the other, over one TCP connection.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result};

use super::{Crew, Ends, Slot, Window, datagrams::Background, processor::Processors, window::join};
use crate::stats::quantile;

/// Length of a request and of an answer, bytes.
pub const MESSAGE: usize = 64;

/// Round trips of one slot.
#[derive(Clone, Debug)]
pub struct RoundTrips {
    /// What was done, and what it took.
    pub window: Window,
    /// Each round trip, ns, sorted.
    pub sorted: Vec<u32>,
}

impl RoundTrips {
    /// The time that a share of them do not exceed, us.
    pub fn quantile_us(&self, q: f64) -> Option<f64> {
        quantile(&self.sorted, q).map(|ns| f64::from(ns) / 1e3)
    }
}

/// Where the two ends of a ping-pong run, and what runs beside it.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// Both ends on the first processor.
    pub together: bool,
    /// What goes the same way meanwhile.
    pub beside: Option<&'a Background>,
}

/// Runs one slot.
///
/// # Errors
/// No connection, or it breaks.
pub fn run(
    ends: &Ends<'_>,
    processors: Processors,
    setting: Setting<'_>,
    softirq: &[String],
    slot: Slot,
) -> Result<RoundTrips> {
    let listener = ends.listen()?;
    let (client, server) = ends.connect(&listener)?;
    let crew = Crew::new(ends, softirq);
    let server_cpu = if setting.together { processors.first } else { processors.of_servers() };
    thread::scope(|scope| {
        let answers = crew.spawn(scope, server_cpu, |_crew| answer(server));
        let asks = crew.spawn(scope, processors.first, |crew| ask(client, crew));
        let aside = setting.beside.map(|load| {
            let sends = crew.spawn_aside(scope, processors.first, |crew| load.send(crew));
            let takes = crew.spawn_aside(scope, processors.of_servers(), |crew| load.take(crew));
            [sends, takes]
        });
        let window = crew.watch(slot);
        let mut sorted = join(asks)?;
        join(answers)?;
        for thread in aside.into_iter().flatten() {
            join(thread)?;
        }
        sorted.sort_unstable();
        Ok(RoundTrips { window: window?, sorted })
    })
}

fn ask(mut stream: TcpStream, crew: &Crew) -> Result<Vec<u32>> {
    let mut times = Vec::with_capacity(1 << 18);
    let mut message = [7; MESSAGE];
    let mut before = Instant::now();
    while !crew.is_over() {
        stream.write_all(&message).context("cannot send a request")?;
        stream.read_exact(&mut message).context("no answer")?;
        let now = Instant::now();
        if crew.is_watched() {
            times.push(u32::try_from((now - before).as_nanos()).unwrap_or(u32::MAX));
            crew.count(1);
        }
        before = now;
    }
    Ok(times)
}

/// Until the client closes.
fn answer(mut stream: TcpStream) -> Result<()> {
    let mut message = [0; MESSAGE];
    while stream.read(&mut message).context("no request")? == MESSAGE {
        stream.write_all(&message).context("cannot answer")?;
    }
    Ok(())
}
