//! The table that a run ends with.

use crate::{results::ResultRow, say::say};

/// Prints all rows, with a line of headings.
pub(crate) fn print(rows: &[ResultRow]) {
    say!(
        "{:24} {:>7} {:>11} {:>11} {:>11} {:>11} {:>7}  95 % interval",
        "measure",
        "unit",
        "veth",
        "bridge",
        "kernel",
        "l2sm",
        "ratio"
    );
    for row in rows {
        say!("{}", line(row));
    }
}

/// One row.
pub(crate) fn line(row: &ResultRow) -> String {
    let interval = match (row.ratio_lo, row.ratio_hi) {
        (Some(lo), Some(hi)) => format!("{lo:.3} - {hi:.3}"),
        _ => String::new(),
    };
    let ratio = row.ratio.map_or(String::new(), |ratio| format!("{ratio:.3}"));
    let line = format!(
        "{:24} {:>7} {:>11} {:>11} {:>11} {:>11} {ratio:>7}  {interval}",
        row.measure,
        row.unit,
        figure(row.veth),
        figure(row.bridge),
        figure(row.kernel),
        figure(row.l2sm),
    );
    line.trim_end().to_owned()
}

/// A figure with four significant digits; a dash where nothing was measured.
pub(crate) fn figure(value: Option<f64>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_have_about_four_digits_and_none_is_invented() {
        assert_eq!(figure(Some(123_456.7)), "123457");
        assert_eq!(figure(Some(43.219)), "43.22");
        assert_eq!(figure(Some(0.1847)), "0.185");
        assert_eq!(figure(None), "-");
    }
}
