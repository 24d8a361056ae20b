//! Telling what modules import.

use super::events::Event;
use super::files::Module;
use super::graph::{Exports, Provider};
use super::options::Options;
use super::symbols::Symbols;

/// Tells, for each import of each module, whatever `options` want to know.
pub(super) fn imports(
    options: &Options<'_>,
    modules: &[Module<'_>],
    symbols: &Symbols,
    exports: &Exports<'_>,
    observe: &mut dyn FnMut(Event<'_>),
) {
    let check_versions = options.report_unknown && options.symvers.is_some();
    if !options.report_unknown && !options.report_needs {
        return;
    }
    let mut told = vec![usize::MAX; modules.len()];
    for (user, module) in modules.iter().enumerate() {
        for &number in module.facts.iter().flat_map(|facts| &facts.imports) {
            let symbol = symbols.get(number);
            let Some((name, provider, crc)) = exports.find(symbol.name) else {
                if options.report_unknown && !symbol.weak {
                    observe(Event::UnknownSymbol { path: &options.full(module.path), symbol: symbol.name });
                }
                continue;
            };
            if check_versions && crc != symbol.crc && !symbol.weak {
                observe(Event::VersionDisagrees { path: &options.full(module.path), symbol: symbol.name });
            }
            if let Provider::Module(provider) = provider
                && options.report_needs
                && let Some(provider) = told
                    .get_mut(provider as usize)
                    .and_then(|told| (std::mem::replace(told, user) != user).then_some(provider))
                    .and_then(|provider| modules.get(provider as usize))
            {
                let (path, provider) = (options.full(module.path), options.full(provider.path));
                observe(Event::Needs { path: &path, symbol: name, provider: &provider });
            }
        }
    }
}
