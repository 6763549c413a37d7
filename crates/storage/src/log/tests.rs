use proptest::prelude::*;

use super::{
    Chunk, ChunkBuilder, Compression, LogKind, MAX_CHUNK_BYTES, MAX_CHUNK_LINES, MAX_LINE_BYTES, Scattered,
    Stream,
};

const STREAMS: [Stream; 3] = Stream::ALL;

fn take(builder: &mut ChunkBuilder) -> Vec<Chunk> {
    std::iter::from_fn(|| builder.next_chunk()).collect()
}

/// The lines of chunks that follow each other.
#[track_caller]
fn lines(chunks: &[Chunk]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for chunk in chunks {
        assert_eq!(chunk.first_line, lines.len() as i64);
        let text = String::from_utf8(chunk.compression.unpack(&chunk.content).unwrap()).unwrap();
        lines.extend(text.split('\n').map(str::to_owned));
        assert_eq!(chunk.last_line + 1, lines.len() as i64);
    }
    lines
}

/// What becomes of pushes.
#[track_caller]
fn check(kind: LogKind, pushes: &[(Stream, &str)], expect: &[&str]) {
    let mut builder = ChunkBuilder::new(kind, Compression::Gz);
    for (stream, text) in pushes {
        builder.push(*stream, text.as_bytes());
    }
    builder.finish();
    assert_eq!(builder.num_lines(), expect.len() as i64);
    assert_eq!(lines(&take(&mut builder)), expect);
}

#[test]
fn streams_keep_their_own_unfinished_lines() {
    let (out, err, header) = (Stream::Stdout, Stream::Stderr, Stream::Header);
    check(
        LogKind::Stdio,
        &[(header, "run\n"), (out, "be"), (err, "oops"), (out, "gin\nnext"), (err, "!\n"), (header, "end")],
        &["hrun", "obegin", "eoops!", "onext", "hend"],
    );
    check(LogKind::Text, &[(out, "a\nb"), (err, "c\n"), (out, "\n")], &["a", "bc", ""]);
    check(LogKind::Stdio, &[], &[]);
    check(LogKind::Html, &[(out, "\n\n")], &["", ""]);
}

#[test]
fn cursor_moves_end_lines_also_when_they_are_cut() {
    let out = Stream::Stdout;
    check(
        LogKind::Text,
        &[(out, "10%\r"), (out, "20%\r"), (out, "\nx\x1b[2"), (out, "Jy\r")],
        &["10%", "20%", "x", "y"],
    );
    check(LogKind::Text, &[(out, "a\x1b[1"), (out, ";31mred\n\x1b[")], &["a\x1b[1;31mred", "\x1b["]);
}

#[test]
fn what_is_not_utf8_is_replaced_even_when_characters_are_cut() {
    let mut builder = ChunkBuilder::new(LogKind::Text, Compression::None);
    for byte in "hé\n".bytes().chain([b'x', 0xff, b'\n']) {
        builder.push(Stream::Stdout, &[byte]);
    }
    builder.finish();
    assert_eq!(lines(&take(&mut builder)), ["hé", "x\u{fffd}"]);
}

#[test]
fn chunks_are_bounded_in_lines_and_bytes() {
    let mut builder = ChunkBuilder::new(LogKind::Stdio, Compression::Lz4);
    builder.push(Stream::Stdout, "x\n".repeat(2 * MAX_CHUNK_LINES + 1).as_bytes());
    builder.push(Stream::Stdout, format!("{}\n", "y".repeat(999)).repeat(200).as_bytes());
    builder.finish();
    let chunks = take(&mut builder);
    for chunk in &chunks {
        assert!(chunk.compression.unpack(&chunk.content).unwrap().len() <= MAX_CHUNK_BYTES);
        assert!(chunk.last_line - chunk.first_line < MAX_CHUNK_LINES as i64);
    }
    assert!(chunks.len() <= 2 + 4, "{}", chunks.len());
    assert_eq!(lines(&chunks).len(), 2201);
}

#[test]
fn a_long_line_has_a_chunk_of_its_own() {
    let mut builder = ChunkBuilder::new(LogKind::Stdio, Compression::Zstd);
    let long = "z".repeat(MAX_LINE_BYTES);
    builder.push(Stream::Stdout, format!("a\n{long}\nb\n").as_bytes());
    builder.finish();
    let chunks = take(&mut builder);
    assert_eq!(chunks.len(), 3);
    assert_eq!(lines(&chunks), ["oa", &format!("o{long}"), "ob"]);
}

#[test]
fn an_endless_line_is_cut_without_loss_and_takes_bounded_memory() {
    let mut builder = ChunkBuilder::new(LogKind::Text, Compression::Gz);
    let piece = "ä€😀".repeat(1000);
    let mut all = Vec::new();
    for _ in 0..400 {
        builder.push(Stream::Stdout, piece.as_bytes());
        // Taken as they come: nothing but the unfinished line is held.
        all.extend(take(&mut builder));
        assert!(!builder.has_unflushed_lines() || builder.num_lines() > 0);
    }
    builder.finish();
    all.extend(take(&mut builder));
    let lines = lines(&all);
    assert!(lines.iter().all(|line| line.len() <= MAX_LINE_BYTES && !line.contains('\u{fffd}')));
    assert_eq!(lines.concat(), piece.repeat(400));
    assert_eq!(lines.len(), (piece.len() * 400).div_ceil(MAX_LINE_BYTES));
}

#[test]
fn flushing_shows_whole_lines_only() {
    let mut builder = ChunkBuilder::new(LogKind::Stdio, Compression::Gz);
    builder.push(Stream::Stdout, b"one\ntw");
    builder.flush();
    let mut chunks = take(&mut builder);
    assert_eq!(lines(&chunks), ["oone"]);
    builder.flush();
    assert_eq!(builder.next_chunk(), None);
    builder.push(Stream::Stdout, b"o\n");
    builder.finish();
    chunks.extend(take(&mut builder));
    assert_eq!(lines(&chunks), ["oone", "otwo"]);
}

proptest! {
    /// However text is cut and whenever it is flushed, the lines are the same.
    #[test]
    fn cutting_changes_nothing(
        pushes in prop::collection::vec((0usize..3, "([a-zé€😀 ]|\r|\n|\x08|\x1b\\[[0-9;]{0,4}[HfJumK]?){0,40}"), 0..8),
        cuts in prop::collection::vec(1usize..7, 1..20),
        flush in any::<bool>(),
    ) {
        let mut whole = ChunkBuilder::new(LogKind::Stdio, Compression::None);
        let mut cut = ChunkBuilder::new(LogKind::Stdio, Compression::Gz);
        let mut sizes = cuts.iter().copied().cycle();
        for (stream, text) in &pushes {
            // One stream's text comes in one piece here and in several there; order between streams stays.
            whole.push(STREAMS[*stream], text.as_bytes());
            let mut rest = text.as_bytes();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
                // A run of backspaces that is cut is two runs, as it is for Buildbot.
                prop_assume!(!(now.ends_with(b"\x08") && later.starts_with(b"\x08")));
                cut.push(STREAMS[*stream], now);
                rest = later;
                if flush {
                    cut.flush();
                }
            }
        }
        whole.finish();
        cut.finish();
        prop_assert_eq!(lines(&take(&mut whole)), lines(&take(&mut cut)));
    }
}

#[test]
fn chunks_that_would_fit_into_one_are_told_of() {
    let check = |pushes: &[&[u8]], expect: &[(i64, i64, usize)]| {
        let mut builder = ChunkBuilder::new(LogKind::Text, Compression::None);
        for text in pushes {
            builder.push(Stream::Stdout, text);
            builder.flush();
        }
        builder.finish();
        lines(&take(&mut builder));
        let found = builder.take_scattered();
        let found: Vec<_> = found
            .iter()
            .map(|Scattered { first_line, last_line, chunks, .. }| (*first_line, *last_line, *chunks))
            .collect();
        assert_eq!(found, expect);
        assert_eq!(builder.take_scattered(), []);
    };
    check(&[], &[]);
    check(&[b"one\n"], &[]);
    check(&[b"one\n", b"two\nthree\n", b"four"], &[(0, 3, 3)]);
    let large = [b"x".repeat(MAX_CHUNK_BYTES - 6), b"\n".to_vec()].concat();
    check(&[b"one\n", &large, b"two\n", b"three\nfour\n", b"five\n"], &[(0, 1, 2), (2, 5, 3)]);
    let many = b"\n".repeat(MAX_CHUNK_LINES - 1);
    check(&[&many, b"\n", b"a\n", b"b\n"], &[(0, 999, 2), (1000, 1001, 2)]);
}
