//! Compression ahead of time, as hard as it goes: it is done once and pays off at each visit.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, anyhow};

use super::{Files, bundle};

/// The best that brotli has.
const BROTLI_QUALITY: u32 = 11;
/// Logarithm of brotli's window: 4 MB, more than any file here, and within what every browser accepts.
const BROTLI_WINDOW_BITS: u32 = 22;
/// Buffer between our bytes and the compressor.
const BUFFER_BYTES: usize = 64 * 1024;

/// Writes the files below a folder, each with `.br` and `.gz` beside it where these are smaller. A thread for each
/// file: there are about ten, and the largest decides how long it takes.
pub(super) fn write(folder: &Path, files: &Files) -> Result<()> {
    thread::scope(|scope| {
        let writers: Vec<_> = files
            .iter()
            .map(|(path, content)| scope.spawn(move || write_one(&folder.join(path), content)))
            .collect();
        writers.into_iter().try_for_each(|writer| {
            writer
                .join()
                .map_err(|_| anyhow!("a compressor panicked"))?
        })
    })
}

fn write_one(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    store(path, content)?;
    if !is_compressible(path) {
        return Ok(());
    }
    for (ending, compressed) in [(".br", brotli(content)?), (".gz", gzip(content)?)] {
        if compressed.len() < content.len() {
            let mut path = path.as_os_str().to_owned();
            path.push(ending);
            store(&PathBuf::from(path), &compressed)?;
        }
    }
    Ok(())
}

fn store(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("{} cannot be written", path.display()))
}

/// Everything but what is compressed by its format already.
fn is_compressible(path: &Path) -> bool {
    let name = path.to_str().unwrap_or("");
    !matches!(
        bundle::ending(name),
        "woff2" | "woff" | "png" | "jpg" | "jpeg" | "webp" | "avif"
    )
}

fn brotli(content: &[u8]) -> Result<Vec<u8>> {
    let mut compressor =
        brotli::CompressorWriter::new(Vec::new(), BUFFER_BYTES, BROTLI_QUALITY, BROTLI_WINDOW_BITS);
    compressor.write_all(content)?;
    compressor.flush()?;
    Ok(compressor.into_inner())
}

fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut compressor = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    compressor.write_all(content)?;
    Ok(compressor.finish()?)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn both_forms_decompress_to_the_same_bytes() {
        let content: Vec<u8> = (0..200_000u32)
            .flat_map(|i| (i / 7 % 251).to_le_bytes())
            .collect();
        let (brotli, gzip) = (
            brotli(&content).expect("brotli"),
            gzip(&content).expect("gzip"),
        );
        assert!(brotli.len() < content.len() / 2 && gzip.len() < content.len() / 2);
        let mut plain = Vec::new();
        brotli::Decompressor::new(&brotli[..], BUFFER_BYTES)
            .read_to_end(&mut plain)
            .expect("valid brotli");
        assert!(plain == content);
        plain.clear();
        flate2::read::GzDecoder::new(&gzip[..])
            .read_to_end(&mut plain)
            .expect("valid gzip");
        assert!(plain == content);
    }
}
