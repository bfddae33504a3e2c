//! Sorting in little code, where code is downloaded before anything is seen.
//!
//! Each use of the standard library's sorts is 3 to 5 KB of wasm, quick as they are. On wasm a heap does it, in some 200
//! bytes and about twice the time; everywhere else the standard library does.

/// Sorts by a key; what has equal keys may change places.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    if cfg!(target_arch = "wasm32") {
        sort_by_heap(items, |a, b| key(a) < key(b));
    } else {
        items.sort_unstable_by_key(key);
    }
}

/// Puts the largest at the top of a heap, then at the end, until none is left.
fn sort_by_heap<T>(items: &mut [T], is_less: impl Fn(&T, &T) -> bool) {
    let count = items.len();
    // The first half of the steps makes the heap, the second empties it.
    for step in (0..count + count / 2).rev() {
        let (mut root, end) = if step >= count {
            (step - count, count)
        } else {
            items.swap(0, step);
            (0, step)
        };
        loop {
            let mut child = 2 * root + 1;
            if child >= end {
                break;
            }
            if child + 1 < end && is_less(&items[child], &items[child + 1]) {
                child += 1;
            }
            if !is_less(&items[root], &items[child]) {
                break;
            }
            items.swap(root, child);
            root = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_ways_lead_to_the_same_order(items: Vec<u16>) {
            let mut expected = items.clone();
            expected.sort_unstable();
            let (mut by_heap, mut by_key) = (items.clone(), items);
            sort_by_heap(&mut by_heap, |a, b| a < b);
            sort_by_key(&mut by_key, |item| *item);
            prop_assert_eq!(&by_heap, &expected);
            prop_assert_eq!(&by_key, &expected);
        }
    }
}
