//! Connect, ask, be answered, close: a connection for each request. The server closes first, as HTTP
//! servers do, so that the client's ports are free again at once.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{Crew, Ends, STALLED, Slot, Window, processor::Processors, window::join};

/// Length of the request and of the answer, bytes.
const MESSAGE: usize = 64;
/// Closed connections that the kernel may remember for a minute.
const REMEMBERED: &str = "2000000";

/// Runs one slot, both ends on the first processor; work is connections.
///
/// # Errors
/// No connection, or it breaks.
pub fn run(
    ends: &Ends<'_>,
    processors: Processors,
    softirq: &[String],
    slot: Slot,
) -> Result<Window> {
    ends.server.set("ipv4/tcp_max_tw_buckets", REMEMBERED)?;
    let listener = ends.listen()?;
    let target = listener.local_addr()?;
    nix::sys::socket::setsockopt(
        &listener,
        nix::sys::socket::sockopt::ReceiveTimeout,
        &nix::sys::time::TimeVal::new(0, 50_000),
    )?;
    let crew = Crew::new(ends, softirq);
    thread::scope(|scope| {
        let server = crew.spawn(scope, processors.first, |crew| serve(&listener, crew));
        let client = crew.spawn(scope, processors.first, |crew| {
            ends.client.enter()?;
            ask(target, crew)
        });
        let window = crew.watch(slot);
        join(client)?;
        join(server)?;
        window?.with_work("answer")
    })
}

fn ask(target: SocketAddr, crew: &Crew) -> Result<()> {
    while !crew.is_over() {
        let mut stream = TcpStream::connect(target).context("cannot connect")?;
        stream.set_read_timeout(Some(STALLED))?;
        stream.write_all(&[7; MESSAGE]).context("cannot send a request")?;
        let mut answer = [0; MESSAGE];
        stream.read_exact(&mut answer).context("no answer")?;
        // The end: the server has closed.
        let rest = stream.read(&mut answer).context("no end")?;
        anyhow::ensure!(rest == 0, "{rest} bytes after the answer");
        crew.count(1);
    }
    Ok(())
}

fn serve(listener: &TcpListener, crew: &Crew) -> Result<()> {
    while !crew.is_over() {
        let mut stream = match listener.accept() {
            Ok((stream, _peer)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error).context("cannot accept"),
        };
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut request = [0; MESSAGE];
        stream.read_exact(&mut request).context("no request")?;
        stream.write_all(&request).context("cannot answer")?;
    }
    Ok(())
}
