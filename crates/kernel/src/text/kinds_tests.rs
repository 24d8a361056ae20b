//! The parameter strings that were given to stock Linux 6.1 with one module that has a parameter of every type, and what
//! Linux answered: errno, messages, and the values the module found.

use super::*;
use crate::text::params::{
    self, Entry, ParameterSet, Unknown, Value, after_dashes_message, ignored_message, parse_args, same_name,
    unknown_to_module,
};
use alloc::string::ToString;
use alloc::vec;
use bstr::ByteSlice;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Type {
    Scalar(Kind, Scalar),
    Charp(Option<Vec<u8>>),
    Text(Vec<u8>, usize),
    Array(Vec<Scalar>, usize),
    /// Custom operations: prints what it is given, takes an int, may go without a value.
    Callback,
}

/// The module of the recording.
struct Base {
    parameters: Vec<(&'static str, Type)>,
}

impl Base {
    fn new() -> Base {
        let scalar = |name, kind| (name, Type::Scalar(kind, Scalar(0)));
        Base {
            parameters: vec![
                scalar("ret", Kind::Int),
                scalar("b", Kind::Bool),
                scalar("ib", Kind::InvBool),
                scalar("bi", Kind::Bint),
                scalar("by", Kind::Byte),
                scalar("sh", Kind::Short),
                scalar("us", Kind::Ushort),
                scalar("ui", Kind::Uint),
                scalar("lo", Kind::Long),
                scalar("ul", Kind::Ulong),
                scalar("ull", Kind::Ullong),
                scalar("hx", Kind::Hexint),
                ("cp", Type::Charp(Some(b"dflt".to_vec()))),
                ("str", Type::Text(b"abc".to_vec(), 8)),
                ("arr", Type::Array(vec![], 3)),
                scalar("eo", Kind::BoolEnableOnly),
                scalar("un", Kind::Int),
                scalar("with_dash", Kind::Int),
                ("cb", Type::Callback),
            ],
        }
    }

    fn scalar(&self, name: &str) -> Scalar {
        match &self.parameters.iter().find(|(other, _)| *other == name).unwrap().1 {
            Type::Scalar(_, value) => *value,
            _ => unreachable!(),
        }
    }

    fn show(&self, name: &str) -> String {
        let shown = match &self.parameters.iter().find(|(other, _)| *other == name).unwrap().1 {
            Type::Scalar(kind, value) => kind.show(*value).into(),
            Type::Charp(text) => show_text(text.as_deref()),
            Type::Text(text, _) => show_text(Some(text)),
            Type::Array(values, _) => {
                let elements: Vec<String> = values.iter().map(|value| Kind::Int.show(*value)).collect();
                show_array(elements.iter().map(String::as_bytes))
            }
            Type::Callback => BString::default(),
        };
        shown.to_str().unwrap().trim_end().to_string()
    }

    /// The line the module's init printed.
    fn init_line(&self) -> String {
        let get = |name| self.show(name);
        let mut array = match &self.parameters.iter().find(|(name, _)| *name == "arr").unwrap().1 {
            Type::Array(values, _) => values.iter().map(|value| value.0 as i32).collect(),
            _ => vec![],
        };
        let count = array.len();
        array.resize(3, 0);
        format!(
            "base init ret={} b={} ib={} by={} sh={} ui={} lo={} ul={} hx={:x} cp='{}' str='{}' narr={count} arr={},{},{} wd={}",
            get("ret"),
            self.scalar("b").0,
            self.scalar("ib").0,
            get("by"),
            get("sh"),
            get("ui"),
            get("lo"),
            get("ul"),
            self.scalar("hx").0,
            get("cp"),
            get("str"),
            array[0],
            array[1],
            array[2],
            get("with_dash"),
        )
    }

    fn load(arguments: &str) -> (i32, Vec<(u8, String)>, Base) {
        let mut base = Base::new();
        let mut bytes = arguments.as_bytes().to_vec();
        bytes.push(0);
        let mut lines = vec![];
        let result = {
            let mut log = |level: Level, text: &BStr| lines.push((level as u8, text.to_string()));
            let result = parse_args("base", &mut bytes, &mut base, &mut log);
            if let Ok(Some(rest)) = result {
                log(Level::Warning, after_dashes_message("base", &bytes[rest..]).as_bstr());
            }
            result
        };
        let mut code = 0;
        match result {
            Ok(_) => {
                lines.push((6, base.init_line()));
                let returned = base.scalar("ret").0 as i32;
                if returned < 0 {
                    code = returned;
                }
            }
            Err(error) => code = error.to_return(),
        }
        (code, lines, base)
    }
}

impl ParameterSet for Base {
    fn find(&mut self, name: &BStr) -> Option<Entry> {
        let index = self.parameters.iter().position(|(other, _)| same_name(other.as_bytes(), name))?;
        let no_value = match self.parameters[index].1 {
            Type::Scalar(kind, _) => kind.no_value(),
            Type::Callback => true,
            _ => false,
        };
        Some(Entry { index, no_value, unsafe_to_set: self.parameters[index].0 == "un", hardware: false })
    }

    fn set(&mut self, entry: Entry, value: Option<Value<'_>>, log: Log<'_>) -> Result<(), Errno> {
        let (name, target) = &mut self.parameters[entry.index];
        let name = BStr::new(*name);
        match target {
            Type::Scalar(kind, now) => *now = kind.parse(value.as_ref().map(|value| &*value.bytes), *now)?,
            Type::Charp(text) => {
                let value = value.ok_or(Errno::EINVAL)?.bytes;
                check_charp(name, value, log)?;
                *text = Some(value.to_vec());
            }
            Type::Text(text, room) => {
                let value = value.ok_or(Errno::EINVAL)?.bytes;
                check_string(name, value, *room, log)?;
                *text = value.to_vec();
            }
            Type::Array(values, most) => {
                let mut read = vec![];
                let value = value.ok_or(Errno::EINVAL)?.bytes;
                let (_, result) = params::parse_array(name, value, *most, log, &mut |_, element, _| {
                    read.push(Kind::Int.parse(Some(element), Scalar(0))?);
                    Ok(())
                });
                *values = read;
                result?;
            }
            Type::Callback => {
                let value = value.map(|value| value.bytes.to_vec());
                let shown = value.as_deref().unwrap_or(b"(null)").as_bstr();
                log(Level::Info, format!("cb set '{shown}'").as_bytes().as_bstr());
                if let Some(value) = value {
                    number::signed(&value, 0)?;
                }
            }
        }
        Ok(())
    }

    fn unknown(&mut self, name: &BStr, value: Option<&BStr>, log: Log<'_>) -> Result<(), Errno> {
        if let Unknown::Ignored(name) = unknown_to_module(name, value) {
            log(Level::Warning, ignored_message("base", name).as_bstr());
        }
        Ok(())
    }
}

const PLAIN: &str = "base init ret=0 b=0 ib=0 by=0 sh=0 ui=0 lo=0 ul=0 hx=0 cp='dflt' str='abc' narr=0 arr=0,0,0 wd=0";

/// Arguments, result, log lines as `<level>text`; `=` stands for the line of a module with nothing set, `=a>b` for the same
/// with `a` replaced by `b`; `name: text` after the lines is what the parameter's file shows.
type Recorded = (&'static str, i32, &'static [&'static str], &'static [(&'static str, &'static str)]);
const RECORDED: &[Recorded] = &[
    ("", 0, &["="], &[]),
    ("ret=-5", -5, &["=ret=0>ret=-5"], &[]),
    ("ret=7", 0, &["=ret=0>ret=7"], &[]),
    ("ret=-517", -517, &["=ret=0>ret=-517"], &[]),
    ("b", 0, &["= b=0> b=1"], &[("b", "Y")]),
    ("b=1", 0, &["= b=0> b=1"], &[]),
    ("b=Y", 0, &["= b=0> b=1"], &[]),
    ("b=on", 0, &["= b=0> b=1"], &[]),
    ("b=off", 0, &["="], &[]),
    ("b=maybe", -22, &["<3>base: `maybe' invalid for parameter `b'"], &[]),
    ("b=", -22, &["<3>base: `' invalid for parameter `b'"], &[]),
    ("ib", -22, &["<3>base: `' invalid for parameter `ib'"], &[]),
    ("ib=1", 0, &["="], &[]),
    ("bi", 0, &["="], &[("bi", "1")]),
    ("bi=yes", 0, &["="], &[]),
    ("bi=2", -22, &["<3>base: `2' invalid for parameter `bi'"], &[]),
    ("by=255", 0, &["=by=0>by=255"], &[]),
    ("by=256", -34, &["<3>base: `256' invalid for parameter `by'"], &[]),
    ("by=0x10", 0, &["=by=0>by=16"], &[]),
    ("by=-1", -22, &["<3>base: `-1' invalid for parameter `by'"], &[]),
    ("sh=-32768", 0, &["=sh=0>sh=-32768"], &[]),
    ("sh=32768", -34, &["<3>base: `32768' invalid for parameter `sh'"], &[]),
    ("us=65535", 0, &["="], &[]),
    ("ui=010", 0, &["=ui=0>ui=8"], &[]),
    ("ui=0x1F", 0, &["=ui=0>ui=31"], &[]),
    ("ui= 5", -22, &["<3>base: `' invalid for parameter `ui'", "<4>base: unknown parameter '5' ignored"], &[]),
    ("ui=5\t", 0, &["=ui=0>ui=5"], &[]),
    ("ui=", -22, &["<3>base: `' invalid for parameter `ui'"], &[]),
    ("ui", -22, &["<3>base: `' invalid for parameter `ui'"], &[]),
    ("ui=abc", -22, &["<3>base: `abc' invalid for parameter `ui'"], &[]),
    ("ui=4294967296", -34, &["<3>base: `4294967296' invalid for parameter `ui'"], &[]),
    ("lo=-9223372036854775808", 0, &["=lo=0>lo=-9223372036854775808"], &[]),
    ("ul=18446744073709551615", 0, &["=ul=0>ul=18446744073709551615"], &[]),
    ("ul=18446744073709551616", -34, &["<3>base: `18446744073709551616' invalid for parameter `ul'"], &[]),
    ("ull=3", 0, &["="], &[]),
    ("hx=255", 0, &["=hx=0>hx=ff"], &[("hx", "0x0000ff")]),
    ("cp", -22, &["<3>base: `' invalid for parameter `cp'"], &[]),
    ("cp=", 0, &["=cp='dflt'>cp=''"], &[]),
    ("cp=a b", 0, &["= b=0> b=1|cp='dflt'>cp='a'"], &[]),
    ("\"cp=a b\"", 0, &["=cp='dflt'>cp='a b'"], &[]),
    ("cp=\"a b\"", 0, &["=cp='dflt'>cp='a b'"], &[("cp", "a b")]),
    ("cp=\"a b", 0, &["=cp='dflt'>cp='a b'"], &[]),
    ("cp=a\"b\"c", 0, &["=cp='dflt'>cp='a\"b\"c'"], &[]),
    ("str=1234567", 0, &["=str='abc'>str='1234567'"], &[("str", "1234567")]),
    (
        "str=12345678",
        -28,
        &["<3>str: string doesn't fit in 7 chars.", "<3>base: `12345678' too large for parameter `str'"],
        &[],
    ),
    ("str=", 0, &["=str='abc'>str=''"], &[]),
    ("arr=1", 0, &["=narr=0 arr=0,0,0>narr=1 arr=1,0,0"], &[]),
    ("arr=1,2,3", 0, &["=narr=0 arr=0,0,0>narr=3 arr=1,2,3"], &[("arr", "1,2,3")]),
    ("arr=1,2,3,4", -22, &["<3>arr: can only take 3 arguments", "<3>base: `1' invalid for parameter `arr'"], &[]),
    ("arr=", -22, &["<3>base: `' invalid for parameter `arr'"], &[]),
    ("arr=1,,3", -22, &["<3>base: `1' invalid for parameter `arr'"], &[]),
    ("arr=1,x", -22, &["<3>base: `1' invalid for parameter `arr'"], &[]),
    ("eo=1", 0, &["="], &[("eo", "Y")]),
    ("eo=0", 0, &["="], &[]),
    ("un=1", 0, &["<5>Setting dangerous option un - tainting kernel", "="], &[]),
    ("with-dash=3", 0, &["=wd=0>wd=3"], &[]),
    ("with_dash=4", 0, &["=wd=0>wd=4"], &[]),
    ("nosuch", 0, &["<4>base: unknown parameter 'nosuch' ignored", "="], &[]),
    ("nosuch=1", 0, &["<4>base: unknown parameter 'nosuch' ignored", "="], &[]),
    ("nosuch.x=1", 0, &["<4>base: unknown parameter 'nosuch' ignored", "="], &[]),
    ("async_probe", 0, &["="], &[]),
    ("async_probe=0", 0, &["="], &[]),
    ("dyndbg", 0, &["="], &[]),
    ("dyndbg=+p", 0, &["="], &[]),
    ("base.ui=3", 0, &["<4>base: unknown parameter 'base' ignored", "="], &[]),
    ("  ui=1   sh=2  ", 0, &["=ui=0>ui=1|sh=0>sh=2"], &[]),
    ("-- ui=1", 0, &["<4>base: parameters 'ui=1' after `--' ignored", "="], &[]),
    ("ui=1 -- sh=2 foo", 0, &["<4>base: parameters 'sh=2 foo' after `--' ignored", "=ui=0>ui=1"], &[]),
    ("ui=1 ui=2", 0, &["=ui=0>ui=2"], &[("ui", "2")]),
    ("ui=1,sh=2", -22, &["<3>base: `1,sh=2' invalid for parameter `ui'"], &[]),
    ("cb", 0, &["<6>cb set '(null)'", "="], &[]),
    ("cb=3", 0, &["<6>cb set '3'", "="], &[]),
    ("cb=x", -22, &["<6>cb set 'x'", "<3>base: `x' invalid for parameter `cb'"], &[]),
    ("ui=abc sh=7", -22, &["<3>base: `abc' invalid for parameter `ui'"], &[]),
    ("sh=7 ui=abc", -22, &["<3>base: `abc' invalid for parameter `ui'"], &[]),
    ("ui=1\\n", -22, &["<3>base: `1\\n' invalid for parameter `ui'"], &[]),
    ("\"ui=3\"", 0, &["=ui=0>ui=3"], &[]),
];

#[test]
fn answers_as_stock_linux_did() {
    for (arguments, code, lines, shown) in RECORDED {
        let (answer, log, base) = Base::load(arguments);
        let expected: Vec<(u8, String)> = lines
            .iter()
            .map(|line| match line.strip_prefix('=') {
                None => (line.as_bytes()[1] - b'0', line[3..].to_string()),
                Some(changes) => {
                    let mut text = PLAIN.to_string();
                    for (from, to) in changes.split('|').filter_map(|change| change.split_once('>')) {
                        assert!(text.contains(from), "{arguments}: {from}");
                        text = text.replacen(from, to, 1);
                    }
                    (6, text)
                }
            })
            .collect();
        assert_eq!(answer, *code, "{arguments}");
        assert_eq!(log, expected, "{arguments}");
        for (name, text) in *shown {
            assert_eq!(base.show(name), *text, "{arguments}: {name}");
        }
    }
}

#[test]
fn what_was_written_to_the_files_of_a_live_module() {
    let (_, _, base) = Base::load("eo=1");
    assert_eq!(Kind::BoolEnableOnly.parse(Some(b"0\n"), base.scalar("eo")), Err(Errno::EROFS));
    assert_eq!(Kind::Uint.parse(Some(b"77\n"), Scalar(0)), Ok(Scalar(77)));
    assert_eq!(Kind::Uint.parse(Some(b"zz\n"), Scalar(0)), Err(Errno::EINVAL));
}

#[test]
fn long_strings() {
    let mut lines = vec![];
    let mut log = |level: Level, text: &BStr| lines.push((level, text.to_string()));
    assert_eq!(check_charp("cp".into(), &[b'x'; 1024], &mut log), Ok(()));
    assert_eq!(check_charp("cp".into(), &[b'x'; 1025], &mut log), Err(Errno::ENOSPC));
    assert_eq!(lines, [(Level::Error, "cp: string parameter too long".to_string())]);
}

proptest! {
    #[test]
    fn every_value_shows_and_reads_back(raw: u64) {
        for kind in Kind::ALL {
            let bytes = raw.to_le_bytes();
            let mut value = Scalar::from_memory(&bytes[..kind.size()]);
            if matches!(kind, Kind::Bool | Kind::InvBool | Kind::BoolEnableOnly | Kind::Bint) {
                value = Scalar(value.0 & 1);
            }
            let shown = kind.show(value);
            let read = kind.parse(Some(shown.as_bytes()), Scalar(0)).unwrap();
            prop_assert_eq!(read.to_memory()[..kind.size()].to_vec(), value.to_memory()[..kind.size()].to_vec());
        }
    }

    #[test]
    fn no_parameter_string_panics(arguments in "[a-z]{0,3}=?[\"0-9,x -]{0,12} ?[a-z]{0,2}=?[\"\\PC]{0,8}") {
        let _ = Base::load(&arguments);
    }
}
