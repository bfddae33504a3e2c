//! Where in the log and in their actors' counts strokes lie.

/// What comes next is expected where the ratio says.
pub(super) struct Order {
    pub(super) z: u64,
    ratio: u64,
    /// By actor: the last counter, and its place once there was one.
    lasts: Vec<(u32, Option<u64>)>,
}

impl Order {
    pub(super) fn new(z: u64, ratio: u64, first_counters: impl Iterator<Item = u32>) -> Self {
        let lasts = first_counters.map(|counter| (counter, None)).collect();
        Self { z, ratio, lasts }
    }

    /// The counter expected of an actor's stroke at `z`.
    pub(super) fn next(&mut self, actor: usize, z: u64) -> u32 {
        self.z = z;
        let (counter, last) = &mut self.lasts[actor];
        let since = z.wrapping_sub(last.replace(z).unwrap_or(z));
        counter.wrapping_add((since.wrapping_mul(self.ratio) >> 16) as u32)
    }

    /// The counter that it was.
    pub(super) fn saw(&mut self, actor: usize, counter: u32) {
        self.lasts[actor].0 = counter;
    }
}
