//! Medians, quantiles and intervals. Pure: randomness is a seed.

/// A ratio or value with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
}

/// Resamples of a bootstrap.
const RESAMPLES: usize = 4_000;

/// The middle value; the mean of the two in the middle where their number is even.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*sorted.get(sorted.len() / 2 - 1)?, upper))
}

/// The value that the share `q` (0 to 1) of `sorted` does not exceed: nearest rank.
pub fn quantile<T: Copy>(sorted: &[T], q: f64) -> Option<T> {
    let rank = (sorted.len() as f64 * q).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).or(sorted.last()).copied()
}

/// `numerator / denominator`, round by round; a round without one of them is left out.
pub fn paired_ratios(numerators: &[Option<f64>], denominators: &[Option<f64>]) -> Vec<f64> {
    let pairs = numerators.iter().zip(denominators);
    let ratios = pairs.filter_map(|(numerator, denominator)| Some((*numerator)? / (*denominator)?));
    ratios.filter(|ratio| ratio.is_finite()).collect()
}

/// 95 % interval of the median, by the percentile bootstrap. The same values give the same interval.
pub fn interval(values: &[f64]) -> Option<Interval> {
    if values.is_empty() {
        return None;
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let resample = |_| {
        let drawn: Vec<f64> =
            values.iter().filter_map(|_| values.get(random.below(values.len())).copied()).collect();
        median(&drawn)
    };
    let mut medians: Vec<f64> = (0..RESAMPLES).filter_map(resample).collect();
    medians.sort_by(f64::total_cmp);
    Some(Interval { lo: quantile(&medians, 0.025)?, hi: quantile(&medians, 0.975)? })
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_quantile_is_the_nearest_rank() {
        let values: Vec<u32> = (1..=1000).collect();
        assert_eq!(quantile(&values, 0.5), Some(500));
        assert_eq!(quantile(&values, 0.999), Some(999));
        assert_eq!(quantile(&values, 1.0), Some(1000));
        assert_eq!(quantile(&values, 0.0), Some(1));
        assert_eq!(quantile::<u32>(&[], 0.5), None);
    }

    #[test]
    fn a_round_without_a_partner_has_no_ratio() {
        let ours = [Some(2.0), None, Some(9.0), Some(1.0)];
        let theirs = [Some(4.0), Some(1.0), Some(3.0), Some(0.0)];
        assert_eq!(paired_ratios(&ours, &theirs), [0.5, 3.0]);
    }

    #[test]
    fn the_interval_holds_the_median_and_narrows_with_agreement() {
        let wide: Vec<f64> = (0..15).map(|n| 1.0 + f64::from(n % 5) / 10.0).collect();
        let narrow: Vec<f64> = (0..15).map(|n| 1.2 + f64::from(n % 5) / 1000.0).collect();
        let (wide, narrow) = (interval(&wide).unwrap(), interval(&narrow).unwrap());
        assert!(wide.lo <= 1.2 && 1.2 <= wide.hi, "{wide:?}");
        assert!(wide.lo >= 1.0 && wide.hi <= 1.4, "{wide:?}");
        assert!(narrow.hi - narrow.lo < (wide.hi - wide.lo) / 10.0, "{narrow:?} {wide:?}");
    }

    #[test]
    fn the_interval_covers_the_true_median_in_about_nineteen_of_twenty_runs() {
        let mut random = Random(1);
        let mut draw = || (random.below(1_000_000) as f64) / 1e6;
        let mut covered = 0;
        for _ in 0..300 {
            let sample: Vec<f64> = (0..15).map(|_| draw()).collect();
            let interval = interval(&sample).unwrap();
            covered += i32::from(interval.lo <= 0.5 && 0.5 <= interval.hi);
        }
        assert!((270..=298).contains(&covered), "{covered} of 300");
    }

    #[test]
    fn one_value_is_its_own_interval() {
        assert_eq!(interval(&[1.5]), Some(Interval { lo: 1.5, hi: 1.5 }));
        assert_eq!(interval(&[]), None);
    }
}
