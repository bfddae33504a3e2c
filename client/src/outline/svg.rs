//! Path data as SVG and `Path2D` read it: one string instead of hundreds of calls.
//!
//! Numbers are thousandths of a board pixel (a sixteenth of a device pixel at 6400 %), written relative to the point
//! before and rounded before they are subtracted, so that nothing adds up.

use glam::Vec2;

use super::PathStep;

/// Appends the steps as path data.
pub fn write_path(steps: &[PathStep], out: &mut String) {
    let mut pen = Fixed { x: 0, y: 0 };
    for step in steps {
        match *step {
            PathStep::Move(to) => {
                pen = Fixed::of(to);
                out.push('M');
                number(pen.x, out);
                number_after(pen.y, out);
            }
            PathStep::Line(to) => {
                out.push('l');
                let next = Fixed::of(to);
                pair(next, pen, true, out);
                pen = next;
            }
            PathStep::Quad(control, to) => {
                out.push('q');
                let next = Fixed::of(to);
                pair(Fixed::of(control), pen, true, out);
                pair(next, pen, false, out);
                pen = next;
            }
            PathStep::Close => out.push('z'),
        }
    }
}

#[derive(Clone, Copy)]
struct Fixed {
    x: i64,
    y: i64,
}

impl Fixed {
    fn of(at: Vec2) -> Self {
        // A cast saturates and takes NaN for 0; neither comes from legal ink.
        Self {
            x: (f64::from(at.x) * 1000.0).round() as i64,
            y: (f64::from(at.y) * 1000.0).round() as i64,
        }
    }
}

fn pair(to: Fixed, from: Fixed, after_letter: bool, out: &mut String) {
    let (x, y) = (to.x.saturating_sub(from.x), to.y.saturating_sub(from.y));
    if after_letter {
        number(x, out);
    } else {
        number_after(x, out);
    }
    number_after(y, out);
}

/// A number after another one: a minus sign separates by itself.
fn number_after(thousandths: i64, out: &mut String) {
    if thousandths >= 0 {
        out.push(' ');
    }
    number(thousandths, out);
}

fn number(thousandths: i64, out: &mut String) {
    if thousandths < 0 {
        out.push('-');
    }
    let size = thousandths.unsigned_abs();
    let (whole, mut fraction) = (size / 1000, size % 1000);
    if whole > 0 || fraction == 0 {
        digits(whole, 1, out);
    }
    if fraction > 0 {
        let mut places = 3;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            places -= 1;
        }
        out.push('.');
        digits(fraction, places, out);
    }
}

fn digits(mut value: u64, places_min: usize, out: &mut String) {
    let mut buffer = [b'0'; 20];
    let mut start = buffer.len();
    while value > 0 || buffer.len() - start < places_min {
        start -= 1;
        buffer[start] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    buffer[start..]
        .iter()
        .for_each(|digit| out.push(char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_data_is_short_and_exact() {
        let steps = [
            PathStep::Move(Vec2::new(-1.5, 0.25)),
            PathStep::Line(Vec2::new(0.0, 0.0)),
            PathStep::Quad(Vec2::new(1.0, 10.0), Vec2::new(0.001, -2000.0)),
            PathStep::Close,
        ];
        let mut text = String::new();
        write_path(&steps, &mut text);
        assert_eq!(text, "M-1.5 .25l1.5-.25q1 10 .001-2000z");
    }

    #[test]
    fn relative_steps_do_not_drift() {
        let steps: Vec<PathStep> = (0..2000)
            .map(|i| PathStep::Line(Vec2::splat(i as f32 / 3.0)))
            .collect();
        let mut text = String::new();
        write_path(&steps, &mut text);
        let sum: f64 = text
            .split('l')
            .skip(1)
            .map(|pair| {
                pair.split(' ')
                    .next()
                    .expect("x")
                    .parse::<f64>()
                    .expect("number")
            })
            .sum();
        assert!((sum - 1999.0 / 3.0).abs() < 0.001, "{sum}");
    }
}
