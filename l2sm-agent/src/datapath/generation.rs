//! Which version of the layout is this one's, and which others it writes as well.

use l2sm_common::abi;

/// The version of the layout that an agent keeps its maps in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Number of the directory, `v<ABI>`.
    pub abi: u32,
    /// Other versions whose maps this one reads and writes: an upgrade from one of them takes its
    /// entries over, and keeps both alike until the last program of the old one is replaced.
    pub known: Vec<u32>,
}

impl Generation {
    /// This build's. No earlier layout was released: whoever raises [`abi::ABI`] has the new agent
    /// know the one before it.
    #[cfg(not(feature = "next-build"))]
    pub fn current() -> Self {
        Self { abi: abi::ABI, known: Vec::new() }
    }

    /// That of the build with which tests upgrade: the ABI in `L2SM_TEST_ABI`, else the next one. Its
    /// layout is this one's, so it knows this one.
    #[cfg(feature = "next-build")]
    pub fn current() -> Self {
        let chosen = std::env::var("L2SM_TEST_ABI").ok().and_then(|abi| abi.parse().ok());
        Self { abi: chosen.unwrap_or(abi::ABI + 1), known: vec![abi::ABI] }
    }
}
