//! The plot: how many times better than the kernel's, with intervals and gates.

use std::fmt::Write as _;

use crate::{
    gates::{Judgement, Subject},
    measure::Better,
    results::ResultRow,
};

const LEFT: f64 = 210.0;
const WIDTH: f64 = 560.0;
const LINE: f64 = 20.0;
const TOP: f64 = 46.0;
/// What the axis shows: from 0.5 to 4 times better, by powers of two.
const LOWEST: f64 = 0.5;
const HIGHEST: f64 = 4.0;

/// Lines across the plot, with their colours: what is as good as the kernel's stands out.
const MARKS: [(f64, &str); 7] = [
    (0.5, "lightgray"),
    (0.71, "lightgray"),
    (1.0, "black"),
    (1.41, "lightgray"),
    (2.0, "lightgray"),
    (2.83, "lightgray"),
    (4.0, "lightgray"),
];

/// The plot of all rows that have a ratio.
pub(super) fn svg(rows: &[ResultRow], judged: &[Judgement]) -> String {
    let rows: Vec<_> = rows.iter().filter(|row| row.ratio.is_some()).collect();
    let height = TOP + LINE * rows.len() as f64 + 14.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"16\">times better than kernel bridge and vxlan; line: 95 % \
         interval; red: gate</text>\n",
        LEFT + WIDTH + 60.0
    );
    for (mark, color) in MARKS {
        let x = place(mark);
        push(
            &mut svg,
            format_args!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{height:.0}\" stroke=\"{color}\"/>\n\
             <text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"gray\">{mark}</text>\n",
                TOP - 6.0
            ),
        );
    }
    for (row, number) in rows.iter().zip(0_u8..) {
        draw(&mut svg, row, gate(row, judged), TOP + LINE * (f64::from(number) + 0.5));
    }
    svg + "</svg>\n"
}

fn draw(svg: &mut String, row: &ResultRow, gate: Option<f64>, y: f64) {
    let better = |ratio: f64| match row.better {
        Better::Lower => 1.0 / ratio,
        Better::Higher => ratio,
    };
    let Some(ratio) = row.ratio.map(better) else { return };
    let text = y + 4.0;
    push(
        svg,
        format_args!(
            "<text x=\"{:.0}\" y=\"{text:.0}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 8.0,
            row.measure
        ),
    );
    if let Some(x) = gate.map(|gate| place(better(gate))) {
        push(
            svg,
            format_args!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.0}\" y2=\"{:.0}\" stroke=\"red\" \
             stroke-width=\"2\"/>\n",
                y - 7.0,
                y + 7.0
            ),
        );
    }
    if let (Some(lo), Some(hi)) = (row.ratio_lo.map(better), row.ratio_hi.map(better)) {
        let (from, to) = (place(lo), place(hi));
        push(
            svg,
            format_args!(
                "<line x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{y:.0}\" y2=\"{y:.0}\" \
             stroke=\"steelblue\" stroke-width=\"3\"/>\n"
            ),
        );
    }
    push(
        svg,
        format_args!(
            "<circle cx=\"{:.1}\" cy=\"{y:.0}\" r=\"4\" fill=\"navy\"/>\n\
         <text x=\"{:.0}\" y=\"{text:.0}\">{ratio:.2}</text>\n",
            place(ratio),
            LEFT + WIDTH + 12.0
        ),
    );
}

/// The gate of a row, as a ratio.
fn gate(row: &ResultRow, judged: &[Judgement]) -> Option<f64> {
    let about = |judged: &&Judgement| judged.gate.subject == Subject::Ratio(row.measure);
    judged.iter().find(about).map(|judged| judged.gate.gate)
}

/// Where a factor is on the axis; what lies beyond is drawn at its end.
fn place(factor: f64) -> f64 {
    let share = (factor.clamp(LOWEST, HIGHEST) / LOWEST).log2() / (HIGHEST / LOWEST).log2();
    LEFT + WIDTH * share
}

fn push(svg: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a string does not fail.
    let _written: std::fmt::Result = svg.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::lower;
    use crate::{results::Series, variant::Variant};

    #[test]
    fn half_the_time_is_twice_as_good() {
        let mut series = Series::new(lower("pingpong_p50", "us"));
        series.push(Variant::Kernel, Some(10.0));
        series.push(Variant::L2sm, Some(5.0));
        let svg = svg(&[series.row()], &[]);
        assert!(svg.contains(&format!("cx=\"{:.1}\"", place(2.0))), "{svg}");
        assert!(svg.contains(">2.00</text>"));
    }

    #[test]
    fn the_axis_has_the_kernel_at_one_and_ends_at_its_ends() {
        assert!(place(0.5) < place(1.0) && place(1.0) < place(4.0));
        assert!((place(100.0) - place(4.0)).abs() < 1e-9);
        assert!((place(0.001) - LEFT).abs() < 1e-9);
    }
}
