//! Links a whole tree of modules again and again, and prints how long one takes; the same for the crate `kmod-loader`.
//!
//! ```text
//! cargo run --release -p ferrmod-linker --example link_tree [TREE [ROUNDS]]
//! ```
//!
//! Both get the files in memory, the same kernel exports at the same addresses, and memory that was touched before; each
//! time is that of one module from its bytes to relocated sections.

#[path = "../tests/world/mod.rs"]
mod world;

use std::ffi::CString;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bstr::BStr;
use ferrmod_image::Image;
use ferrmod_image::kernel::KernelImage;
use ferrmod_linker::{Layout, PartBuffers, Taints, Terms, link};
use world::{Where, World};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let version = arguments.next().unwrap_or_else(|| "6.1".to_owned());
    let rounds: usize = arguments.next().map_or(3, |rounds| rounds.parse().expect("a number of rounds"));
    let Some(tree) = ferrmod_tests::corpus::tree_or_skip(&version) else {
        return;
    };
    let kernel_file = std::fs::read(&tree.vmlinuz).expect("a readable kernel");
    let kernel = KernelImage::read(&kernel_file).expect("a kernel image");
    let files: Vec<Vec<u8>> = tree.files().iter().map(|path| world::read(path)).collect();
    let mut world = World::at(Where::Low.functions());
    world.add_kernel(&kernel);
    for file in &files {
        world.add_module(&Image::read(file).expect("a sound module"));
    }
    drop(kernel);

    let mut times = Vec::new();
    let mut stages = [0u64; 3];
    let mut buffers = PartBuffers::new();
    for round in 0..=rounds {
        times.clear();
        stages = [0; 3];
        for file in &files {
            let start = Instant::now();
            let image = Image::read(file).expect("a sound module");
            let read = start.elapsed();
            let layout = Layout::of(&image).expect("a layout");
            let place = Where::Low.place(&layout);
            let laid_out = start.elapsed();
            // What a kernel does not do: it does not have this module's exports yet.
            world.begin(&image);
            let ready = start.elapsed();
            let mut parts = buffers.parts(&layout);
            let terms = Terms::new(&image, Taints::NONE);
            let linked = link(&image, &layout, &place, &mut world, &terms, &mut parts).expect("a linked module");
            let linking = start.elapsed() - ready;
            let time = laid_out + linking;
            std::hint::black_box(&linked);
            drop((linked, layout, image));
            times.push(time.as_nanos() as u64);
            for (stage, time) in stages.iter_mut().zip([read, laid_out - read, linking]) {
                *stage += time.as_nanos() as u64;
            }
        }
        // The first round warms memory and caches.
        if round > 0 {
            print("ferrmod", &mut times.clone());
        }
    }
    let count = files.len() as u64;
    println!(
        "        of it: read {} ns, layout {} ns, link {} ns (means)",
        stages[0] / count,
        stages[1] / count,
        stages[2] / count
    );

    peer(&files, &world, rounds);
}

fn print(who: &str, times: &mut [u64]) {
    times.sort_unstable();
    let mean = times.iter().sum::<u64>() / times.len() as u64;
    let at = |permille: usize| times[(times.len() * permille / 1000).min(times.len() - 1)];
    println!(
        "{who}: {} modules, mean {:.1} us, median {:.1} us, p99 {:.1} us, max {:.1} us",
        times.len(),
        mean as f64 / 1e3,
        at(500) as f64 / 1e3,
        at(990) as f64 / 1e3,
        at(1000) as f64 / 1e3
    );
}

/// What `kmod-loader` asks for symbols: the same table.
static WORLD: OnceLock<World> = OnceLock::new();
/// Its memory: a region in the low 2 GiB that is used from the start for every module.
static REGION: OnceLock<usize> = OnceLock::new();
static NEXT: AtomicUsize = AtomicUsize::new(0);
const REGION_SIZE: usize = 64 << 20;

struct Memory(*mut u8);

// SAFETY: the pointer is to memory that lives as long as the process, and one thread uses it.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl kmod_loader::SectionMemOps for Memory {
    fn as_ptr(&self) -> *const u8 {
        self.0
    }
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0
    }
    fn change_perms(&mut self, _: kmod_loader::SectionPerm) -> bool {
        true
    }
}

struct Helper;

impl kmod_loader::KernelModuleHelper for Helper {
    fn vmalloc(size: usize) -> Box<dyn kmod_loader::SectionMemOps> {
        let offset = NEXT.fetch_add(size.next_multiple_of(4096), Ordering::Relaxed);
        assert!(offset + size <= REGION_SIZE);
        Box::new(Memory((REGION.get().expect("the region") + offset) as *mut u8))
    }
    fn resolve_symbol(name: &str) -> Option<usize> {
        let export = WORLD.get()?.exports.get(BStr::new(name.as_bytes()))?;
        Some(export.value as usize)
    }
}

fn peer(files: &[Vec<u8>], world: &World, rounds: usize) {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE;
    // SAFETY: FIXED_NOREPLACE maps nothing over what exists.
    let region =
        unsafe { mmap_anonymous(0x1000_0000 as *mut _, REGION_SIZE, ProtFlags::READ | ProtFlags::WRITE, flags) };
    REGION.set(region.expect("a region in the low 2 GiB") as usize).expect("set once");
    WORLD.set(world.clone()).expect("set once");
    let mut failed = 0;
    for round in 0..=rounds {
        let mut times = Vec::new();
        failed = 0;
        for file in files {
            let start = Instant::now();
            NEXT.store(0, Ordering::Relaxed);
            let owner = kmod_loader::ModuleLoader::<Helper>::new(file)
                .and_then(|loader| loader.load_module(CString::default()));
            let time = start.elapsed();
            match owner {
                Ok(owner) => drop(std::hint::black_box(owner)),
                Err(_) => failed += 1,
            }
            times.push(time.as_nanos() as u64);
        }
        if round > 0 {
            print("kmod-loader", &mut times);
        }
    }
    println!("        {failed} refused");
}
