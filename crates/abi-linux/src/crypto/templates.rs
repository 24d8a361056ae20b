//! From a name like `gcm_base(ctr(aes),ghash)` to an instance: parsing, the attributes a template's `create` reads, and names.

use alloc::vec::Vec;

use ferrmod_kernel::Errno;

use super::bytes::Buffer;
use super::{INHERITED, MAX_NAME, algorithms, code, crypto_alg, instances, pointer};
use crate::export::{Export, exports};
use crate::ram;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crypto_get_attr_type, c crypto_check_attr_type, c crypto_attr_alg_name, c crypto_inst_setname,
];

/// `CRYPTO_MAX_ATTRS`
const MAX_ATTRIBUTES: usize = 32;
/// `CRYPTOA_ALG`, `CRYPTOA_TYPE`
const ATTRIBUTE_ALG: u16 = 1;
const ATTRIBUTE_TYPE: u16 = 2;
/// Bytes of a `struct rtattr`, which is a format of netlink and the same everywhere: length, type, then the payload.
const HEADER: u64 = 4;
/// How often an instance is tried that another registration got in the way of.
const TRIES: u32 = 16;

/// The template's name and its arguments, at the outermost level.
fn parse(name: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let open = name.iter().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')))?;
    if open == 0 || name[open] != b'(' {
        return None;
    }
    let (template, rest) = (&name[..open], &name[open + 1..]);
    let (mut arguments, mut depth, mut start) = (Vec::new(), 0u32, 0);
    for (at, &byte) in rest.iter().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            b')' | b',' if depth == 0 => {
                if at == start || arguments.len() == MAX_ATTRIBUTES || at - start >= MAX_NAME {
                    return None;
                }
                arguments.push(&rest[start..at]);
                start = at + 1;
                if byte == b')' {
                    return (start == rest.len()).then_some((template, arguments));
                }
            }
            _ => (),
        }
    }
    None
}

/// Makes the instance that `name` asks for.
///
/// # Errors
/// `ENOENT` when the name is none of a template, when nobody has the template, and when it refuses, as Linux reports it.
pub(crate) fn probe(name: &[u8], kind: u32, mask: u32) -> Result<(), Errno> {
    let (template, arguments) = parse(name).ok_or(Errno::ENOENT)?;
    let template = instances::look_up_template(template).ok_or(Errno::ENOENT)?;
    let answer = with_attributes(kind, mask, &arguments, |attributes| {
        let mut answer = Err(Errno::EAGAIN);
        for _ in 0..TRIES {
            // SAFETY: the template is held; the attributes live until this returns.
            answer = unsafe { instances::create(template, attributes) };
            if answer != Err(Errno::EAGAIN) {
                break;
            }
        }
        answer
    });
    // SAFETY: held above.
    unsafe { instances::release_template(template) };
    answer.map_err(|_| Errno::ENOENT)
}

/// Lays out `struct rtattr *tb[]`: the type first, then one name each, then null.
fn with_attributes<T>(
    kind: u32,
    mask: u32,
    arguments: &[&[u8]],
    run: impl FnOnce(u64) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let pointers = (arguments.len() as u64 + 2) * 8;
    let (first, each) = (HEADER + 8 + 4, HEADER + MAX_NAME as u64);
    let buffer = Buffer::new(pointers + first + each * arguments.len() as u64, 7)?;
    let mut at = buffer.address() + pointers;
    // SAFETY: all within the buffer, whose size was computed from the same numbers.
    unsafe {
        ram::put(buffer.address(), at);
        ram::put(at, [HEADER as u16 + 8, ATTRIBUTE_TYPE]);
        ram::put(at + HEADER, [kind, mask]);
        at += first;
        for (index, argument) in arguments.iter().enumerate() {
            ram::put(buffer.address() + 8 * (index as u64 + 1), at);
            ram::put(at, [(HEADER + MAX_NAME as u64) as u16, ATTRIBUTE_ALG]);
            ram::bytes_mut(at + HEADER, argument.len() as u64).copy_from_slice(argument);
            at += each;
        }
    }
    run(buffer.address())
}

/// The payload of an attribute of this type.
unsafe fn payload(attribute: u64, kind: u16, size: u64) -> Result<u64, Errno> {
    if attribute == 0 {
        return Err(Errno::ENOENT);
    }
    // SAFETY: the caller has an attribute that we or the module laid out.
    let [length, number]: [u16; 2] = unsafe { ram::get(attribute) };
    if u64::from(length) < HEADER + size || number != kind {
        return Err(Errno::EINVAL);
    }
    Ok(attribute + HEADER)
}

unsafe fn attribute_type(attributes: u64) -> Result<u64, Errno> {
    // SAFETY: the caller has an array of attributes, the type first.
    unsafe { payload(ram::get(attributes), ATTRIBUTE_TYPE, 8) }
}

/// `struct crypto_attr_type *crypto_get_attr_type(struct rtattr **)`
extern "C" fn crypto_get_attr_type(attributes: u64) -> u64 {
    // SAFETY: the array a `create` was given.
    pointer(unsafe { attribute_type(attributes) })
}

/// Whether an instance of type `kind` is what is asked for; the flags that what it is made of must not have.
///
/// # Safety
/// `attributes` is what a `create` was given.
pub(crate) unsafe fn check_type(attributes: u64, kind: u32) -> Result<u32, Errno> {
    // SAFETY: the caller vouches for the array.
    let [wanted, mask]: [u32; 2] = unsafe { ram::get(attribute_type(attributes)?) };
    if (wanted ^ kind) & mask != 0 {
        return Err(Errno::EINVAL);
    }
    Ok((wanted ^ INHERITED) & mask & INHERITED)
}

/// `int crypto_check_attr_type(struct rtattr **, u32 type, u32 *mask_ret)`
extern "C" fn crypto_check_attr_type(attributes: u64, kind: u32, mask: u64) -> i32 {
    // SAFETY: the array a `create` was given, and the module's variable.
    unsafe { code(check_type(attributes, kind).map(|found| ram::put(mask, found))) }
}

/// The name in attribute `index`.
///
/// # Safety
/// `attributes` is what a `create` was given.
pub(crate) unsafe fn argument(attributes: u64, index: u64) -> Result<Vec<u8>, Errno> {
    // SAFETY: the caller vouches for the array.
    unsafe {
        let name = payload(ram::get(attributes + 8 * index), ATTRIBUTE_ALG, MAX_NAME as u64)?;
        Ok(algorithms::text(name).to_vec())
    }
}

/// `const char *crypto_attr_alg_name(struct rtattr *)`
extern "C" fn crypto_attr_alg_name(attribute: u64) -> u64 {
    // SAFETY: an attribute from the array a `create` was given; its last byte is made a NUL, as Linux does.
    unsafe {
        pointer(
            payload(attribute, ATTRIBUTE_ALG, MAX_NAME as u64)
                .inspect(|name| ram::put(name + MAX_NAME as u64 - 1, 0u8)),
        )
    }
}

/// Names an instance `name(inner)` and its driver `name(inner's driver)`.
///
/// # Errors
/// `ENAMETOOLONG`
///
/// # Safety
/// `inst` is a `struct crypto_instance`, `alg` a `struct crypto_alg`.
pub(crate) unsafe fn set_name(inst: u64, name: &[u8], alg: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for both; the arrays have `MAX_NAME` bytes.
    unsafe {
        for (to, inner) in [
            (crypto_alg::cra_name.at(inst), algorithms::name(alg)),
            (crypto_alg::cra_driver_name.at(inst), algorithms::driver(alg)),
        ] {
            let whole: Vec<u8> = [name, b"(", inner, b")\0"].concat();
            if whole.len() > MAX_NAME {
                return Err(Errno::ENAMETOOLONG);
            }
            ram::bytes_mut(to, whole.len() as u64).copy_from_slice(&whole);
        }
    }
    Ok(())
}

/// `int crypto_inst_setname(struct crypto_instance *, const char *name, struct crypto_alg *)`
extern "C" fn crypto_inst_setname(inst: u64, name: u64, alg: u64) -> i32 {
    // SAFETY: the module's instance, string and algorithm.
    unsafe { code(set_name(inst, ram::c_string(name), alg)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_at_the_outermost_level() {
        assert_eq!(parse(b"cbc(aes)"), Some((b"cbc".as_slice(), alloc::vec![b"aes".as_slice()])));
        assert_eq!(
            parse(b"gcm_base(ctr(aes),ghash)"),
            Some((b"gcm_base".as_slice(), alloc::vec![b"ctr(aes)".as_slice(), b"ghash"]))
        );
        assert_eq!(
            parse(b"authenc(hmac(sha1),rfc3686(ctr(aes)))"),
            Some((b"authenc".as_slice(), alloc::vec![b"hmac(sha1)".as_slice(), b"rfc3686(ctr(aes))"]))
        );
        for wrong in ["", "aes", "(aes)", "cbc(", "cbc()", "cbc(aes", "cbc(aes))", "cbc(aes)x", "cbc(,aes)", "c c(aes)"]
        {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
