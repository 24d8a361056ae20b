//! A root is never left: against the kernel's own walk with `RESOLVE_IN_ROOT`.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use ferrmod_config::Root;
use ferrmod_tests::corpus;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

/// What is at the path: its device and number.
fn identity(file: Result<OwnedFd, Errno>) -> Result<(u64, u64), Errno> {
    let facts = fstat(file?)?;
    Ok((facts.st_dev, facts.st_ino))
}

/// A path of few names, so that many of them are there.
fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![6 => "[abc]", 2 => Just("..".to_owned()), 1 => Just(".".to_owned())];
    (prop_oneof![Just(""), Just("/"), Just("//")], proptest::collection::vec(part, 0..5))
        .prop_map(|(front, parts)| format!("{front}{}", parts.join("/")))
}

#[derive(Debug, Clone)]
enum Made {
    Folder,
    File,
    Link(String),
}

#[test]
fn walks_as_the_kernel_does() {
    let base = std::env::temp_dir().join(format!("ferrmod-root-{}", std::process::id()));
    let made = prop_oneof![3 => Just(Made::Folder), 2 => Just(Made::File), 4 => path().prop_map(Made::Link)];
    let trees =
        (proptest::collection::vec((path(), made), 0..12), proptest::collection::vec(path(), 1..6), any::<bool>());
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&trees, |(made, paths, write)| {
        let _ = fs::remove_dir_all(&base);
        // What is outside must not be found: `a`, `b` and `c` are there too.
        let top = base.join("top");
        for folder in [&top, &base.join("a/b"), &base.join("b")] {
            fs::create_dir_all(folder).expect("a folder");
        }
        fs::write(base.join("c"), b"outside").expect("a file");
        let root = Root::new(&top).expect("a root");
        for (path, what) in made {
            // Whatever cannot be made is not made; `..` would write outside.
            let inside: PathBuf =
                Path::new(&path).components().filter(|part| matches!(part, std::path::Component::Normal(_))).collect();
            let place = top.join(inside);
            let outside = place
                .parent()
                .and_then(|parent| parent.canonicalize().ok())
                .is_none_or(|parent| !parent.starts_with(&top));
            if outside || place.symlink_metadata().is_ok() {
                continue;
            }
            let _ = match what {
                Made::Folder => fs::create_dir(&place),
                Made::File => fs::write(&place, path),
                Made::Link(target) => symlink(target, &place),
            };
        }
        let folder = open(&top, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("the root");
        let flags = if write { OFlags::RDONLY } else { OFlags::PATH } | OFlags::CLOEXEC;
        for path in paths {
            let kernel =
                openat2(&folder, &*path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS);
            if kernel.as_ref().err() == Some(&Errno::NOSYS) || kernel.as_ref().err() == Some(&Errno::PERM) {
                return Err(TestCaseError::reject("no openat2"));
            }
            let ours = root.open_with(Path::new(&path), flags, Mode::empty());
            prop_assert_eq!(identity(ours), identity(kernel), "{}", path);
            prop_assert!(root.outside(Path::new(&path)).starts_with(&top));
        }
        Ok(())
    });
    let able = !matches!(result, Err(proptest::test_runner::TestError::Abort(_)));
    let _ = fs::remove_dir_all(&base);
    if able {
        result.unwrap_or_else(|error| panic!("{error}"));
    } else {
        corpus::skip("openat2(2)", "run on Linux 5.6 or newer");
    }
}

#[test]
fn links_and_dots_stay_inside() {
    let base = std::env::temp_dir().join(format!("ferrmod-root-inside-{}", std::process::id()));
    let top = base.join("top");
    fs::create_dir_all(top.join("etc/modprobe.d")).expect("folders");
    fs::write(base.join("secret"), b"outside").expect("a file");
    fs::write(top.join("secret"), b"inside").expect("a file");
    for (link, target) in
        [("up", "../secret"), ("absolute", "/secret"), ("far", "../../../../../../secret"), ("loop", "loop")]
    {
        symlink(target, top.join("etc").join(link)).expect("a link");
    }
    let root = Root::new(&top).expect("a root");
    for path in ["/etc/up", "etc/absolute", "/etc/far", "/../secret", "etc/../../../secret", "/etc/modprobe.d/../up"] {
        assert_eq!(root.read(Path::new(path)).expect(path), b"inside", "{path}");
    }
    let looped = root.read(Path::new("/etc/loop")).expect_err("a loop");
    assert_eq!(Errno::from_io_error(&looped), Some(Errno::LOOP));
    assert_eq!(
        root.metadata(Path::new("/etc/far")).expect("a file").ino(),
        top.join("secret").metadata().expect("a file").ino()
    );
    assert_eq!(root.outside(Path::new("/etc/x")), top.join("etc/x"));
    let mut names: Vec<_> =
        root.entries(Path::new("/etc/.")).expect("a folder").into_iter().map(|entry| entry.name).collect();
    names.sort();
    assert_eq!(names, ["absolute", "far", "loop", "modprobe.d", "up"]);
    assert!(Root::new(Path::new("//")).expect("the host's").is_host());
    fs::remove_dir_all(base).expect("removed");
}
