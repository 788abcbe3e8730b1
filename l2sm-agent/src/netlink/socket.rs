//! One blocking conversation with the kernel's routing netlink.
//!
//! Blocking on purpose: a pass of the agent is one thread that asks and is answered, and what runs
//! inside a pod's namespace is a thread that ends with it.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NlaBuffer, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{
    errno::Errno,
    sys::{
        socket::{setsockopt, sockopt::ReceiveTimeout},
        time::TimeVal,
    },
};
use thiserror::Error;

/// Largest datagram that the kernel sends (`NLMSG_GOODSIZE` is less; dumps grow to the receiver's
/// buffer).
const BUFFER: usize = 256 * 1024;
/// The kernel answers at once; this only keeps a broken one from stopping the agent.
const PATIENCE_SECONDS: i64 = 10;
/// Dumps that changed under us are repeated this often.
const DUMP_TRIES: u32 = 8;
/// Length of a netlink header (`struct nlmsghdr`), bytes.
const HEADER_LENGTH: usize = 16;
/// Attribute of an error that carries its text (`NLMSGERR_ATTR_MSG`).
const ERROR_TEXT: u16 = 1;

/// Why the kernel did not do, or did not tell, what was asked.
#[derive(Debug, Error)]
pub enum NetlinkError {
    /// The socket failed.
    #[error("netlink: {0}")]
    Socket(#[from] io::Error),
    /// The kernel said no, with its reason.
    #[error("{}", refusal(*.errno, .text.as_deref()))]
    Refused {
        /// The code.
        errno: Errno,
        /// The kernel's own words (extended acknowledgement).
        text: Option<String>,
    },
    /// A dump changed under us each time.
    #[error("netlink: the table changes faster than it can be read")]
    Interrupted,
}

impl NetlinkError {
    /// The kernel's error code.
    pub fn errno(&self) -> Option<Errno> {
        let Self::Refused { errno, .. } = self else { return None };
        Some(*errno)
    }
}

/// A routing netlink socket of the namespace that the thread is in when it is opened.
#[derive(Debug)]
pub struct Conversation {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Conversation {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// No more descriptors, or no netlink.
    pub fn open() -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(PATIENCE_SECONDS, 0))
            .map_err(io::Error::from)?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Asks for something to be done, or for one thing; the answers until the acknowledgement.
    ///
    /// # Errors
    /// The kernel refused, or the socket failed.
    pub fn ask(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        Ok(self.receive()?.messages)
    }

    /// Reads a whole table.
    ///
    /// # Errors
    /// The kernel refused, or the socket failed, or the table does not hold still.
    pub fn dump(
        &mut self,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        for _try in 0..DUMP_TRIES {
            self.send(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            let answer = self.receive()?;
            if !answer.interrupted {
                return Ok(answer.messages);
            }
        }
        Err(NetlinkError::Interrupted)
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        Ok(())
    }

    fn receive(&mut self) -> Result<Answer, NetlinkError> {
        let mut answer = Answer::default();
        loop {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            let mut rest = self.buffer.as_slice();
            while let Some((packet, after)) = split_packet(rest) {
                rest = after;
                if packet.sequence == self.sequence && answer.take(&packet)? {
                    return Ok(answer);
                }
            }
        }
    }
}

/// What came back for one request.
#[derive(Debug, Default)]
struct Answer {
    messages: Vec<RouteNetlinkMessage>,
    interrupted: bool,
}

impl Answer {
    /// Takes one packet; true: it was the last.
    fn take(&mut self, packet: &Packet<'_>) -> Result<bool, NetlinkError> {
        self.interrupted |= packet.flags & NLM_F_DUMP_INTR != 0;
        match packet.kind {
            netlink_packet_core::NLMSG_DONE => Ok(true),
            netlink_packet_core::NLMSG_ERROR => {
                refused(packet.payload, packet.flags).map_or(Ok(true), Err)
            }
            _ => {
                self.messages.extend(decoded(packet));
                Ok(false)
            }
        }
    }
}

/// One netlink message in a datagram.
struct Packet<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

/// The first packet of a datagram and what follows it; `None`: none is left.
fn split_packet(bytes: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let header = bytes.first_chunk::<HEADER_LENGTH>()?;
    let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
    let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
    let packet = Packet {
        kind: u16::from_ne_bytes([k0, k1]),
        flags: u16::from_ne_bytes([f0, f1]),
        sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
        payload: bytes.get(HEADER_LENGTH..length)?,
    };
    let next = length.next_multiple_of(4).min(bytes.len());
    Some((packet, bytes.get(next..)?))
}

/// The message in a packet. One that the library cannot read (a link of a kind it does not know
/// well) must not hide the others.
fn decoded(packet: &Packet<'_>) -> Option<RouteNetlinkMessage> {
    let mut header = NetlinkHeader::default();
    header.message_type = packet.kind;
    match RouteNetlinkMessage::deserialize(&header, packet.payload) {
        Ok(message) => Some(message),
        Err(why) => {
            tracing::debug!(kind = packet.kind, %why, "netlink: a message is skipped");
            None
        }
    }
}

/// The error in an `NLMSG_ERROR`; `None`: it is an acknowledgement.
fn refused(payload: &[u8], flags: u16) -> Option<NetlinkError> {
    let code = i32::from_ne_bytes(*payload.first_chunk::<4>()?);
    if code == 0 {
        return None;
    }
    let capped = flags & netlink_packet_core::NLM_F_CAPPED != 0;
    let text = payload
        .get(4 + HEADER_LENGTH..)
        .filter(|_attributes| capped)
        .and_then(|attributes| NlasIterator::new(attributes).flatten().find_map(error_text));
    Some(NetlinkError::Refused { errno: Errno::from_raw(code.saturating_neg()), text })
}

fn error_text(attribute: NlaBuffer<&[u8]>) -> Option<String> {
    let text = attribute.value().split(|byte| *byte == 0).next()?;
    (attribute.kind() == ERROR_TEXT).then(|| String::from_utf8_lossy(text).into_owned())
}

fn refusal(errno: Errno, text: Option<&str>) -> String {
    match text {
        Some(text) => format!("{} ({text})", errno.desc()),
        None => errno.desc().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::link::LinkMessage;

    #[test]
    fn the_loopback_device_is_in_the_dump() {
        let mut kernel = Conversation::open().unwrap();
        let links = kernel.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default())).unwrap();
        assert!(links.iter().any(|link| matches!(
            link,
            RouteNetlinkMessage::NewLink(link) if link.header.index == 1
        )));
    }

    #[test]
    fn a_refusal_carries_the_kernels_code() {
        let mut kernel = Conversation::open().unwrap();
        let mut link = LinkMessage::default();
        link.header.index = 0x7fff_fff0;
        let refused = kernel.ask(RouteNetlinkMessage::GetLink(link), 0).unwrap_err();
        assert_eq!(refused.errno(), Some(Errno::ENODEV), "{refused}");
    }

    #[test]
    fn a_truncated_datagram_ends_the_walk() {
        assert!(split_packet(&[0; 15]).is_none());
        let mut lying = [0; 16];
        lying[0] = 200;
        assert!(split_packet(&lying).is_none());
    }
}
