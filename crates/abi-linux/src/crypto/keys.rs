//! Parsers of asymmetric keys: who offers one. There are no keyrings, so nobody asks them.

use ferrmod_kernel::{Errno, kernel};

use super::code;
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod asymmetric_key_parser = "asymmetric_key_parser" { owner, name }
    mod asymmetric_key_subtype = "asymmetric_key_subtype" { name, name_len }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c register_asymmetric_key_parser, c unregister_asymmetric_key_parser];

static PUBLIC_KEY: Datum = Datum::new("public_key_subtype", 256, Begin::With(begin));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&PUBLIC_KEY];

const KIND: &str = "asymmetric_key_parser";
const NAME: &[u8; 11] = b"public_key\0";

fn begin(at: u64) {
    // SAFETY: `data::place` gives the address of 256 cleared bytes; the name is put behind the struct, which is smaller.
    unsafe {
        let name = at + 128;
        ram::put(name, *NAME);
        asymmetric_key_subtype::name.set(at, name);
        asymmetric_key_subtype::name_len.set(at, NAME.len() as u16 - 1);
    }
}

/// `int register_asymmetric_key_parser(struct asymmetric_key_parser *)`
extern "C" fn register_asymmetric_key_parser(parser: u64) -> i32 {
    // SAFETY: the module's parser.
    unsafe {
        let name = ram::c_string(asymmetric_key_parser::name.get(parser));
        let registrations = &kernel().registrations;
        if registrations.named(KIND, name).is_some() {
            return Errno::EEXIST.to_return();
        }
        code(registrations.add(KIND, parser, name, kernel().owner_of(asymmetric_key_parser::owner.get(parser))))
    }
}
extern "C" fn unregister_asymmetric_key_parser(parser: u64) {
    kernel().registrations.remove(KIND, parser);
}
