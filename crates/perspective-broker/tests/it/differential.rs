//! Twisted's decoder and ours are given the same damaged bytes: they must agree on what to take, what to refuse, and what
//! it says. Where we differ on purpose is listed in `DIFFERENCES`.

use crate::conversation::{self, Side};
use crate::notation;
use bytes::BytesMut;
use perspective_broker::{DecodeError, Decoder, Dialect, Element, Limits, UnjellyError, encode, unjelly};
use std::collections::BTreeSet;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const SEED: u64 = 0x5eed_0fba_4a4a;
const DAMAGED_BYTES: usize = 20_000;
const DAMAGED_VALUES: usize = 20_000;
/// Longer expressions only say the same words more often.
const LONGEST: usize = 1500;

/// One value as both saw it.
struct Case<'a> {
    ours: &'a Result<String, UnjellyError>,
    /// The value, or the class of the exception.
    twisted: &'a Result<String, String>,
}

/// Something that we do otherwise on purpose.
struct Difference {
    name: &'static str,
    reason: &'static str,
    covers: fn(&Case<'_>) -> bool,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "unknown classes",
        reason: "nothing is imported or instantiated here: name and state are handed on",
        covers: |case| took(case.ours, "copy(") && case.twisted.is_err(),
    },
    Difference {
        name: "unhashable keys",
        reason: "nothing is hashed here, so lists can be keys of dictionaries and members of sets",
        covers: |case| case.ours.is_ok() && refused_by_twisted(case, &["TypeError"]),
    },
    Difference {
        name: "failures with parts missing",
        reason: "a failure must be understood whoever sent it: Twisted has changed its fields more than once",
        covers: |case| took(case.ours, "failure(") && case.twisted.is_err(),
    },
    Difference {
        name: "too many or odd parts",
        reason: "Python takes what it can index; nobody sends it, and what is not understood is better refused",
        covers: |case| matches!(case.ours, Err(UnjellyError::Malformed { .. })) && case.twisted.is_ok(),
    },
    Difference {
        name: "placeholders",
        reason: "`unpersistable` and `persistent` stand for data that is not there; no honest message holds them",
        covers: |case| {
            matches!(case.ours, Err(UnjellyError::Refused(_))) && took_by_twisted(case, "unpersistable()")
        },
    },
];

fn took(ours: &Result<String, UnjellyError>, part: &str) -> bool {
    ours.as_ref().is_ok_and(|value| value.contains(part))
}

fn took_by_twisted(case: &Case<'_>, part: &str) -> bool {
    case.twisted.as_ref().is_ok_and(|value| value.contains(part))
}

fn refused_by_twisted(case: &Case<'_>, classes: &[&str]) -> bool {
    case.twisted.as_ref().is_err_and(|class| classes.contains(&class.as_str()))
}

#[test]
fn damaged_bytes_are_taken_or_refused_alike() {
    let mut oracle = Oracle::start();
    let mut dice = Dice(SEED);
    let seeds = expressions();
    let mut ends = BTreeSet::new();
    for _ in 0..DAMAGED_BYTES {
        let mut bytes = dice.pick(&seeds).clone();
        for _ in 0..dice.below(4) {
            damage(&mut bytes, &mut dice, &seeds);
        }
        ends.insert(compare_bytes(&mut oracle, &bytes));
    }
    assert_eq!(ends.len(), 3, "only {ends:?} were met");
}

#[test]
fn damaged_values_are_taken_or_refused_alike() {
    let mut oracle = Oracle::start();
    let mut dice = Dice(SEED);
    let seeds = values();
    let (mut agreed, mut met) = (0, BTreeSet::new());
    for _ in 0..DAMAGED_VALUES {
        let mut element = dice.pick(&seeds).clone();
        for _ in 0..dice.below(3) + 1 {
            damage_value(&mut element, &mut dice, &seeds);
        }
        let mut bytes = BytesMut::new();
        encode(&element, Dialect::Pb, &Limits::default(), &mut bytes).unwrap();
        let facts = oracle.ask(&bytes);
        let [(sexp, twisted)] = facts.values.as_slice() else { panic!("{facts:?}") };
        assert_eq!(notation::expression(&element), *sexp);
        let ours = unjelly(element).map(|value| notation::value(&value));
        if ours.as_ref().ok() == twisted.as_ref().ok() {
            agreed += 1;
            continue;
        }
        let case = Case { ours: &ours, twisted };
        match DIFFERENCES.iter().find(|difference| (difference.covers)(&case)) {
            Some(difference) => met.insert(difference.name),
            None => panic!("{sexp}\nwe say      {ours:?}\nTwisted says {twisted:?}"),
        };
    }
    assert!(agreed > DAMAGED_VALUES / 2, "only {agreed} agreements");
    for Difference { name, reason, .. } in DIFFERENCES {
        assert!(met.contains(name), "never met, so no difference: {name} ({reason})");
    }
}

/// Compares both decoders; gives how the bytes ended.
fn compare_bytes(oracle: &mut Oracle, bytes: &[u8]) -> String {
    let facts = oracle.ask(bytes);
    let mut decoder = Decoder::new(&Limits::default());
    decoder.set_dialect(Dialect::Pb);
    let mut input = BytesMut::from(bytes);
    let mut found = Vec::new();
    let end = loop {
        match decoder.next(&mut input) {
            Ok(Some(element)) => found.push(notation::expression(&element)),
            Ok(None) if decoder.is_idle() && input.is_empty() => break "complete",
            Ok(None) => break "incomplete",
            // Bounds of ours where Twisted has none.
            Err(DecodeError::Limit(limit)) if ["depth", "message", "nodes"].contains(&limit.limit) => {
                assert!(facts.values.len() >= found.len());
                return "error".to_owned();
            }
            Err(_) => break "error",
        }
    };
    let wanted: Vec<&String> = facts.values.iter().map(|(sexp, _)| sexp).collect();
    assert!(
        wanted == found.iter().collect::<Vec<_>>() && end == facts.end,
        "{bytes:02x?}\nwe say       {end} {found:?}\nTwisted says {} {wanted:?}",
        facts.end
    );
    end.to_owned()
}

/// Whole expressions as bytes: of the recordings and of the vectors.
fn expressions() -> Vec<Vec<u8>> {
    let mut found = BTreeSet::new();
    for path in conversation::recordings() {
        let steps = conversation::read(&path);
        for side in [Side::Client, Side::Server] {
            let said = conversation::Splitter::new().split(&conversation::stream(&steps, side));
            found.extend(said.into_iter().map(|said| said.bytes).filter(|bytes| bytes.len() <= LONGEST));
        }
    }
    found.into_iter().collect()
}

/// Jelly values: arguments and answers of the recordings, and the vectors.
fn values() -> Vec<Element> {
    let mut seen = BTreeSet::new();
    let mut values = Vec::new();
    let mut add = |element: Element| {
        if seen.insert(notation::expression(&element)) {
            values.push(element);
        }
    };
    for bytes in expressions() {
        for said in conversation::Splitter::new().split(&bytes) {
            if let Element::List(items) = said.element {
                items.into_iter().filter(|item| matches!(item, Element::List(_))).for_each(&mut add);
            }
        }
    }
    let text = std::fs::read_to_string(conversation::fixtures().join("vectors/twisted.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
    for section in ["jelly", "handmade_jelly"] {
        for case in vectors[section].as_array().unwrap() {
            let digits = case["pb"].as_str().unwrap().as_bytes();
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
            conversation::Splitter::new().split(&bytes).into_iter().for_each(|said| add(said.element));
        }
    }
    values
}

fn damage(bytes: &mut Vec<u8>, dice: &mut Dice, others: &[Vec<u8>]) {
    const TELLING: &[u8] =
        &[0x00, 0x01, 0x1f, 0x20, 0x7f, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0xff];
    if bytes.is_empty() {
        bytes.push(*dice.pick(TELLING));
        return;
    }
    let at = dice.below(bytes.len());
    match dice.below(8) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes[at] = *dice.pick(TELLING),
        2 => bytes.insert(at, *dice.pick(TELLING)),
        3 => drop(bytes.remove(at)),
        4 => bytes.truncate(at),
        5 => drop(bytes.drain(at..(at + 1 + dice.below(16)).min(bytes.len()))),
        6 => bytes.extend(dice.pick(others)),
        _ => {
            let other = dice.pick(others);
            let start = dice.below(other.len());
            let end = (start + 1 + dice.below(64)).min(other.len());
            bytes.splice(at..at, other[start..end].iter().copied());
        }
    }
}

fn damage_value(element: &mut Element, dice: &mut Dice, others: &[Element]) {
    const TAGS: &[&str] = &[
        "None",
        "unicode",
        "boolean",
        "list",
        "tuple",
        "dictionary",
        "set",
        "frozenset",
        "remote",
        "local",
        "reference",
        "dereference",
        "datetime",
        "date",
        "time",
        "timedelta",
        "decimal",
        "unpersistable",
        "persistent",
        "module",
        "a.B",
        "twisted.spread.pb.CopyableFailure",
        "cached",
        "true",
        "\u{e9}",
    ];
    let Element::List(items) = element else {
        *element = leaf(dice, TAGS);
        return;
    };
    if items.is_empty() {
        items.push(leaf(dice, TAGS));
        return;
    }
    let at = dice.below(items.len());
    match dice.below(12) {
        // Deeper, most of the time.
        0..=4 => damage_value(&mut items[at], dice, others),
        5 => drop(items.remove(at)),
        6 => items.insert(at, items[at].clone()),
        7 => items[at] = leaf(dice, TAGS),
        8 => items[0] = Element::Bytes(dice.pick(TAGS).as_bytes().to_vec().into()),
        9 => items[at] = dice.pick(others).clone(),
        10 => {
            // Shared: a reference here, and somewhere its number again.
            let number = Element::Int(1);
            let shared = items[at].clone();
            let tag = |tag: &'static str| Element::Bytes(tag.as_bytes().into());
            items[at] = Element::List(vec![tag("reference"), number.clone(), shared]);
            items.push(Element::List(vec![tag("dereference"), number]));
        }
        _ => items.push(dice.pick(others).clone()),
    }
}

fn leaf(dice: &mut Dice, words: &[&str]) -> Element {
    match dice.below(6) {
        0 => Element::Int(*dice.pick(&[0, 1, -1, 6, 1 << 31, i64::MAX, i64::MIN])),
        1 => Element::Float(*dice.pick(&[0.5, -2.0, 1e300])),
        2 => Element::List(Vec::new()),
        3 => Element::Bytes(
            dice.pick(&[&b"\xff"[..], b"", b"2020 1 2", b"1 2 3 4 5 6 7", b"-1 0 0"]).to_vec().into(),
        ),
        4 => Element::List(vec![
            Element::Bytes(b"dereference".as_slice().into()),
            Element::Int(dice.below(3) as i64),
        ]),
        _ => Element::Bytes(dice.pick(words).as_bytes().to_vec().into()),
    }
}

/// A stream of numbers that is the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Twisted, in a process of its own (`tests/python/twisted_oracle.py`).
struct Oracle {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

#[derive(Debug)]
struct Facts {
    /// Expressions, each with its value or the class of the exception that it raises.
    values: Vec<(String, Result<String, String>)>,
    end: String,
}

impl Oracle {
    fn start() -> Self {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let venvs = std::env::var_os("GANGER_VENVS").map_or_else(|| repository.join(".venvs"), PathBuf::from);
        let python = venvs.join("master-4.3.0/bin/python");
        assert!(
            python.exists(),
            "{} is missing; run: python3 tests/python/venvs.py master-4.3.0",
            python.display()
        );
        let mut child = Command::new(python)
            .arg(repository.join("tests/python/twisted_oracle.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().unwrap());
        Self { child, to, from }
    }

    fn ask(&mut self, bytes: &[u8]) -> Facts {
        let to = self.to.as_mut().unwrap();
        to.write_all(&(bytes.len() as u32).to_be_bytes()).unwrap();
        to.write_all(bytes).unwrap();
        to.flush().unwrap();
        let mut len = [0; 4];
        self.from.read_exact(&mut len).expect("the oracle answers");
        let mut answer = vec![0; u32::from_be_bytes(len) as usize];
        self.from.read_exact(&mut answer).unwrap();
        let mut facts = Facts { values: Vec::new(), end: String::new() };
        let mut sexp = String::new();
        for line in String::from_utf8(answer).unwrap().lines() {
            match line.split_once(' ').unwrap() {
                ("S", text) => sexp = text.to_owned(),
                ("V", text) => facts.values.push((std::mem::take(&mut sexp), Ok(text.to_owned()))),
                ("E", class) => facts.values.push((std::mem::take(&mut sexp), Err(class.to_owned()))),
                ("end", how) => facts.end = how.split(' ').next().unwrap_or_default().to_owned(),
                _ => panic!("strange line {line:?}"),
            }
        }
        facts
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.to = None;
        if let Err(error) = self.child.wait() {
            panic!("the oracle: {error}");
        }
    }
}
