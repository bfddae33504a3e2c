//! Where in the sources a panic would have happened: for each place a path, a line and a column, in the module's data.
//!
//! Nobody who opens the page reads paths, and those of libraries tell of the machine that has built it. So they go, and
//! lines and columns, which say nothing without them: what panics tell is their message. Neighbour: [`super::slim`].

use walrus::ir::Value;
use walrus::{ConstExpr, DataKind, Module};

/// A `core::panic::Location` of wasm32: address of the path, its length, line, column, 4 bytes each.
const LOCATION_BYTES: usize = 16;

/// Paths are shorter than this, lines and columns lower: what is not is something else.
const PATH_BYTES_MAX: usize = 300;
const LINE_MAX: u32 = 200_000;
const COLUMN_MAX: u32 = 2000;

/// Stands for every path.
const UNKNOWN: u8 = b'?';

/// Bytes of the module's memory, from an address on.
type Segment = (usize, Vec<u8>);

/// Blanks all locations; how many there were.
pub(super) fn blank(wasm: &mut Module) -> usize {
    let address = |kind: &DataKind| match kind {
        DataKind::Active {
            offset: ConstExpr::Value(Value::I32(offset)),
            ..
        } => usize::try_from(*offset).ok(),
        _ => None,
    };
    let known: Vec<_> = wasm
        .data
        .iter()
        .filter_map(|data| Some((data.id(), address(&data.kind)?)))
        .collect();
    let mut segments: Vec<Segment> = known
        .iter()
        .map(|(id, start)| (*start, std::mem::take(&mut wasm.data.get_mut(*id).value)))
        .collect();
    let count = blank_in(&mut segments);
    for ((id, _), (_, bytes)) in known.into_iter().zip(segments) {
        wasm.data.get_mut(id).value = bytes;
    }
    count
}

fn blank_in(segments: &mut [Segment]) -> usize {
    let mut places = Vec::new();
    for (segment, (start, bytes)) in segments.iter().enumerate() {
        let first = start.next_multiple_of(4) - start;
        for at in (first..bytes.len()).step_by(4) {
            let words = |n: usize| word(bytes, at + 4 * n);
            let (Some(path), Some(length), Some(line), Some(column)) =
                (words(0), words(1), words(2), words(3))
            else {
                break;
            };
            if (1..LINE_MAX).contains(&line)
                && (1..COLUMN_MAX).contains(&column)
                && let Some(path) = path_at(segments, path as usize, length as usize)
            {
                places.push((segment, at, path));
            }
        }
    }
    let Some((_, _, (first, first_at, _))) = places.first() else {
        return 0;
    };
    let unknown = (segments[*first].0 + first_at) as u32;
    let unknown_place = (*first, *first_at);
    for (segment, at, (path_segment, path_at, length)) in &places {
        segments[*path_segment].1[*path_at..path_at + length].fill(0);
        let location = &mut segments[*segment].1[*at..at + LOCATION_BYTES];
        location[..4].copy_from_slice(&unknown.to_le_bytes());
        location[4..8].copy_from_slice(&1_u32.to_le_bytes());
        location[8..].fill(0);
    }
    let (segment, at) = unknown_place;
    segments[segment].1[at] = UNKNOWN;
    places.len()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*word))
}

/// Segment, place and length of the path at an address, if it is one.
fn path_at(segments: &[Segment], address: usize, length: usize) -> Option<(usize, usize, usize)> {
    if length > PATH_BYTES_MAX {
        return None;
    }
    segments
        .iter()
        .enumerate()
        .find_map(|(segment, (start, bytes))| {
            let at = address.checked_sub(*start)?;
            let text = bytes.get(at..at.checked_add(length)?)?;
            let is_path = text.ends_with(b".rs") && text.iter().all(u8::is_ascii_graphic);
            is_path.then_some((segment, at, length))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(data: Vec<u8>) -> Module {
        let mut wasm = Module::default();
        let memory = wasm.memories.add_local(false, false, 1, None, None);
        let offset = ConstExpr::Value(Value::I32(1022));
        wasm.data.add(DataKind::Active { memory, offset }, data);
        wasm
    }

    fn data(words: [u32; 4]) -> Vec<u8> {
        let mut data = b"..".to_vec();
        data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        data.extend(b"words/home/a/b.rsmore");
        data
    }

    #[test]
    fn only_locations_go() {
        let mut wasm = module(data([1045, 12, 7, 9]));
        assert_eq!(blank(&mut wasm), 1);
        let mut blanked = data([1045, 1, 0, 0]);
        blanked[23..35].fill(0);
        blanked[23] = UNKNOWN;
        let left: Vec<_> = wasm.data.iter().map(|data| data.value.clone()).collect();
        assert_eq!(left, [blanked]);
    }

    #[test]
    fn what_only_resembles_a_location_stays() {
        // No text, another text, no line, no column, beyond the data.
        for words in [
            [5, 12, 7, 9],
            [1044, 12, 7, 9],
            [1045, 12, 0, 9],
            [1045, 12, 7, 0],
            [1045, u32::MAX, 7, 9],
        ] {
            let mut wasm = module(data(words));
            assert_eq!(blank(&mut wasm), 0, "{words:?}");
            let left: Vec<_> = wasm.data.iter().map(|data| data.value.clone()).collect();
            assert_eq!(left, [data(words)]);
        }
    }
}
