//! CRC modules against the `crc` crate.

use crc::{CRC_16_XMODEM, CRC_64_ECMA_182, Crc};
use ferrmod_machine::Argument::{In, Value};

use crate::laboratory::{Laboratory, sample};

#[test]
fn crcs_are_those_of_the_catalogue() {
    let Some(mut lab) = Laboratory::with(&["crc7", "crc_itu_t", "crc64", "crc8"]) else { return };
    for length in [0, 1, 9, 1000] {
        let data = sample(length);
        let buffer = || In(data.clone());
        let size = Value(length as u64);
        // crc7_be leaves the sum in the upper seven bits.
        let crc7 = lab.call("crc7_be", &[Value(0), buffer(), size.clone()]).value as u8;
        assert_eq!(crc7, Crc::<u8>::new(&crc::CRC_7_MMC).checksum(&data) << 1);
        let itu = lab.call("crc_itu_t", &[Value(0), buffer(), size.clone()]).value as u16;
        assert_eq!(itu, Crc::<u16>::new(&CRC_16_XMODEM).checksum(&data));
        let crc64 = lab.call("crc64_be", &[Value(0), buffer(), size.clone()]).value;
        assert_eq!(crc64, Crc::<u64>::new(&CRC_64_ECMA_182).checksum(&data));
        // `crc8(table, data, length, start)` with a table made by `crc8_populate_msb`.
        let table = lab.place(&[0; 256], 8);
        lab.call("crc8_populate_msb", &[Value(table), Value(0x07)]);
        let crc8 = lab.call("crc8", &[Value(table), buffer(), size, Value(0)]).value as u8;
        assert_eq!(crc8, Crc::<u8>::new(&crc::CRC_8_SMBUS).checksum(&data));
    }
    lab.close();
}
