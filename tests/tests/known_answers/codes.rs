//! RAID 6 recovery and Reed–Solomon correction.

use ferrmod_machine::Argument::{InOut, Value};

use crate::laboratory::{Laboratory, sample};

const PAGE: usize = 4096;

/// Four data disks, P and Q; two data disks are lost and come back.
#[test]
fn raid6_recovers_two_disks() {
    let Some(mut lab) = Laboratory::with(&["raid6_pq"]) else { return };
    let disks = 6;
    let data: Vec<Vec<u8>> = (0..4).map(|disk| sample(PAGE + disk)[disk..].to_vec()).collect();
    let pages: Vec<u64> =
        (0..disks).map(|disk| lab.place(data.get(disk).unwrap_or(&vec![0; PAGE]), PAGE as u64)).collect();
    let pointers = pages.iter().flat_map(|page| page.to_le_bytes()).collect::<Vec<u8>>();
    let pointers = lab.place(&pointers, 8);
    // `struct raid6_calls` begins with gen_syndrome(disks, bytes, pointers).
    let calls = lab.symbol("raid6_call");
    let generate = lab.word(calls);
    lab.call_at(generate, &[Value(disks as u64), Value(PAGE as u64), Value(pointers)]);
    let parity = lab.peek(pages[4], PAGE as u64);
    let wanted: Vec<u8> = (0..PAGE).map(|at| data.iter().fold(0, |sum, disk| sum ^ disk[at])).collect();
    assert_eq!(parity, wanted, "P is the exclusive or of the data");
    for (first, second) in [(0, 1), (1, 3), (0, 3)] {
        lab.poke(pages[first], &[0xa5; PAGE]);
        lab.poke(pages[second], &[0x5a; PAGE]);
        let recover = lab.symbol("raid6_2data_recov");
        let recover = lab.word(recover);
        lab.call_at(
            recover,
            &[Value(disks as u64), Value(PAGE as u64), Value(first as u64), Value(second as u64), Value(pointers)],
        );
        assert_eq!(lab.peek(pages[first], PAGE as u64), data[first]);
        assert_eq!(lab.peek(pages[second], PAGE as u64), data[second]);
    }
    lab.close();
}

/// RS(255,239) over the field of the CCSDS polynomial: eight wrong symbols are put right.
#[test]
fn reed_solomon_corrects() {
    let Some(mut lab) = Laboratory::with(&["reed_solomon"]) else { return };
    const ROOTS: usize = 16;
    const LENGTH: usize = 239;
    /// `GFP_KERNEL`
    const KERNEL: u64 = 0xcc0;
    let control = lab
        .call("init_rs_gfp", &[Value(8), Value(0x187), Value(112), Value(11), Value(ROOTS as u64), Value(KERNEL)])
        .value;
    assert_ne!(control, 0);
    let data = sample(LENGTH);
    let encoded = lab.call(
        "encode_rs8",
        &[Value(control), InOut(data.clone()), Value(LENGTH as u64), InOut(vec![0; 2 * ROOTS]), Value(0)],
    );
    let parity = encoded.buffers[1].to_vec();
    let mut broken = data.clone();
    for at in [0, 1, 17, 50, 99, 150, 200, 238] {
        broken[at] ^= 0x55u8.wrapping_add(at as u8);
    }
    let decoded = lab.call(
        "decode_rs8",
        &[
            Value(control),
            InOut(broken),
            InOut(parity),
            Value(LENGTH as u64),
            Value(0),
            Value(0),
            Value(0),
            Value(0),
            Value(0),
        ],
    );
    assert_eq!(decoded.value as i32, 8, "symbols corrected");
    assert_eq!(decoded.buffers[0].to_vec(), data);
    lab.call("free_rs", &[Value(control)]);
    lab.close();
}
