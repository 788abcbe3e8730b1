//! Bytes of a packet, in words. Headers stand at any address. BPF's loads and stores take any address
//! where the machine's do; the compiler does not know that, and makes one of each byte
//! (`docs/adr/0007-packets-in-words.md`).

use core::arch::asm;

/// Reads `N` bytes at `at`.
///
/// # Safety
/// They lie inside the packet.
#[inline(always)]
pub(crate) unsafe fn read<const N: usize>(at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    let (words, rest) = bytes.as_chunks_mut::<8>();
    let mut at = at;
    for word in words {
        // SAFETY: as the caller says.
        *word = unsafe { load_u64(at) }.to_ne_bytes();
        at += 8;
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    for word in words {
        // SAFETY: as the caller says.
        *word = (unsafe { load_u32(at) } as u32).to_ne_bytes();
        at += 4;
    }
    let (words, rest) = rest.as_chunks_mut::<2>();
    for word in words {
        // SAFETY: as the caller says.
        *word = (unsafe { load_u16(at) } as u16).to_ne_bytes();
        at += 2;
    }
    for byte in rest {
        // SAFETY: as the caller says.
        *byte = unsafe { load_u8(at) } as u8;
        at += 1;
    }
    bytes
}

/// Writes bytes at `at`.
///
/// # Safety
/// They lie inside the packet, which is writable there.
#[inline(always)]
pub(crate) unsafe fn write<const N: usize>(at: usize, bytes: &[u8; N]) {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut at = at;
    for word in words {
        // SAFETY: as the caller says.
        unsafe { store_u64(at, u64::from_ne_bytes(*word)) };
        at += 8;
    }
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        // SAFETY: as the caller says.
        unsafe { store_u32(at, u32::from_ne_bytes(*word).into()) };
        at += 4;
    }
    let (words, rest) = rest.as_chunks::<2>();
    for word in words {
        // SAFETY: as the caller says.
        unsafe { store_u16(at, u16::from_ne_bytes(*word).into()) };
        at += 2;
    }
    for byte in rest {
        // SAFETY: as the caller says.
        unsafe { store_u8(at, (*byte).into()) };
        at += 1;
    }
}

/// A load, zero-extended, and a store of one size.
macro_rules! accesses {
    ($($size:literal: $load:ident, $store:ident;)*) => {$(
        #[inline(always)]
        unsafe fn $load(at: usize) -> u64 {
            let word: u64;
            // SAFETY: as the caller says.
            unsafe {
                asm!(
                    concat!("{word} = *(", $size, " *)({at} + 0)"),
                    word = lateout(reg) word,
                    at = in(reg) at,
                    options(pure, readonly, nostack, preserves_flags),
                );
            }
            word
        }

        #[inline(always)]
        unsafe fn $store(at: usize, word: u64) {
            // SAFETY: as the caller says.
            unsafe {
                asm!(
                    concat!("*(", $size, " *)({at} + 0) = {word}"),
                    at = in(reg) at,
                    word = in(reg) word,
                    options(nostack, preserves_flags),
                );
            }
        }
    )*};
}

accesses! {
    "u64": load_u64, store_u64;
    "u32": load_u32, store_u32;
    "u16": load_u16, store_u16;
    "u8": load_u8, store_u8;
}
