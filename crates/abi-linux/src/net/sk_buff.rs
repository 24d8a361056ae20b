//! `struct sk_buff`: packets.
//!
//! A buffer has a head (one block of memory, of which the packet's linear part lies between `data` and `tail`), and behind
//! `end` a `struct skb_shared_info` that lists parts in pages and further buffers. Clones share the head; `dataref` counts them.

use alloc::vec::Vec;

use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::{pages, ram, slab};

layout! {
    pub(crate) mod sk_buff = "sk_buff" {
        next, prev, dev, sk, cb, destructor, len, data_len, cloned, head, data, tail, end, truesize, users, mac_header,
        network_header, transport_header,
    }
    pub(crate) mod skb_shared_info = "skb_shared_info" { nr_frags, frag_list, dataref, frags, gso_size, gso_segs, gso_type }
    mod fragment = "bio_vec" { bv_page, bv_len, bv_offset }
    pub(crate) mod sk_buff_head = "sk_buff_head" { qlen, lock }
}

/// `SMP_CACHE_BYTES`
const LINE: u64 = 64;
/// Room that network drivers leave before a packet (`NET_SKB_PAD`).
const PAD: u64 = 64;
/// Bits of the byte that begins with `cloned`.
const CLONED: u8 = 1;

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet(pub(crate) u64);

impl Packet {
    fn get(self, field: &Field) -> u64 {
        // SAFETY: the caller's packet; the member is a pointer.
        unsafe { field.get(self.0) }
    }
    fn get32(self, field: &Field) -> u32 {
        // SAFETY: the caller's packet; the member has 32 bits.
        unsafe { field.get(self.0) }
    }
    fn set(self, field: &Field, value: u64) {
        // SAFETY: as for `get`.
        unsafe { field.set(self.0, value) }
    }
    fn set32(self, field: &Field, value: u32) {
        // SAFETY: as for `get32`.
        unsafe { field.set(self.0, value) }
    }

    /// All bytes.
    pub(crate) fn len(self) -> u32 {
        self.get32(&sk_buff::len)
    }
    /// Address of the first byte.
    pub(crate) fn data(self) -> u64 {
        self.get(&sk_buff::data)
    }
    /// Bytes of the linear part.
    pub(crate) fn head_len(self) -> u32 {
        self.len() - self.get32(&sk_buff::data_len)
    }
    fn tail(self) -> u64 {
        self.get(&sk_buff::head) + u64::from(self.get32(&sk_buff::tail))
    }
    fn end(self) -> u64 {
        self.get(&sk_buff::head) + u64::from(self.get32(&sk_buff::end))
    }
    /// The `struct skb_shared_info`.
    fn shared(self) -> u64 {
        self.end()
    }
    fn is_cloned(self) -> bool {
        // SAFETY: the caller's packet.
        let cloned = unsafe { sk_buff::cloned.get::<u8>(self.0) } & CLONED != 0;
        // SAFETY: as above; the low half of `dataref` counts the users of the head.
        cloned && unsafe { skb_shared_info::dataref.get::<u32>(self.shared()) } & 0xffff != 1
    }

    /// The parts in pages: address and length.
    fn fragments(self) -> Vec<(u64, u32)> {
        // SAFETY: the caller's packet and its parts.
        unsafe {
            let count = skb_shared_info::nr_frags.get::<u8>(self.shared());
            (0..u64::from(count))
                .map(|number| {
                    let at = skb_shared_info::frags.at(self.shared()) + number * fragment::SIZE.get();
                    let start = fragment::bv_offset.get::<u32>(at);
                    (pages::address_of(fragment::bv_page.get(at)) + u64::from(start), fragment::bv_len.get(at))
                })
                .collect()
        }
    }

    fn list(self) -> Vec<Packet> {
        let mut all = Vec::new();
        // SAFETY: the caller's packet and those listed in it.
        unsafe {
            let mut next: u64 = skb_shared_info::frag_list.get(self.shared());
            while next != 0 {
                all.push(Packet(next));
                next = sk_buff::next.get(next);
            }
        }
        all
    }

    /// The pieces of memory that hold `length` bytes from `offset`; `None` when the packet is shorter.
    fn pieces(self, offset: u32, length: u32) -> Option<Vec<(u64, u32)>> {
        if offset.checked_add(length)? > self.len() {
            return None;
        }
        let mut all = alloc::vec![(self.data(), self.head_len())];
        all.extend(self.fragments());
        for other in self.list() {
            all.extend(other.pieces(0, other.len())?);
        }
        let (mut skip, mut wanted) = (offset, length);
        let mut found = Vec::new();
        for (at, size) in all {
            let skipped = skip.min(size);
            skip -= skipped;
            let part = (size - skipped).min(wanted);
            if part > 0 {
                found.push((at + u64::from(skipped), part));
                wanted -= part;
            }
        }
        (wanted == 0).then_some(found)
    }

    /// A copy of `length` bytes from `offset`.
    pub(crate) fn bytes(self, offset: u32, length: u32) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(length as usize);
        for (at, size) in self.pieces(offset, length)? {
            // SAFETY: a piece of the packet.
            out.extend_from_slice(unsafe { ram::bytes(at, size.into()) });
        }
        Some(out)
    }
}

/// A head for at least `size` bytes: its address and its usable size; `None` without memory.
fn make_head(size: u64, flags: u32, caller: u64) -> Option<(u64, u64)> {
    let size = size.next_multiple_of(LINE);
    let whole = size + skb_shared_info::SIZE.get().next_multiple_of(LINE);
    let head = slab::allocate(whole, LINE, flags, caller);
    if head == 0 {
        return None;
    }
    // SAFETY: the block has room for both.
    unsafe {
        ram::fill(head + size, 0, skb_shared_info::SIZE.get());
        skb_shared_info::dataref.set(head + size, 1u32);
    }
    Some((head, size))
}

/// Lets a zeroed packet begin with an empty head.
fn begin(packet: Packet, head: u64, size: u64) {
    packet.set(&sk_buff::head, head);
    packet.set(&sk_buff::data, head);
    packet.set32(&sk_buff::tail, 0);
    packet.set32(&sk_buff::end, size as u32);
    packet.set32(&sk_buff::users, 1);
    packet.set32(&sk_buff::truesize, (size + skb_shared_info::SIZE.get() + sk_buff::SIZE.get()) as u32);
    // SAFETY: the packet; no header is known.
    unsafe {
        sk_buff::mac_header.set(packet.0, u16::MAX);
        sk_buff::transport_header.set(packet.0, u16::MAX);
    }
}

/// Makes an empty packet with room for `size` bytes; 0 without memory.
pub(crate) fn allocate(size: u64, flags: u32, caller: u64) -> u64 {
    let packet = slab::allocate(sk_buff::SIZE.get(), LINE, flags | slab::ZERO, caller);
    if packet == 0 {
        return 0;
    }
    match make_head(size, flags, caller) {
        Some((head, size)) => {
            begin(Packet(packet), head, size);
            packet
        }
        None => {
            slab::release(packet, caller);
            0
        }
    }
}

/// Gives up a packet's share of its head.
fn drop_head(packet: Packet) {
    let shared = packet.shared();
    // SAFETY: the packet's head.
    let left = unsafe {
        let count: u32 = skb_shared_info::dataref.get(shared);
        let left = count.wrapping_sub(1);
        skb_shared_info::dataref.set(shared, left);
        left & 0xffff
    };
    if left != 0 {
        return;
    }
    // SAFETY: the parts of a head that nobody uses any more.
    unsafe {
        for number in 0..u64::from(skb_shared_info::nr_frags.get::<u8>(shared)) {
            let at = skb_shared_info::frags.at(shared) + number * fragment::SIZE.get();
            pages::give(fragment::bv_page.get(at), 0, 0);
        }
    }
    for other in packet.list() {
        free(other.0);
    }
    slab::release(packet.get(&sk_buff::head), 0);
}

/// Takes a reference of a packet.
pub(crate) fn hold(at: u64) {
    let packet = Packet(at);
    packet.set32(&sk_buff::users, packet.get32(&sk_buff::users) + 1);
}
/// Takes a packet from its owner (`skb_orphan`).
pub(crate) fn orphan(at: u64) {
    let packet = Packet(at);
    let destructor = packet.get(&sk_buff::destructor);
    if destructor != 0 {
        // SAFETY: the function that its owner gave.
        unsafe { ram::call(destructor, [at]) };
        packet.set(&sk_buff::destructor, 0);
    }
    packet.set(&sk_buff::sk, 0);
}

/// Gives a reference of a packet back; the last one frees it.
pub(crate) fn free(at: u64) {
    if at == 0 {
        return;
    }
    let packet = Packet(at);
    let users = packet.get32(&sk_buff::users);
    if users > 1 {
        packet.set32(&sk_buff::users, users - 1);
        return;
    }
    let destructor = packet.get(&sk_buff::destructor);
    if destructor != 0 {
        // SAFETY: the function that its owner gave.
        unsafe { ram::call(destructor, [at]) };
    }
    if packet.get(&sk_buff::head) != 0 {
        drop_head(packet);
    }
    slab::release(at, 0);
}

/// Appends room for `length` bytes; its address.
pub(crate) fn put(at: u64, length: u32, caller: u64) -> u64 {
    let packet = Packet(at);
    let tail = packet.tail();
    if tail + u64::from(length) > packet.end() || packet.get32(&sk_buff::data_len) != 0 {
        panic("skb_over_panic", packet, length, caller);
    }
    packet.set32(&sk_buff::tail, packet.get32(&sk_buff::tail) + length);
    packet.set32(&sk_buff::len, packet.len() + length);
    tail
}

fn panic(what: &str, packet: Packet, length: u32, caller: u64) -> ! {
    let text = alloc::format!(
        "{what}: text:{caller:#x} len:{} put:{length} head:{:#x} data:{:#x} tail:{:#x} end:{:#x}",
        packet.len(),
        packet.get(&sk_buff::head),
        packet.data(),
        packet.get32(&sk_buff::tail),
        packet.get32(&sk_buff::end)
    );
    kernel().bug(&text, caller)
}

extern "C" fn __alloc_skb(size: u32, flags: u32) -> u64 {
    allocate(size.into(), flags, ram::caller())
}
extern "C" fn __netdev_alloc_skb(dev: u64, size: u32, flags: u32) -> u64 {
    allocate_for(dev, size, flags, ram::caller())
}
/// Makes an empty packet for what a device receives; 0 without memory.
pub(crate) fn allocate_for(dev: u64, size: u32, flags: u32, caller: u64) -> u64 {
    let packet = allocate(u64::from(size) + PAD, flags, caller);
    if packet != 0 {
        let packet = Packet(packet);
        packet.set(&sk_buff::data, packet.data() + PAD);
        packet.set32(&sk_buff::tail, PAD as u32);
        packet.set(&sk_buff::dev, dev);
    }
    packet
}
extern "C" fn kfree_skb_reason(at: u64) {
    if at != 0 && Errno::from_pointer(at).is_none() {
        free(at);
    }
}
/// `void sk_skb_reason_drop(struct sock *, struct sk_buff *, enum skb_drop_reason)`
extern "C" fn sk_skb_reason_drop(_socket: u64, at: u64) {
    kfree_skb_reason(at);
}
extern "C" fn kfree_skb_list_reason(first: u64) {
    let mut at = first;
    while at != 0 {
        let next = Packet(at).get(&sk_buff::next);
        free(at);
        at = next;
    }
}
extern "C" fn skb_put(at: u64, length: u32) -> u64 {
    put(at, length, ram::caller())
}
pub(crate) extern "C" fn skb_push(at: u64, length: u32) -> u64 {
    let caller = ram::caller();
    let packet = Packet(at);
    if packet.data() - packet.get(&sk_buff::head) < length.into() {
        panic("skb_under_panic", packet, length, caller);
    }
    packet.set(&sk_buff::data, packet.data() - u64::from(length));
    packet.set32(&sk_buff::len, packet.len() + length);
    packet.data()
}
/// Takes `length` bytes off the front; 0 when there are not so many.
fn pull(packet: Packet, length: u32) -> u64 {
    if length > packet.len() {
        return 0;
    }
    if length > packet.head_len() && !pull_tail(packet, length - packet.head_len(), 0) {
        return 0;
    }
    packet.set32(&sk_buff::len, packet.len() - length);
    packet.set(&sk_buff::data, packet.data() + u64::from(length));
    packet.data()
}
/// Takes bytes off the front of a packet that has so many.
pub(crate) fn skip(packet: Packet, length: u32) {
    pull(packet, length);
}
extern "C" fn skb_pull(at: u64, length: u32) -> u64 {
    pull(Packet(at), length)
}
extern "C" fn skb_pull_data(at: u64, length: u64) -> u64 {
    let data = Packet(at).data();
    if u64::from(Packet(at).len()) < length || pull(Packet(at), length as u32) == 0 { 0 } else { data }
}
extern "C" fn skb_pull_rcsum(at: u64, length: u32) -> u64 {
    // Checksums of received packets are not kept here: nothing receives any from hardware.
    pull(Packet(at), length)
}

/// Cuts a packet to `length` bytes.
fn cut(packet: Packet, length: u32) -> Result<(), Errno> {
    if length >= packet.len() {
        return Ok(());
    }
    if packet.get32(&sk_buff::data_len) != 0 {
        // What lies in pages becomes linear first, as far as it is kept.
        let keep = length.max(packet.head_len()) - packet.head_len();
        if keep > 0 && !pull_tail(packet, keep, 0) {
            return Err(Errno::ENOMEM);
        }
        drop_parts(packet);
    }
    packet.set32(&sk_buff::len, length);
    packet.set32(&sk_buff::tail, (packet.data() - packet.get(&sk_buff::head)) as u32 + length);
    Ok(())
}

/// Forgets everything that is not linear.
fn drop_parts(packet: Packet) {
    let shared = packet.shared();
    // SAFETY: the packet's parts; a shared head was copied before.
    unsafe {
        for number in 0..u64::from(skb_shared_info::nr_frags.get::<u8>(shared)) {
            let at = skb_shared_info::frags.at(shared) + number * fragment::SIZE.get();
            pages::give(fragment::bv_page.get(at), 0, 0);
        }
        for other in packet.list() {
            free(other.0);
        }
        skb_shared_info::nr_frags.set(shared, 0u8);
        skb_shared_info::frag_list.set(shared, 0u64);
    }
    packet.set32(&sk_buff::len, packet.head_len());
    packet.set32(&sk_buff::data_len, 0);
}
extern "C" fn skb_trim(at: u64, length: u32) {
    // A packet with parts is left alone, as on Linux; without parts nothing can fail.
    if Packet(at).get32(&sk_buff::data_len) == 0 {
        let _ = cut(Packet(at), length);
    }
}
extern "C" fn ___pskb_trim(at: u64, length: u32) -> i32 {
    Errno::returned(cut(Packet(at), length))
}

/// Gives a packet a head of its own with `before` and `after` more bytes around the linear part.
fn expand(packet: Packet, before: u64, after: u64, flags: u32, caller: u64) -> Result<(), Errno> {
    let headroom = packet.data() - packet.get(&sk_buff::head);
    let used = u64::from(packet.get32(&sk_buff::tail));
    let old_size = u64::from(packet.get32(&sk_buff::end));
    let (head, size) = make_head(before + old_size + after, flags, caller).ok_or(Errno::ENOMEM)?;
    let old_shared = packet.shared();
    // SAFETY: the old head and the new one; the shared part is copied whole, its parts get another user.
    unsafe {
        ram::copy(head + before, packet.get(&sk_buff::head), used);
        ram::copy(head + size, old_shared, skb_shared_info::SIZE.get());
        skb_shared_info::dataref.set(head + size, 1u32);
        let alone = skb_shared_info::dataref.get::<u32>(old_shared) & 0xffff == 1;
        if alone {
            // Its parts move.
            skb_shared_info::nr_frags.set(old_shared, 0u8);
            skb_shared_info::frag_list.set(old_shared, 0u64);
        } else {
            hold_parts(head + size);
        }
    }
    drop_head(packet);
    packet.set(&sk_buff::head, head);
    packet.set(&sk_buff::data, head + before + headroom);
    packet.set32(&sk_buff::tail, (before + used) as u32);
    packet.set32(&sk_buff::end, size as u32);
    shift_headers(packet, before as i64);
    // SAFETY: the packet.
    unsafe { sk_buff::cloned.set(packet.0, sk_buff::cloned.get::<u8>(packet.0) & !CLONED) };
    Ok(())
}

/// Takes another reference of every part of a head.
///
/// # Safety
/// `shared` is a `struct skb_shared_info`.
unsafe fn hold_parts(shared: u64) {
    // SAFETY: the caller vouches for it.
    unsafe {
        for number in 0..u64::from(skb_shared_info::nr_frags.get::<u8>(shared)) {
            let at = skb_shared_info::frags.at(shared) + number * fragment::SIZE.get();
            crate::iter::hold(fragment::bv_page.get(at));
        }
        let mut next: u64 = skb_shared_info::frag_list.get(shared);
        while next != 0 {
            let packet = Packet(next);
            packet.set32(&sk_buff::users, packet.get32(&sk_buff::users) + 1);
            next = packet.get(&sk_buff::next);
        }
    }
}

/// The offsets of known headers move with the data.
fn shift_headers(packet: Packet, by: i64) {
    for field in [&sk_buff::mac_header, &sk_buff::network_header, &sk_buff::transport_header] {
        // SAFETY: the packet.
        unsafe {
            let at: u16 = field.get(packet.0);
            if at != u16::MAX {
                field.set(packet.0, (i64::from(at) + by) as u16);
            }
        }
    }
}

/// Makes the first `more` bytes behind the linear part linear as well.
fn pull_tail(packet: Packet, more: u32, caller: u64) -> bool {
    let linear = packet.head_len();
    let Some(bytes) = packet.bytes(linear, more) else { return false };
    let Some(rest) = packet.bytes(linear + more, packet.len() - linear - more) else { return false };
    let room = packet.end() - packet.tail();
    let needed = u64::from(more);
    if (room < needed || packet.is_cloned()) && expand(packet, 0, needed + 128, 0, caller).is_err() {
        return false;
    }
    // What is left behind the linear part becomes one further buffer, or nothing.
    let behind = if rest.is_empty() { 0 } else { allocate(rest.len() as u64, 0, caller) };
    if !rest.is_empty() && behind == 0 {
        return false;
    }
    drop_parts(packet);
    // SAFETY: the head has room for the bytes, the new buffer for the rest.
    unsafe {
        ram::bytes_mut(packet.tail(), bytes.len() as u64).copy_from_slice(&bytes);
        packet.set32(&sk_buff::tail, packet.get32(&sk_buff::tail) + more);
        packet.set32(&sk_buff::len, linear + more + rest.len() as u32);
        packet.set32(&sk_buff::data_len, rest.len() as u32);
        if behind != 0 {
            let at = put(behind, rest.len() as u32, caller);
            ram::bytes_mut(at, rest.len() as u64).copy_from_slice(&rest);
            skb_shared_info::frag_list.set(packet.shared(), behind);
        }
    }
    true
}
extern "C" fn __pskb_pull_tail(at: u64, more: i32) -> u64 {
    if pull_tail(Packet(at), more.max(0) as u32, ram::caller()) { Packet(at).tail() } else { 0 }
}
extern "C" fn pskb_expand_head(at: u64, before: i32, after: i32, flags: u32) -> i32 {
    let caller = ram::caller();
    Errno::returned(expand(Packet(at), before.max(0) as u64, after.max(0) as u64, flags, caller))
}

/// A second packet over the same head.
fn clone(packet: Packet, flags: u32, caller: u64) -> u64 {
    let at = slab::allocate(sk_buff::SIZE.get(), LINE, flags, caller);
    if at == 0 {
        return 0;
    }
    let made = Packet(at);
    // SAFETY: both packets and the head they share.
    unsafe {
        ram::copy(at, packet.0, sk_buff::SIZE.get());
        for field in [&sk_buff::next, &sk_buff::prev, &sk_buff::sk, &sk_buff::destructor] {
            made.set(field, 0);
        }
        made.set32(&sk_buff::users, 1);
        for one in [packet, made] {
            sk_buff::cloned.set(one.0, sk_buff::cloned.get::<u8>(one.0) | CLONED);
        }
        let count: u32 = skb_shared_info::dataref.get(packet.shared());
        skb_shared_info::dataref.set(packet.shared(), count + 1);
    }
    at
}
/// Another packet with the same content; 0 without memory.
pub(crate) fn duplicate(at: u64) -> u64 {
    clone(Packet(at), 0, 0)
}
extern "C" fn skb_clone(at: u64, flags: u32) -> u64 {
    clone(Packet(at), flags, ram::caller())
}

/// A copy with `before` and `after` bytes around the data, all of it linear.
fn copy(packet: Packet, before: u64, after: u64, flags: u32, caller: u64) -> u64 {
    let Some(bytes) = packet.bytes(0, packet.len()) else { return 0 };
    let at = allocate(before + bytes.len() as u64 + after, flags, caller);
    if at == 0 {
        return 0;
    }
    let made = Packet(at);
    let (head, size) = (made.get(&sk_buff::head), made.get32(&sk_buff::end));
    // SAFETY: both packets; what belongs to the head alone is set anew.
    unsafe {
        ram::copy(at, packet.0, sk_buff::SIZE.get());
        for field in [&sk_buff::next, &sk_buff::prev, &sk_buff::sk, &sk_buff::destructor] {
            made.set(field, 0);
        }
        sk_buff::cloned.set(at, 0u8);
        let old = packet.data() - packet.get(&sk_buff::head);
        let headers = [&sk_buff::mac_header, &sk_buff::network_header, &sk_buff::transport_header];
        let known: [u16; 3] = headers.map(|field| field.get(packet.0));
        begin(made, head, size.into());
        for (field, at) in headers.into_iter().zip(known) {
            field.set(made.0, at);
        }
        shift_headers(made, before as i64 - old as i64);
        made.set(&sk_buff::data, head + before);
        made.set32(&sk_buff::tail, before as u32 + bytes.len() as u32);
        made.set32(&sk_buff::len, bytes.len() as u32);
        made.set32(&sk_buff::data_len, 0);
        ram::bytes_mut(head + before, bytes.len() as u64).copy_from_slice(&bytes);
        let (from, to) = (packet.shared(), made.shared());
        skb_shared_info::gso_size.set(to, skb_shared_info::gso_size.get::<u16>(from));
        skb_shared_info::gso_segs.set(to, skb_shared_info::gso_segs.get::<u16>(from));
        skb_shared_info::gso_type.set(to, skb_shared_info::gso_type.get::<u32>(from));
    }
    at
}
fn headroom(packet: Packet) -> u64 {
    packet.data() - packet.get(&sk_buff::head)
}
extern "C" fn skb_copy(at: u64, flags: u32) -> u64 {
    let packet = Packet(at);
    copy(packet, headroom(packet), packet.end() - packet.tail(), flags, ram::caller())
}
extern "C" fn skb_copy_expand(at: u64, before: i32, after: i32, flags: u32) -> u64 {
    copy(Packet(at), before.max(0) as u64, after.max(0) as u64, flags, ram::caller())
}
extern "C" fn __pskb_copy_fclone(at: u64, before: i32, flags: u32) -> u64 {
    copy(Packet(at), before.max(0) as u64, 0, flags, ram::caller())
}
extern "C" fn skb_realloc_headroom(at: u64, before: u32) -> u64 {
    let caller = ram::caller();
    let packet = Packet(at);
    let have = headroom(packet);
    if have >= before.into() { copy(packet, have, 0, 0, caller) } else { copy(packet, before.into(), 0, 0, caller) }
}
extern "C" fn skb_expand_head(at: u64, before: u32) -> u64 {
    let caller = ram::caller();
    let packet = Packet(at);
    let more = u64::from(before).saturating_sub(headroom(packet)).next_multiple_of(LINE);
    if expand(packet, more, 0, 0, caller).is_err() {
        free(at);
        return 0;
    }
    at
}

extern "C" fn skb_copy_bits(at: u64, offset: i32, to: u64, length: i32) -> i32 {
    let bytes = u32::try_from(offset).ok().zip(u32::try_from(length).ok());
    match bytes.and_then(|(offset, length)| Packet(at).bytes(offset, length)) {
        Some(bytes) => {
            // SAFETY: the caller's buffer of `length` bytes.
            unsafe { ram::bytes_mut(to, bytes.len() as u64).copy_from_slice(&bytes) };
            0
        }
        None => Errno::EFAULT.to_return(),
    }
}
extern "C" fn skb_store_bits(at: u64, offset: i32, from: u64, length: i32) -> i32 {
    let wanted = u32::try_from(offset).ok().zip(u32::try_from(length).ok());
    let Some(pieces) = wanted.and_then(|(offset, length)| Packet(at).pieces(offset, length)) else {
        return Errno::EFAULT.to_return();
    };
    let mut source = from;
    for (at, size) in pieces {
        // SAFETY: a piece of the packet and the caller's bytes.
        unsafe { ram::copy(at, source, size.into()) };
        source += u64::from(size);
    }
    0
}
extern "C" fn skb_add_rx_frag(at: u64, number: i32, page: u64, offset: i32, size: i32, truesize: u32) {
    let packet = Packet(at);
    let entry = skb_shared_info::frags.at(packet.shared()) + number as u64 * fragment::SIZE.get();
    // SAFETY: the packet's array of parts.
    unsafe {
        fragment::bv_page.set(entry, page);
        fragment::bv_offset.set(entry, offset);
        fragment::bv_len.set(entry, size);
        skb_shared_info::nr_frags.set(packet.shared(), number as u8 + 1);
    }
    packet.set32(&sk_buff::len, packet.len() + size as u32);
    packet.set32(&sk_buff::data_len, packet.get32(&sk_buff::data_len) + size as u32);
    packet.set32(&sk_buff::truesize, packet.get32(&sk_buff::truesize) + truesize);
}

/// Puts a packet into a queue before `next` (a packet, or the queue itself for its end).
fn enqueue(queue: u64, at: u64, next: u64) {
    // SAFETY: the caller's queue and packet; a queue begins like a packet, with its two pointers.
    unsafe {
        let previous: u64 = sk_buff::prev.get(next);
        sk_buff::next.set(at, next);
        sk_buff::prev.set(at, previous);
        sk_buff::next.set(previous, at);
        sk_buff::prev.set(next, at);
        sk_buff_head::qlen.set(queue, sk_buff_head::qlen.get::<u32>(queue) + 1);
    }
}
fn unlink(queue: u64, at: u64) {
    // SAFETY: the caller's queue and a packet in it.
    unsafe {
        let (next, previous): (u64, u64) = (sk_buff::next.get(at), sk_buff::prev.get(at));
        sk_buff::next.set(at, 0u64);
        sk_buff::prev.set(at, 0u64);
        sk_buff::prev.set(next, previous);
        sk_buff::next.set(previous, next);
        sk_buff_head::qlen.set(queue, sk_buff_head::qlen.get::<u32>(queue) - 1);
    }
}
/// Makes a queue empty.
pub(crate) fn begin_queue(queue: u64) {
    // SAFETY: the caller's queue.
    unsafe {
        sk_buff::next.set(queue, queue);
        sk_buff::prev.set(queue, queue);
        sk_buff_head::qlen.set(queue, 0u32);
        ram::put(sk_buff_head::lock.at(queue), 0u32);
    }
}
/// How many packets are in a queue.
pub(crate) fn waiting(queue: u64) -> u32 {
    // SAFETY: the caller's queue.
    unsafe { sk_buff_head::qlen.get(queue) }
}
/// The first packet of a queue, or 0.
pub(crate) fn first(queue: u64) -> u64 {
    // SAFETY: the caller's queue.
    let first: u64 = unsafe { sk_buff::next.get(queue) };
    if first == queue { 0 } else { first }
}
/// Takes the first packet out of a queue; 0 when there is none.
pub(crate) fn take_first(queue: u64) -> u64 {
    let first = first(queue);
    if first != 0 {
        unlink(queue, first);
    }
    first
}
pub(crate) extern "C" fn skb_queue_tail(queue: u64, at: u64) {
    enqueue(queue, at, queue);
}
pub(crate) extern "C" fn skb_queue_head(queue: u64, at: u64) {
    // SAFETY: the caller's queue.
    enqueue(queue, at, unsafe { sk_buff::next.get(queue) });
}
extern "C" fn skb_dequeue(queue: u64) -> u64 {
    take_first(queue)
}
extern "C" fn skb_dequeue_tail(queue: u64) -> u64 {
    // SAFETY: the caller's queue.
    let last: u64 = unsafe { sk_buff::prev.get(queue) };
    if last == queue || last == 0 {
        return 0;
    }
    unlink(queue, last);
    last
}
extern "C" fn skb_unlink(at: u64, queue: u64) {
    unlink(queue, at);
}
extern "C" fn skb_append(old: u64, at: u64, queue: u64) {
    // SAFETY: a packet in the caller's queue.
    enqueue(queue, at, unsafe { sk_buff::next.get(old) });
}
pub(crate) extern "C" fn skb_queue_purge(queue: u64) {
    loop {
        match take_first(queue) {
            0 => return,
            at => free(at),
        }
    }
}

/// `void skb_clone_tx_timestamp(struct sk_buff *)`, `void skb_tstamp_tx(struct sk_buff *, struct skb_shared_hwtstamps *)`: no clock of a
/// network card is registered, and no program has asked a socket for the times of its packets.
extern "C" fn no_timestamp() {}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __alloc_skb, c __netdev_alloc_skb, c kfree_skb_reason, c kfree_skb = kfree_skb_reason, c __kfree_skb = kfree_skb_reason,
    c sk_skb_reason_drop, c kfree_skb_list_reason, c consume_skb = kfree_skb_reason, c __dev_kfree_skb_any = kfree_skb_reason,
    c __dev_kfree_skb_irq = kfree_skb_reason, c dev_kfree_skb_any_reason = kfree_skb_reason,
    c dev_kfree_skb_irq_reason = kfree_skb_reason, c napi_consume_skb = kfree_skb_reason, k skb_clone_tx_timestamp = no_timestamp, k skb_tstamp_tx = no_timestamp, c skb_put, c skb_push, c skb_pull,
    c skb_pull_data, c skb_pull_rcsum, c skb_trim, c ___pskb_trim, c pskb_trim_rcsum_slow = ___pskb_trim, c __pskb_pull_tail,
    c pskb_expand_head, c skb_clone, c skb_copy, c skb_copy_expand, c __pskb_copy_fclone, c skb_realloc_headroom,
    c skb_expand_head, c skb_copy_bits, c skb_store_bits, c skb_add_rx_frag, c skb_add_rx_frag_netmem = skb_add_rx_frag,
    c skb_queue_tail, c skb_queue_head, c skb_dequeue, c skb_dequeue_tail, c skb_unlink, c skb_append, c skb_queue_purge,
    c skb_queue_purge_reason = skb_queue_purge,
];
