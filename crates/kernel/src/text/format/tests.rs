//! What Linux prints, as its own `test_printf` module expects it and as its documentation says.

use super::super::arguments::tests::va_list;
use super::super::arguments::{VaList, Words};
use super::super::memory::tests::Pieces;
use super::*;
use crate::platform::Fault;
use alloc::format as rust;
use alloc::string::{String, ToString};
use core::cell::RefCell;
use proptest::prelude::*;

#[derive(Default)]
struct World {
    memory: Pieces,
    complaints: RefCell<Vec<String>>,
}

impl Memory for World {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.memory.read(address, into)
    }
}

const FUNCTION: u64 = 0xffff_ffff_c020_1000;

impl Environment for World {
    fn pointer_key(&self) -> [u64; 2] {
        [1, 2]
    }
    fn symbolise(&self, address: u64) -> Option<Symbol> {
        let offset = address.checked_sub(FUNCTION).filter(|offset| *offset < 0x40)?;
        Some(Symbol { name: "base_exit".into(), offset, size: 0x40, module: Some("base".into()) })
    }
    fn object(&self, letters: &[u8], _: u64) -> Option<BString> {
        (letters == b"d2").then(|| "dir/file".into())
    }
    fn complain(&self, complaint: &BStr) {
        self.complaints.borrow_mut().push(complaint.to_string());
    }
}

fn show(world: &World, format: &str, arguments: &[u64]) -> String {
    let (text, length) = snprintf(4096, format.as_bytes(), &mut Words(arguments), world);
    assert_eq!(text.len(), length);
    String::from_utf8(text).unwrap()
}

fn print(format: &str, arguments: &[u64]) -> String {
    show(&World::default(), format, arguments)
}

/// One pointer to these bytes.
fn at_bytes(format: &str, bytes: &[u8]) -> String {
    let world = World::default();
    let address = world.memory.put(bytes);
    show(&world, format, &[address])
}

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn basic() {
    assert_eq!(print("", &[]), "");
    assert_eq!(print("100%% %c%c", &[u64::from(b'a'), 0x162]), "100% ab");
    let world = World::default();
    let (text, length) = snprintf(5, b"1234567", &mut Words(&[]), &world);
    assert_eq!((text.as_slice(), length), (b"1234".as_slice(), 7));
    assert_eq!(snprintf(0, b"%5d", &mut Words(&[1]), &world), (Vec::new(), 5));
    assert_eq!(print("a\0b", &[]), "a");
}

#[test]
fn numbers() {
    let n = |value: i64| value as u64;
    assert_eq!(print("%#x %#o %#x %#o", &[0x1234, 0o777, 0, 0]), "0x1234 0777 0x0 0");
    assert_eq!(print("%#X", &[0xabc]), "0XABC");
    assert_eq!(print("|%4d|%-4d|%04d|%+d|% d|", &[12, 12, 12, 12, 12]), "|  12|12  |0012|+12| 12|");
    assert_eq!(print("%04d|%-04d|%+04d", &[n(-7), n(-7), 7]), "-007|-7  |+007");
    assert_eq!(print("%.3d|%5.3d|%-5.3d|%.0d", &[7, 7, 7, 0]), "007|  007|007  |0");
    // Zero padding stays in force with a precision.
    assert_eq!(print("%05.3d", &[7]), "00007");
    assert_eq!(print("%#010x|%#8x|%-#8x|", &[0x1f, 0x1f, 0x1f]), "0x0000001f|    0x1f|0x1f    |");
    assert_eq!(print("%hhd %hhu %hd %hu", &[0x1ff, 0x1ff, 0x1_8000, 0x1_8000]), "-1 255 -32768 32768");
    assert_eq!(print("%d %u %ld %lld %zu %td", &[n(-1), n(-1), n(-1), n(-2), 7, n(-3)]), "-1 4294967295 -1 -2 7 -3");
    assert_eq!(print("%+u % u %Lx", &[5, 5, u64::MAX]), "5 5 ffffffffffffffff");
    assert_eq!(print("%llo", &[u64::MAX]), "1777777777777777777777");
    assert_eq!(print("%lld", &[1 << 63]), "-9223372036854775808");
}

#[test]
fn widths_from_arguments() {
    let n = |value: i32| u64::from(value as u32);
    assert_eq!(print("%*d|%*d|%-*d|%0*x", &[5, 1, n(-5), 2, 4, 3, 4, 0xf]), "    1|2    |3   |000f");
    assert_eq!(print("%.*d|%.*d|%.d", &[3, 1, n(-1), 1, 1]), "001|1|1");
    let world = World::default();
    let text = world.memory.put_string("hello");
    assert_eq!(show(&world, "%.*s|%*.*s|%.*s", &[2, text, 6, 3, text, n(-1), text]), "he|   hel|");
    let (_, length) = snprintf(10, b"%*d", &mut Words(&[n(i32::MIN), 1]), &world);
    assert_eq!(length, WIDTH_MAX as usize);
    assert_eq!(*world.complaints.borrow(), ["field width 2147483647 too large"]);
}

#[test]
fn strings() {
    let world = World::default();
    let text = world.memory.put_string("hello");
    assert_eq!(
        show(&world, "[%s] [%8s] [%-8s] [%.3s] [%8.3s] [%-8.3s] [%.0s]", &[text; 7]),
        "[hello] [   hello] [hello   ] [hel] [     hel] [hel     ] []"
    );
    assert_eq!(print("%s %10s %.3s %s", &[0, 0, 0, 8]), "(null)     (null) (nu (efault)");
    assert_eq!(print("%s", &[u64::MAX - 10]), "(efault)");
    assert_eq!(print("%s", &[0xffff_8880_dead_0000]), "(efault)");
    let long = world.memory.put_string(&"x".repeat(1000));
    assert_eq!(show(&world, "%s", &[long]).len(), 1000);
}

#[test]
fn conversions_nobody_knows_end_the_text() {
    for (format, letter) in [("a%nb", 'n'), ("a%jdb", 'j'), ("a%fb", 'f'), ("a%qdb", 'q')] {
        let world = World::default();
        assert_eq!(show(&world, format, &[1]), "a");
        assert_eq!(*world.complaints.borrow(), [rust!("Please remove unsupported %{letter} in format string")]);
    }
    assert_eq!(print("a%", &[]), "a");
    assert_eq!(print("a%-5", &[]), "a");
}

#[test]
fn plain_pointers() {
    assert_eq!(print("%p %px", &[0, 0]), "0000000000000000 0000000000000000");
    assert_eq!(print("%p %px", &[-11i64 as u64; 2]), "fffffffffffffff5 fffffffffffffff5");
    assert_eq!(print("%px", &[0xffff_8880_1234_5678]), "ffff888012345678");
    let hashed = print("%p", &[0xffff_8880_1234_5678]);
    assert!(hashed.starts_with("00000000") && hashed.len() == 16 && !hashed.ends_with("12345678"));
    assert_eq!(
        print("%p|%20p|%-20p|%pK", &[0xffff_8880_1234_5678; 4]),
        rust!("{hashed}|{:>20}|{:<20}|{hashed}", hashed.trim_start_matches('0'), hashed.trim_start_matches('0'))
    );
    // A letter that means nothing is skipped with its followers.
    assert_eq!(print("%pQz9!", &[0]), "0000000000000000!");
}

#[test]
fn the_hash_is_siphash() {
    // The reference's key, and its message cut at eight bytes.
    let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
    assert_eq!(hash_pointer(key, 0x0706_0504_0302_0100), 0x93f5_f579_9a93_2462u64 as u32);
}

#[test]
fn errors() {
    let e = |number: i64| -number as u64;
    assert_eq!(print("[%pe] [%pe] [%pe]", &[e(5), e(11), e(517)]), "[-EIO] [-EAGAIN] [-EPROBE_DEFER]");
    assert_eq!(print("[%pe] [%8pe] [%-8pe]", &[e(1234), e(5), e(5)]), "[-1234] [    -EIO] [-EIO    ]");
    assert_eq!(print("%pe", &[0]), "0000000000000000");
    assert_eq!(print("%pE %pS", &[0, 0]), "(null) 0x0");
}

#[test]
fn symbols() {
    assert_eq!(
        print("%pS|%ps|%pB|%pSR", &[FUNCTION + 0xc; 4]),
        "base_exit+0xc/0x40 [base]|base_exit [base]|base_exit+0xc/0x40 [base]|base_exit+0xc/0x40 [base]"
    );
    assert_eq!(print("%pB %pS", &[FUNCTION + 0x40; 2]), "base_exit+0x40/0x40 [base] 0xffffffffc0201040");
    assert_eq!(print("%-20ps|", &[FUNCTION]), "base_exit [base]    |");
}

#[test]
fn nested() {
    let world = World::default();
    let inner = va_list(&world.memory, 2, &[7, world.memory.put_string("x"), 1, 2, 3, 4]);
    let format = world.memory.put_string("%d %s %d%d%d%d");
    let va_format = world.memory.put(&words(&[format, inner]));
    let outer_format = world.memory.put_string("<%pV>");
    let list = va_list(&world.memory, 1, &[va_format, 9]);
    let both = world.memory.put(&words(&[outer_format, list]));
    let outer = va_list(&world.memory, 1, &[both, both, 42]);
    let mut arguments = VaList::open(&world, outer).unwrap();
    let (text, _) = snprintf(100, b"a %pV %pV %d", &mut arguments, &world);
    assert_eq!(text, b"a <7 x 1234> <7 x 1234> 42");
    // A format that contains itself.
    let itself = world.memory.put(&[0; 16]);
    let list = va_list(&world.memory, 0, &[itself]);
    use super::super::memory::MemoryMut;
    world.memory.write(itself, &words(&[outer_format, list])).unwrap();
    assert!(snprintf(100, b"%pV", &mut VaList::open(&world, list).unwrap(), &world).0.starts_with(b"<<<<"));
    assert_eq!(print("%pV", &[8]), "(efault)");
}

#[test]
fn network_addresses() {
    let v4 = |format| at_bytes(format, &[127, 0, 0, 1]);
    assert_eq!(v4("%pI4"), "127.0.0.1");
    assert_eq!(v4("%pi4"), "127.000.000.001");
    assert_eq!(v4("%pI4h"), "1.0.0.127");
    assert_eq!(v4("%pI4b|%pi4l"), "127.0.0.1|(null)");
    let v6 = |format: &str, groups: [u16; 8]| at_bytes(format, &groups.map(u16::to_be_bytes).concat());
    assert_eq!(v6("%pI6", [1, 2, 3, 4, 5, 6, 7, 8]), "0001:0002:0003:0004:0005:0006:0007:0008");
    assert_eq!(v6("%pi6", [1, 2, 3, 4, 5, 6, 7, 8]), "00010002000300040005000600070008");
    for (groups, text) in [
        ([1, 2, 3, 4, 5, 6, 7, 8], "1:2:3:4:5:6:7:8"),
        ([0; 8], "::"),
        ([0, 0, 0, 0, 0, 0, 0, 1], "::1"),
        ([1, 0, 0, 0, 0, 0, 0, 0], "1::"),
        ([0x2001, 0xdb8, 0, 0, 1, 0, 0, 1], "2001:db8::1:0:0:1"),
        ([0xfe80, 0, 0, 0, 1, 0, 3, 4], "fe80::1:0:3:4"),
        ([1, 0, 3, 4, 5, 6, 7, 8], "1:0:3:4:5:6:7:8"),
        ([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1], "::ffff:127.0.0.1"),
        ([0xfe80, 0, 0, 0, 0, 0x5efe, 0xc0a8, 1], "fe80::5efe:192.168.0.1"),
        ([0xfe80, 0, 0, 0, 0x200, 0x5efe, 0xc0a8, 1], "fe80::200:5efe:192.168.0.1"),
    ] {
        assert_eq!(v6("%pI6c", groups), text);
    }
    let mac = |format| at_bytes(format, &[0x2d, 0x48, 0xd6, 0xfc, 0x7a, 0x05]);
    assert_eq!(mac("%pM"), "2d:48:d6:fc:7a:05");
    assert_eq!(mac("%pMR"), "05:7a:fc:d6:48:2d");
    assert_eq!(mac("%pMF"), "2d-48-d6-fc-7a-05");
    assert_eq!(mac("%pm"), "2d48d6fc7a05");
    assert_eq!(mac("%pmR"), "057afcd6482d");
    assert_eq!(mac("%-20pM|"), "2d:48:d6:fc:7a:05   |");
}

#[test]
fn socket_addresses() {
    let mut v4 = [0; 16];
    v4[..8].copy_from_slice(&[2, 0, 0x30, 0x39, 127, 0, 0, 1]);
    assert_eq!(at_bytes("%pIS", &v4), "127.0.0.1");
    assert_eq!(at_bytes("%piS", &v4), "127.000.000.001");
    assert_eq!(at_bytes("%pISp", &v4), "127.0.0.1:12345");
    assert_eq!(at_bytes("%piSp", &v4), "127.000.000.001:12345");
    assert_eq!(at_bytes("%pISh", &v4), "1.0.0.127");
    let mut v6 = [0; 28];
    v6[..8].copy_from_slice(&[10, 0, 0x30, 0x39, 0xff, 0, 0, 1]);
    v6[23] = 1;
    v6[24] = 20;
    assert_eq!(at_bytes("%pISc", &v6), "::1");
    assert_eq!(at_bytes("%pISpc", &v6), "[::1]:12345");
    assert_eq!(at_bytes("%pISpfsc", &v6), "[::1]:12345/251658241%20");
    assert_eq!(at_bytes("%pISs", &v6), "[0000:0000:0000:0000:0000:0000:0000:0001]%20");
    assert_eq!(at_bytes("%pIS", &[1, 0]), "(einval)");
}

#[test]
fn uuids() {
    let bytes: Vec<u8> = (0..16).collect();
    assert_eq!(at_bytes("%pUb", &bytes), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    assert_eq!(at_bytes("%pUB", &bytes), "00010203-0405-0607-0809-0A0B0C0D0E0F");
    assert_eq!(at_bytes("%pUl", &bytes), "03020100-0504-0706-0809-0a0b0c0d0e0f");
    assert_eq!(at_bytes("%pUL", &bytes), "03020100-0504-0706-0809-0A0B0C0D0E0F");
    assert_eq!(at_bytes("%pU", &bytes), "00010203-0405-0607-0809-0a0b0c0d0e0f");
}

#[test]
fn bytes_in_hexadecimal() {
    let bytes = [0xc0, 0xff, 0xee];
    assert_eq!(at_bytes("%3ph", &bytes), "c0 ff ee");
    assert_eq!(at_bytes("%3phC", &bytes), "c0:ff:ee");
    assert_eq!(at_bytes("%3phD", &bytes), "c0-ff-ee");
    assert_eq!(at_bytes("%3phN", &bytes), "c0ffee");
    assert_eq!(at_bytes("%ph", &bytes), "c0");
    assert_eq!(at_bytes("%100ph", &[0; 64]).len(), 64 * 3 - 1);
    let world = World::default();
    let address = world.memory.put(&bytes);
    assert_eq!(show(&world, "%*phC|%*ph|%*ph", &[2, address, 0, address, 4, address]), "c0:ff||(efault)");
}

#[test]
fn escaped_buffers() {
    let bytes = b"a\n\"\x80\0";
    assert_eq!(at_bytes("%5pE", bytes), "a\\n\"\\200\\0");
    assert_eq!(at_bytes("%5pEhp", bytes), "a\\x0a\"\\x80\\x00");
    assert_eq!(at_bytes("%1pEo", bytes), "\\141");
    let world = World::default();
    let address = world.memory.put(bytes);
    assert_eq!(show(&world, "%*pE|", &[0, address]), "|");
}

#[test]
fn bitmaps() {
    let bits = words(&[1 << 0 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 63, 1]);
    assert_eq!(at_bytes("%128pbl", &bits), "0,3-5,63-64");
    assert_eq!(at_bytes("%70pb", &bits), "01,80000000,00000039");
    assert_eq!(at_bytes("%20pb", &bits), "00039");
    assert_eq!(at_bytes("%pb|", &bits), "|");
}

#[test]
fn resources() {
    let resource = |start: u64, end: u64, flags: u64| words(&[start, end, 0, flags]);
    assert_eq!(at_bytes("%pR", &resource(0xfd00_0000, 0xfdff_ffff, 0x2200)), "[mem 0xfd000000-0xfdffffff pref]");
    assert_eq!(
        at_bytes("%pr", &resource(0x6000_0000, 0x6fff_ffff, 0x2200)),
        "[mem 0x60000000-0x6fffffff flags 0x2200]"
    );
    assert_eq!(
        at_bytes("%pR", &resource(0x1_0000_0000, 0x1_3fff_ffff, 0x20_0200)),
        "[mem 0x100000000-0x13fffffff window]"
    );
    assert_eq!(at_bytes("%pR", &resource(0x3f8, 0x3ff, 0x100)), "[io  0x03f8-0x03ff]");
    assert_eq!(at_bytes("%pR", &resource(4, 4, 0x400)), "[irq 4]");
    assert_eq!(at_bytes("%pR", &resource(0, 0xff, 0x1000)), "[bus 00-ff]");
    assert_eq!(at_bytes("%pR", &resource(0, 0xfff, 0x2010_0200)), "[mem size 0x00001000 64bit]");
    assert_eq!(at_bytes("%pR", &resource(0, 1, 0)), "[??? 0x00000000-0x00000001 flags 0x0]");
    assert_eq!(at_bytes("%-25pR|", &resource(4, 4, 0x400)), "[irq 4]                  |");
}

#[test]
fn words_in_memory() {
    assert_eq!(at_bytes("%pa", &words(&[0x0123_4567_89ab_cdef])), "0x0123456789abcdef");
    assert_eq!(at_bytes("%pad", &words(&[0x10])), "0x0000000000000010");
    assert_eq!(at_bytes("%pNF", &words(&[3])), "0x0000000000000003");
    assert_eq!(at_bytes("%p4cc", b"NV12"), "NV12 little-endian (0x3231564e)");
    assert_eq!(at_bytes("%p4cc", b"\x10\x11\x12\xb1"), "...1 big-endian (0xb1121110)");
    assert_eq!(at_bytes("%pa|%pNx", &[0; 4]), "(efault)|(null)");
}

#[test]
fn times() {
    let seconds = |value: i64| words(&[value as u64]);
    assert_eq!(at_bytes("%ptT", &seconds(1_546_615_943)), "2019-01-04T15:32:23");
    assert_eq!(at_bytes("%ptTs", &seconds(1_546_615_943)), "2019-01-04 15:32:23");
    assert_eq!(at_bytes("%ptTd %ptTt", &seconds(1_546_615_943)), "2019-01-04 (null)");
    assert_eq!(at_bytes("%ptTtr", &seconds(1_546_615_943)), "15:32:23");
    assert_eq!(at_bytes("%ptT", &seconds(-1)), "1969-12-31T23:59:59");
    assert_eq!(at_bytes("%ptT", &seconds(951_782_400)), "2000-02-29T00:00:00");
    assert_eq!(at_bytes("%ptTd", &seconds(4_107_542_400)), "2100-03-01");
    assert!(at_bytes("%ptT", &seconds(i64::MAX)).ends_with("-12-04T15:30:07"));
    let rtc: Vec<u8> = [43i32, 8, 5, 26, 10, 88, 0, 0, 0].iter().flat_map(|field| field.to_le_bytes()).collect();
    assert_eq!(at_bytes("%ptR", &rtc), "1988-11-26T05:08:43");
    assert_eq!(at_bytes("%ptRr", &rtc), "0088-10-26T05:08:43");
    assert_eq!(at_bytes("%ptRdr", &rtc), "0088-10-26");
    assert_eq!(at_bytes("%ptRtr", &rtc), "05:08:43");
    assert_eq!(at_bytes("%ptX", &rtc), "(%pt?)");
}

#[test]
fn flags() {
    assert_eq!(at_bytes("%pGp", &words(&[0])), "0x0(node=0|zone=0|lastcpupid=0x0)");
    let page = 1 << 54 | 1 << 51 | 0x1f_ffff << 30 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 19;
    assert_eq!(
        at_bytes("%pGp", &words(&[page])),
        rust!("{page:#x}(uptodate|dirty|lru|active|swapbacked|node=1|zone=1|lastcpupid=0x1fffff)")
    );
    assert_eq!(at_bytes("%pGv", &words(&[0x75])), "read|exec|mayread|maywrite|mayexec");
    assert_eq!(at_bytes("%pGg", &words(&[0x1c24ca])), "GFP_TRANSHUGE");
    assert_eq!(at_bytes("%pGg", &words(&[0xa21])), "GFP_ATOMIC|GFP_DMA");
    assert_eq!(at_bytes("%pGg", &words(&[0x20])), "__GFP_HIGH");
    assert_eq!(at_bytes("%pGg", &words(&[0xf800_0000])), "0xf8000000");
    assert_eq!(at_bytes("%pGg", &words(&[0xf800_0020])), "__GFP_HIGH|0xf8000000");
}

#[test]
fn objects() {
    let world = World::default();
    let address = world.memory.put(&[0; 8]);
    assert_eq!(show(&world, "%pd2|%10pd2|%-10pd2|%.3pd2", &[address; 4]), "dir/file|  dir/file|dir/file  |dir");
    assert_eq!(show(&world, "%pD %pOFf", &[0, 8]), "(null) (efault)");
    assert_eq!(show(&world, "%pg", &[address]), show(&world, "%p", &[address]));
    assert_eq!(show(&world, "%pks", &[world.memory.put_string("kernel")]), "kernel");
    assert_eq!(show(&world, "%pux", &[address]), "(einval)");
}

proptest! {
    #[test]
    fn the_common_subset_agrees_with_rust(value: i64, width in 0usize..30, precision in 0usize..20) {
        let raw = value as u64;
        prop_assert_eq!(print(&rust!("%{width}lld"), &[raw]), rust!("{value:width$}"));
        prop_assert_eq!(print(&rust!("%0{width}lld"), &[raw]), rust!("{value:0width$}"));
        prop_assert_eq!(print(&rust!("%-{width}lld|"), &[raw]), rust!("{value:<width$}|"));
        prop_assert_eq!(print(&rust!("%+{width}lld"), &[raw]), rust!("{value:+width$}"));
        prop_assert_eq!(print(&rust!("%#0{width}llx"), &[raw]), rust!("{raw:#0width$x}"));
        prop_assert_eq!(print(&rust!("%{width}llX"), &[raw]), rust!("{raw:width$X}"));
        prop_assert_eq!(print("%llo", &[raw]), rust!("{raw:o}"));
        prop_assert_eq!(print("%d", &[raw]), rust!("{}", value as i32));
        prop_assert_eq!(print("%hu", &[raw]), rust!("{}", value as u16));
        prop_assert_eq!(print("%hhd", &[raw]), rust!("{}", value as i8));
        prop_assert_eq!(print(&rust!("%.{precision}llx"), &[raw]), rust!("{raw:0precision$x}"));
    }

    #[test]
    fn strings_agree_with_rust(text in "[ -~]{0,40}", width in 0usize..50, precision in 0usize..50) {
        let world = World::default();
        let address = world.memory.put_string(&text);
        prop_assert_eq!(show(&world, &rust!("%{width}.{precision}s"), &[address]), rust!("{text:>width$.precision$}"));
        prop_assert_eq!(show(&world, &rust!("%-{width}.{precision}s"), &[address]), rust!("{text:<width$.precision$}"));
    }

    #[test]
    fn no_format_panics(
        format in "([a-z ]{0,3}%[-+ #0*.0-9]{0,5}[hlLzt]{0,2}[cspdiuxXo%n]([SsBbRrhMmIiEUVKN4adCDgOftGxeuk][a-zA-Z0-9]{0,4})?){0,4}",
        picks in proptest::collection::vec(0usize..8, 12), size in 0usize..200,
    ) {
        let world = World::default();
        let text = world.memory.put_string("text");
        let inner = va_list(&world.memory, 3, &[text, text, 3]);
        let nested = world.memory.put(&words(&[text, inner]));
        let bytes = world.memory.put(&[0x5a; 64]);
        let values = [0, 1, u64::MAX, text, nested, bytes, 0x7fff_ffff, 0x8000_0000];
        let arguments: Vec<u64> = picks.iter().map(|pick| values[*pick]).collect();
        let list = va_list(&world.memory, 1, &arguments);
        let mut arguments = VaList::open(&world, list).unwrap();
        let (text, length) = snprintf(size, format.as_bytes(), &mut arguments, &world);
        prop_assert_eq!(text.len(), length.min(size.saturating_sub(1)));
    }

    #[test]
    fn no_bytes_panic(format in proptest::collection::vec(any::<u8>(), 0..20), arguments in proptest::collection::vec(any::<u64>(), 6)) {
        let _ = snprintf(64, &format, &mut Words(&arguments), &World::default());
        let percent = [b"%p".as_slice(), &format].concat();
        let _ = snprintf(64, &percent, &mut Words(&arguments), &World::default());
    }

    #[test]
    fn times_are_days_in_a_row(days in -1_000_000i64..1_000_000) {
        let date = |days: i64| at_bytes("%ptTd", &words(&[(days * 86400) as u64]));
        let (today, tomorrow) = (date(days), date(days + 1));
        let (day, next): (u32, u32) = (today[today.len() - 2..].parse().unwrap(), tomorrow[tomorrow.len() - 2..].parse().unwrap());
        prop_assert!(next == day + 1 || next == 1 && day >= 28);
    }
}
