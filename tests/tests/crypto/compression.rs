//! Compressors: `crypto_acomp` over the modules' synchronous ones.

use ferrmod_machine::Argument::Value;

use crate::bench::{Bench, cut, each};

/// Compresses or decompresses a list of pieces.
fn run(bench: &mut Bench, acomp: u64, compress: bool, input: &[u8], room: usize) -> Vec<u8> {
    let request = bench.call("acomp_request_alloc", &[Value(acomp)]) as u64;
    assert_ne!(request, 0);
    let (from, _) = bench.list(&cut(input, &[100, 4000]));
    let (to, at) = bench.list(&[vec![0; room]]);
    bench.put(request, "acomp_req", "src", from, 8);
    bench.put(request, "acomp_req", "slen", input.len() as u64, 4);
    bench.put(request, "acomp_req", "dst", to, 8);
    bench.put(request, "acomp_req", "dlen", room as u64, 4);
    let member = if compress { "compress" } else { "decompress" };
    let function = bench.number(acomp + bench.offset("crypto_acomp", member));
    assert_eq!(bench.call_at(function, &[Value(request)]) as i32, 0);
    let at_length = request + bench.offset("acomp_req", "dlen");
    let length = bench.small(at_length);
    bench.call("acomp_request_free", &[Value(request)]);
    bench.peek(at[0], length as usize)
}

fn text() -> Vec<u8> {
    b"the quick brown fox jumps over the lazy dog; ".iter().copied().cycle().take(20_000).collect()
}

/// Where a kernel has `zstd` and `deflate` in modules, or parts of them.
#[test]
fn there_and_back() {
    let text = text();
    for name in ["zstd", "deflate"] {
        each(&[name], |bench| {
            // 6.1's `deflate` is built in.
            let acomp = bench.open("acomp", name).unwrap();
            let packed = run(bench, acomp, true, &text, 30_000);
            assert!(packed.len() < text.len() / 4, "{name}: {} bytes", packed.len());
            assert_eq!(run(bench, acomp, false, &packed, text.len()), text, "{name}");
            bench.free("acomp", acomp);
        });
    }
}

#[test]
fn lz4() {
    let text = text();
    for name in ["lz4", "lz4hc"] {
        each(&[name], |bench| {
            let acomp = bench.open("acomp", name).unwrap();
            let packed = run(bench, acomp, true, &text, 30_000);
            assert!(packed.len() < text.len() / 10);
            let mut peer = vec![0; text.len()];
            assert_eq!(lz4_flex::block::decompress_into(&packed, &mut peer).unwrap(), text.len());
            assert_eq!(peer, text);
            assert_eq!(run(bench, acomp, false, &packed, text.len()), text);
            bench.free("acomp", acomp);
        });
    }
}
