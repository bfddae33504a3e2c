//! Who this visitor is, until there are accounts: a friendly made-up name and a colour.
//!
//! Those belong to the window, so that two windows of one browser can be told apart; a name that was chosen belongs to
//! the person, and the browser remembers it.

use crate::palette;
use crate::settings;

/// Longest name that can be chosen, in characters; what the server cuts at is longer.
pub(crate) const NAME_CHARS_MAX: usize = 40;

const ADJECTIVES: [&str; 24] = [
    "Amber", "Brave", "Bright", "Calm", "Clever", "Cosy", "Curious", "Daring", "Eager", "Fearless",
    "Gentle", "Golden", "Happy", "Jolly", "Kind", "Lively", "Lucky", "Merry", "Nimble", "Quick",
    "Quiet", "Sunny", "Swift", "Witty",
];

const ANIMALS: [&str; 24] = [
    "Badger", "Beaver", "Crane", "Dolphin", "Falcon", "Finch", "Fox", "Gecko", "Hare", "Heron",
    "Ibex", "Koala", "Lark", "Lynx", "Marten", "Newt", "Otter", "Owl", "Panda", "Puffin", "Robin",
    "Seal", "Tern", "Wombat",
];

/// The person at this page.
#[derive(Clone)]
pub(crate) struct Guest {
    /// Display name, 1 to [`NAME_CHARS_MAX`] characters.
    pub(crate) name: String,
    /// 0xRRGGBB.
    pub(crate) color: u32,
}

/// Who was here before, or somebody new.
pub(crate) fn load() -> Guest {
    let chosen = settings::load("name").and_then(|name| tidy(&name));
    let name = chosen.unwrap_or_else(|| {
        settings::load_here("guest").unwrap_or_else(|| {
            let made_up = format!("{} {}", pick(&ADJECTIVES), pick(&ANIMALS));
            settings::store_here("guest", &made_up);
            made_up
        })
    });
    let color = settings::load_here("color").and_then(|color| palette::parse(&color));
    let color = color.unwrap_or_else(palette::person);
    settings::store_here("color", &palette::css(color));
    Guest { name, color }
}

/// Keeps a chosen name for the next visit, in any window.
pub(crate) fn remember_name(name: &str) {
    settings::store("name", name);
}

/// Makes typed text a name: no control characters, single spaces, not too long. `None` when nothing is left.
pub(crate) fn tidy(text: &str) -> Option<String> {
    let visible: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words: Vec<&str> = visible.split_whitespace().collect();
    let name: String = words.join(" ").chars().take(NAME_CHARS_MAX).collect();
    if name.is_empty() { None } else { Some(name) }
}

/// Up to two letters that stand for a name.
pub(crate) fn initials(name: &str) -> String {
    let letters: String = name
        .split_whitespace()
        .take(2)
        .filter_map(|word| word.chars().next())
        .collect();
    // The browser knows every script's capitals; a table of our own would be downloaded.
    js_sys::JsString::from(letters).to_upper_case().into()
}

/// One of them at random.
pub(crate) fn pick<T>(choices: &[T]) -> &T {
    // `random` is below 1, and the lists are shorter than 2^32: the product is a valid index.
    &choices[(js_sys::Math::random() * choices.len() as f64) as usize]
}
