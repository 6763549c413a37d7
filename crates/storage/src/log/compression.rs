//! Compression of log chunks.

use std::{cell::RefCell, io::Read};

use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor};

/// A chunk may not get longer than this when it is unpacked. Buildbot merges chunks by their packed size, so that a
/// merged one can be far longer than the 64 KiB it started from.
pub(crate) const MAX_UNPACKED: usize = 64 << 20;

/// How the content of a chunk is compressed (`logchunks.compressed`).
///
/// A plain `pip install buildbot` reads [`None`](Self::None), [`Gz`](Self::Gz) and [`Bz2`](Self::Bz2). The others need
/// its extras `lz4`, `zstd` and `brotli`; without them Buildbot fails to show the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// 0: as it is.
    None,
    /// 1: a zlib stream (Buildbot's `gz`).
    #[default]
    Gz,
    /// 2: bzip2. Only read.
    Bz2,
    /// 3: an LZ4 block after its unpacked length, four bytes, lowest first.
    Lz4,
    /// 4: a Zstandard frame.
    Zstd,
    /// 5: Brotli. Only read.
    Brotli,
}

/// Why a chunk cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The content is not what `compressed` says.
    #[error("its {0:?} data is broken: {1}")]
    Broken(Compression, String),
    /// It would get too long.
    #[error("it is longer than {0} bytes when it is unpacked")]
    TooLong(usize),
}

impl Compression {
    /// The number in the table.
    pub const fn code(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Gz => 1,
            Self::Bz2 => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
            Self::Brotli => 5,
        }
    }

    /// The compression of a number from the table.
    pub fn from_code(code: i64) -> Option<Self> {
        [Self::None, Self::Gz, Self::Bz2, Self::Lz4, Self::Zstd, Self::Brotli]
            .into_iter()
            .find(|it| it.code() == code)
    }

    /// Packs `content`. What does not get shorter is left as it is, and the answer says so; so is everything for the
    /// two that are only read.
    pub fn pack(self, content: Vec<u8>) -> (Bytes, Self) {
        let packed = match self {
            Self::None | Self::Bz2 | Self::Brotli => None,
            Self::Gz => deflate(&content),
            Self::Lz4 => Some(lz4_flex::block::compress_prepend_size(&content)),
            Self::Zstd => zstd_compress(&content),
        };
        match packed {
            Some(packed) if packed.len() < content.len() => (packed.into(), self),
            _ => (content.into(), Self::None),
        }
    }

    /// Unpacks `content`.
    ///
    /// # Errors
    ///
    /// When it is not what it claims to be, or longer than 64 MiB.
    pub fn unpack(self, content: &[u8]) -> Result<Vec<u8>, UnpackError> {
        self.unpack_bounded(content, MAX_UNPACKED)
    }

    fn unpack_bounded(self, content: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
        let broken = |error: String| UnpackError::Broken(self, error);
        match self {
            Self::None => read_bounded(self, content, limit),
            Self::Gz => read_bounded(self, flate2::read::ZlibDecoder::new(content), limit),
            Self::Bz2 => read_bounded(self, bzip2::read::BzDecoder::new(content), limit),
            Self::Lz4 => {
                let (length, block) =
                    content.split_first_chunk::<4>().ok_or_else(|| broken("no length".to_owned()))?;
                let length = u32::from_le_bytes(*length) as usize;
                if length > limit {
                    return Err(UnpackError::TooLong(limit));
                }
                lz4_flex::block::decompress(block, length).map_err(|error| broken(error.to_string()))
            }
            Self::Zstd => {
                let decoder = zstd::Decoder::new(content).map_err(|error| broken(error.to_string()))?;
                read_bounded(self, decoder, limit)
            }
            Self::Brotli => read_bounded(self, brotli_decompressor::Decompressor::new(content, 4096), limit),
        }
    }
}

fn read_bounded(compression: Compression, reader: impl Read, limit: usize) -> Result<Vec<u8>, UnpackError> {
    let mut out = Vec::new();
    reader
        .take(limit as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|error| UnpackError::Broken(compression, error.to_string()))?;
    if out.len() > limit { Err(UnpackError::TooLong(limit)) } else { Ok(out) }
}

// A compressor's tables cost hundreds of kilobytes: one for each thread, not one for each log.
thread_local! {
    static DEFLATE: RefCell<Compressor> =
        RefCell::new(Compressor::new(CompressionLvl::new(1).unwrap_or_default()));
    static ZSTD: RefCell<Option<zstd::bulk::Compressor<'static>>> = RefCell::new(zstd::bulk::Compressor::new(1).ok());
}

/// A zlib stream, where that is shorter. Whole chunks at once, for which libdeflate needs a fifth less time than zlib-rs
/// at its fastest, and makes less than three quarters of the bytes.
fn deflate(content: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; content.len()];
    // It fails where there is not enough room, so for content that does not get shorter.
    let len = DEFLATE.with_borrow_mut(|deflate| deflate.zlib_compress(content, &mut out)).ok()?;
    out.truncate(len);
    out.shrink_to_fit();
    Some(out)
}

fn zstd_compress(content: &[u8]) -> Option<Vec<u8>> {
    ZSTD.with_borrow_mut(|zstd| zstd.as_mut()?.compress(content).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: [Compression; 4] =
        [Compression::None, Compression::Gz, Compression::Lz4, Compression::Zstd];

    #[test]
    fn what_is_packed_unpacks() {
        let text = "a line of a log that says the same again and again\n".repeat(500).into_bytes();
        for compression in WRITTEN {
            let (packed, used) = compression.pack(text.clone());
            assert_eq!(used, compression);
            assert!(compression == Compression::None || packed.len() < text.len() / 10);
            assert_eq!(used.unpack(&packed).expect("own data"), text);
        }
    }

    #[test]
    fn what_does_not_shrink_stays_as_it_is() {
        for compression in WRITTEN {
            let (packed, used) = compression.pack(b"xyz".to_vec());
            assert_eq!((&packed[..], used), (&b"xyz"[..], Compression::None));
        }
    }

    #[test]
    fn broken_data_is_an_error() {
        for compression in
            [Compression::Gz, Compression::Bz2, Compression::Lz4, Compression::Zstd, Compression::Brotli]
        {
            for data in [&b""[..], b"abc", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
                assert!(compression.unpack(data).is_err(), "{compression:?} {data:?}");
            }
        }
    }

    #[test]
    fn a_bomb_is_an_error() {
        let zeros = vec![0; 100_001];
        for compression in [Compression::Gz, Compression::Lz4, Compression::Zstd] {
            let (packed, used) = compression.pack(zeros.clone());
            assert_eq!(used, compression);
            assert!(matches!(used.unpack_bounded(&packed, 100_000), Err(UnpackError::TooLong(100_000))));
            assert_eq!(used.unpack_bounded(&packed, 100_001).expect("just short enough"), zeros);
        }
        let mut lz4 = u32::MAX.to_le_bytes().to_vec();
        lz4.push(0);
        assert!(matches!(Compression::Lz4.unpack(&lz4), Err(UnpackError::TooLong(_))));
    }
}
