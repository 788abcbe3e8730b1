//! Durations as kubectl takes them: `30s`, `1m30s`, `500ms`, `0.5h`.

use std::time::Duration;

/// The units of Go's `time.ParseDuration` and their length in seconds; longer names first, so that
/// `ms` is not taken for minutes.
const UNITS: [(&str, f64); 7] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// Reads a duration; a number alone is seconds.
///
/// # Errors
/// What was expected, when `text` is none.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().or_else(|| sum(text));
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "expected a duration such as 30s, 1m30s or 500ms".to_owned())
}

/// The seconds of `1m30s`: numbers, each with a unit.
fn sum(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let (unit, length) = UNITS.into_iter().find(|(unit, _)| tail.starts_with(unit))?;
        seconds += number.parse::<f64>().ok()? * length;
        rest = tail.strip_prefix(unit)?;
    }
    (!text.is_empty()).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_kubectl_reads_them() {
        for (text, milliseconds) in
            [("30s", 30_000), ("1m30s", 90_000), ("500ms", 500), ("0", 0), ("0.5h", 1_800_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "10x", "-1s", "1m30", "ten", "inf", "NaN"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
