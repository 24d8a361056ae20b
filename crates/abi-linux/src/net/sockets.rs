//! Sockets: families and protocols of modules, and the sockets made with them.

use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::{init_net, sk_buff};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{iter, locks, module, ram, slab, tasks, time};

layout! {
    pub(crate) mod sock = "sock" {
        skc_family = "__sk_common.skc_family", skc_prot = "__sk_common.skc_prot", skc_net = "__sk_common.skc_net",
        skc_refcnt = "__sk_common.skc_refcnt", skc_state = "__sk_common.skc_state", sk_prot_creator, sk_receive_queue,
        sk_write_queue, sk_error_queue, owned = "sk_lock.owned", sk_socket, sk_wq, sk_type, sk_protocol, sk_rcvbuf, sk_sndbuf,
        sk_rcvtimeo, sk_sndtimeo, sk_omem_alloc, sk_wmem_alloc, sk_destruct, sk_state_change, sk_data_ready, sk_write_space,
        sk_error_report, sk_rcvlowat,
    }
    mod proto = "proto" { obj_size, owner, name, node }
    mod net_proto_family = "net_proto_family" { family, create, owner }
    pub(super) mod socket = "socket" { state, type_ = "type", sk, ops, wq, file }
    mod socket_alloc = "socket_alloc" { socket }
    mod socket_wq = "socket_wq" { wait }
    mod wait_queue_head = "wait_queue_head" { head }
    pub(super) mod proto_ops = "proto_ops" {
        owner, release, bind, accept, sendmsg, recvmsg, listen, connect, getname, shutdown,
    }
    mod proto_accept_arg = "proto_accept_arg" { flags, kern }
    pub(super) mod msghdr = "msghdr" { msg_iter }
}

/// `NPROTO`, but at least what this kernel's headers say.
const FAMILIES_MAX: i32 = 46;
/// `SOCK_MAX`
const TYPES: i32 = 11;
/// `SK_WMEM_MAX`-like defaults of `sk_sndbuf` and `sk_rcvbuf`.
const BUFFER: i32 = 212_992;
/// `MAX_SCHEDULE_TIMEOUT`
const FOREVER: i64 = i64::MAX;

/// Family and `struct net_proto_family`.
static FAMILIES: Lock<Vec<(i32, u64)>> = Lock::new(Vec::new());
static PROTOCOLS: Lock<Vec<u64>> = Lock::new(Vec::new());

/// `int sock_register(const struct net_proto_family *)`
extern "C" fn sock_register(family: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's family.
    let number: i32 = unsafe { net_proto_family::family.get(family) };
    if !(0..FAMILIES_MAX).contains(&number) {
        return Errno::ENOBUFS.to_return();
    }
    if FAMILIES.lock().iter().any(|(other, _)| *other == number) {
        return Errno::EEXIST.to_return();
    }
    FAMILIES.lock().push((number, family));
    // It is not in the list, so it is not registered.
    let _ = kernel().registrations.add(
        "socket_family",
        number as u64,
        alloc::format!("{number}"),
        kernel().owner_of(caller),
    );
    kernel().printk(alloc::format!("\x016NET: Registered protocol family {number}\n").as_bytes());
    0
}
/// `void sock_unregister(int)`
extern "C" fn sock_unregister(number: i32) {
    FAMILIES.lock().retain(|(other, _)| *other != number);
    kernel().registrations.remove("socket_family", number as u64);
    kernel().printk(alloc::format!("\x016NET: Unregistered protocol family {number}\n").as_bytes());
}
extern "C" fn sock_is_registered(number: i32) -> bool {
    FAMILIES.lock().iter().any(|(other, _)| *other == number)
}

/// `int proto_register(struct proto *, int alloc_slab)`
extern "C" fn proto_register(protocol: u64, _slab: i32) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's protocol.
    let name = unsafe {
        locks::init_list(proto::node.at(protocol));
        ram::c_string(proto::name.at(protocol)).to_vec()
    };
    PROTOCOLS.lock().push(protocol);
    // Registering one twice is a bug of the module's that the list shows.
    let _ = kernel().registrations.add("proto", protocol, name, kernel().owner_of(caller));
    0
}
extern "C" fn proto_unregister(protocol: u64) {
    PROTOCOLS.lock().retain(|&other| other != protocol);
    kernel().registrations.remove("proto", protocol);
}

/// What `/proc/net/protocols` says, in short.
pub(crate) fn protocols() -> Vec<u8> {
    let mut out = alloc::string::String::from("protocol  size module\n");
    for protocol in PROTOCOLS.lock().clone() {
        // SAFETY: registered protocols of loaded modules.
        unsafe {
            let owner = module::at(proto::owner.get(protocol))
                .map_or_else(|| "kernel".into(), |module| alloc::format!("{}", module.name));
            let name = ram::c_string(proto::name.at(protocol)).to_str_lossy();
            out.push_str(&alloc::format!("{name:<9} {:>4} {owner}\n", proto::obj_size.get::<u32>(protocol)));
        }
    }
    out.into_bytes()
}

/// Makes a `struct sock` of `size` bytes; 0 without memory.
pub(crate) fn allocate(size: u64, family: u16, net: u64, protocol: u64, caller: u64) -> u64 {
    let made = slab::allocate(size.max(sock::SIZE.get()), 64, slab::ZERO, caller);
    if made != 0 {
        // SAFETY: a zeroed block of at least the struct's size.
        unsafe {
            sock::skc_family.set(made, family);
            sock::skc_prot.set(made, protocol);
            sock::sk_prot_creator.set(made, protocol);
            sock::skc_net.set(made, net);
            sock::skc_refcnt.set(made, 1u32);
            sock::sk_wmem_alloc.set(made, 1u32);
        }
        begin_queues(made);
    }
    made
}

fn begin_queues(at: u64) {
    for queue in [&sock::sk_receive_queue, &sock::sk_write_queue, &sock::sk_error_queue] {
        sk_buff::begin_queue(queue.at(at));
    }
}

/// `struct sock *sk_alloc(struct net *, int family, gfp_t, struct proto *, int kern)`
extern "C" fn sk_alloc(net: u64, family: i32, _flags: u32, protocol: u64, _kern: i32) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module's protocol.
    let (size, owner) =
        unsafe { (u64::from(proto::obj_size.get::<u32>(protocol)), module::at(proto::owner.get(protocol))) };
    if let Some(owner) = &owner
        && !owner.try_get()
    {
        return 0;
    }
    let made = allocate(size, family as u16, net, protocol, caller);
    if made == 0
        && let Some(owner) = owner
    {
        owner.put();
    }
    made
}

/// Gives a reference of a socket back.
pub(crate) fn put(at: u64) {
    // SAFETY: the caller's socket.
    let left = unsafe {
        let left = sock::skc_refcnt.get::<u32>(at).saturating_sub(1);
        sock::skc_refcnt.set(at, left);
        left
    };
    if left == 0 {
        end(at);
    }
}
fn end(at: u64) {
    // SAFETY: a socket that nobody uses any more, and its function.
    unsafe {
        let destruct: u64 = sock::sk_destruct.get(at);
        if destruct != 0 {
            ram::call(destruct, [at]);
        }
        for queue in [&sock::sk_receive_queue, &sock::sk_write_queue, &sock::sk_error_queue] {
            sk_buff::skb_queue_purge(queue.at(at));
        }
        let protocol: u64 = sock::sk_prot_creator.get(at);
        slab::release(at, 0);
        if protocol != 0
            && let Some(owner) = module::at(proto::owner.get(protocol))
        {
            owner.put();
        }
    }
}
/// `void sk_free(struct sock *)`: inline code has given the last reference back.
extern "C" fn sk_free(at: u64) {
    end(at);
}

/// Functions that every socket begins with.
extern "C" fn sock_def_wakeup(at: u64) {
    wake(at);
}
extern "C" fn sock_def_destruct() {}

fn wake(at: u64) {
    // SAFETY: a socket and its wait queue.
    unsafe {
        let queue: u64 = sock::sk_wq.get(at);
        if queue != 0 {
            crate::waiting::__wake_up(socket_wq::wait.at(queue), 3, 1, 0);
        }
    }
}

/// `void sock_init_data(struct socket *, struct sock *)`
extern "C" fn sock_init_data(of: u64, at: u64) {
    let own = |name| crate::symbols::address(name).unwrap_or(0);
    begin_queues(at);
    // SAFETY: the caller's socket and its lower half.
    unsafe {
        if of != 0 {
            sock::sk_type.set(at, socket::type_.get::<u16>(of));
            sock::sk_wq.set(at, socket::wq.at(of));
            socket::sk.set(of, at);
            sock::sk_socket.set(at, of);
        }
        /// `TCP_CLOSE`
        const CLOSED: u8 = 7;
        sock::skc_state.set(at, CLOSED);
        sock::sk_rcvbuf.set(at, BUFFER);
        sock::sk_sndbuf.set(at, BUFFER);
        sock::sk_rcvtimeo.set(at, FOREVER);
        sock::sk_sndtimeo.set(at, FOREVER);
        sock::sk_rcvlowat.set(at, 1i32);
        sock::skc_refcnt.set(at, 1u32);
        for (field, name) in [
            (&sock::sk_state_change, "sock_def_wakeup"),
            (&sock::sk_data_ready, "sock_def_wakeup"),
            (&sock::sk_write_space, "sock_def_wakeup"),
            (&sock::sk_error_report, "sock_def_wakeup"),
            (&sock::sk_destruct, "sock_def_destruct"),
        ] {
            field.set(at, own(name));
        }
    }
}

/// `void sk_stop_timer(struct sock *, struct timer_list *)`: a timer that is set holds the socket.
extern "C" fn sk_stop_timer(at: u64, timer: u64) {
    if time::cancel_timer(timer, false) {
        put(at);
    }
}
extern "C" fn sk_stop_timer_sync(at: u64, timer: u64) {
    if time::cancel_timer(timer, true) {
        put(at);
    }
}

/// `void *sock_kmalloc(struct sock *, int, gfp_t)`
extern "C" fn sock_kmalloc(at: u64, size: i32, flags: u32) -> u64 {
    let caller = ram::caller();
    let made = slab::allocate(size.max(0) as u64, 8, flags, caller);
    if made != 0 {
        change_memory(at, size);
    }
    made
}
fn change_memory(at: u64, by: i32) {
    // SAFETY: the caller's socket.
    unsafe { sock::sk_omem_alloc.set(at, sock::sk_omem_alloc.get::<i32>(at).wrapping_add(by)) };
}
extern "C" fn sock_kfree_s(at: u64, memory: u64, size: i32) {
    slab::release(memory, ram::caller());
    change_memory(at, -size);
}
extern "C" fn sock_kzfree_s(at: u64, memory: u64, size: i32) {
    if memory > 16 {
        // SAFETY: the caller's block of this size.
        unsafe { ram::fill(memory, 0, size.max(0) as u64) };
    }
    sock_kfree_s(at, memory, size);
}

/// `void lock_sock_nested(struct sock *, int)`
extern "C" fn lock_sock_nested(at: u64) {
    let caller = ram::caller();
    let owned = sock::owned.at(at);
    // SAFETY: the caller's socket.
    while unsafe { ram::get::<u32>(owned) } != 0 {
        tasks::might_block(caller);
        kernel().tasks.block(None, Some(owned));
    }
    // SAFETY: as above.
    unsafe { ram::put(owned, 1u32) };
}
extern "C" fn release_sock(at: u64) {
    let owned = sock::owned.at(at);
    // SAFETY: the caller's socket.
    unsafe { ram::put(owned, 0u32) };
    kernel().tasks.wake_channel(owned, usize::MAX);
}

extern "C" fn sock_no_support() -> i32 {
    Errno::EOPNOTSUPP.to_return()
}
extern "C" fn sock_no_mmap() -> i32 {
    Errno::ENODEV.to_return()
}
/// `int sock_wake_async(struct socket_wq *, int how, int band)`: nobody asked for signals.
extern "C" fn sock_wake_async() -> i32 {
    0
}

/// Makes a `struct socket`; 0 without memory.
pub(super) fn make(kind: i32, caller: u64) -> u64 {
    let block = slab::allocate(socket_alloc::SIZE.get(), 64, slab::ZERO, caller);
    if block == 0 {
        return 0;
    }
    let made = socket_alloc::socket.at(block);
    // SAFETY: a zeroed block of the struct's size.
    unsafe {
        /// `SS_UNCONNECTED`
        const UNCONNECTED: u32 = 1;
        socket::state.set(made, UNCONNECTED);
        socket::type_.set(made, kind as u16);
        let wait = socket_wq::wait.at(socket::wq.at(made));
        locks::init_list(wait_queue_head::head.at(wait));
    }
    made
}
/// Frees a `struct socket` whose lower half is gone.
pub(super) fn unmake(made: u64) {
    slab::release(socket_alloc::socket.container(made), 0);
}

/// `int __sock_create(struct net *, int family, int type, int protocol, struct socket **, int kern)`
extern "C" fn __sock_create(net: u64, family: i32, kind: i32, protocol: i32, result: u64, kern: i32) -> i32 {
    let caller = ram::caller();
    if !(0..FAMILIES_MAX).contains(&family) {
        return Errno::EAFNOSUPPORT.to_return();
    }
    if !(0..TYPES).contains(&kind) {
        return Errno::EINVAL.to_return();
    }
    let find = || FAMILIES.lock().iter().find(|(other, _)| *other == family).map(|&(_, found)| found);
    if find().is_none() {
        // Whether it came is seen below.
        let _ = kernel().request_module(alloc::format!("net-pf-{family}").as_bytes());
    }
    let Some(found) = find() else { return Errno::EAFNOSUPPORT.to_return() };
    let made = make(kind, caller);
    if made == 0 {
        return Errno::ENFILE.to_return();
    }
    // SAFETY: a registered family and its function; the caller's pointer.
    unsafe {
        let owner = module::at(net_proto_family::owner.get(found));
        if let Some(owner) = &owner
            && !owner.try_get()
        {
            unmake(made);
            return Errno::EAFNOSUPPORT.to_return();
        }
        let error = ram::call(net_proto_family::create.get(found), [net, made, protocol as u64, kern as u64]) as i32;
        if error < 0 {
            unmake(made);
        } else {
            // The socket keeps the module of its operations.
            let ops: u64 = socket::ops.get(made);
            if ops != 0
                && let Some(module) = module::at(proto_ops::owner.get(ops))
            {
                module.get();
            }
            ram::put(result, made);
        }
        if let Some(owner) = owner {
            owner.put();
        }
        error.min(0)
    }
}
extern "C" fn sock_create(family: i32, kind: i32, protocol: i32, result: u64) -> i32 {
    __sock_create(init_net(), family, kind, protocol, result, 0)
}
extern "C" fn sock_create_kern(net: u64, family: i32, kind: i32, protocol: i32, result: u64) -> i32 {
    __sock_create(net, family, kind, protocol, result, 1)
}
extern "C" fn sock_release(made: u64) {
    // SAFETY: the caller's socket and its operations.
    unsafe {
        let ops: u64 = socket::ops.get(made);
        if ops != 0 {
            ram::call(proto_ops::release.get(ops), [made]);
            if let Some(owner) = module::at(proto_ops::owner.get(ops)) {
                owner.put();
            }
        }
    }
    unmake(made);
}

/// Calls a function of a socket's operations.
fn operate<const N: usize>(made: u64, field: &crate::field::Field, arguments: [u64; N]) -> i32 {
    // SAFETY: the caller's socket and its operations, whose functions take these arguments.
    unsafe {
        let function: u64 = field.get(socket::ops.get(made));
        if function == 0 { Errno::EOPNOTSUPP.to_return() } else { ram::call(function, arguments) as i32 }
    }
}
extern "C" fn kernel_bind(made: u64, address: u64, length: i32) -> i32 {
    operate(made, &proto_ops::bind, [made, address, length as u64])
}
extern "C" fn kernel_listen(made: u64, backlog: i32) -> i32 {
    operate(made, &proto_ops::listen, [made, backlog as u64])
}
extern "C" fn kernel_connect(made: u64, address: u64, length: i32, flags: i32) -> i32 {
    operate(made, &proto_ops::connect, [made, address, length as u64, flags as u64])
}
/// `int kernel_accept(struct socket *, struct socket **, int flags)`
extern "C" fn kernel_accept(made: u64, result: u64, flags: i32) -> i32 {
    let caller = ram::caller();
    // SAFETY: the caller's socket and pointer, and the new socket, which takes over type and operations.
    unsafe {
        let new = make(i32::from(socket::type_.get::<u16>(made)), caller);
        if new == 0 {
            return Errno::ENOMEM.to_return();
        }
        let ops: u64 = socket::ops.get(made);
        socket::ops.set(new, ops);
        if let Some(owner) = module::at(proto_ops::owner.get(ops)) {
            owner.get();
        }
        let is_new = crate::boot::facts().btf().struct_named("proto_accept_arg").is_some();
        let error = if is_new {
            let mut block = alloc::vec![0u8; proto_accept_arg::SIZE.get() as usize];
            let argument = block.as_mut_ptr() as u64;
            proto_accept_arg::flags.set(argument, flags);
            proto_accept_arg::kern.set(argument, true);
            operate(made, &proto_ops::accept, [made, new, argument])
        } else {
            operate(made, &proto_ops::accept, [made, new, flags as u64, 1])
        };
        if error < 0 {
            if let Some(owner) = module::at(proto_ops::owner.get(ops)) {
                owner.put();
            }
            unmake(new);
        } else {
            ram::put(result, new);
        }
        error
    }
}
/// `int sock_sendmsg(struct socket *, struct msghdr *)`
extern "C" fn sock_sendmsg(made: u64, message: u64) -> i32 {
    operate(made, &proto_ops::sendmsg, [made, message, iter::left(msghdr::msg_iter.at(message))])
}
extern "C" fn sock_recvmsg(made: u64, message: u64, flags: i32) -> i32 {
    operate(made, &proto_ops::recvmsg, [made, message, iter::left(msghdr::msg_iter.at(message)), flags as u64])
}
/// `int kernel_getsockname(struct socket *, struct sockaddr *)`: the length of its own address.
extern "C" fn kernel_getsockname(made: u64, address: u64) -> i32 {
    operate(made, &proto_ops::getname, [made, address, 0])
}
extern "C" fn kernel_getpeername(made: u64, address: u64) -> i32 {
    operate(made, &proto_ops::getname, [made, address, 1])
}
/// `int kernel_sock_shutdown(struct socket *, enum sock_shutdown_cmd)`
extern "C" fn kernel_sock_shutdown(made: u64, how: u32) -> i32 {
    operate(made, &proto_ops::shutdown, [made, how.into()])
}
/// `int kernel_sendmsg(struct socket *, struct msghdr *, struct kvec *, size_t num, size_t size)`
extern "C" fn kernel_sendmsg(made: u64, message: u64, vector: u64, count: u64, size: u64) -> i32 {
    iter::iov_iter_kvec(msghdr::msg_iter.at(message), 1, vector, count, size);
    sock_sendmsg(made, message)
}
/// `int kernel_recvmsg(struct socket *, struct msghdr *, struct kvec *, size_t num, size_t size, int flags)`
extern "C" fn kernel_recvmsg(made: u64, message: u64, vector: u64, count: u64, size: u64, flags: i32) -> i32 {
    iter::iov_iter_kvec(msghdr::msg_iter.at(message), 0, vector, count, size);
    sock_recvmsg(made, message, flags)
}

/// There is no security module: everything is allowed, and nothing is labelled.
extern "C" fn security_nothing() -> i32 {
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c sock_register, c sock_unregister, c sock_is_registered, c proto_register, c proto_unregister, c sk_alloc, c sk_free,
    c sock_def_wakeup, c sock_def_destruct, c sock_init_data, c sock_init_data_uid = sock_init_data, c sk_stop_timer, c sk_stop_timer_sync, c sock_kmalloc, c sock_kfree_s, c sock_kzfree_s,
    c lock_sock_nested, c release_sock, k sock_no_bind = sock_no_support, k sock_no_connect = sock_no_support,
    k sock_no_socketpair = sock_no_support, k sock_no_accept = sock_no_support, k sock_no_getname = sock_no_support,
    k sock_no_ioctl = sock_no_support, k sock_no_listen = sock_no_support, k sock_no_shutdown = sock_no_support,
    k sock_no_sendmsg = sock_no_support, k sock_no_sendmsg_locked = sock_no_support, k sock_no_recvmsg = sock_no_support,
    k sock_no_sendpage = sock_no_support, k sock_no_sendpage_locked = sock_no_support, k sock_no_mmap, k sock_wake_async,
    c __sock_create, c sock_create, c sock_create_kern, c sock_release, c kernel_bind, c kernel_listen, c kernel_connect,
    c kernel_accept, c kernel_getsockname, c kernel_getpeername, c sock_sendmsg, c sock_recvmsg, c kernel_sendmsg, c kernel_recvmsg,
    c kernel_sock_shutdown,
    k security_sk_clone = security_nothing, k security_sock_graft = security_nothing,
    k security_sk_classify_flow = security_nothing,
    k security_tun_dev_create = security_nothing, k security_tun_dev_alloc_security = security_nothing,
    k security_tun_dev_free_security = security_nothing, k security_tun_dev_open = security_nothing,
    k security_tun_dev_attach = security_nothing, k security_tun_dev_attach_queue = security_nothing, k security_socket_getpeersec_dgram = security_nothing,
];
