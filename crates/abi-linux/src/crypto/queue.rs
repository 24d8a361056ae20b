//! Queues of requests (`struct crypto_queue`), and the completion of a request that is waited for.

use ferrmod_kernel::Errno;

use super::{MAY_BACKLOG, crypto_async_request, function};
use crate::boot::facts;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::locks::init_list;
use crate::ram;
use crate::waiting::{link_first, link_last, unlink};

layout! {
    mod crypto_queue = "crypto_queue" { list, backlog, qlen, max_qlen }
    mod crypto_wait = "crypto_wait" { completion, err }
    mod list_head = "list_head" { next, prev }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crypto_init_queue, c crypto_enqueue_request, c crypto_enqueue_request_head, c crypto_dequeue_request, c crypto_req_done,
];

/// `void crypto_init_queue(struct crypto_queue *, unsigned int max_qlen)`
extern "C" fn crypto_init_queue(queue: u64, most: u32) {
    // SAFETY: the module's queue.
    unsafe {
        let head = crypto_queue::list.at(queue);
        init_list(head);
        crypto_queue::backlog.set(queue, head);
        crypto_queue::qlen.set(queue, 0u32);
        crypto_queue::max_qlen.set(queue, most);
    }
}

/// `int crypto_enqueue_request(struct crypto_queue *, struct crypto_async_request *)`: a full queue takes only requests that
/// may wait, and answers `-EBUSY` for them.
extern "C" fn crypto_enqueue_request(queue: u64, request: u64) -> i32 {
    // SAFETY: the module's queue and request.
    unsafe {
        let (head, entry) = (crypto_queue::list.at(queue), crypto_async_request::list.at(request));
        let (length, most): (u32, u32) = (crypto_queue::qlen.get(queue), crypto_queue::max_qlen.get(queue));
        let mut answer = Errno::EINPROGRESS;
        if length >= most {
            if crypto_async_request::flags.get::<u32>(request) & MAY_BACKLOG == 0 {
                return Errno::ENOSPC.to_return();
            }
            answer = Errno::EBUSY;
            if crypto_queue::backlog.get::<u64>(queue) == head {
                crypto_queue::backlog.set(queue, entry);
            }
        }
        crypto_queue::qlen.set(queue, length + 1);
        link_last(entry, head);
        answer.to_return()
    }
}

/// `void crypto_enqueue_request_head(struct crypto_queue *, struct crypto_async_request *)`
extern "C" fn crypto_enqueue_request_head(queue: u64, request: u64) {
    // SAFETY: the module's queue and request.
    unsafe {
        let (length, most): (u32, u32) = (crypto_queue::qlen.get(queue), crypto_queue::max_qlen.get(queue));
        if length >= most {
            // One more of those already there has to wait.
            let backlog: u64 = crypto_queue::backlog.get(queue);
            crypto_queue::backlog.set(queue, list_head::prev.get::<u64>(backlog));
        }
        crypto_queue::qlen.set(queue, length + 1);
        link_first(crypto_async_request::list.at(request), crypto_queue::list.at(queue));
    }
}

/// `struct crypto_async_request *crypto_dequeue_request(struct crypto_queue *)`
extern "C" fn crypto_dequeue_request(queue: u64) -> u64 {
    // SAFETY: the module's queue.
    unsafe {
        let (head, length): (u64, u32) = (crypto_queue::list.at(queue), crypto_queue::qlen.get(queue));
        if length == 0 {
            return 0;
        }
        crypto_queue::qlen.set(queue, length - 1);
        let backlog: u64 = crypto_queue::backlog.get(queue);
        if backlog != head {
            crypto_queue::backlog.set(queue, list_head::next.get::<u64>(backlog));
        }
        let entry: u64 = list_head::next.get(head);
        unlink(entry);
        crypto_async_request::list.container(entry)
    }
}

/// Whether completions get the request's `data` rather than the request.
pub(crate) fn completes_with_data() -> bool {
    facts()
        .btf()
        .function("crypto_req_done")
        .and_then(|proto| proto.params().next().map(|first| first.name == "data"))
        .unwrap_or(false)
}

/// `void crypto_req_done(struct crypto_async_request *, int err)`, in newer kernels `(void *data, int err)`: notes the result and
/// wakes who waits. That the request left the backlog is no result.
extern "C" fn crypto_req_done(request: u64, error: i32) {
    if error == Errno::EINPROGRESS.to_return() {
        return;
    }
    // SAFETY: a request whose `data` is a `struct crypto_wait`, or that itself.
    unsafe {
        let wait = if completes_with_data() { request } else { crypto_async_request::data.get(request) };
        crypto_wait::err.set(wait, error);
        ram::call(function("complete"), [crypto_wait::completion.at(wait)]);
    }
}
