//! Many datagrams in one system call.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use anyhow::{Context as _, Result};
use nix::{errno::Errno, libc};

/// Datagrams of one call.
pub(super) const BATCH: usize = 64;

/// Buffers for a batch. Connected sockets only: no addresses.
pub(super) struct Batch {
    /// Kept for as long as the headers point to it.
    _bytes: Vec<u8>,
    _vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers in the headers go to the vectors' own heap memory, which moves along.
unsafe impl Send for Batch {}

impl Batch {
    /// A batch of datagrams of `size` bytes each.
    pub(super) fn new(size: usize) -> Self {
        Self::of(&vec![7; size])
    }

    /// A batch of this datagram.
    pub(super) fn of(datagram: &[u8]) -> Self {
        let size = datagram.len();
        let mut bytes = datagram.repeat(BATCH);
        let mut vectors: Vec<libc::iovec> = bytes
            .chunks_mut(size)
            .map(|chunk| libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: size })
            .collect();
        let headers = vectors.iter_mut().map(|vector| header(&raw mut *vector)).collect();
        Self { _bytes: bytes, _vectors: vectors, headers }
    }

    /// Sends up to `count` of them; how many went.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, count: usize) -> Result<usize> {
        let count = u32::try_from(count.min(BATCH)).unwrap_or(0);
        let (fd, headers) = (socket.as_raw_fd(), self.headers.as_mut_ptr());
        // SAFETY: `headers` points to at least `count` headers whose pointers are valid.
        let sent = unsafe { libc::sendmmsg(fd, headers, count, 0) };
        let sent = Errno::result(sent).context("cannot send datagrams")?;
        Ok(usize::try_from(sent).unwrap_or(0))
    }

    /// Takes what is there, waiting for the first; 0: nothing came within the socket's timeout.
    pub(super) fn take(&mut self, socket: BorrowedFd<'_>) -> Result<usize> {
        let count = u32::try_from(BATCH).unwrap_or(0);
        let (fd, headers) = (socket.as_raw_fd(), self.headers.as_mut_ptr());
        let (flags, none) = (libc::MSG_WAITFORONE, std::ptr::null_mut());
        // SAFETY: `headers` points to `count` headers whose pointers are valid; no timeout is given.
        let taken = unsafe { libc::recvmmsg(fd, headers, count, flags, none) };
        match Errno::result(taken) {
            Ok(taken) => Ok(usize::try_from(taken).unwrap_or(0)),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(error) => Err(error).context("cannot receive datagrams"),
        }
    }
}

fn header(vector: *mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: a C structure of integers and pointers, for which zero is a value.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_iov = vector;
    header.msg_hdr.msg_iovlen = 1;
    header
}
