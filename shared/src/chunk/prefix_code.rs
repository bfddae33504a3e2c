//! Prefix codes (canonical Huffman) over numbers of any size.
//!
//! A number below [`DIRECT`] is a symbol of its own; larger ones share a symbol with those that have the same length
//! and the same two bits after the first, and carry the rest as plain bits. Decoding is a look-up a number. A code
//! travels as the lengths of its words, so that both sides build the same one.

#[cfg(not(target_arch = "wasm32"))]
use crate::codec::bits::unzigzag;
use crate::codec::bits::{BitReader, BitWriter};
use crate::codec::{DecodeError, Reader, Writer};

/// Numbers below this have a symbol each.
const DIRECT: u64 = 64;

/// log2 of [`DIRECT`].
const DIRECT_LOG2: u32 = DIRECT.ilog2();

/// Symbols: the direct ones, and four for each length from 7 to 64 bits.
const SYMBOLS: usize = DIRECT as usize + 4 * (64 - DIRECT_LOG2 as usize);

/// Longest word in bits: 4096 entries of two bytes to look up in.
const LENGTH_MAX: u32 = 12;

/// Longest run of absent symbols that is written at once.
const RUN_MAX: usize = 32;

const EMPTY: u8 = 0;
const SINGLE: u8 = 1;
const FULL: u8 = 2;

/// The symbol of a number, and how many plain bits follow it.
const fn symbol_of(v: u64) -> (usize, u32) {
    if v < DIRECT {
        return (v as usize, 0);
    }
    let extra = v.ilog2() - 2;
    let group = (extra + 2 - DIRECT_LOG2) as usize;
    (
        DIRECT as usize + 4 * group + (v >> extra & 3) as usize,
        extra,
    )
}

/// How often each symbol occurs in a column of numbers.
#[derive(Debug, Clone)]
pub(super) struct Census([u32; SYMBOLS]);

impl Census {
    pub(super) const fn new() -> Self {
        Self([0; SYMBOLS])
    }

    #[inline]
    pub(super) const fn count(&mut self, v: u64) {
        self.0[symbol_of(v).0] += 1;
    }

    /// The best code for what was counted.
    pub(super) fn code(&self) -> CodeWriter {
        let lengths = lengths(&self.0);
        let mut words = vec![(0u16, 0u8); SYMBOLS];
        for (symbol, word) in canonical(&lengths) {
            words[symbol] = (word, lengths[symbol]);
        }
        CodeWriter { lengths, words }
    }
}

/// Word lengths of a Huffman code, none above [`LENGTH_MAX`]. A symbol alone has length 0, as those that are absent.
fn lengths(census: &[u32; SYMBOLS]) -> Vec<u8> {
    let mut result = vec![0; SYMBOLS];
    let mut weights: Vec<(u32, usize)> = (0..SYMBOLS)
        .filter(|&symbol| census[symbol] > 0)
        .map(|symbol| (census[symbol], symbol))
        .collect();
    if weights.len() < 2 {
        return result;
    }
    loop {
        weights.sort_unstable();
        let depths = depths(&weights);
        if depths.iter().all(|&depth| depth <= LENGTH_MAX) {
            for ((_, symbol), depth) in weights.iter().zip(depths) {
                result[*symbol] = depth as u8;
            }
            return result;
        }
        // Flatter weights make a flatter tree; equal ones make one of 9 levels.
        for (weight, _) in &mut weights {
            *weight = *weight / 2 + 1;
        }
    }
}

/// Depth of each leaf of the Huffman tree over ascending weights. Both the leaves and the nodes come up in
/// ascending order, so that the next two to join are at the heads of two queues.
fn depths(weights: &[(u32, usize)]) -> Vec<u32> {
    let leaves = weights.len();
    let mut sums: Vec<u64> = Vec::with_capacity(leaves - 1);
    let mut parents = vec![0usize; 2 * leaves - 1];
    let (mut leaf, mut node) = (0, 0);
    for next in 0..leaves - 1 {
        let mut sum = 0;
        for _ in 0..2 {
            let is_leaf =
                leaf < leaves && (node >= sums.len() || u64::from(weights[leaf].0) <= sums[node]);
            if is_leaf {
                sum += u64::from(weights[leaf].0);
                parents[leaf] = leaves + next;
                leaf += 1;
            } else {
                sum += sums[node];
                parents[leaves + node] = leaves + next;
                node += 1;
            }
        }
        sums.push(sum);
    }
    let mut depths = vec![0; 2 * leaves - 1];
    for at in (0..2 * leaves - 2).rev() {
        depths[at] = depths[parents[at]] + 1;
    }
    depths.truncate(leaves);
    depths
}

/// The symbols and words of a code by its lengths: shorter ones first, then by symbol; words are reversed, because bits
/// are read lowest first.
fn canonical(lengths: &[u8]) -> impl Iterator<Item = (usize, u16)> {
    let mut places = [0; LENGTH_MAX as usize + 2];
    for &length in lengths {
        places[usize::from(length) + 1] += 1;
    }
    let absent = places[1];
    for length in 1..places.len() {
        places[length] += places[length - 1];
    }
    let mut symbols = vec![0; lengths.len()];
    for (symbol, &length) in lengths.iter().enumerate() {
        let place = &mut places[usize::from(length)];
        symbols[*place] = symbol;
        *place += 1;
    }
    let (mut next, mut last) = (0u16, 0);
    symbols.into_iter().skip(absent).map(move |symbol| {
        let length = u32::from(lengths[symbol]);
        let word = next << (length - last);
        (next, last) = (word.wrapping_add(1), length);
        (symbol, word.reverse_bits() >> (16 - length))
    })
}

/// Writes numbers in a code.
#[derive(Debug)]
pub(super) struct CodeWriter {
    lengths: Vec<u8>,
    words: Vec<(u16, u8)>,
}

impl CodeWriter {
    /// Writes the code itself, that of a `census`.
    pub(super) fn describe(&self, census: &Census, w: &mut Writer) {
        let used = |symbol: &usize| census.0[*symbol] > 0;
        let Some(last) = (0..SYMBOLS).rfind(used) else {
            w.u8(EMPTY);
            return;
        };
        if (0..last).rfind(used).is_none() {
            w.u8(SINGLE);
            w.varint(last as u64);
            return;
        }
        w.u8(FULL);
        w.varint(last as u64);
        let mut bits = BitWriter::new(w.as_mut_vec());
        let mut at = 0;
        while at <= last {
            let length = self.lengths[at];
            bits.bits(length.into(), 4);
            let run = self.lengths[at..=last]
                .iter()
                .take(RUN_MAX)
                .take_while(|&&other| other == 0)
                .count();
            if length == 0 {
                bits.bits(run as u32 - 1, 5);
            }
            at += run.max(1);
        }
        bits.finish();
    }

    #[inline]
    pub(super) fn write(&self, v: u64, bits: &mut BitWriter<'_>) {
        let (symbol, extra) = symbol_of(v);
        let (word, length) = self.words[symbol];
        bits.bits(word.into(), length.into());
        if extra > 32 {
            bits.bits(v as u32, 32);
            bits.bits((v >> 32) as u32 & ((1u32 << (extra - 32)) - 1), extra - 32);
        } else if extra > 0 {
            bits.bits((v & ((1u64 << extra) - 1)) as u32, extra);
        }
    }
}

/// Reads numbers in a code.
#[derive(Debug)]
pub(super) struct CodeReader {
    /// Symbol and length (in the low 4 bits) by the next bits of the input; as many as a power of two.
    entries: Vec<u16>,
}

impl CodeReader {
    /// Reads a code as [`CodeWriter::describe`] wrote it.
    pub(super) fn new(r: &mut Reader) -> Result<Self, DecodeError> {
        let single = |symbol: u64| Self {
            entries: vec![(symbol as u16) << 4],
        };
        match r.u8()? {
            // Nothing is read by it; what reads nevertheless gets zeros.
            EMPTY => return Ok(single(0)),
            SINGLE => return Ok(single(r.varint_at_most(SYMBOLS as u64 - 1)?)),
            FULL => {}
            other => return Err(DecodeError::UnknownKind(other)),
        }
        let last = r.varint_at_most(SYMBOLS as u64 - 1)? as usize;
        let mut lengths = Vec::with_capacity(last + 1);
        let taken = {
            let bytes = r.as_slice();
            let mut bits = BitReader::new(bytes);
            while lengths.len() <= last {
                match bits.bits(4)? {
                    0 => {
                        let run = bits.bits(5)? as usize + 1;
                        lengths.resize(lengths.len() + run, 0);
                    }
                    length => lengths.push(length as u8),
                }
            }
            bits.bytes_taken()
        };
        r.raw(taken)?;
        let longest = lengths.iter().copied().max().map_or(0, u32::from);
        if lengths.len() != last + 1 || longest == 0 || longest > LENGTH_MAX {
            return Err(DecodeError::Malformed);
        }
        let size = 1usize << longest;
        let words = lengths.iter().filter(|&&length| length > 0);
        if words.map(|&length| size >> length).sum::<usize>() != size {
            return Err(DecodeError::Malformed);
        }
        let mut entries = Vec::with_capacity(size);
        entries.push(0);
        for (symbol, word) in canonical(&lengths) {
            let length = lengths[symbol];
            // Another bit says nothing of the words so far, which are shorter.
            while entries.len() < 1 << u32::from(length) {
                entries.extend_from_within(..);
            }
            entries[usize::from(word)] = (symbol as u16) << 4 | u16::from(length);
        }
        Ok(Self { entries })
    }

    /// The entry of what the next bits begin with.
    #[inline]
    fn entry(&self, word: u64) -> u16 {
        self.entries[word as usize & (self.entries.len() - 1)]
    }

    /// The next number, some number after the end: whether all bits were there is asked later, by
    /// [`BitReader::check`].
    #[inline]
    pub(super) fn read(&self, bits: &mut BitReader<'_>) -> u64 {
        let entry = self.entry(bits.peek());
        bits.skip((entry & 15).into());
        let symbol = u64::from(entry >> 4);
        if symbol < DIRECT {
            return symbol;
        }
        let (group, quarter) = ((symbol - DIRECT) >> 2, (symbol - DIRECT) & 3);
        let extra = group as u32 + DIRECT_LOG2 - 2;
        let low = u64::from(bits.bits_or_zeros(extra.min(32)));
        let high = u64::from(bits.bits_or_zeros(extra.saturating_sub(32)));
        (4 | quarter) << extra | high << 32 | low
    }

    /// As [`CodeReader::read`], at one look where it is not one of the largest.
    #[cfg(not(target_arch = "wasm32"))]
    #[inline]
    pub(super) fn read_quickly(&self, bits: &mut BitReader<'_>) -> u64 {
        let word = bits.peek();
        let entry = self.entry(word);
        let (symbol, length) = (u64::from(entry >> 4), u32::from(entry & 15));
        if symbol < DIRECT {
            bits.skip(length);
            return symbol;
        }
        let (group, quarter) = ((symbol - DIRECT) >> 2, (symbol - DIRECT) & 3);
        let extra = group as u32 + DIRECT_LOG2 - 2;
        // A look shows 57 bits.
        if length + extra > 57 {
            return self.read_largest(bits);
        }
        bits.skip(length + extra);
        (4 | quarter) << extra | (word >> length) & ((1 << extra) - 1)
    }

    /// A number of more bits than a look shows.
    #[cfg(not(target_arch = "wasm32"))]
    #[cold]
    #[inline(never)]
    fn read_largest(&self, bits: &mut BitReader<'_>) -> u64 {
        self.read(bits)
    }

    /// The next number, where it has 32 bits.
    #[cfg(not(target_arch = "wasm32"))]
    #[inline]
    pub(super) fn read_u32(&self, bits: &mut BitReader<'_>) -> Result<u32, DecodeError> {
        u32::try_from(self.read(bits)).map_err(|_| DecodeError::OutOfRange)
    }
}

/// Reads steps of ink in their codes, where they are as small as most are: three numbers at one look, their signs in the
/// lowest bits.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug)]
pub(super) struct StepCodes {
    /// By the next bits of the input: the number in the high byte, the length of its word in the low one. First those of
    /// coordinates, then those of pressures. A fixed number of them needs no check of its bounds.
    entries: Box<[u16; 2 * STEP_ENTRIES]>,
}

/// Entries of each code of steps.
#[cfg(not(target_arch = "wasm32"))]
const STEP_ENTRIES: usize = 1 << LENGTH_MAX;

/// Marks an entry of larger numbers in the byte of its length.
#[cfg(not(target_arch = "wasm32"))]
const LARGE_STEP: u16 = 0x80;

#[cfg(not(target_arch = "wasm32"))]
impl StepCodes {
    /// For those of coordinates and of pressures.
    pub(super) fn new(codes: [&CodeReader; 2]) -> Self {
        let signed = |&entry: &u16| {
            let (symbol, length) = (entry >> 4, entry & 15);
            if u64::from(symbol) < DIRECT {
                (unzigzag(symbol.into()) as u16) << 8 | length
            } else {
                LARGE_STEP
            }
        };
        let mut entries = Vec::with_capacity(2 * STEP_ENTRIES);
        for code in codes {
            let start = entries.len();
            entries.extend(code.entries.iter().map(signed));
            // Further bits say nothing of a word.
            while entries.len() < start + STEP_ENTRIES {
                entries.extend_from_within(start..);
            }
        }
        let entries = entries.into_boxed_slice().try_into();
        Self {
            entries: entries.expect("as many as powers of two add up to"),
        }
    }

    /// The numbers that come next, two coordinates and a pressure; takes nothing where one is larger. `ahead` are the first
    /// of the bits, as [`BitReader::peek`] shows them; afterwards those that follow, as far as they were seen: so the first
    /// look-up waits for no other look. Numbers after the end are any: whether all bits were there is asked later, by
    /// [`BitReader::check`].
    #[inline]
    pub(super) fn read(&self, bits: &mut BitReader<'_>, ahead: &mut u64) -> Option<[i32; 3]> {
        let place = |word: u64| word as usize % STEP_ENTRIES;
        // Of a length with the mark only the lower bits are taken, and the numbers are not.
        let x = self.entries[place(*ahead)];
        let word = bits.peek() >> (x & 63);
        let y = self.entries[place(word)];
        let word = word >> (y & 63);
        let pressure = self.entries[STEP_ENTRIES + place(word)];
        if (x | y | pressure) & LARGE_STEP != 0 {
            return None;
        }
        *ahead = word >> (pressure & 63);
        // None of the lengths carries into the numbers. The last of them is waited for.
        bits.skip((x.wrapping_add(y) & 0xff).into());
        bits.skip((pressure & 0xff).into());
        Some([x, y, pressure].map(|entry| (entry as i16 >> 8).into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::bits::zigzag;

    fn round_trip(values: &[u64]) -> (Vec<u64>, usize) {
        let mut census = Census::new();
        for &v in values {
            census.count(v);
        }
        let code = census.code();
        let mut w = Writer::new();
        code.describe(&census, &mut w);
        let mut bits = BitWriter::new(w.as_mut_vec());
        for &v in values {
            code.write(v, &mut bits);
        }
        bits.finish();
        let size = w.len();
        let mut r = Reader::new(w.into_bytes());
        let code = CodeReader::new(&mut r).expect("own form");
        let rest = r.rest();
        let mut bits = BitReader::new(&rest);
        let back = values.iter().map(|_| {
            let mut quick = bits;
            let v = code.read(&mut bits);
            assert_eq!(code.read_quickly(&mut quick), v);
            assert_eq!(quick.bytes_taken(), bits.bytes_taken());
            v
        });
        let back = back.collect();
        bits.finish().expect("nothing left");
        (back, size)
    }

    proptest! {
        #[test]
        fn numbers_survive(values in proptest::collection::vec(prop_oneof![0u64..40, 0u64..5000, any::<u64>()], 0..300)) {
            prop_assert_eq!(round_trip(&values).0, values);
        }

        #[test]
        fn three_numbers_are_those_of_each(
            rows in proptest::collection::vec((0u64..40, 0u64..70, prop_oneof![0u64..9, any::<u64>()]), 1..200),
        ) {
            let rows: Vec<_> = rows.into_iter().map(|(a, b, c)| [a, b, c]).collect();
            let mut censuses = [const { Census::new() }; 2];
            for row in &rows {
                (0..3).for_each(|c| censuses[c / 2].count(row[c]));
            }
            let mut w = Writer::new();
            let writers = censuses.each_ref().map(Census::code);
            for (writer, census) in writers.iter().zip(&censuses) {
                writer.describe(census, &mut w);
            }
            let mut bits = BitWriter::new(w.as_mut_vec());
            for row in &rows {
                (0..3).for_each(|c| writers[c / 2].write(row[c], &mut bits));
            }
            bits.finish();
            let mut r = Reader::new(w.into_bytes());
            let codes = [(); 2].map(|()| CodeReader::new(&mut r).expect("own form"));
            let step_codes = StepCodes::new(codes.each_ref());
            let rest = r.rest();
            let mut bits = BitReader::new(&rest);
            let mut ahead = bits.peek();
            for row in rows {
                let read = match step_codes.read(&mut bits, &mut ahead) {
                    Some(small) => {
                        prop_assert!(row.iter().all(|v| *v < DIRECT));
                        small.map(|step| u64::from(zigzag(step)))
                    }
                    None => {
                        let large = [0, 0, 1].map(|c: usize| codes[c].read(&mut bits));
                        ahead = bits.peek();
                        large
                    }
                };
                prop_assert_eq!(read, row);
            }
            prop_assert_eq!(bits.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_never_panic(kind in 0u8..4, mut bytes: Vec<u8>) {
            bytes.insert(0, kind);
            let mut r = Reader::new(bytes.into());
            if let Ok(code) = CodeReader::new(&mut r) {
                let rest = r.rest();
                let mut bits = BitReader::new(&rest);
                for _ in 0..100 {
                    code.read(&mut bits);
                }
            }
        }
    }

    #[test]
    fn frequent_numbers_are_short_and_steep_weights_keep_the_bound() {
        let mut values = vec![];
        // Fibonacci weights make the deepest tree that there is.
        let (mut a, mut b) = (1, 1);
        for v in 0..20 {
            values.extend(core::iter::repeat_n(v, a));
            (a, b) = (b, a + b);
        }
        let (back, size) = round_trip(&values);
        assert_eq!(back, values);
        assert!(
            size * 8 < values.len() * 3,
            "{size} bytes for {} numbers",
            values.len()
        );
        assert!(round_trip(&[7; 1000]).1 <= 3);
    }
}
