//! Raw frames: sent on a device, and counted where they arrive.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        socket::{
            AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike as _,
            bind, recv, send, setsockopt, socket, sockopt,
        },
        time::TimeVal,
    },
};

use crate::netns::Netns;

/// A packet socket on one device: sends any bytes, and sees all that arrive.
#[derive(Debug)]
pub struct Probe {
    socket: OwnedFd,
}

impl Probe {
    /// Opens one on a device of a namespace.
    pub fn open(netns: &Netns, device: &str) -> Self {
        let ifindex = netns.ifindex(device);
        let socket = netns.run(|| {
            let flags = SockFlag::SOCK_CLOEXEC;
            let all = SockProtocol::EthAll;
            socket(AddressFamily::Packet, SockType::Raw, flags, all).expect("tests need root")
        });
        bind(socket.as_raw_fd(), &link_address(ifindex)).expect("can bind");
        setsockopt(&socket, sockopt::RcvBuf, &(8 << 20)).expect("can be set");
        Self { socket }
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) {
        loop {
            match send(self.socket.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(_sent) => return,
                Err(Errno::ENOBUFS) => std::thread::yield_now(),
                Err(error) => panic!("cannot send a frame of {} bytes: {error}", frame.len()),
            }
        }
    }

    /// The frames that arrive (not those sent here) until `count` matched or `patience` has run out.
    pub fn receive(
        &self,
        count: usize,
        patience: Duration,
        matches: impl Fn(&[u8]) -> bool,
    ) -> Vec<Vec<u8>> {
        let deadline = Instant::now() + patience;
        let mut found = Vec::new();
        let mut buffer = vec![0; 70_000];
        while found.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.set_timeout(left);
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) if matches(&buffer[..length]) => found.push(buffer[..length].to_vec()),
                Ok(_other) => {}
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => panic!("cannot receive: {error}"),
            }
        }
        found
    }

    fn set_timeout(&self, left: Duration) {
        let micros = i64::try_from(left.as_micros().max(1)).expect("short");
        let time = TimeVal::new(micros / 1_000_000, micros % 1_000_000);
        setsockopt(&self.socket, sockopt::ReceiveTimeout, &time).expect("can be set");
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a C structure of small constants"
)]
fn link_address(ifindex: u32) -> LinkAddr {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: ifindex as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let pointer = (&raw const address).cast::<libc::sockaddr>();
    let length = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: `pointer` points to a whole `sockaddr_ll` whose length is given.
    let parsed = unsafe { LinkAddr::from_raw(pointer, Some(length)) };
    parsed.expect("a link address")
}
