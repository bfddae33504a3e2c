//! Colours and nib widths on offer. All colours are 0xRRGGBB as they show on a light board; how they show on a dark one
//! is [`chalkboard_client::color`]'s business.

use crate::guest::pick;

/// A colour and what people call it.
pub(crate) struct Swatch {
    /// 0xRRGGBB.
    pub(crate) color: u32,
    /// For tooltips and screen readers.
    pub(crate) name: &'static str,
}

const fn swatch(color: u32, name: &'static str) -> Swatch {
    Swatch { color, name }
}

/// Colours of the pen.
pub(crate) const PEN: [Swatch; 8] = [
    swatch(0x1f_2328, "Ink"),
    swatch(0xe0_3e3e, "Red"),
    swatch(0xf2_7a1a, "Orange"),
    swatch(0xf0_b400, "Yellow"),
    swatch(0x2f_a35f, "Green"),
    swatch(0x2f_80ed, "Blue"),
    swatch(0x86_58e0, "Violet"),
    swatch(0xe2_4a9a, "Pink"),
];

/// Colours of the highlighter: lighter, since it is translucent.
pub(crate) const HIGHLIGHTER: [Swatch; 8] = [
    swatch(0xff_d91a, "Yellow"),
    swatch(0xff_a552, "Orange"),
    swatch(0xff_7a7a, "Red"),
    swatch(0xff_86c4, "Pink"),
    swatch(0xb6_97ff, "Violet"),
    swatch(0x6f_b5ff, "Blue"),
    swatch(0x45_d6d0, "Teal"),
    swatch(0x86_dd62, "Green"),
];

/// Nib widths of the pen in board pixels.
pub(crate) const PEN_WIDTHS: [f32; 4] = [2.0, 4.0, 8.0, 16.0];

/// Nib widths of the highlighter in board pixels.
pub(crate) const HIGHLIGHTER_WIDTHS: [f32; 4] = [16.0, 24.0, 32.0, 48.0];

/// What people call the four widths, thinnest first.
pub(crate) const WIDTH_NAMES: [&str; 4] = ["Fine", "Medium", "Bold", "Extra bold"];

/// Colours of people: dark enough for white initials.
const PEOPLE: [u32; 10] = [
    0xd6_336c, 0xa8_38c2, 0x70_48e8, 0x42_63eb, 0x1b_6ec2, 0x0b_7285, 0x08_7f5b, 0x2b_8a3e,
    0xc2_410c, 0x9c_36b5,
];

/// A colour for a new visitor.
pub(crate) fn person() -> u32 {
    *pick(&PEOPLE)
}

/// `#rrggbb`.
pub(crate) fn css(color: u32) -> String {
    format!("#{:06x}", color & 0xff_ffff)
}

/// Reads `#rrggbb` or `rrggbb`.
pub(crate) fn parse(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    if digits.len() != 6 {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}
