//! The DMA engine: a machine has none, so that everybody computes with the processor.

use crate::export::{Export, exports};

/// `struct dma_chan *dma_find_channel(enum dma_transaction_type)`
extern "C" fn dma_find_channel() -> u64 {
    0
}
extern "C" fn dmaengine_get() {}
extern "C" fn dmaengine_put() {}
/// `struct dmaengine_unmap_data *dmaengine_get_unmap_data(struct device *, int, gfp_t)`: only asked for with a channel.
extern "C" fn dmaengine_get_unmap_data() -> u64 {
    0
}
extern "C" fn dmaengine_unmap_put() {}
/// `enum dma_status dma_wait_for_async_tx(struct dma_async_tx_descriptor *)`: without a descriptor everything is done
/// (`DMA_COMPLETE`).
extern "C" fn dma_wait_for_async_tx() -> i32 {
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    k dma_find_channel, k dmaengine_get, k dmaengine_put, k dmaengine_get_unmap_data, k dmaengine_unmap_put,
    k dma_wait_for_async_tx, k dma_issue_pending_all = dmaengine_get,
];
