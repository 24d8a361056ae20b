//! `dmaengine`, as far as its clients ask for it: there is no engine, so work that could be offloaded is done in place.

use crate::export::{Export, exports};

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] =
    exports![k dmaengine_get, k dmaengine_put, k dma_find_channel, k dma_issue_pending_all, c dma_wait_for_async_tx];

/// `void dmaengine_get(void)`: a client that takes whatever channel there is. None comes or goes.
extern "C" fn dmaengine_get() {}
extern "C" fn dmaengine_put() {}

/// `struct dma_chan *dma_find_channel(enum dma_transaction_type)`: null, there is none.
extern "C" fn dma_find_channel() -> u64 {
    0
}
extern "C" fn dma_issue_pending_all() {}

/// `enum dma_status dma_wait_for_async_tx(struct dma_async_tx_descriptor *)`: without a descriptor the work is complete
/// (`DMA_COMPLETE`); nobody can have one, as no channel made it (`DMA_ERROR`).
extern "C" fn dma_wait_for_async_tx(descriptor: u64) -> i32 {
    if descriptor == 0 { 0 } else { 3 }
}
