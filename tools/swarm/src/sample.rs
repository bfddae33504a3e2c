//! Uniform samples of many values, and percentiles of samples.
//!
//! A reservoir keeps a bounded number of values such that each that was offered is in it with the same chance.
//! Reservoirs of several threads merge in proportion to what each was offered.

use serde::{Deserialize, Serialize};

/// Values that a report carries of each kind, at the most.
pub(crate) const SAMPLES_MAX: usize = 20_000;

/// Numbers that look random, the same for each seed: which value makes way for another matters to nobody.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 of them.
    pub(crate) fn bits(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 where there is none.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }
}

/// A uniform sample of what was offered.
#[derive(Debug, Clone)]
pub(crate) struct Reservoir {
    kept: Vec<f32>,
    offered: u64,
    dice: Dice,
}

impl Reservoir {
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            kept: Vec::new(),
            offered: 0,
            dice: Dice::new(seed),
        }
    }

    /// One more value.
    pub(crate) fn offer(&mut self, value: f32) {
        self.offered += 1;
        if self.kept.len() < SAMPLES_MAX {
            self.kept.push(value);
            return;
        }
        let place = self.dice.below(self.offered) as usize;
        if let Some(slot) = self.kept.get_mut(place) {
            *slot = value;
        }
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        self.offered = 0;
    }

    /// A sample of at most [`SAMPLES_MAX`] values over all that was offered to several.
    pub(crate) fn merge<'a>(all: impl IntoIterator<Item = &'a Self>) -> Vec<f32> {
        let all: Vec<&Self> = all.into_iter().collect();
        let offered: u64 = all.iter().map(|one| one.offered).sum();
        let kept: usize = all.iter().map(|one| one.kept.len()).sum();
        if offered == kept as u64 && kept <= SAMPLES_MAX {
            return all.iter().flat_map(|one| one.kept.clone()).collect();
        }
        let mut merged = Vec::with_capacity(SAMPLES_MAX);
        for one in all {
            let share = one.offered as f64 / offered as f64;
            let count = ((share * SAMPLES_MAX as f64) as usize).min(one.kept.len());
            let (mut values, mut dice) = (one.kept.clone(), one.dice.clone());
            // The first steps of a shuffle.
            for at in 0..count {
                let other = at + dice.below((values.len() - at) as u64) as usize;
                values.swap(at, other);
            }
            merged.extend_from_slice(&values[..count]);
        }
        merged
    }
}

/// Percentiles of values, in their unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Percentiles {
    /// Of a sample, in any order; `None` of none.
    pub(crate) fn of(values: &[f32]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f32::total_cmp);
        let max = *sorted.last()?;
        // The smallest value that this share of all does not exceed.
        let at = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            f64::from(sorted[rank.clamp(1, sorted.len()) - 1])
        };
        Some(Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: max.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_there() {
        let values: Vec<f32> = (1..=200).rev().map(|v| v as f32).collect();
        let of = Percentiles::of(&values).expect("there are some");
        assert_eq!(
            (of.p50, of.p90, of.p99, of.max),
            (100.0, 180.0, 198.0, 200.0)
        );
        assert_eq!(Percentiles::of(&[7.0]).map(|of| of.p99), Some(7.0));
        assert_eq!(Percentiles::of(&[]), None);
    }

    #[test]
    fn a_reservoir_keeps_early_and_late_alike() {
        let mut reservoir = Reservoir::new(1);
        let count = 10 * SAMPLES_MAX;
        for value in 0..count {
            reservoir.offer(value as f32);
        }
        let kept = Reservoir::merge([&reservoir]);
        assert_eq!(kept.len(), SAMPLES_MAX);
        let mean = kept.iter().map(|v| f64::from(*v)).sum::<f64>() / kept.len() as f64;
        let middle = count as f64 / 2.0;
        assert!((mean - middle).abs() < middle * 0.03, "{mean} of {middle}");
    }

    #[test]
    fn merging_respects_how_much_each_was_offered() {
        let (mut few, mut many) = (Reservoir::new(1), Reservoir::new(2));
        for _ in 0..SAMPLES_MAX {
            few.offer(0.0);
        }
        for _ in 0..3 * SAMPLES_MAX {
            many.offer(1.0);
        }
        let merged = Reservoir::merge([&few, &many]);
        let ones = merged.iter().filter(|v| **v == 1.0).count();
        assert_eq!(merged.len(), SAMPLES_MAX);
        assert_eq!(ones, SAMPLES_MAX / 4 * 3);
    }

    #[test]
    fn small_ones_merge_whole() {
        let mut one = Reservoir::new(1);
        one.offer(3.0);
        assert_eq!(Reservoir::merge([&one, &Reservoir::new(2)]), [3.0]);
        one.clear();
        assert_eq!(Reservoir::merge([&one]).len(), 0);
    }
}
