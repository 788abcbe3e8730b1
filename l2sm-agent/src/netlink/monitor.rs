//! Notice of changes in links, addresses, routes and neighbours.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::io::{Interest, unix::AsyncFd};

/// Multicast groups (`enum rtnetlink_groups`): link, neigh, ipv4-ifaddr, ipv4-route, ipv6-ifaddr,
/// ipv6-route.
const GROUPS: [u32; 6] = [1, 3, 5, 7, 9, 11];
/// Notices are only counted, so a small part of each is enough.
const PEEK: usize = 64;

/// A subscription. It tells *that* something changed; what, the next pass reads.
#[derive(Debug)]
pub struct Monitor {
    socket: AsyncFd<Socket>,
}

impl Monitor {
    /// Subscribes in the calling thread's namespace, within a tokio runtime.
    ///
    /// # Errors
    /// No netlink.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        socket.set_non_blocking(true)?;
        // SAFETY: the socket owns its descriptor, which stays open until the `AsyncFd` that owns the
        // socket is dropped.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { socket })
    }

    /// Returns once something has changed, with all notices so far taken.
    ///
    /// # Errors
    /// The socket failed. Lost notices (`ENOBUFS`) are a change, no error.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            let mut any = false;
            let drained = ready.try_io(|socket| {
                loop {
                    match take_notice(socket.get_ref()) {
                        Ok(()) => any = true,
                        Err(why) => break Err::<(), _>(why),
                    }
                }
            });
            match drained {
                Err(_would_block) if any => return Ok(()),
                Err(_would_block) => {}
                Ok(Err(why)) if why.raw_os_error() == Some(nix::libc::ENOBUFS) => return Ok(()),
                Ok(outcome) => return outcome,
            }
        }
    }
}

fn take_notice(socket: &Socket) -> io::Result<()> {
    let mut notice = Vec::with_capacity(PEEK);
    socket.recv(&mut notice, 0).map(|_length| ())
}
