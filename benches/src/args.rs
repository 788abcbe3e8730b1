//! The command line. `cargo xtask bench` reads it with the same rules (it includes this file), so that what is
//! wrong with it is found before anything is built.

use anyhow::{Result, bail};

/// Where the results go.
pub(crate) const RESULTS: &str = "target/bench/results.json";

/// Measure l2sm against the kernel's own bridge and vxlan, on this machine, in one run. As root.
///
/// Sets up what is missing, builds everything for use, runs interleaved rounds of each row, prints a table and writes
/// target/bench/results.json. All of it happens in network namespaces, which are gone afterwards.
#[derive(Debug, clap::Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
pub(crate) struct Args {
    /// Measure only this; may be given several times. An unknown name lists all
    #[arg(long, value_name = "MEASURE")]
    pub(crate) only: Vec<String>,
    /// Rounds of each row [default: 7; with --check or --publish 15, and not fewer]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=999))]
    pub(crate) rounds: Option<u16>,
    /// Judge the results by the bars, and fail if one is not reached
    #[arg(long)]
    pub(crate) check: bool,
    /// Write docs/performance.md and its plot
    #[arg(long, conflicts_with = "only")]
    pub(crate) publish: bool,
    /// What went wrong before this program began: said at the end, and the run fails
    #[arg(long, hide = true, value_name = "WHAT")]
    pub(crate) missed: Option<String>,
}

impl Args {
    /// Checks what the rules above do not say.
    ///
    /// # Errors
    /// A name that no measure has; the error lists those that there are.
    pub(crate) fn check_names(&self) -> Result<()> {
        match self.only.iter().find(|name| !MEASURES.contains(&name.as_str())) {
            Some(name) => {
                bail!("--only {name}: no such measure; there are {}", MEASURES.join(", "))
            }
            None => Ok(()),
        }
    }
}

/// The names of all measures, in the order of the rows that yield them.
pub(crate) const MEASURES: &[&str] = &[
    "pingpong_p50",
    "pingpong_p99",
    "pingpong_p999",
    "pingpong_cpu",
    "udp64_pps",
    "udp64_cpu",
    "tcp1_super",
    "tcp_cpu_per_gb_super",
    "tcp4_super",
    "tcp1_wire",
    "tcp_cpu_per_gb",
    "tcp1_wire_reorder",
    "tcp4_wire",
    "tcp_msg3k",
    "tcp_msg3k_cpu_per_gb",
    "tcp_msg3k_reorder",
    "tcp_msg8k",
    "tcp_msg8k_cpu_per_gb",
    "tcp_msg8k_reorder",
    "tcp_msg16k",
    "tcp_msg16k_cpu_per_gb",
    "tcp_msg16k_reorder",
    "tcp_crr",
    "tcp_crr_cpu",
    "foreign_pps",
    "foreign_tcp",
    "fwd_tcp1_super",
    "fwd_tcp4_super",
    "fwd_tcp1_wire",
    "fwd_tcp4_wire",
    "fwd_tcp_msg3k",
    "fwd_tcp_msg8k",
    "fwd_tcp_msg16k",
    "pingpong_xcpu_p50",
    "pingpong_xcpu_p99",
    "pingpong_xcpu_p999",
    "pingpong_load_p50",
    "pingpong_load_p99",
    "pingpong_load_p999",
    "pingpong_xcpu_load_p50",
    "pingpong_xcpu_load_p99",
    "pingpong_xcpu_load_p999",
    "udp64_16_pps",
    "udp64_16_cpu",
    "udp_gso_pps",
    "udp_gso_cpu",
    "v6_pingpong_p50",
    "v6_udp64_pps",
    "v6_udp64_cpu",
    "v6_tcp1_super",
    "v6_tcp1_wire",
    "same_pingpong_p50",
    "same_udp64_pps",
    "same_udp64_cpu",
    "same_tcp1",
    "attack_pingpong_p50",
    "attack_pingpong_p99",
    "attack_pingpong_p999",
    "attack_xdp_pingpong_p50",
    "attack_xdp_pingpong_p99",
    "attack_xdp_pingpong_p999",
    "foreign_xdp_pps",
    "ct_pingpong_p50",
    "ct_udp64_pps",
    "ct_udp64_cpu",
    "ct_tcp1_wire",
    "encap_ns",
    "decap_ns",
    "local_ns",
    "tunnel_ns",
    "refused_ns",
    "refused_xdp_ns",
    "empty_ns",
    "room_ns",
    "foreign_rx_ns",
    "foreign_tx_ns",
    "own_tx_ns",
    "encap_1k_ns",
    "decap_1k_ns",
    "local_1k_ns",
    "tunnel_1k_ns",
    "refused_1k_ns",
    "refused_xdp_1k_ns",
    "encap_100k_ns",
    "decap_100k_ns",
    "local_100k_ns",
    "tunnel_100k_ns",
    "refused_100k_ns",
    "refused_xdp_100k_ns",
    "decap_skb_bytes",
    "flood8_copy_ns",
    "flood64_copy_ns",
    "flood256_copy_ns",
    "flood1024_copy_ns",
    "flood8_longest_us",
    "flood64_longest_us",
    "flood256_longest_us",
    "flood1024_longest_us",
];
