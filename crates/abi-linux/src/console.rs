//! The text console of a PC, at which nobody looks: 80 columns and 25 rows of blanks.

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab};

layout! {
    mod vc = "vc" { d }
    mod vc_data = "vc_data" {
        vc_cols, vc_rows, vc_size_row, vc_screenbuf, vc_screenbuf_size, vc_origin, vc_visible_origin, vc_pos, vc_scr_end, vc_bottom,
        vc_video_erase_char,
    }
}

/// `MAX_NR_CONSOLES`, and room for a `struct vc` of any kernel.
const CONSOLES: u64 = 63;
const ROOM: u64 = 512;

const COLUMNS: u32 = 80;
const ROWS: u32 = 25;
/// A blank in light grey on black.
const BLANK: u16 = 0x0720;

/// The consoles: only the first is there.
static ALL: Datum = Datum::new("vc_cons", CONSOLES * ROOM, Begin::With(begin));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&ALL];

fn begin(at: u64) {
    let bytes = u64::from(COLUMNS * ROWS * 2);
    let made = slab::allocate(vc_data::SIZE.get(), 64, slab::ZERO, 0);
    let screen = slab::allocate(bytes, 64, slab::ZERO, 0);
    if made == 0 || screen == 0 {
        // A kernel without a console, then.
        slab::release(made, 0);
        slab::release(screen, 0);
        return;
    }
    // SAFETY: zeroed blocks of these sizes.
    unsafe {
        for cell in 0..u64::from(COLUMNS * ROWS) {
            ram::put(screen + cell * 2, BLANK);
        }
        vc_data::vc_cols.set(made, COLUMNS);
        vc_data::vc_rows.set(made, ROWS);
        vc_data::vc_bottom.set(made, ROWS);
        vc_data::vc_size_row.set(made, COLUMNS * 2);
        vc_data::vc_screenbuf.set(made, screen);
        vc_data::vc_screenbuf_size.set(made, bytes as u32);
        vc_data::vc_origin.set(made, screen);
        vc_data::vc_visible_origin.set(made, screen);
        vc_data::vc_pos.set(made, screen);
        vc_data::vc_scr_end.set(made, screen + bytes);
        vc_data::vc_video_erase_char.set(made, BLANK);
        vc::d.set(at, made);
    }
}

/// `u16 *screen_pos(const struct vc_data *, int offset, bool viewed)`
extern "C" fn screen_pos(console: u64, offset: i32) -> u64 {
    // SAFETY: the caller's console.
    unsafe { vc_data::vc_origin.get::<u64>(console).wrapping_add_signed(i64::from(offset)) }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c screen_pos];
