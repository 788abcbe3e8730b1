//! Datagrams: as many as go through, or at a steady rate as background.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
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
/// No route, or the kernel lacks `UDP_SEGMENT`.
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
    let crew = Crew::new(softirq);
    thread::scope(|scope| {
        let takes =
            crew.spawn(scope, processors.of_servers(), |crew| take(&receiver, shape.size, crew));
        let sends = crew.spawn(scope, processors.first, |crew| send(&senders, shape, crew));
        let window = crew.watch(slot);
        join(sends)?;
        join(takes)?;
        window
    })
}

/// Datagrams at a steady rate.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    rate: f64,
}

/// Bytes of a background datagram.
const BACKGROUND: usize = 64;
/// Background datagrams that go in one burst.
const BURST: usize = 16;

impl Pace {
    /// So many a second.
    pub fn of(rate: f64) -> Self {
        Self { rate }
    }

    /// Opens its sockets.
    ///
    /// # Errors
    /// No route.
    pub fn open(self, ends: &Ends<'_>) -> Result<Background> {
        let receiver = bind_receiver(ends)?;
        let sender = connect_sender(ends, receiver.local_addr()?)?;
        Ok(Background { rate: self.rate, sender, receiver })
    }
}

/// A flow beside the one that is measured.
#[derive(Debug)]
pub struct Background {
    rate: f64,
    sender: UdpSocket,
    receiver: UdpSocket,
}

impl Background {
    /// Sends until the slot is over.
    ///
    /// # Errors
    /// The socket's.
    pub fn send(&self, crew: &Crew) -> Result<()> {
        send_paced(&self.sender, BACKGROUND, self.rate, crew)
    }

    /// Takes until the slot is over.
    ///
    /// # Errors
    /// The socket's.
    pub fn take(&self, crew: &Crew) -> Result<()> {
        let mut batch = Batch::new(2048);
        while !crew.is_over() {
            batch.take(self.receiver.as_fd())?;
        }
        Ok(())
    }
}

/// Sends datagrams of `size` bytes at a steady rate until the slot is over. What the sender is late
/// by it does not make up for.
///
/// # Errors
/// The socket's.
pub fn send_paced(socket: &UdpSocket, size: usize, rate: f64, crew: &Crew) -> Result<()> {
    nix::sys::prctl::set_timerslack(1).context("cannot set the timer slack")?;
    let mut batch = Batch::new(size);
    let step = Duration::from_secs_f64(BURST as f64 / rate.max(1.0));
    let mut due = Instant::now();
    while !crew.is_over() {
        let now = Instant::now();
        if due > now {
            thread::sleep(due - now);
        } else if now - due > step * 8 {
            due = now;
        }
        batch.send(socket.as_fd(), BURST)?;
        due += step;
    }
    Ok(())
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
    connect_from(ends.client, ends.from, target)
}

/// A socket in a namespace, from an address of its own to a target.
///
/// # Errors
/// No route.
pub fn connect_from(
    netns: &crate::lab::netns::Netns,
    from: IpAddr,
    target: SocketAddr,
) -> Result<UdpSocket> {
    let connect = || {
        let socket = UdpSocket::bind(SocketAddr::new(from, 0))?;
        socket.connect(target)?;
        Ok(socket)
    };
    netns.run(connect).with_context(|| format!("cannot send to {target}"))
}
