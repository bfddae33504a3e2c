//! What the page weighs, and what it may weigh.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::stamp;

/// Budget for everything that a first visit downloads, in bytes as sent. At 1.6 Mbit/s (the slow phone connection that
/// page speed tools assume) it is 1.25 s: a visitor who opens a link may wait so long and not longer.
const PAGE_BYTES_MAX: u64 = 250_000;

/// The sizes of a built web client.
pub(super) struct Sizes {
    files: Vec<Size>,
}

/// Sizes of one file in bytes.
struct Size {
    path: String,
    raw: u64,
    /// As sent to those who take gzip: the file itself where compression does not make it smaller.
    gzip: u64,
    /// As sent to those who take brotli, which is every browser that runs the page.
    brotli: u64,
}

impl Sizes {
    /// Measures a dist folder.
    pub(super) fn measure(dist: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for path in stamp::files_below(dist)? {
            let name = path.strip_prefix(dist)?.to_string_lossy().into_owned();
            if name.ends_with(".br") || name.ends_with(".gz") {
                continue;
            }
            let raw = fs::metadata(&path)
                .with_context(|| format!("{} is gone", path.display()))?
                .len();
            let compressed = |ending: &str| {
                let mut path = path.clone().into_os_string();
                path.push(ending);
                fs::metadata(path).map_or(raw, |metadata| metadata.len())
            };
            files.push(Size {
                path: name,
                raw,
                gzip: compressed(".gz"),
                brotli: compressed(".br"),
            });
        }
        Ok(Self { files })
    }

    /// The whole page in brotli, in bytes.
    fn total(&self) -> u64 {
        self.files.iter().map(|size| size.brotli).sum()
    }

    /// A few words: `212.4 KB of 250 KB (brotli)`.
    pub(super) fn headline(&self) -> String {
        format!(
            "{} KB of {} KB (brotli)",
            kilobytes(self.total()),
            PAGE_BYTES_MAX / 1000
        )
    }

    /// A line for each file and one for all.
    pub(super) fn table(&self) -> String {
        let width = self
            .files
            .iter()
            .map(|size| size.path.len())
            .max()
            .unwrap_or(0)
            .max("total".len());
        let mut table = format!(
            "{:width$} {:>9} {:>9} {:>9}  KB\n",
            "", "raw", "gzip", "brotli"
        );
        let mut line = |name: &str, sizes: [u64; 3]| {
            let [raw, gzip, brotli] = sizes.map(kilobytes);
            let _ = writeln!(table, "{name:width$} {raw:>9} {gzip:>9} {brotli:>9}");
        };
        for size in &self.files {
            line(&size.path, [size.raw, size.gzip, size.brotli]);
        }
        let sum = |of: fn(&Size) -> u64| self.files.iter().map(of).sum();
        line(
            "total",
            [
                sum(|size| size.raw),
                sum(|size| size.gzip),
                sum(|size| size.brotli),
            ],
        );
        table
    }

    /// Fails when the page is over its budget.
    pub(super) fn check_budget(&self) -> Result<()> {
        if self.total() > PAGE_BYTES_MAX {
            bail!(
                "the page is over its budget: {}\n{}",
                self.headline(),
                self.table()
            );
        }
        Ok(())
    }
}

fn kilobytes(bytes: u64) -> String {
    format!("{}.{}", bytes / 1000, bytes % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(brotli: u64) -> Sizes {
        let small = Size {
            path: "index.html".to_owned(),
            raw: 3_250,
            gzip: 1_500,
            brotli: 1_000,
        };
        Sizes {
            files: vec![
                small,
                Size {
                    path: "assets/ui_bg-0.wasm".to_owned(),
                    raw: 900_000,
                    gzip: 1,
                    brotli,
                },
            ],
        }
    }

    #[test]
    fn the_budget_counts_every_file_as_sent() {
        assert!(page(PAGE_BYTES_MAX - 1_000).check_budget().is_ok());
        let error = page(PAGE_BYTES_MAX - 999)
            .check_budget()
            .expect_err("a byte over")
            .to_string();
        assert!(
            error.contains("250.0 KB of 250 KB") && error.contains("assets/ui_bg-0.wasm"),
            "{error}"
        );
    }

    #[test]
    fn the_table_has_a_line_for_each_file_and_a_sum() {
        let table = page(2_000).table();
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[1], ["index.html", "3.2", "1.5", "1.0"]);
        assert_eq!(lines[3], ["total", "903.2", "1.5", "3.0"]);
    }
}
