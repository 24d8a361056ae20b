//! Whether somebody this kernel trusts has signed a module.

use ferrmod_signature::{Keyring, verify};

use crate::text::Errno;
use crate::{Kernel, LoadFlags, printk};

/// The certificates of the kernel whose modules these are, read at the first module.
fn keyring(kernel: &Kernel) -> &Keyring {
    kernel.keyring.call_once(|| {
        let mut keyring = Keyring::new();
        let list = kernel.linux_world().map_or(&[][..], |world| world.certificates());
        if let Err(error) = keyring.add_der(list, "the kernel") {
            printk::say(kernel, 3, &alloc::format!("Problem loading in-kernel X.509 certificate ({error})"));
        }
        keyring
    })
}

/// `module_sig_check`: true when the signature was verified, false when the module counts as unsigned and may be loaded all the
/// same.
pub(super) fn check(kernel: &Kernel, file: &[u8], flags: LoadFlags) -> Result<bool, Errno> {
    if !flags.is_empty() {
        // Linux does not look at the signature of a module that is loaded by force.
        return Ok(false);
    }
    let Err(refusal) = verify(file, keyring(kernel)) else { return Ok(true) };
    for (level, text) in refusal.log_lines() {
        printk::say(kernel, level, &text);
    }
    let Some(reason) = refusal.enforced_reason() else { return Err(Errno(refusal.errno())) };
    if kernel.options.signature_enforced {
        printk::say(kernel, 5, &alloc::format!("Loading of {reason} is rejected"));
        return Err(Errno::EKEYREJECTED);
    }
    Ok(false)
}
