//! Colours of ink and labels: how a colour that was chosen on a light board shows on a dark one, and which text is
//! readable on it. Pure arithmetic on 0xRRGGBB.
//!
//! Lightness is turned round in the Oklab space (Björn Ottosson, "A perceptual color space for image processing",
//! 2020), where it can be changed without changing the hue.

/// The board under the ink, 0xRRGGBB: the page's own background.
pub const fn board_color(dark: bool) -> u32 {
    if dark { 0x15_191a } else { 0xfa_faf7 }
}

/// The colour that ink of `color` shows in on a light or dark board.
pub fn shown(color: u32, dark: bool) -> u32 {
    if dark {
        on_dark(color)
    } else {
        color & 0xff_ffff
    }
}

/// Keeps the hue. Greys turn round, so that near-black ink becomes chalk; colours only become as light as it takes to
/// be read on the dark board.
fn on_dark(color: u32) -> u32 {
    let [lightness, a, b] = to_oklab(color);
    let chroma = a.hypot(b);
    // 0 for greys, 1 from the chroma of a clearly coloured pen on.
    let colorful = ((chroma - 0.02) / 0.06).clamp(0.0, 1.0);
    let turned = 0.98 - 0.80 * lightness * fifth_root(lightness.powi(3));
    let lifted = lightness.max(0.66);
    from_oklab([turned + (lifted - turned) * colorful, a, b])
}

/// Black-ish or white text, whichever stands out more on a colour (WCAG 2.2 contrast ratio).
pub fn text_on(color: u32) -> u32 {
    const DARK_TEXT: u32 = 0x1f_2328;
    let background = luminance(color);
    let with_white = 1.05 / (background + 0.05);
    let with_dark = (background + 0.05) / (luminance(DARK_TEXT) + 0.05);
    if with_white >= with_dark {
        0xff_ffff
    } else {
        DARK_TEXT
    }
}

/// Contrast ratio of two colours, 1 to 21 (WCAG 2.2).
pub fn contrast(a: u32, b: u32) -> f32 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

fn luminance(color: u32) -> f32 {
    let [r, g, b] = linear(color);
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

/// Linear light of each channel, 0 to 1 (IEC 61966-2-1).
fn linear(color: u32) -> [f32; 3] {
    let [_, r, g, b] = color.to_be_bytes();
    [r, g, b].map(|channel| {
        let v = f32::from(channel) / 255.0;
        if v <= 0.040_45 {
            v / 12.92
        } else {
            let v = (v + 0.055) / 1.055;
            v * v * fifth_root(v * v)
        }
    })
}

/// Newton's method, from above; for 0 to 1. General powers would take the page half a kilobyte in each of its modules.
fn fifth_root(of: f32) -> f32 {
    (0..24).fold(1.0, |root: f32, _| (4.0 * root + of / root.powi(4)) / 5.0)
}

fn encode(channel: f32) -> u32 {
    let v = if channel <= 0.003_130_8 {
        channel * 12.92
    } else {
        // To the power of 5/12.
        let root = channel.cbrt();
        1.055 * root * root.sqrt().sqrt() - 0.055
    };
    (v.clamp(0.0, 1.0) * 255.0).round() as u32
}

fn to_oklab(color: u32) -> [f32; 3] {
    let [r, g, b] = linear(color);
    let l = (0.412_221_46 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
    let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
    let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
    [
        0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
        1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
        0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
    ]
}

fn from_oklab([lightness, a, b]: [f32; 3]) -> u32 {
    let l = lightness + 0.396_337_78 * a + 0.215_803_76 * b;
    let m = lightness - 0.105_561_346 * a - 0.063_854_17 * b;
    let s = lightness - 0.089_484_18 * a - 1.291_485_5 * b;
    let (l, m, s) = (l * l * l, m * m * m, s * s * s);
    let r = 4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s;
    let g = -1.268_438 * l + 2.609_757_4 * m - 0.341_319_4 * s;
    let b = -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s;
    encode(r) << 16 | encode(g) << 8 | encode(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the tool bar offers.
    const PENS: [u32; 8] = [
        0x1f_2328, 0xe0_3e3e, 0xf2_7a1a, 0xf0_b400, 0x2f_a35f, 0x2f_80ed, 0x86_58e0, 0xe2_4a9a,
    ];

    #[test]
    fn dark_ink_becomes_chalk_and_back_on_light_it_is_itself() {
        assert_eq!(shown(0x1f_2328, false), 0x1f_2328);
        assert!(contrast(shown(0x1f_2328, true), board_color(true)) > 12.0);
        assert!(contrast(shown(0, true), board_color(true)) > 14.0);
        assert!(
            contrast(shown(0xff_ffff, true), board_color(true)) < 2.0,
            "what hides on light hides on dark"
        );
    }

    #[test]
    fn every_pen_is_readable_on_the_dark_board_and_keeps_its_hue() {
        for color in PENS {
            let shown = shown(color, true);
            assert!(
                contrast(shown, board_color(true)) >= 4.5,
                "{color:06x} shows as {shown:06x}"
            );
            let ([_, a, b], [_, c, d]) = (to_oklab(color), to_oklab(shown));
            if a.hypot(b) > 0.05 {
                let turn = (b.atan2(a) - d.atan2(c)).abs();
                assert!(turn < 0.15, "{color:06x} turned its hue by {turn}");
            }
        }
    }

    #[test]
    fn greys_keep_their_order_turned_round() {
        let shades: Vec<f32> = (0..=8)
            .map(|i| luminance(shown(0x1f_1f1f * i, true)))
            .collect();
        assert!(
            shades.windows(2).all(|pair| pair[0] > pair[1]),
            "{shades:?}"
        );
    }

    #[test]
    fn roots_are_those_of_the_standard() {
        for n in 0..=1000 {
            let v = n as f32 / 1000.0;
            assert!((v * fifth_root(v) - v.powf(1.2)).abs() < 1e-5, "{v}");
        }
    }

    #[test]
    fn conversion_survives() {
        for color in [0, 0xff_ffff, 0x12_3456, 0xff_0000, 0x00_ff00, 0x00_00ff] {
            let back = from_oklab(to_oklab(color));
            let apart =
                |shift: u32| ((color >> shift & 255) as i32 - (back >> shift & 255) as i32).abs();
            assert!(
                apart(0) <= 1 && apart(8) <= 1 && apart(16) <= 1,
                "{color:06x} {back:06x}"
            );
        }
    }

    #[test]
    fn text_is_readable() {
        assert_eq!(text_on(0x70_48e8), 0xff_ffff);
        assert_eq!(text_on(0xff_d91a), 0x1f_2328);
    }
}
