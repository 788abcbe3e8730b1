//! The load generator: what one slot of traffic does, and what it took.
//!
//! Clients run on the first processor, servers on the second; ping-pong and connections run both
//! ends on the first, where a wake-up is a switch of tasks and not a message between processors.

mod batch;
pub mod bulk;
pub mod connections;
pub mod datagrams;
pub mod frames;
pub mod pingpong;
pub mod processor;
mod window;

use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result};

pub use window::{Crew, Slot, Window};

use crate::lab::netns::Netns;

/// Time after which a transfer that does not move counts as broken.
const STALLED: Duration = Duration::from_secs(5);

/// Where traffic goes from and to.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// Namespace of the client.
    pub client: &'a Netns,
    /// Namespace of the server.
    pub server: &'a Netns,
    /// Address of the client.
    pub from: IpAddr,
    /// Address of the server.
    pub to: IpAddr,
}

impl Ends<'_> {
    /// A listener at the server's end.
    fn listen(&self) -> Result<TcpListener> {
        let bind = || Ok(TcpListener::bind(SocketAddr::new(self.to, 0))?);
        self.server.run(bind).with_context(|| format!("cannot listen on {}", self.to))
    }

    /// A connection from the client's end to `listener`; both ends, the client's first.
    fn connect(&self, listener: &TcpListener) -> Result<(TcpStream, TcpStream)> {
        let target = listener.local_addr()?;
        let connect = || Ok(TcpStream::connect_timeout(&target, STALLED)?);
        let client =
            self.client.run(connect).with_context(|| format!("cannot connect to {target}"))?;
        let (server, _peer) = listener.accept()?;
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(STALLED))?;
            stream.set_write_timeout(Some(STALLED))?;
            stream.set_nodelay(true)?;
        }
        Ok((client, server))
    }
}
