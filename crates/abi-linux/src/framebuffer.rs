//! Frame buffers as their drivers take and give them back. None can be registered: nothing here would draw on it.

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, ram, slab};

layout! {
    mod fb_info = "fb_info" { par, device, bl_curve_mutex, apertures }
}

/// `struct fb_info *framebuffer_alloc(size_t, struct device *)`: with so many bytes of the driver's own behind it; null without
/// memory.
extern "C" fn framebuffer_alloc(size: u64, dev: u64) -> u64 {
    let caller = ram::caller();
    let own = fb_info::SIZE.get().next_multiple_of(8);
    let made = own.checked_add(size).map_or(0, |size| slab::kmalloc(size, slab::ZERO, caller));
    if made != 0 {
        // SAFETY: a zeroed block of the struct's size and the driver's.
        unsafe {
            if size != 0 {
                fb_info::par.set(made, made + own);
            }
            fb_info::device.set(made, dev);
            if fb_info::bl_curve_mutex.offset().is_some() {
                locks::begin_mutex(fb_info::bl_curve_mutex.at(made));
            }
        }
    }
    made
}
/// `void framebuffer_release(struct fb_info *)`
extern "C" fn framebuffer_release(info: u64) {
    let caller = ram::caller();
    if info == 0 {
        return;
    }
    // SAFETY: what `framebuffer_alloc` gave; up to 6.2 it may have a list of ranges, which is released with it.
    unsafe {
        if fb_info::apertures.offset().is_some() {
            slab::release(fb_info::apertures.get(info), caller);
        }
    }
    slab::release(info, caller);
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c framebuffer_alloc, c framebuffer_release];
