//! Predictors: where the next point of a stroke should lie, from the steps before it.
//!
//! A hand moves smoothly, but what a device reports of it is noisy, and a difference of differences makes the noise
//! larger instead of smaller. So the next step is a weighted sum of up to [`ORDER`] steps before it, with weights
//! that the encoder fits to the strokes at hand by least squares. A step that has fewer before it has weights of its
//! own. Weights are fixed-point numbers, so that both sides predict the same.

use crate::codec::{DecodeError, Reader, Writer};

/// Steps that a prediction looks back: two more gain 2 % in size.
pub(super) const ORDER: usize = 6;

/// Bits after the point of a weight.
pub(super) const WEIGHT_BITS: u32 = 12;

/// Largest weight: far above what any motion needs, and no sum passes 64 bits.
const WEIGHT_MAX: i64 = 1 << 18;

/// Steps beyond this are jumps and tell nothing of how the others go: 4096 px or pressure levels.
const STEP_MAX: i32 = 1 << 16;

/// Weights, those of the oldest step first; what lies before a stroke's first step counts as zero.
pub(super) type Row = [i64; ORDER];

/// Predicts the steps of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Predictor {
    order: usize,
    /// By the number of steps before, from 1 to `order`.
    rows: [Row; ORDER],
}

impl Predictor {
    /// The next step goes on as the last.
    pub(super) const fn steady() -> Self {
        let mut rows = [[0; ORDER]; ORDER];
        let mut n = 0;
        while n < ORDER {
            rows[n][ORDER - 1] = 1 << WEIGHT_BITS;
            n += 1;
        }
        Self { order: 1, rows }
    }

    /// The step that follows on the last [`ORDER`] ones, the oldest first, of which `before` (at least 1) belong to the
    /// stroke.
    #[inline]
    pub(super) fn next(&self, steps: impl Fn(usize) -> i32, before: usize) -> i32 {
        let row = &self.rows[before.min(ORDER) - 1];
        let mut sum = 1i64 << (WEIGHT_BITS - 1);
        for (n, weight) in row.iter().enumerate() {
            sum += weight * i64::from(steps(n));
        }
        (sum >> WEIGHT_BITS) as i32
    }

    /// The weights by the number of steps before, from 1.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) const fn rows(&self) -> &[Row; ORDER] {
        &self.rows
    }

    pub(super) fn encode(&self, w: &mut Writer) {
        w.u8(self.order as u8);
        for n in 1..=self.order {
            for &weight in &self.rows[n - 1][ORDER - n..] {
                w.zigzag(weight);
            }
        }
    }

    pub(super) fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let order = usize::from(r.u8()?);
        if !(1..=ORDER).contains(&order) {
            return Err(DecodeError::OutOfRange);
        }
        let mut rows = [[0; ORDER]; ORDER];
        for n in 1..=order {
            for weight in &mut rows[n - 1][ORDER - n..] {
                *weight = r.zigzag_i32()?.into();
                if !(-WEIGHT_MAX..=WEIGHT_MAX).contains(weight) {
                    return Err(DecodeError::OutOfRange);
                }
            }
        }
        Ok(Self { order, rows }.filled())
    }

    /// Rows above the order are the last one within it.
    fn filled(mut self) -> Self {
        for n in self.order..ORDER {
            self.rows[n] = self.rows[self.order - 1];
        }
        self
    }
}

/// The last steps of one channel.
pub(super) struct Past {
    steps: [i32; ORDER],
    count: usize,
}

impl Past {
    pub(super) const fn new() -> Self {
        Self {
            steps: [0; ORDER],
            count: 0,
        }
    }

    /// Nothing is expected of a first step but rest.
    #[inline]
    pub(super) fn expected(&self, predictor: &Predictor) -> i32 {
        if self.count == 0 {
            0
        } else {
            predictor.next(|n| self.steps[n], self.count)
        }
    }

    #[inline]
    pub(super) fn push(&mut self, step: i32) {
        for n in 1..ORDER {
            self.steps[n - 1] = self.steps[n];
        }
        self.steps[ORDER - 1] = step;
        self.count += 1;
    }
}

/// Sums that the weights of one row follow from: the normal equations.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    /// Products of steps before with each other, the lower half.
    squares: [[f64; ORDER]; ORDER],
    /// Products of steps before with the step that followed.
    products: [f64; ORDER],
    count: u32,
}

/// Learns a predictor from steps.
#[derive(Debug, Default)]
pub(super) struct Fit {
    rows: [Sums; ORDER],
}

impl Fit {
    /// Learns from the steps of one channel of one stroke. `steps` begins with [`ORDER`] zeros.
    pub(super) fn learn(&mut self, steps: &[i32]) {
        // A stroke counts by its shape, not by how much it shakes: what it shakes is the unit.
        let mut shake = 1.0;
        for pair in steps[ORDER..].windows(2) {
            let difference = f64::from(pair[1]) - f64::from(pair[0]);
            shake += difference * difference;
        }
        let unit = f64::from(steps.len() as u32) / shake;
        for (n, window) in steps.windows(ORDER + 1).enumerate().skip(1) {
            if window
                .iter()
                .any(|step| !(-STEP_MAX..=STEP_MAX).contains(step))
            {
                continue;
            }
            let sums = &mut self.rows[n.min(ORDER) - 1];
            sums.count += 1;
            let step = |n: usize| f64::from(window[n]);
            for i in ORDER - n.min(ORDER)..ORDER {
                let scaled = unit * step(i);
                for j in ORDER - n.min(ORDER)..=i {
                    sums.squares[i][j] += scaled * step(j);
                }
                sums.products[i] += scaled * step(ORDER);
            }
        }
    }

    /// The predictor that would have done best, with as many weights as there was enough to learn from.
    pub(super) fn predictor(&self) -> Predictor {
        let count: u32 = self.rows.iter().map(|sums| sums.count).sum();
        // Weights take about 2 bytes each; more of them must earn that.
        let order = match count {
            0..200 => return Predictor::steady(),
            200..2000 => 3,
            _ => ORDER,
        };
        let mut rows = [[0; ORDER]; ORDER];
        for n in 1..=order {
            let sums = match n {
                n if n == order => self.joined(order),
                n => self.rows[n - 1],
            };
            rows[n - 1] = weights(&sums, n);
        }
        Predictor { order, rows }.filled()
    }

    /// What was learned about steps with at least `order` before them.
    fn joined(&self, order: usize) -> Sums {
        let mut all = Sums::default();
        for sums in &self.rows[order - 1..] {
            for i in 0..ORDER {
                all.products[i] += sums.products[i];
                for j in 0..=i {
                    all.squares[i][j] += sums.squares[i][j];
                }
            }
        }
        all
    }
}

/// Solves the normal equations for the last `n` weights, by Gauss's elimination of a symmetric matrix.
#[expect(
    clippy::needless_range_loop,
    reason = "rows and columns of a matrix read best by their numbers"
)]
fn weights(sums: &Sums, n: usize) -> Row {
    let first = ORDER - n;
    let mut a = [[0.0; ORDER]; ORDER];
    let mut b = sums.products;
    for i in first..ORDER {
        for j in first..=i {
            a[i][j] = sums.squares[i][j];
            a[j][i] = sums.squares[i][j];
        }
        // Keeps it solvable where steps repeat each other, and weights small where they tell little.
        a[i][i] = a[i][i] * (1.0 + 1e-6) + 1e-3;
    }
    for i in first..ORDER {
        for j in i + 1..ORDER {
            let factor = a[j][i] / a[i][i];
            for k in i..ORDER {
                a[j][k] -= factor * a[i][k];
            }
            b[j] -= factor * b[i];
        }
    }
    let mut row = [0; ORDER];
    for i in (first..ORDER).rev() {
        for k in i + 1..ORDER {
            b[i] -= a[i][k] * b[k];
        }
        b[i] /= a[i][i];
        // A cast cuts at the bounds of its type and makes 0 of NaN.
        row[i] = ((b[i] * f64::from(1 << WEIGHT_BITS)) as i64).clamp(-WEIGHT_MAX, WEIGHT_MAX);
    }
    row
}
