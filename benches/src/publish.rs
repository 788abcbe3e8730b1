//! `docs/performance.md` and its plot: what was measured, where, and how to repeat it.

mod plot;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{
    gates::Judgement,
    machine::Machine,
    measure::Better,
    results::{ResultRow, Results},
    table::figure,
};

const PAGE: &str = "docs/performance.md";
const PLOT: &str = "docs/performance.svg";

/// Writes both.
///
/// # Errors
/// They cannot be written: this is no checkout.
pub fn publish(results: &Results, judged: &[Judgement]) -> Result<()> {
    let write = |path: &str, text: String| {
        fs::write(Path::new(path), text).with_context(|| format!("cannot write {path}"))
    };
    write(PLOT, plot::svg(&results.rows, judged))?;
    write(PAGE, page(results, judged))
}

/// The page.
fn page(results: &Results, judged: &[Judgement]) -> String {
    let machine = &results.machine;
    let rows: String = results.rows.iter().map(row).collect();
    let bars: String = judged.iter().map(bar).collect();
    format!(
        "# Performance\n\n\
         Written by `cargo xtask bench --publish`; do not edit.\n\n\
         ![Ratio of l2sm to kernel bridge and vxlan](performance.svg)\n\n\
         ## What is compared\n\n{COMPARED}\n\
         ## Where\n\n\
         Kernel {} ({}), {} x {}, {} MiB of memory, TCP with {}, load average {:.1} when the\n\
         run began. Faults of the processor, and what the kernel does about them: {}.\n\
         {} interleaved rounds of each row.\n\n\
         ## Results\n\n\
         Medians; the ratio is that of our median to the kernel's. The interval (95 %, bootstrap) is of\n\
         the ratios of the rounds, in which what slows both down does not show: a ratio of medians may\n\
         lie outside it. A dash: not measured, or there is no such thing.\n\n\
         | measure | unit | better | veth | bridge | kernel | l2sm | ratio | interval |\n\
         |---|---|---|---:|---:|---:|---:|---:|---|\n{rows}\n\
         ## Bars\n\n\
         Seen: the median of the ratios of the rounds. A gate fails only if the whole interval is on the\n\
         wrong side; a target is reached where the median is on the right one. What `encap_ns + decap_ns` is made of\n\
         and what was tried: [ADR 7](adr/0007-packets-in-words.md).\n\n\
         | measure | seen | interval | gate | target | verdict |\n\
         |---|---:|---|---:|---:|---|\n{bars}\n{SEGMENTS}\
         ## How to repeat it\n\n{REPEATED}",
        machine.kernel,
        machine.build,
        machine.cpus,
        machine.cpu,
        machine.memory_mib,
        machine.congestion_control,
        machine.load,
        mitigations(machine),
        results.rounds,
    )
}

fn mitigations(machine: &Machine) -> String {
    let all = machine.mitigations.iter().map(|(fault, what)| format!("`{fault}`: {what}"));
    let all: Vec<_> = all.collect();
    if all.is_empty() { "none known".to_owned() } else { all.join("; ") }
}

const SEGMENTS: &str = "\
`decap_skb_bytes` depends on how polls fall. NAPI takes 64 packets at a time, and after a full 64 a\n\
kernel with HZ below 1000 hands up all that GRO holds (`napi_gro_flush(n, HZ >= 1000)` in\n\
`net/core/dev.c`). A super-packet has room for 44 or 45 segments of 1,448 bytes: a receiver that always\n\
finds 64 gets one of those and one of 20 or 19, about 46 kB in the mean. The target of 55 kB takes\n\
one that is not kept that busy.\n\n";

const COMPARED: &str = "\
Two pods on two nodes, in network namespaces of one machine, with the same load generator\n\
(`benches/`). The nodes are joined by a veth pair with an MTU of 1600; pods have 1500.\n\n\
- `veth`: the pods joined by one veth pair: the limit.\n\
- `bridge`: a bridge on each node with the underlay as a port: no tunnel.\n\
- `kernel`: kernel bridge and vxlan at their best: static forwarding entries, no learning at any\n\
  port, `bridge-nf-call-*` off, IP addresses resolved beforehand, UDP checksums as they are by\n\
  default (without them small packets take less CPU, and no more of them get through).\n\
- `l2sm`: release builds of `l2sm-controller` and `l2sm-agent` with default features, pods attached\n\
  by `l2smctl attach`.\n\n\
Clients run on the first CPU, servers on the second; ping-pong and connections run both ends on the\n\
first. CPU time is that of the load generator's threads and of ksoftirqd, and so of both nodes. Each\n\
round runs all variants, every other round backwards, so that what else the machine does hits all\n\
alike.\n\n\
\"Super-packets\": the veth carries what TCP makes, up to 64 kB at a time. \"Wire-like\": the sending\n\
kernel segments and the receiving one aggregates, as with a NIC without tunnel offloads. The\n\
`fwd_` rows go to a port that is marked as a forwarder, whose aggregated TCP takes the way through\n\
the kernel's vxlan device. `foreign_pps` and `foreign_tcp` compare UDP and TCP between two nodes\n\
without us and with our programs on the underlay. `ct_` rows: nodes that track connections and have 100 services in nftables.\n\
`attack_` rows: ping-pong while the server's node gets tunnel packets of an unknown VNI; with `xdp`\n\
in their names: the server's node drops by XDP in the driver. Rows in `ns`: programs run on a\n\
64-byte frame by `BPF_PROG_TEST_RUN`, minus an empty program (`empty_ns`), with FDBs of 10, 1,000\n\
and 100,000: `local` from pod to pod, `tunnel` out of the slow path into a pod, `refused` a tunnel\n\
packet of an unknown network, `foreign` what is not ours, `own_tx` what a pod sent as it leaves by\n\
the underlay; `room_ns` is one `bpf_skb_adjust_room`. `flood` rows are the sender's half: a copy made,\n\
encapsulated and handed to a device, for each of 8 to 1,024 receivers; what receivers do with it is\n\
not in them.\n\n\
No physical NIC was measured.\n\n";

const REPEATED: &str = "\
```\n\
cargo xtask bench                     # 7 rounds of everything, and a table\n\
cargo xtask bench --only udp64_pps    # one measure, and those that come with it\n\
cargo xtask bench --check             # 15 rounds, judged by the bars\n\
cargo xtask bench --check --publish   # and this page\n\
```\n\n\
As root. It works in network namespaces of its own, which are gone afterwards, and leaves\n\
`target/bench/results.json`. What else runs on the machine makes intervals wider.\n";

fn row(row: &ResultRow) -> String {
    let better = match row.better {
        Better::Lower => "lower",
        Better::Higher => "higher",
    };
    let interval = match (row.ratio_lo, row.ratio_hi) {
        (Some(lo), Some(hi)) => format!("{lo:.3} to {hi:.3}"),
        _ => "-".to_owned(),
    };
    format!(
        "| `{}` | {} | {better} | {} | {} | {} | {} | {} | {interval} |\n",
        row.measure,
        row.unit,
        figure(row.veth),
        figure(row.bridge),
        figure(row.kernel),
        figure(row.l2sm),
        row.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.3}")),
    )
}

fn bar(judged: &Judgement) -> String {
    let (seen, interval) = match judged.seen {
        Some((value, interval)) => (
            figure(Some(value)),
            format!("{} to {}", figure(Some(interval.lo)), figure(Some(interval.hi))),
        ),
        None => ("-".to_owned(), "-".to_owned()),
    };
    let (gate, sign) = (judged.gate, judged.gate.better.sign());
    format!(
        "| `{}` | {seen} | {interval} | {sign} {} | {} | {} |\n",
        gate.subject, gate.gate, gate.target, judged.verdict
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{gates::judge, measure::lower, results::Series, variant::Variant};

    #[test]
    fn the_page_has_the_figures_the_machine_and_the_verdicts() {
        let mut series = Series::new(lower("pingpong_p50", "us"));
        series.push(Variant::Kernel, Some(10.0));
        series.push(Variant::L2sm, Some(8.0));
        let rows = vec![series.row()];
        let fault = ("retbleed".to_owned(), "Mitigation: untrained".to_owned());
        let machine = Machine { mitigations: [fault].into(), ..Machine::here() };
        let results = Results { rounds: 1, machine, rows };
        let text = page(&results, &judge(&[series]));
        let row =
            "| `pingpong_p50` | us | lower | - | - | 10.00 | 8.000 | 0.800 | 0.800 to 0.800 |";
        assert!(text.contains(row), "{text}");
        assert!(
            text.contains("| `pingpong_p50` | 0.800 | 0.800 to 0.800 | <= 0.83 | 0.78 | pass |")
        );
        assert!(text.contains("| `udp64_pps` | - | - | >= 1.5 | 1.7 | NOT MEASURED |"), "{text}");
        assert!(text.contains(&results.machine.kernel));
        assert!(text.contains("`retbleed`: Mitigation: untrained"), "{text}");
    }
}
