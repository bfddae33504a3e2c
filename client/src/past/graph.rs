//! The graph of a time line: bars of how much was done, in the colours of who did it.

use chalkboard_shared::past::Timeline;

/// Height of the picture. It is as wide as the time line has buckets.
const HEIGHT: u32 = 100;

/// The bars as SVG paths, one for each author and one for all others, who have the colour of text.
pub(super) fn draw(timeline: &Timeline) -> String {
    let sum = |bucket: &[(u8, u32)]| bucket.iter().map(|(_, ops)| f64::from(*ops)).sum::<f64>();
    let most = timeline
        .buckets
        .iter()
        .map(|bucket| sum(bucket))
        .fold(1.0, f64::max);
    let mut paths = vec![String::new(); timeline.authors.len() + 1];
    for (x, bucket) in timeline.buckets.iter().enumerate() {
        let total = sum(bucket);
        if total == 0.0 {
            continue;
        }
        // The root: little is to be seen beside much.
        let height = (total / most).sqrt() * f64::from(HEIGHT - 6) + 6.0;
        let mut top = f64::from(HEIGHT);
        for (author, ops) in bucket {
            let share = height * f64::from(*ops) / total;
            // Whole numbers are short, and bars meet.
            let (from, to) = (top.round() as i32, (top - share).round() as i32);
            top -= share;
            if let Some(path) = paths.get_mut(usize::from(*author))
                && to < from
            {
                let (x, from, rise) = (x.to_string(), from.to_string(), (to - from).to_string());
                path.push_str(&["M", &x, " ", &from, "v", &rise, "h1V", &from, "z"].concat());
            }
        }
    }
    let mut picture = String::new();
    for (number, path) in paths
        .iter()
        .enumerate()
        .filter(|(_, path)| !path.is_empty())
    {
        let color = timeline.authors.get(number).map(|author| author.color);
        let color = color.map_or_else(|| "currentColor".to_owned(), hex);
        picture.push_str(&["<path fill=\"", &color, "\" d=\"", path, "\"/>"].concat());
    }
    picture
}

fn hex(color: u32) -> String {
    let digit = |shift: u32| char::from_digit(color >> shift & 15, 16).unwrap_or('0');
    ['#']
        .into_iter()
        .chain([20, 16, 12, 8, 4, 0].map(digit))
        .collect()
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::past::Author;

    use super::*;

    #[test]
    fn bars_stand_on_each_other_in_the_colours_of_their_authors() {
        let author = Author {
            name: "Ada".to_owned(),
            color: 0x0a_b0_0f,
            ops: 3,
            actors: Vec::new(),
        };
        let timeline = Timeline {
            authors: vec![author],
            buckets: vec![vec![(0, 3), (1, 1)], Vec::new(), vec![(0, 1)]],
            ..Timeline::default()
        };
        assert_eq!(
            draw(&timeline),
            "<path fill=\"#0ab00f\" d=\"M0 100v-75h1V100zM2 100v-53h1V100z\"/>\
             <path fill=\"currentColor\" d=\"M0 25v-25h1V25z\"/>"
        );
    }
}
