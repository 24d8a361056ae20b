//! Replays what the text functions of a stock Linux 6.1 answered to 5878 calls.
//!
//! The recording's heading explains its lines. Each was made by calling the kernel's own function (`snprintf`, `sscanf`,
//! `kstrtoull`, `bitmap_parselist`, …) from a module.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;

use ferrmod_kernel::bits;
use ferrmod_kernel::platform::Fault;
use ferrmod_kernel::text::arguments::Words;
use ferrmod_kernel::text::format::{Environment, snprintf};
use ferrmod_kernel::text::hexdump::{self, Layout};
use ferrmod_kernel::text::memory::{Memory, MemoryMut};
use ferrmod_kernel::text::string::{Escape, Unescape, Units, escape, glob_match, size_text, unescape};
use ferrmod_kernel::text::{Errno, number, scan};

const RECORDED: &str = include_str!("recorded/linux-6.1-text.txt");

const BUFFERS: u64 = 0xffff_8880_0000_0000;
const TARGETS: u64 = 0xffff_8881_0000_0000;
/// Every buffer and target has so much room.
const ROOM: u64 = 4096;

#[derive(Default)]
struct Ram(RefCell<Vec<u8>>, RefCell<Vec<u8>>);

impl Ram {
    fn part<T>(&self, address: u64, length: usize, then: impl FnOnce(&mut [u8]) -> T) -> Result<T, Fault> {
        let (space, start) = if address >= TARGETS { (&self.1, TARGETS) } else { (&self.0, BUFFERS) };
        let offset = address.wrapping_sub(start) as usize;
        let mut space = space.borrow_mut();
        let end = offset.checked_add(length);
        match end.and_then(|end| space.get_mut(offset..end)) {
            Some(part) => Ok(then(part)),
            None => Err(Fault { address, length: length as u64 }),
        }
    }
}

impl Memory for Ram {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.part(address, into.len(), |part| into.copy_from_slice(part))
    }
}

impl MemoryMut for Ram {
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.part(address, bytes.len(), |part| part.copy_from_slice(bytes))
    }
}

impl Environment for Ram {
    fn pointer_key(&self) -> [u64; 2] {
        [3, 5]
    }
}

fn decode(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next().expect("an escape") {
            b's' => out.push(b' '),
            b'e' => {}
            b'x' => {
                let digits = [bytes.next().expect("a digit"), bytes.next().expect("a digit")];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).expect("digits"), 16).expect("digits"));
            }
            other => panic!("escape {other}"),
        }
    }
    out
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b' ' => text.push_str("\\s"),
            33..=126 if byte != b'\\' => text.push(byte.into()),
            _ => write!(text, "\\x{byte:02x}").expect("a string"),
        }
    }
    if text.is_empty() { "\\e".into() } else { text }
}

fn result<T: Default>(answer: Result<T, Errno>) -> (i64, T) {
    match answer {
        Ok(value) => (0, value),
        Err(error) => (error.to_return().into(), T::default()),
    }
}

/// Runs one recorded call and writes its answer the way the recording does.
fn answer(ram: &Ram, operation: &str, words: &[&str]) -> String {
    let text = decode(words[0]);
    let numbers: Vec<u64> = words[1..].iter().map(|word| u64::from_str_radix(word, 16).unwrap_or(0)).collect();
    let first = numbers.first().copied().unwrap_or(0);
    let (returned, output): (i64, Vec<u8>) = match operation {
        "printf" => {
            let arguments: Vec<u64> = words[1..]
                .iter()
                .map(|word| match word.strip_prefix('b').and_then(|index| index.parse::<u64>().ok()) {
                    Some(index) if !is_number(word) => BUFFERS + ROOM * index,
                    _ => u64::from_str_radix(word, 16).expect("a number"),
                })
                .collect();
            let (out, length) = snprintf(700, &text, &mut Words(&arguments), ram);
            // The recording stops at the first NUL.
            let end = out.iter().position(|&byte| byte == 0).unwrap_or(out.len());
            (length as i64, out[..end].to_vec())
        }
        "scanf" => {
            *ram.1.borrow_mut() = vec![0xee; 6 * ROOM as usize];
            let targets: Vec<u64> = (0..6).map(|index| TARGETS + ROOM * index).collect();
            let format = decode(words[1]);
            let count = scan::scan(&text, &format, &mut Words(&targets), ram).expect("the targets can be written");
            let mut line = count.to_string();
            let shown: Vec<Vec<u8>> = targets[..4]
                .iter()
                .map(|target| {
                    let mut bytes = vec![0; 24];
                    ram.read(*target, &mut bytes).expect("a target");
                    let end = bytes.iter().rposition(|&byte| byte != 0xee).map_or(0, |last| last + 1);
                    bytes[..end].to_vec()
                })
                .collect();
            let used = shown.iter().rposition(|bytes| !bytes.is_empty()).map_or(0, |last| last + 1);
            for bytes in &shown[..used] {
                write!(line, " {}", encode(bytes)).expect("a string");
            }
            return line;
        }
        "glob" => (glob_match(&text, &decode(words[1])).into(), vec![]),
        "kstrtoull" => {
            let (code, value) = result(number::unsigned(&text, first as u32));
            (code, value.to_le_bytes().to_vec())
        }
        "kstrtoll" => {
            let (code, value) = result(number::signed(&text, first as u32));
            (code, value.to_le_bytes().to_vec())
        }
        "strtoull" => {
            let (value, used) = number::leading_unsigned(&text, first as u32);
            (used as i64, value.to_le_bytes().to_vec())
        }
        "strtoll" => {
            let (value, used) = number::leading_signed(&text, first as u32);
            (used as i64, value.to_le_bytes().to_vec())
        }
        "kstrtobool" => {
            let (code, value) = result(number::truth(&text));
            (code, vec![value.into()])
        }
        "memparse" => {
            let (value, used) = number::size(&text);
            (used as i64, value.to_le_bytes().to_vec())
        }
        "get_options" => {
            let (mut values, count, used) = number::options(&text, first as usize);
            values.resize(first as usize, 0);
            let all = [count as i32].into_iter().chain(values);
            (used as i64, all.flat_map(i32::to_le_bytes).collect())
        }
        "parselist" | "parsehex" => {
            let mut bitmap = [0u64; 2];
            let parse = if operation == "parselist" { bits::parse_list } else { bits::parse_hex };
            let (code, ()) = result(parse(&text, &mut bitmap, first as usize));
            (code, bitmap.iter().flat_map(|word| word.to_le_bytes()).collect())
        }
        "sizetext" => {
            let shown = |units| size_text(first, numbers[1], units);
            (0, format!("{}/{}", shown(Units::Decimal), shown(Units::Binary)).into_bytes())
        }
        "escape" => {
            let out = escape(&text, Escape::from_bits_retain(first as u32), &decode(words[2]));
            (out.len() as i64, out)
        }
        "unescape" => {
            let out = unescape(&text, Unescape::from_bits_retain(first as u32), 99);
            (out.len() as i64, out)
        }
        "hexdump" => {
            let mut bytes = vec![0; first as usize];
            ram.read(BUFFERS + 4 * ROOM, &mut bytes).expect("a buffer");
            let layout = Layout { row: numbers[1] as usize, group: numbers[2] as usize, ascii: numbers[3] != 0 };
            let mut buffer = vec![b'#'; numbers[4] as usize];
            let length = hexdump::line_into(&mut buffer, &bytes, layout);
            let end = buffer.iter().rposition(|&byte| byte != b'#').map_or(0, |last| last + 1);
            (length.into(), buffer[..end].to_vec())
        }
        other => panic!("operation {other}"),
    };
    format!("{returned} {}", encode(&output))
}

/// `b7` names a buffer; a number that begins with b has the digits of one too, but is written with all its digits.
fn is_number(word: &str) -> bool {
    word.len() > 4
}

#[test]
fn every_recorded_call_answers_the_same() {
    let ram = Ram::default();
    let mut counts = BTreeMap::<&str, (usize, usize)>::new();
    let mut wrong = Vec::new();
    for line in RECORDED.lines().filter(|line| !line.starts_with('#')) {
        if let Some(bytes) = line.strip_prefix("buffer ") {
            let mut space = ram.0.borrow_mut();
            let start = space.len();
            space.extend(decode(bytes));
            space.resize(start + ROOM as usize, 0);
            continue;
        }
        let (call, expected) = line.split_once(" = ").expect("an answer");
        let words: Vec<&str> = call.split(' ').collect();
        let answer = answer(&ram, words[0], &words[1..]);
        let count = counts.entry(words[0]).or_default();
        count.0 += 1;
        if answer != expected {
            count.1 += 1;
            wrong.push(format!("{call}\n  Linux   {expected}\n  Ferrmod {answer}"));
        }
    }
    for (operation, (calls, wrong)) in &counts {
        println!("{operation}: {calls} calls, {wrong} differ");
    }
    assert!(wrong.is_empty(), "{} calls differ:\n{}", wrong.len(), wrong[..wrong.len().min(80)].join("\n"));
    assert_eq!(counts.values().map(|(calls, _)| calls).sum::<usize>(), 5878);
}
