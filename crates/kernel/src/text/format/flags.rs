//! `%pG`: flags by name. The bits are those of Linux 6.1 on x86-64.

use super::super::ctype::at;
use super::super::memory;
use super::pointer::complaint;
use super::{Formatter, Spec};

impl Formatter<'_> {
    pub(super) fn flags(&mut self, letters: &[u8], address: u64, spec: Spec) {
        if let Some(complaint) = complaint(address) {
            return self.failure(complaint, spec);
        }
        let long = || memory::word(self.environment, address);
        let read = match at(letters, 1) {
            b'p' => long().map(|flags| (flags, None)),
            b'v' => long().map(|flags| (flags, Some(AREA))),
            // gfp_t is 32 bits wide.
            b'g' => memory::array(self.environment, address)
                .map(|bytes| (u64::from(u32::from_le_bytes(bytes)), Some(ALLOCATION))),
            _ => return self.failure("(%pG?)", spec),
        };
        match read {
            Ok((flags, Some(names))) => self.flag_names(flags, names),
            Ok((flags, None)) => self.page_flags(flags),
            Err(_) => self.failure("(efault)", spec),
        }
    }

    fn flag_names(&mut self, mut flags: u64, names: &[(u64, &str)]) {
        for (mask, name) in names {
            if flags == 0 {
                return;
            }
            if flags & mask == *mask {
                self.out.put(name.as_bytes());
                flags &= !mask;
                if flags != 0 {
                    self.out.put(b"|");
                }
            }
        }
        if flags != 0 {
            self.number(flags, Spec::FLAGS);
        }
    }

    fn page_flags(&mut self, flags: u64) {
        self.number(flags, Spec::FLAGS);
        self.out.put(b"(");
        let mut separate = flags & PAGE_MASK != 0;
        self.flag_names(flags & PAGE_MASK, PAGE);
        for (name, shift, width, spec) in PAGE_FIELDS {
            if separate {
                self.out.put(b"|");
            }
            separate = true;
            self.out.put(name.as_bytes());
            self.number(flags >> shift & ((1 << width) - 1), spec);
        }
        self.out.put(b")");
    }
}

/// The bits of `page->flags` that are flags.
const PAGE_MASK: u64 = 0x1ff_ffff;

/// The other bits: name, shift, width.
const PAGE_FIELDS: [(&str, u32, u32, Spec); 3] =
    [("node=", 54, 10, Spec::DEFAULT), ("zone=", 51, 3, Spec::DEFAULT), ("lastcpupid=", 30, 21, Spec::FLAGS)];

/// Page flags (`PG_*`).
const PAGE: &[(u64, &str)] = &[
    (0x1, "locked"),
    (0x80, "waiters"),
    (0x100, "error"),
    (0x2, "referenced"),
    (0x4, "uptodate"),
    (0x8, "dirty"),
    (0x10, "lru"),
    (0x20, "active"),
    (0x40, "workingset"),
    (0x200, "slab"),
    (0x400, "owner_priv_1"),
    (0x800, "arch_1"),
    (0x1000, "reserved"),
    (0x2000, "private"),
    (0x4000, "private_2"),
    (0x8000, "writeback"),
    (0x10000, "head"),
    (0x20000, "mappedtodisk"),
    (0x40000, "reclaim"),
    (0x80000, "swapbacked"),
    (0x100000, "unevictable"),
    (0x200000, "mlocked"),
    (0x400000, "uncached"),
    (0x800000, "hwpoison"),
    (0x1000000, "arch_2"),
];

/// Flags of a memory area (`VM_*`).
const AREA: &[(u64, &str)] = &[
    (0x1, "read"),
    (0x2, "write"),
    (0x4, "exec"),
    (0x8, "shared"),
    (0x10, "mayread"),
    (0x20, "maywrite"),
    (0x40, "mayexec"),
    (0x80, "mayshare"),
    (0x100, "growsdown"),
    (0x200, "uffd_missing"),
    (0x2000000000, "uffd_minor"),
    (0x400, "pfnmap"),
    (0x1000, "uffd_wp"),
    (0x2000, "locked"),
    (0x4000, "io"),
    (0x8000, "seqread"),
    (0x10000, "randread"),
    (0x20000, "dontcopy"),
    (0x40000, "dontexpand"),
    (0x80000, "lockonfault"),
    (0x100000, "account"),
    (0x200000, "noreserve"),
    (0x400000, "hugetlb"),
    (0x800000, "sync"),
    (0x1000000, "pat"),
    (0x2000000, "wipeonfork"),
    (0x4000000, "dontdump"),
    (0x8000000, "softdirty"),
    (0x10000000, "mixedmap"),
    (0x20000000, "hugepage"),
    (0x40000000, "nohugepage"),
    (0x80000000, "mergeable"),
];

/// Allocation flags (`gfp_t`), the combinations first.
const ALLOCATION: &[(u64, &str)] = &[
    (0x1c24ca, "GFP_TRANSHUGE"),
    (0x1c20ca, "GFP_TRANSHUGE_LIGHT"),
    (0x100cca, "GFP_HIGHUSER_MOVABLE"),
    (0x100cc2, "GFP_HIGHUSER"),
    (0x100cc0, "GFP_USER"),
    (0x400cc0, "GFP_KERNEL_ACCOUNT"),
    (0xcc0, "GFP_KERNEL"),
    (0xc40, "GFP_NOFS"),
    (0xa20, "GFP_ATOMIC"),
    (0xc00, "GFP_NOIO"),
    (0x800, "GFP_NOWAIT"),
    (0x1, "GFP_DMA"),
    (0x2, "__GFP_HIGHMEM"),
    (0x4, "GFP_DMA32"),
    (0x20, "__GFP_HIGH"),
    (0x200, "__GFP_ATOMIC"),
    (0x40, "__GFP_IO"),
    (0x80, "__GFP_FS"),
    (0x2000, "__GFP_NOWARN"),
    (0x4000, "__GFP_RETRY_MAYFAIL"),
    (0x8000, "__GFP_NOFAIL"),
    (0x10000, "__GFP_NORETRY"),
    (0x40000, "__GFP_COMP"),
    (0x100, "__GFP_ZERO"),
    (0x80000, "__GFP_NOMEMALLOC"),
    (0x20000, "__GFP_MEMALLOC"),
    (0x100000, "__GFP_HARDWALL"),
    (0x200000, "__GFP_THISNODE"),
    (0x10, "__GFP_RECLAIMABLE"),
    (0x8, "__GFP_MOVABLE"),
    (0x400000, "__GFP_ACCOUNT"),
    (0x1000, "__GFP_WRITE"),
    (0xc00, "__GFP_RECLAIM"),
    (0x400, "__GFP_DIRECT_RECLAIM"),
    (0x800, "__GFP_KSWAPD_RECLAIM"),
    (0x800000, "__GFP_ZEROTAGS"),
];
