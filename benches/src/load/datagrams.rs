//! Datagrams: as many as go through, or at a steady rate as background.

use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::sys::socket::{setsockopt, sockopt};

use super::{
    Crew, Ends, Slot, Window,
    batch::{BATCH, Batch},
    processor::Processors,
    window::join,
};

/// Buffer of a receiving socket, bytes.
const BUFFER: usize = 4 << 20;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Sockets, and so flows, side by side.
    pub flows: usize,
    /// Bytes of a datagram.
    pub size: usize,
    /// Datagrams that the kernel makes of one write (`UDP_SEGMENT`); 1: none.
    pub segments: usize,
}

/// Runs one slot; work is datagrams that arrived.
///
/// # Errors
/// No route, the kernel lacks `UDP_SEGMENT`, or nothing arrives.
pub fn run(
    ends: &Ends<'_>,
    processors: Processors,
    shape: Shape,
    softirq: &[String],
    slot: Slot,
) -> Result<Window> {
    let receiver = bind_receiver(ends)?;
    let target = receiver.local_addr()?;
    let senders: Vec<_> =
        (0..shape.flows).map(|_| connect_sender(ends, target)).collect::<Result<_>>()?;
    if shape.segments > 1 {
        let size = i32::try_from(shape.size)?;
        for sender in &senders {
            setsockopt(sender, sockopt::UdpGsoSegment, &size)
                .context("the kernel has no UDP_SEGMENT")?;
        }
    }
    let crew = Crew::new(ends, softirq);
    thread::scope(|scope| {
        let takes =
            crew.spawn(scope, processors.of_servers(), |crew| take(&receiver, shape.size, crew));
        let sends = crew.spawn(scope, processors.first, |crew| send(&senders, shape, crew));
        let window = crew.watch(slot);
        join(sends)?;
        join(takes)?;
        window?.with_work("datagram")
    })
}

/// Bytes of a background datagram.
const BACKGROUND: usize = 64;
/// Background datagrams that go in one burst.
const BURST: usize = 16;

/// A flow at a steady rate beside what is measured.
#[derive(Debug)]
pub struct Background {
    /// Datagrams a second.
    rate: f64,
    datagram: Vec<u8>,
    sender: UdpSocket,
    /// None where nobody is to get them.
    receiver: Option<UdpSocket>,
}

impl Background {
    /// Datagrams from pod to pod.
    ///
    /// # Errors
    /// No route.
    pub fn between(ends: &Ends<'_>, rate: f64) -> Result<Self> {
        let receiver = bind_receiver(ends)?;
        let sender = connect_sender(ends, receiver.local_addr()?)?;
        Ok(Self { rate, datagram: vec![7; BACKGROUND], sender, receiver: Some(receiver) })
    }

    /// Datagrams from node to node that nobody takes.
    ///
    /// # Errors
    /// No route.
    pub fn into_void(ends: &Ends<'_>, port: u16, datagram: Vec<u8>, rate: f64) -> Result<Self> {
        let sender = connect_sender(ends, SocketAddr::new(ends.to, port))?;
        Ok(Self { rate, datagram, sender, receiver: None })
    }

    /// Sends until the slot is over. What the sender is late by it does not make up for.
    ///
    /// # Errors
    /// The socket's.
    pub fn send(&self, crew: &Crew) -> Result<()> {
        nix::sys::prctl::set_timerslack(1).context("cannot set the timer slack")?;
        let mut batch = Batch::of(&self.datagram);
        let step = Duration::from_secs_f64(BURST as f64 / self.rate.max(1.0));
        let mut due = Instant::now();
        while !crew.is_over() {
            let now = Instant::now();
            if due > now {
                thread::sleep(due - now);
            } else if now - due > step * 8 {
                due = now;
            }
            batch.send(self.sender.as_fd(), BURST)?;
            due += step;
        }
        Ok(())
    }

    /// Takes until the slot is over.
    ///
    /// # Errors
    /// The socket's.
    pub fn take(&self, crew: &Crew) -> Result<()> {
        let Some(receiver) = &self.receiver else { return Ok(()) };
        let mut batch = Batch::new(BACKGROUND);
        while !crew.is_over() {
            batch.take(receiver.as_fd())?;
        }
        Ok(())
    }
}

fn send(sockets: &[UdpSocket], shape: Shape, crew: &Crew) -> Result<()> {
    let (size, count) =
        if shape.segments > 1 { (shape.size * shape.segments, 1) } else { (shape.size, BATCH) };
    let mut batch = Batch::new(size);
    while !crew.is_over() {
        for socket in sockets {
            batch.send(socket.as_fd(), count)?;
        }
    }
    Ok(())
}

fn take(socket: &UdpSocket, size: usize, crew: &Crew) -> Result<()> {
    let mut batch = Batch::new(size.max(64));
    while !crew.is_over() {
        crew.count(batch.take(socket.as_fd())? as u64);
    }
    Ok(())
}

fn bind_receiver(ends: &Ends<'_>) -> Result<UdpSocket> {
    let receiver = ends.server.run(|| Ok(UdpSocket::bind(SocketAddr::new(ends.to, 0))?));
    let receiver = receiver.with_context(|| format!("cannot bind {}", ends.to))?;
    setsockopt(&receiver, sockopt::RcvBufForce, &BUFFER).context("cannot grow a buffer")?;
    receiver.set_read_timeout(Some(Duration::from_millis(20)))?;
    Ok(receiver)
}

fn connect_sender(ends: &Ends<'_>, target: SocketAddr) -> Result<UdpSocket> {
    let connect = || {
        let socket = UdpSocket::bind(SocketAddr::new(ends.from, 0))?;
        socket.connect(target)?;
        Ok(socket)
    };
    ends.client.run(connect).with_context(|| format!("cannot send to {target}"))
}
