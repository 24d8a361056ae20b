//! A module's parameters: from the load's argument string, and later from files.

use alloc::format;
use alloc::sync::Arc;

use bstr::{BStr, ByteSlice};

use super::Module;
use crate::text::Errno;
use crate::text::log::Level;
use crate::text::params::{self, Entry, Log, ParameterSet, Unknown, Value};
use crate::{Kernel, printk};

/// Bit of `TAINT_USER`, letter U.
const USER: u64 = 1 << 6;

struct Set<'a> {
    kernel: &'static Kernel,
    module: &'a Arc<Module>,
}

impl ParameterSet for Set<'_> {
    fn find(&mut self, name: &BStr) -> Option<Entry> {
        let index = self
            .module
            .parameters()
            .iter()
            .position(|parameter| params::same_name(&parameter.name, name.as_bytes()))?;
        let parameter = &self.module.parameters()[index];
        Some(Entry { index, no_value: parameter.no_argument, unsafe_to_set: parameter.unsafe_to_set, hardware: false })
    }

    fn set(&mut self, entry: Entry, value: Option<Value<'_>>, _log: Log<'_>) -> Result<(), Errno> {
        let parameter = self.module.parameters().get(entry.index).ok_or(Errno::ENOENT)?;
        self.module.world.set_parameter(self.module, parameter, value.map(|value| value.bytes))
    }

    fn unknown(&mut self, name: &BStr, value: Option<&BStr>, log: Log<'_>) -> Result<(), Errno> {
        if let Unknown::Ignored(name) = params::unknown_to_module(name, value) {
            log(Level::Warning, params::ignored_message(&self.module.name.to_str_lossy(), name).as_bstr());
        }
        Ok(())
    }

    fn taint_user(&mut self) {
        self.kernel.modules.taint(USER);
    }
}

/// Sets the parameters of a coming module from its argument string.
///
/// # Errors
/// That of the last parameter that failed.
pub(super) fn apply(kernel: &'static Kernel, module: &Arc<Module>, arguments: &[u8]) -> Result<(), Errno> {
    let mut arguments = arguments.to_vec();
    arguments.push(0);
    let name = module.name.to_str_lossy();
    let mut log = |level: Level, text: &BStr| printk::say(kernel, level as u8, &format!("{text}"));
    let rest = params::parse_args(&name, &mut arguments, &mut Set { kernel, module }, &mut log)?;
    if let Some(rest) = rest {
        let text = params::after_dashes_message(&name, &arguments[rest..]);
        printk::say(kernel, 4, &format!("{text}"));
    }
    Ok(())
}
