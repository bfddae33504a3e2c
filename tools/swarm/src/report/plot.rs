//! Plots as SVG: lines over time, and bars. Colours are the page's, so that they change with it.

use std::fmt::Write as _;

/// Size of a plot, and of the margins that its labels take.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 46.0;
const BOTTOM: f64 = 22.0;
const TOP: f64 = 8.0;
/// Lines across a plot, about.
const STEPS: f64 = 4.0;

/// A line of a plot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    name: &'static str,
    color: char,
    points: Vec<(f64, f64)>,
}

impl Line {
    /// In the page's colour `--color`.
    pub(super) const fn new(name: &'static str, color: char, points: Vec<(f64, f64)>) -> Self {
        Self {
            name,
            color,
            points,
        }
    }
}

/// Lines over time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plot {
    title: &'static str,
    unit: &'static str,
    lines: Vec<Line>,
}

impl Plot {
    pub(super) const fn new(title: &'static str, unit: &'static str) -> Self {
        Self {
            title,
            unit,
            lines: Vec::new(),
        }
    }

    pub(super) fn line(mut self, line: Line) -> Self {
        self.lines.push(line);
        self
    }

    /// The figure.
    pub(super) fn draw(self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let (first, last) = (
            points().map(|p| p.0).fold(f64::INFINITY, f64::min),
            points().map(|p| p.0).fold(0.0, f64::max),
        );
        let mut caption = caption(self.title, self.unit);
        if self.lines.len() > 1 {
            for line in &self.lines {
                let (color, name) = (line.color, line.name);
                // Writing to a string does not fail.
                let _ = write!(caption, "<i style=\"--k:var(--{color})\">{name}</i>");
            }
        }
        if points().next().is_none() {
            return figure(&caption, &nothing());
        }
        let scale = Scale {
            x: (first, last.max(first + 1.0)),
            y_max: round_up(points().map(|p| p.1).fold(0.0, f64::max)),
        };
        let mut svg = scale.grid();
        for line in &self.lines {
            let mut path = String::new();
            for (at, (x, y)) in line.points.iter().enumerate() {
                let pen = if at == 0 { 'M' } else { 'L' };
                let _ = write!(path, "{pen}{:.1} {:.1}", scale.x(*x), scale.y(*y));
            }
            let _ = write!(
                svg,
                "<path d=\"{path}\" style=\"stroke:var(--{})\"><title>{}</title></path>",
                line.color, line.name
            );
        }
        figure(&caption, &svg)
    }
}

/// Bars from a lower bound each to the next one's, of shares of a whole.
pub(super) fn bars(title: &str, unit: &str, bars: &[(f64, f64)]) -> String {
    let caption = caption(title, unit);
    let (Some(first), Some(second), Some(last)) = (bars.first(), bars.get(1), bars.last()) else {
        return figure(&caption, &nothing());
    };
    let width = second.0 - first.0;
    let scale = Scale {
        x: (first.0, last.0 + width),
        y_max: round_up(100.0 * bars.iter().map(|bar| bar.1).fold(0.0, f64::max)),
    };
    let mut svg = scale.grid();
    for (from, share) in bars {
        let (x, top) = (scale.x(*from), scale.y(100.0 * share));
        let _ = write!(
            svg,
            "<rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"1.5\" style=\"fill:var(--a)\">\
             <title>{from:.1} to {:.1}: {:.2} %</title></rect>",
            x + 0.5,
            (scale.x(from + width) - x - 1.0).max(0.5),
            (HEIGHT - BOTTOM - top).max(0.0),
            from + width,
            100.0 * share
        );
    }
    figure(&caption, &svg)
}

fn caption(title: &str, unit: &str) -> String {
    format!("{title} <small>{unit}</small>")
}

fn figure(caption: &str, svg: &str) -> String {
    format!(
        "<figure><figcaption>{caption}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img>{svg}</svg></figure>"
    )
}

fn nothing() -> String {
    let (x, y) = (WIDTH / 2.0, HEIGHT / 2.0);
    format!(
        "<text x=\"{x}\" y=\"{y}\" text-anchor=middle>nothing came, or the server is not ours to ask</text>"
    )
}

/// From values to places.
struct Scale {
    x: (f64, f64),
    y_max: f64,
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        LEFT + (value - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - 8.0)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.y_max * (HEIGHT - BOTTOM - TOP)
    }

    /// Lines across and the labels of both axes.
    fn grid(&self) -> String {
        let mut svg = String::new();
        let step = step_of(self.y_max);
        let mut value = 0.0;
        while value <= self.y_max * 1.001 {
            let y = self.y(value);
            let _ = write!(
                svg,
                "<line class=grid x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=end>{}</text>",
                WIDTH - 8.0,
                LEFT - 6.0,
                y + 4.0,
                label(value)
            );
            value += step;
        }
        let step = step_of(self.x.1 - self.x.0);
        let mut value = (self.x.0 / step).ceil() * step;
        while value <= self.x.1 * 1.001 {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=middle>{}</text>",
                self.x(value),
                HEIGHT - 5.0,
                label(value)
            );
            value += step;
        }
        svg
    }
}

/// A step of 1, 2 or 5 times a power of ten that cuts a span into about [`STEPS`].
fn step_of(span: f64) -> f64 {
    let rough = (span / STEPS).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|step| step * power >= rough);
    step.unwrap_or(10.0) * power
}

/// The end of an axis: a whole number of steps, and never 0.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let step = step_of(value);
    (value / step).ceil() * step
}

fn label(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{} M", plain(v / 1e6)),
        v if v >= 1e4 => format!("{} k", plain(v / 1e3)),
        v => plain(v),
    }
}

/// Without needless digits.
fn plain(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_on_round_numbers() {
        for (value, end) in [
            (0.0, 1.0),
            (0.043, 0.06),
            (7.0, 8.0),
            (60.0, 60.0),
            (21_978_000.0, 30e6),
        ] {
            let got = round_up(value);
            assert!((got - end).abs() < end * 1e-9, "{value}: {got}");
        }
        assert_eq!(label(0.02), "0.02");
        assert_eq!(label(20_000.0), "20 k");
        assert_eq!(label(1_500_000.0), "1.5 M");
    }

    #[test]
    fn a_line_stays_within_its_plot() {
        let points = vec![(1.0, 0.0), (2.0, 55.0), (3.0, 30.0)];
        let svg = Plot::new("x", "ms")
            .line(Line::new("l", 'a', points))
            .draw();
        let path = svg
            .split("d=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let numbers: Vec<f64> = path
            .expect("a path")
            .split(['M', 'L', ' '])
            .filter_map(|part| part.parse().ok())
            .collect();
        assert_eq!(numbers.len(), 6);
        for pair in numbers.chunks(2) {
            assert!(
                (LEFT..=WIDTH).contains(&pair[0]) && (TOP..=HEIGHT - BOTTOM).contains(&pair[1])
            );
        }
    }

    #[test]
    fn one_point_is_enough() {
        let svg = Plot::new("x", "ms")
            .line(Line::new("l", 'a', vec![(4.0, 2.0)]))
            .draw();
        assert!(svg.contains("<path") && !svg.contains("NaN"));
        assert!(bars("x", "ms", &[(0.0, 1.0)]).contains("nothing came"));
    }
}
