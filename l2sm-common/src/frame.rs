//! Bounds-checked reads from a frame, wherever its bytes live.

/// Read access to one Ethernet frame and to what the kernel knows about it.
///
/// The kernel implements it over `__sk_buff`, tests over [`Bytes`]; every parser is written against
/// this trait, so the code the verifier accepts is the code the fuzzer runs.
pub trait Frame {
    /// The `N` bytes at `offset`, or `None` when they end past what can be read directly. In the
    /// kernel that may be less than [`len`](Self::len): the rest is in fragments.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
    /// Length of the frame from its Ethernet header on, bytes.
    fn len(&self) -> u32;
    /// Payload bytes of each segment of an aggregated frame; 0: not aggregated.
    fn gso_size(&self) -> u32;
    /// An 802.1Q or 802.1ad tag travels beside the bytes.
    fn has_tag(&self) -> bool;
    /// Hash of the flow, as the kernel computes it.
    fn flow_hash(&self) -> u32;
    /// The link layer received it for this host (`PACKET_HOST`).
    fn is_for_host(&self) -> bool;
    /// `skb->mark`.
    fn mark(&self) -> u32;

    /// Whether the frame has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bytes that the frame has but that [`Frame::load`] does not reach: pull them and decide again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfReach;

/// Reads `N` bytes at `offset` if the frame has so many: `Ok(None)` when it is shorter.
///
/// # Errors
///
/// [`OutOfReach`] when the frame has them, but not here.
#[inline(always)]
pub fn read<const N: usize, F: Frame + ?Sized>(
    frame: &F,
    offset: usize,
) -> Result<Option<[u8; N]>, OutOfReach> {
    match frame.load::<N>(offset) {
        Some(bytes) => Ok(Some(bytes)),
        None if ends_after(frame, offset + N) => Err(OutOfReach),
        None => Ok(None),
    }
}

#[inline(always)]
#[expect(clippy::as_conversions, reason = "u32 fits usize on every target")]
fn ends_after<F: Frame + ?Sized>(frame: &F, end: usize) -> bool {
    frame.len() as usize >= end
}

/// A frame in memory, for the host.
#[cfg(any(test, feature = "std"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes<'a> {
    /// The bytes, from the Ethernet header on.
    pub bytes: &'a [u8],
    /// See [`Frame::gso_size`].
    pub gso_size: u32,
    /// See [`Frame::has_tag`].
    pub tagged: bool,
    /// See [`Frame::flow_hash`].
    pub hash: u32,
    /// See [`Frame::is_for_host`].
    pub for_host: bool,
    /// See [`Frame::mark`].
    pub mark: u32,
}

#[cfg(any(test, feature = "std"))]
impl<'a> Bytes<'a> {
    /// A plain frame for this host.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, gso_size: 0, tagged: false, hash: 0, for_host: true, mark: 0 }
    }
}

#[cfg(any(test, feature = "std"))]
impl Frame for Bytes<'_> {
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.bytes.get(offset..offset.checked_add(N)?)?.first_chunk::<N>().copied()
    }

    fn len(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    fn gso_size(&self) -> u32 {
        self.gso_size
    }

    fn has_tag(&self) -> bool {
        self.tagged
    }

    fn flow_hash(&self) -> u32 {
        self.hash
    }

    fn is_for_host(&self) -> bool {
        self.for_host
    }

    fn mark(&self) -> u32 {
        self.mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of which only a part can be read.
    struct Fragmented(Vec<u8>, usize);

    impl Frame for Fragmented {
        fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
            Bytes::new(&self.0[..self.1]).load(offset)
        }
        fn len(&self) -> u32 {
            u32::try_from(self.0.len()).unwrap()
        }
        fn gso_size(&self) -> u32 {
            0
        }
        fn has_tag(&self) -> bool {
            false
        }
        fn flow_hash(&self) -> u32 {
            0
        }
        fn is_for_host(&self) -> bool {
            true
        }
        fn mark(&self) -> u32 {
            0
        }
    }

    #[test]
    fn what_is_in_fragments_is_out_of_reach_and_what_is_missing_is_not() {
        let frame = Fragmented(vec![7; 100], 40);
        assert_eq!(read::<4, _>(&frame, 36), Ok(Some([7; 4])));
        assert_eq!(read::<4, _>(&frame, 38), Err(OutOfReach));
        assert_eq!(read::<4, _>(&frame, 98), Ok(None));
    }
}
