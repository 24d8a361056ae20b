//! LZ4 and zstd: what the modules compress, Rust crates decompress.

use ferrmod_image::compress::decompress;
use ferrmod_machine::Argument::{In, InOut, Out, Value};

use crate::laboratory::{Laboratory, sample};

/// `LZ4_MEM_COMPRESS`: a table of 2^11 + 4 words.
const LZ4_MEMORY: u64 = (2048 + 4) * 8;

#[test]
fn lz4_compresses() {
    let Some(mut lab) = Laboratory::with(&["lz4_compress"]) else { return };
    for length in [0, 1, 100, 4096, 100_000] {
        let data = sample(length);
        let room = (length + length / 255 + 16) as u64;
        let called = lab.call(
            "LZ4_compress_default",
            &[In(data.clone()), Out(room), Value(length as u64), Value(room), Out(LZ4_MEMORY)],
        );
        let used = called.value as u32 as usize;
        assert!(used > 0 || length == 0, "nothing compressed of {length}");
        let packed = &called.buffers[0][..used];
        let mut unpacked = vec![0; length];
        let got = if length == 0 { 0 } else { lz4_flex::block::decompress_into(packed, &mut unpacked).unwrap() };
        assert_eq!((got, unpacked), (length, data));
        assert!(length < 4096 || used < length, "{length} bytes grew to {used}");
    }
    lab.close();
}

#[test]
fn zstd_compresses() {
    let Some(mut lab) = Laboratory::with(&["zstd_compress"]) else { return };
    let data = sample(300_000);
    // `zstd_parameters zstd_get_params(int level, unsigned long long size)`, returned through memory: 40 bytes.
    let parameters = lab.call("zstd_get_params", &[Out(40), Value(3), Value(data.len() as u64)]).buffers[0].to_vec();
    let need = lab.call("zstd_cctx_workspace_bound", &[In(parameters.clone())]).value;
    let workspace = lab.place(&vec![0; need as usize], 4096);
    let context = lab.call("zstd_init_cctx", &[Value(workspace), Value(need)]).value;
    assert_ne!(context, 0);
    let room = lab.call("zstd_compress_bound", &[Value(data.len() as u64)]).value;
    let called = lab.call(
        "zstd_compress_cctx",
        &[Value(context), Out(room), Value(room), In(data.clone()), Value(data.len() as u64), InOut(parameters)],
    );
    assert_eq!(lab.call("zstd_is_error", &[Value(called.value)]).value as u32, 0);
    let packed = &called.buffers[0][..called.value as usize];
    assert!(packed.len() < data.len());
    // The frame is read by the crate that reads `.ko.zst` files.
    assert_eq!(decompress(packed, 1 << 20).unwrap(), data);
    lab.close();
}
