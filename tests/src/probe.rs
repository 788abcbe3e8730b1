//! Raw frames: sent on a device, and counted where they arrive.

use std::{
    io::IoSliceMut,
    os::fd::{AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        socket::{
            AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol,
            SockType, SockaddrLike as _, bind, recvmsg, send, setsockopt, socket, sockopt,
        },
        time::TimeVal,
    },
};

use crate::{netns::Netns, wait::PATIENCE};

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
        setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20)).expect("can be set");
        ask_for_tags(&socket);
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

    /// Sends many frames, in one system call where the device takes them.
    pub fn send_all(&self, frames: &[Vec<u8>]) {
        let part = |frame: &Vec<u8>| libc::iovec {
            iov_base: frame.as_ptr().cast_mut().cast(),
            iov_len: frame.len(),
        };
        let mut parts: Vec<_> = frames.iter().map(part).collect();
        let mut messages: Vec<_> = parts.iter_mut().map(message).collect();
        let mut left = &mut messages[..];
        while !left.is_empty() {
            let count = u32::try_from(left.len()).expect("few");
            let fd = self.socket.as_raw_fd();
            // SAFETY: `left` is an array of `count` headers, whose parts point into `frames`; the kernel
            // only reads those.
            let sent = unsafe { libc::sendmmsg(fd, left.as_mut_ptr(), count, 0) };
            match Errno::result(sent) {
                Ok(sent) => left = &mut left[usize::try_from(sent).expect("not negative")..],
                Err(Errno::ENOBUFS) => std::thread::yield_now(),
                Err(error) => panic!("cannot send {count} frames: {error}"),
            }
        }
    }

    /// Exactly `count` frames that match, however long they take; panics where one is missing, or one more
    /// comes soon after them.
    pub fn receive_exactly(&self, count: usize, matches: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let found = self.receive(count, PATIENCE, &matches);
        assert_eq!(found.len(), count, "frames that match, in {PATIENCE:?}");
        let more = self.receive(1, STRAGGLERS, &matches);
        assert!(more.is_empty(), "more than {count} frames: {more:02x?}");
        found
    }

    /// The frames that arrive until one is the `last`, with it; panics where that does not come.
    pub fn receive_until(&self, last: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while !found.last().is_some_and(|frame: &Vec<u8>| last(frame)) {
            let next = self.receive(1, PATIENCE, |_frame| true);
            assert!(!next.is_empty(), "the last frame is missing after {PATIENCE:?}: {found:02x?}");
            found.extend(next);
        }
        found
    }

    /// The frames that arrive (not those sent here) until `count` matched or `patience` has run out.
    /// VLAN tags that the kernel keeps beside the bytes are put back where they were.
    pub fn receive(
        &self,
        count: usize,
        patience: Duration,
        matches: impl Fn(&[u8]) -> bool,
    ) -> Vec<Vec<u8>> {
        let deadline = Instant::now() + patience;
        let mut found = Vec::new();
        let mut buffer = vec![0; LONGEST];
        while found.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.set_timeout(left);
            let read = self.read(MsgFlags::empty(), &mut buffer);
            found.extend(read.filter(|frame| matches(frame)));
        }
        // What came in time, while this thread got no processor.
        let late = self.arrived(&mut buffer).filter(|frame| matches(frame));
        let missing = count - found.len();
        found.extend(late.take(missing));
        found
    }

    /// The frames that have arrived, without waiting.
    pub fn drain(&self) -> Vec<Vec<u8>> {
        self.arrived(&mut vec![0; LONGEST]).collect()
    }

    fn arrived(&self, buffer: &mut [u8]) -> impl Iterator<Item = Vec<u8>> {
        std::iter::from_fn(move || self.read(MsgFlags::MSG_DONTWAIT, buffer))
    }

    /// The next frame; `None`: none in time.
    fn read(&self, flags: MsgFlags, buffer: &mut [u8]) -> Option<Vec<u8>> {
        let mut control = nix::cmsg_space!([u8; AUXDATA]);
        let mut parts = [IoSliceMut::new(buffer)];
        let fd = self.socket.as_raw_fd();
        let message = match recvmsg::<LinkAddr>(fd, &mut parts, Some(&mut control), flags) {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return None,
            Err(error) => panic!("cannot receive: {error}"),
        };
        let tag = message.cmsgs().expect("whole").find_map(|control| tag(&control));
        let length = message.bytes;
        let mut frame = buffer[..length].to_vec();
        if let Some(tag) = tag {
            frame.splice(12..12, tag);
        }
        Some(frame)
    }

    fn set_timeout(&self, left: Duration) {
        let micros = i64::try_from(left.as_micros().max(1)).expect("short");
        let time = TimeVal::new(micros / 1_000_000, micros % 1_000_000);
        setsockopt(&self.socket, sockopt::ReceiveTimeout, &time).expect("can be set");
    }
}

/// Time in which a frame too many shows itself.
const STRAGGLERS: Duration = Duration::from_millis(200);

/// Longer than any frame, bytes.
const LONGEST: usize = 70_000;

/// A message of one part.
fn message(part: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: zeros are a header without address, parts and control data.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    message.msg_hdr.msg_iov = part;
    message.msg_hdr.msg_iovlen = 1;
    message
}

/// Length of `struct tpacket_auxdata` (`include/uapi/linux/if_packet.h`), bytes.
const AUXDATA: usize = 20;
/// Bits of its status: it has a tag, and the tag's EtherType.
const TAG_AND_TYPE: u32 = 1 << 4 | 1 << 6;

/// Has the kernel say which VLAN tag a received frame has (`PACKET_AUXDATA`).
fn ask_for_tags(socket: &OwnedFd) {
    let on: libc::c_int = 1;
    let value = (&raw const on).cast();
    let length = u32::try_from(size_of::<libc::c_int>()).expect("small");
    let fd = socket.as_raw_fd();
    // SAFETY: `value` points to an integer whose length is given.
    let done =
        unsafe { libc::setsockopt(fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, value, length) };
    Errno::result(done).expect("can be set");
}

/// The VLAN tag that the kernel keeps beside a frame, as on the wire.
fn tag(control: &ControlMessageOwned) -> Option<[u8; 4]> {
    let ControlMessageOwned::Unknown(control) = control else {
        return None;
    };
    let data = &control.data_bytes;
    let status = u32::from_ne_bytes(data[..4].try_into().expect("four bytes"));
    let half = |at: usize| u16::from_ne_bytes([data[at], data[at + 1]]).to_be_bytes();
    let [[a, b], [c, d]] = [half(18), half(16)];
    (status & TAG_AND_TYPE == TAG_AND_TYPE).then_some([a, b, c, d])
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
