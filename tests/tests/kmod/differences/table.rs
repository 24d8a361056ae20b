//! The list.

use std::path::Path;

use bstr::ByteSlice;

use super::Difference;
use super::level::{
    broken_modules, damaged_indexes, decompressors_words, depmod, doubled_slashes, dropped_options, empty_names,
    external_folders, internals_in_the_log, modinfo_of_broken, no_crash, own_words, paths_in_messages, quiet_is_quiet,
    temporary_files_left, without_lines,
};
use crate::case::{Case, Edit, Ended, Outcome};
use crate::made::{self, RELEASE};

/// Every deliberate difference.
pub(crate) const TABLE: &[Difference] = &[
    Difference {
        id: "own-words",
        title: "The text of `--help` and `--version`",
        kmod: "prints its own usage texts and `kmod version 34.2` with the libraries it was built with.",
        ours: "prints the help that is made from its own table of options, on the same stream, with the same exit status.",
        reason: "our options are a superset of kmod's, and the texts are made from the same table as the man pages.",
        level: own_words,
        witnesses: |_| {
            ["modprobe", "modinfo", "depmod", "lsmod", "insmod", "rmmod", "kmod"]
                .iter()
                .flat_map(|applet| [Case::new(applet, &["--help"]), Case::new(applet, &["-V"])])
                .collect()
        },
    },
    Difference {
        id: "internals-in-the-log",
        title: "Messages about libkmod's own life",
        kmod: "with `-vv` or `KMOD_LOG` it logs at INFO and DEBUG which contexts, with which addresses, it makes and frees.",
        ours: "has no such contexts; what it logs at these levels are its own decisions.",
        reason: "addresses differ from run to run, and nobody can depend on them.",
        level: internals_in_the_log,
        witnesses: |world| {
            let root = world.made_root();
            vec![Case::new("modprobe", &["-vv", "-n", "-d", &root, "-S", RELEASE, "alpha"])]
        },
    },
    Difference {
        id: "temporary-files-left",
        title: "Temporary files after a fatal error of depmod",
        kmod: "leaves `modules.alias.bin.PID.USEC.SEC` beside the index when it ends in the middle of writing.",
        ours: "removes what it could not finish.",
        reason: "nobody else would.",
        level: temporary_files_left,
        witnesses: |world| {
            let root = world.made_root();
            let mut case = Case::new("depmod", &["-b", &root, RELEASE]);
            case.writes = true;
            case.edits.push(Edit::Write(world.made().join("modules.builtin"), b"kernel/caf\xe9.ko\n".to_vec()));
            vec![case]
        },
    },
    Difference {
        id: "no-crash",
        title: "Inputs that kmod crashes on or never finishes with",
        kmod: "aborts, runs into a segmentation fault or into an endless loop: names of sections or CRCs that lie outside of the file, \
            nodes of an index that point at themselves, rings of modules in which each needs each.",
        ours: "says what is wrong with which file, goes on with the rest where there is one, and ends with status 1.",
        reason: "one broken file must not stop the tools that a machine boots with.",
        level: no_crash,
        witnesses: |world| {
            modinfo_of_broken(world, |path| {
                ["kernel/e/nonames.ko", "kernel/e/farnames.ko", "kernel/e/nosections.ko"].contains(&path)
            })
        },
    },
    Difference {
        id: "decompressors-words",
        title: "What the decompressor said",
        kmod: "prints the words of the library that unpacks a module (`libkmod: ERROR: kmod_file_load_zstd: zstd: Src size is \
            incorrect`) before its own message.",
        ours: "prints one message.",
        reason: "our decompressors are others, and have words of their own.",
        level: decompressors_words,
        witnesses: |world| modinfo_of_broken(world, |path| path.starts_with("kernel/e/bad") && path.contains(".ko.")),
    },
    Difference {
        id: "remembered-facts",
        title: "A file more in the folder of the index",
        kmod: "reads every module in every run.",
        ours: "leaves `modules.ferrmod` beside the index: what it learned from every file, by which the next run knows what has changed.",
        reason: "a tree in which one module changed costs one module. The file is never trusted over the modules and can be deleted.",
        level: |_, _, ours| ours.files.retain(|path, _| !path.ends_with("modules.ferrmod")),
        witnesses: |world| vec![depmod(world, &[])],
    },
    Difference {
        id: "broken-modules",
        title: "The exit status of depmod when a module is broken",
        kmod: "reports the module, leaves it out of some files and not of others, and ends with status 0.",
        ours: "reports it, indexes the rest, and ends with status 1.",
        reason: "a package manager or a build must be able to notice that its index is not of the whole tree.",
        level: broken_modules,
        witnesses: |world| {
            ["kernel/e/empty.ko", "kernel/e/notelf.ko", "kernel/e/half.ko"]
                .iter()
                .filter_map(|wanted| {
                    let (path, content) = made::broken_files().into_iter().find(|(path, _)| path == wanted)?;
                    Some(depmod(world, &[Edit::Write(world.made().join(path), content)]))
                })
                .collect()
        },
    },
    Difference {
        id: "ring-of-links",
        title: "A link to a folder above it",
        kmod: "follows it again and again until no file descriptor is left, and then fails.",
        ours: "notices that it has been in that folder, and goes on.",
        reason: "such a link says nothing about modules.",
        level: |case, kmod, ours| {
            let above = |edit: &Edit| matches!(edit, Edit::Link(_, target) if target == Path::new(".."));
            if case.edits.iter().any(above) && ours.ended == Ended::Exit(0) {
                *kmod = ours.clone();
            }
        },
        witnesses: |world| vec![depmod(world, &[Edit::Link(world.made().join("kernel/links/up"), "..".into())])],
    },
    Difference {
        id: "paths-in-messages",
        title: "Messages about what cannot be looked at",
        kmod: "`fstatat(5, loop.ko): Too many levels of symbolic links`: the number of a file descriptor.",
        ours: "the path.",
        reason: "nobody knows what descriptor 5 was.",
        level: paths_in_messages,
        witnesses: |world| {
            vec![depmod(world, &[Edit::Link(world.made().join("kernel/s/broken.ko"), "nowhere".into())])]
        },
    },
    Difference {
        id: "doubled-slashes",
        title: "Doubled slashes, and dots between slashes",
        kmod: "writes `//lib/modules/...` when the root is `/`, and keeps what `-b` and `-m` have of `/./`, `//` and a slash at the \
            end; with such a slash it does not notice that a FILE is in the tree, and indexes it with its whole path.",
        ours: "writes one slash, and indexes a FILE that is in the tree as what it is.",
        reason: "it is the same path.",
        level: doubled_slashes,
        witnesses: |world| {
            let root = world.made_root();
            let file = world.made().join("kernel/a/alpha.ko").display().to_string();
            let mut slash = Case::new("depmod", &["-b", &root, "-m", "/lib/modules/", RELEASE, &file]);
            slash.writes = true;
            vec![
                Case::new("depmod", &["-n", "-b", "/", "9.9.9"]),
                Case::new("depmod", &["-n", "-b", "/srv/./nowhere", "9.9.9"]),
                slash,
            ]
        },
    },
    Difference {
        id: "files-without-a-tree",
        title: "depmod of FILEs where VERSION has no tree",
        kmod: "indexes the FILEs all the same, and makes the folder.",
        ours: "says that there is no such tree, as it does without FILEs, and ends with status 1.",
        reason: "such an index says nothing that is of use to modprobe; VERSION is wrong.",
        level: |case, kmod, ours| {
            let said = b"depmod: FATAL: could not search modules: No such file or directory";
            let says = |outcome: &Outcome| outcome.stderr.windows(said.len()).any(|window| window == said);
            let files = case.arguments.iter().any(|argument| argument.starts_with(b"/") && argument.ends_with(b".ko"));
            if case.applet() == "depmod" && files && says(ours) && !says(kmod) {
                *kmod = ours.clone();
            }
        },
        witnesses: |world| {
            let file = world.made().join("kernel/a/alpha.ko").display().to_string();
            let mut case = Case::new("depmod", &["-b", &world.made_root(), "9.9.9", &file]);
            case.writes = true;
            vec![case]
        },
    },
    Difference {
        id: "out-of-the-root",
        title: "Links that lead out of the tree's root",
        kmod: "follows them into the machine that depmod runs on.",
        ours: "resolves them inside of the root that `-b` names, and reports them when nothing is there.",
        reason: "the index of an image must not depend on the machine that makes it.",
        level: |case, kmod, ours| {
            let outside = |edit: &Edit| matches!(edit, Edit::Link(_, target) if target.is_absolute());
            if case.applet() == "depmod" && case.edits.iter().any(outside) {
                for outcome in [kmod, ours] {
                    outcome.stderr = without_lines(
                        &outcome.stderr,
                        &[b"unsupported file type", b"outside):", b"fstatat(outside", b"null.ko):"],
                    );
                }
            }
        },
        witnesses: |world| vec![depmod(world, &[Edit::Link(world.made().join("kernel/s/outside"), "/etc".into())])],
    },
    Difference {
        id: "not-ascii",
        title: "Names that are not ASCII in an index",
        kmod: "ends in the middle: the files before are new, the one it was writing is a temporary file, those after are old.",
        ours: "reports the name, leaves it out, writes everything else, and ends with status 1.",
        reason: "the format holds only 7 bits, but one name must not cost the index of a whole tree.",
        level: |_, kmod, ours| {
            let said = b"only 7-bit ASCII is supported";
            if kmod.stderr.windows(said.len()).any(|window| window == said) && ours.ended == Ended::Exit(1) {
                *kmod = ours.clone();
            }
        },
        witnesses: |world| {
            let file = world.made().join("modules.builtin");
            vec![depmod(world, &[Edit::Write(file, b"kernel/caf\xe9.ko\nkernel/good.ko\n".to_vec())])]
        },
    },
    Difference {
        id: "quiet-is-quiet",
        title: "Errors of the configuration with `-q` and `-s`",
        kmod: "prints them on standard error, whatever `-q` and `-s` say.",
        ours: "obeys `-q` and `-s` for them as for every other message.",
        reason: "initramfs scripts and services ask for silence and get it.",
        level: quiet_is_quiet,
        witnesses: |world| {
            let root = world.made_root();
            let mut case = Case::new("modprobe", &["-d", &root, "-S", RELEASE, "-q", "-n", "alpha"]);
            case.edits.push(Edit::Write("/etc/modprobe.d/a.conf".into(), b"nonsense\n".to_vec()));
            vec![case]
        },
    },
    Difference {
        id: "damaged-indexes",
        title: "Damaged indexes",
        kmod: "believes them: prints what the bytes happen to say, loops, or runs into a segmentation fault.",
        ours: "names the file and the place, says `run depmod`, and uses the indexes that are whole.",
        reason: "a truncated file must not load another module than the one that was asked for.",
        level: damaged_indexes,
        witnesses: |world| {
            let root = world.made_root();
            let mut case = Case::new("modprobe", &["-d", &root, "-S", RELEASE, "-D", "alpha"]);
            case.edits.push(Edit::Truncate(world.made().join("modules.dep.bin"), 19));
            vec![case]
        },
    },
    Difference {
        id: "empty-names",
        title: "Modules without a name",
        kmod: "takes two spaces, or the end of a quote, in MODPROBE_OPTIONS for a module with an empty name; `modprobe -r -n -v ''` \
            would remove it.",
        ours: "passes over the former, and prints nothing about the latter.",
        reason: "there is no such module; in the first case kmod takes what it was asked for as its parameters.",
        level: empty_names,
        witnesses: |world| {
            let root = world.made_root();
            let mut spaces = Case::new("modprobe", &["-d", &root, "-S", RELEASE, "-D", "alpha"]);
            spaces.environment.push(("MODPROBE_OPTIONS", b" ".to_vec()));
            vec![spaces, Case::new("modprobe", &["-d", &root, "-S", RELEASE, "-r", "-n", "-v", ""])]
        },
    },
    Difference {
        id: "blacklist-with-dashes",
        title: "`modprobe.blacklist=foo-bar` on the kernel's command line",
        kmod: "stores the name with its dash, where it never matches: the module is loaded.",
        ours: "treats `-` and `_` alike there as everywhere.",
        reason: "someone who blacklists a module at boot must be able to rely on it.",
        level: |_, kmod, ours| {
            let dashes = |outcome: &mut Outcome| {
                let mut lines: Vec<Vec<u8>> =
                    outcome.stdout.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                for line in lines.iter_mut().filter(|line| line.starts_with(b"blacklist ")) {
                    line.iter_mut().filter(|byte| **byte == b'-').for_each(|byte| *byte = b'_');
                }
                outcome.stdout = lines.concat();
            };
            dashes(kmod);
            dashes(ours);
        },
        witnesses: |world| {
            let root = world.made_root();
            let mut case = Case::new("modprobe", &["-d", &root, "-S", RELEASE, "-c"]);
            case.edits.push(Edit::Write("/proc/cmdline".into(), b"modprobe.blacklist=foo-bar\n".to_vec()));
            vec![case]
        },
    },
    Difference {
        id: "command-line-quotes",
        title: "An unclosed quote on the kernel's command line, and a long line",
        kmod: "drops everything from the quote on, and everything after 4095 bytes.",
        ours: "takes what follows the quote for the value, as the kernel itself does, and reads the whole line.",
        reason: "what the kernel gives to a module that is built in, modprobe gives to one that is not.",
        level: |case, kmod, ours| {
            let odd = |edit: &Edit| match edit {
                Edit::Write(path, text) if path == Path::new("/proc/cmdline") => {
                    text.len() > 4095 || text.iter().filter(|byte| **byte == b'"').count() % 2 == 1
                }
                _ => false,
            };
            if case.edits.iter().any(odd) && kmod.ended == ours.ended {
                kmod.stdout.clone_from(&ours.stdout);
            }
        },
        witnesses: |world| {
            let root = world.made_root();
            [b"delta.z=\"open quiet\n".to_vec(), [b"x".repeat(5000).as_slice(), b" delta.late=1\n"].concat()]
                .into_iter()
                .map(|line| {
                    let mut case = Case::new("modprobe", &["-d", &root, "-S", RELEASE, "-D", "delta"]);
                    case.edits.push(Edit::Write("/proc/cmdline".into(), line));
                    case
                })
                .collect()
        },
    },
    Difference {
        id: "order-of-output",
        title: "The order of our own lines and of what commands print",
        kmod: "prints `install echo hello` after what the command printed, when standard output is a file or a pipe.",
        ours: "prints it before it runs the command.",
        reason: "a log should be in the order of events.",
        level: |_, kmod, ours| {
            let sorted = |outcome: &Outcome| {
                let mut lines: Vec<Vec<u8>> =
                    outcome.stdout.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                lines.sort();
                lines
            };
            let commands = ours
                .stdout
                .split(|byte| *byte == b'\n')
                .any(|line| line.starts_with(b"install ") || line.starts_with(b"remove "));
            if commands && sorted(kmod) == sorted(ours) {
                kmod.stdout.clone_from(&ours.stdout);
            }
        },
        witnesses: |world| {
            let root = world.made_root();
            let mut case = Case::new("modprobe", &["-d", &root, "-S", RELEASE, "-v", "virtual"]);
            case.edits.push(Edit::Write("/etc/modprobe.d/a.conf".into(), b"install virtual echo hello\n".to_vec()));
            vec![case]
        },
    },
    Difference {
        id: "why-no-folder",
        title: "Why `kmod static-nodes -o` could not make a folder",
        kmod: "says `Success` when a file stands where a folder is to be made.",
        ours: "says `File exists`.",
        reason: "it was no success.",
        level: |_, kmod, ours| {
            let replaced = |outcome: &Outcome| {
                let text = String::from_utf8_lossy(&outcome.stderr).into_owned();
                text.replace(" - Success.", " - File exists.").into_bytes()
            };
            if ours.stderr.starts_with(b"Error: could not create parent directory") {
                kmod.stderr = replaced(kmod);
            }
        },
        witnesses: |world| {
            let file = world.stage.join("work/alpha/nodes").display().to_string();
            let mut case = Case::new("kmod", &["static-nodes", "-o", &file]);
            case.writes = true;
            vec![case]
        },
    },
    Difference {
        id: "external-folders",
        title: "Folders outside of the tree (`external` in depmod.d)",
        kmod: "takes them from the machine that depmod runs on, whatever `-b` says, and complains about every one that is missing, \
            even where no `search` names `external`.",
        ours: "looks them up in the root that `-b` names.",
        reason: "the index of an image must not depend on the machine that makes it.",
        level: external_folders,
        witnesses: |world| {
            let outside = world.stage.join("work/outside");
            let text = format!("external * {}\nsearch external built-in\n", outside.display()).into_bytes();
            vec![depmod(
                world,
                &[
                    Edit::Write(outside.join("out.ko"), made::plain(&[], &["dup_fn"])),
                    Edit::Write("/etc/depmod.d/a.conf".into(), text),
                ],
            )]
        },
    },
    Difference {
        id: "names-longer-than-paths",
        title: "Arguments longer than a path can be",
        kmod: "cuts them off at 4096 bytes, or takes a file of that name for a missing one.",
        ours: "says in its own words what is wrong with them; the exit status is the same.",
        reason: "no such file can exist, and a message should name what was given.",
        level: |case, kmod, ours| {
            let long = case.arguments.iter().any(|argument| argument.len() > 255);
            if long && kmod.ended == ours.ended {
                kmod.stderr.clone_from(&ours.stderr);
            }
        },
        witnesses: |world| {
            let root = world.made_root();
            vec![Case::new("modinfo", &["-b", &root, "-k", &"a".repeat(5000), "alpha"])]
        },
    },
    Difference {
        id: "broken-links-in-folders",
        title: "Broken links among configuration files",
        kmod: "says `Cannot stat directory entry: /run/depmod.dzz.conf`.",
        ours: "puts the slash in.",
        reason: "it is the file's path.",
        level: |_, kmod, _| {
            let text = String::from_utf8_lossy(&kmod.stderr).into_owned();
            if text.contains("Cannot stat directory entry: ") {
                kmod.stderr = ["depmod.d", "modprobe.d"]
                    .iter()
                    .fold(text, |text, folder| {
                        text.replace(&format!("{folder}/"), folder).replace(folder, &format!("{folder}/"))
                    })
                    .into_bytes();
            }
        },
        witnesses: |world| vec![depmod(world, &[Edit::Link("/run/depmod.d/zz.conf".into(), "/nowhere/at/all".into())])],
    },
    Difference {
        id: "holders-first",
        title: "`modprobe -r --remove-holders`",
        kmod: "removes the holders in the order in which /sys lists them, and fails at the first that has a holder itself.",
        ours: "removes those first that nobody uses.",
        reason: "it is what the option promises.",
        level: |case, kmod, ours| {
            let asked = |words: &[Vec<u8>]| {
                words.iter().any(|word| {
                    word.len() > 8
                        && (b"--remove-holders".starts_with(word) || b"--remove-dependencies".starts_with(word))
                })
            };
            if case.applet() == "modprobe" && asked(&case.arguments) && kmod.ended == Ended::Exit(1) {
                *kmod = ours.clone();
            }
        },
        witnesses: |world| {
            let root = world.made_root();
            vec![Case::new("modprobe", &["-d", &root, "-S", RELEASE, "-r", "--remove-holders", "alpha"])]
        },
    },
    Difference {
        id: "several-softdeps",
        title: "Several `softdep` lines for one module",
        kmod: "takes the first line that matches and forgets the others, so that a line of the administrator's hides the module's own, \
            or is hidden by it.",
        ours: "takes the names of all lines that match.",
        reason: "no line is without effect; with one line that has all the names both do the same.",
        level: |case, kmod, ours| {
            let written: usize = case
                .edits
                .iter()
                .map(|edit| match edit {
                    Edit::Write(_, content) => content.windows(8).filter(|part| part == b"softdep ").count(),
                    _ => 0,
                })
                .sum();
            // Those of Debian's modules that have several lines themselves.
            let own = case.arguments.iter().any(|word| word == b"btrfs" || word == b"ksmbd");
            if case.applet() == "modprobe" && (written > 1 || own) && kmod.ended == ours.ended {
                *kmod = ours.clone();
            }
        },
        witnesses: |world| {
            let root = world.made_root();
            let mut case = Case::new("modprobe", &["-d", &root, "-S", RELEASE, "-D", "omega"]);
            let lines = b"softdep omega pre: eps\nsoftdep omega pre: zeta\n".to_vec();
            case.edits.push(Edit::Write("/etc/modprobe.d/several.conf".into(), lines));
            vec![case]
        },
    },
    Difference {
        id: "commands-of-another-system",
        title: "Commands in a tree below `-d`",
        kmod: "runs `install` and `remove` lines of the tree's own `modules.softdep`, whoever has written it, on the machine that it runs on.",
        ours: "runs no command that stands in a tree of another root, or in a file that others may write to; it says so and fails.",
        reason: "to look at an image, or at what a user has unpacked, must not run what it says.",
        level: |case, kmod, ours| {
            let command = |edit: &Edit| matches!(edit, Edit::Write(path, content) if path.ends_with("modules.softdep") && content.contains_str("install "));
            let refused = ours.stderr.contains_str("not running the command of");
            if case.edits.iter().any(command) && refused && ours.ended == Ended::Exit(1) && kmod.ended == Ended::Exit(0)
            {
                *kmod = ours.clone();
            }
        },
        witnesses: |world| {
            let root = world.made_root();
            let mut case = Case::new("modprobe", &["-d", &root, "-S", RELEASE, "omega"]);
            case.edits.push(Edit::Write(world.made().join("modules.softdep"), b"install omega true\n".to_vec()));
            vec![case]
        },
    },
    Difference {
        id: "bracket-without-end",
        title: "`modprobe -r` of a name with a bracket that has no partner",
        kmod: "says nothing, and ends with status 1.",
        ours: "says that there is no such module.",
        reason: "a failure is never silent.",
        level: |case, kmod, ours| {
            let open = |word: &&Vec<u8>| word.contains(&b'[') != word.contains(&b']');
            let named = |word: &Vec<u8>| {
                let said = [b" ", word.as_slice(), b" not found."].concat();
                ours.stderr.windows(said.len()).any(|window| window == said)
            };
            // Ours ends there, unless it was told -a.
            if case.applet() == "modprobe" && case.arguments.iter().filter(open).any(named) && kmod.ended == ours.ended
            {
                *kmod = ours.clone();
            }
        },
        witnesses: |world| {
            let root = world.made_root();
            let case = |name| Case::new("modprobe", &["-d", &root, "-S", RELEASE, "-r", "--", name]);
            vec![case("a[b"), case("]")]
        },
    },
    Difference {
        id: "alias-of-no-builtin",
        title: "modinfo of an alias whose module `modules.builtin` does not list",
        kmod: "takes the word of modules.builtin.alias.bin, finds nothing to print for most fields, and ends with status 0.",
        ours: "says that there is no such module.",
        reason: "the two files belong together; a module that is in one of them only is not there.",
        level: |case, kmod, ours| {
            if case.applet() == "modinfo"
                && case.arguments.iter().any(|word| word == b"bi:three")
                && kmod.stderr.is_empty()
            {
                *kmod = ours.clone();
            }
        },
        witnesses: |world| {
            let root = world.made_root();
            let root = root.as_str();
            vec![Case::new("modinfo", &["-m", "-k", RELEASE, "-F", "parm", "--basedir", root, "bi:three"])]
        },
    },
    Difference {
        id: "dropped-options",
        title: "Options that 34 dropped",
        kmod: "30 names them in its warning as they were written, writes its own layout of the index, without weak dependencies, and refuses \
            what came after it (`depmod -o`, `--moduledir`; its `-m` is `--map`); 34 refuses them (`insmod: invalid option -- 'p'`).",
        ours: "accepts them together with what came later, and writes 34's layout unless `--format=30` asks for the other.",
        reason: "scripts written for Debian 12 go on working.",
        level: |case, kmod, ours| {
            dropped_options(case, kmod, ours);
            if kmod.stderr.starts_with(b"insmod: invalid option -- 'p'") {
                *kmod = ours.clone();
            }
        },
        witnesses: |world| {
            let file = world.made().join("kernel/a/alpha.ko").display().to_string();
            let mut old = depmod(world, &[]);
            old.arguments.push(b"-u".to_vec());
            old.peer = crate::case::Peer::Kmod30;
            let mut mixed = old.clone();
            let root = world.made_root().into_bytes();
            mixed.arguments.extend([b"-m".to_vec(), b"/lib/modules".to_vec(), b"-o".to_vec(), root]);
            vec![Case::new("insmod", &["-p", &file]), old, mixed]
        },
    },
    Difference {
        id: "later-options",
        title: "Options that came after 34",
        kmod: "34.2's insmod knows no `--force-vermagic` and `--force-modversion`.",
        ours: "accepts them.",
        reason: "kmod's next release has them.",
        level: |_, kmod, ours| {
            let said = b"insmod: unrecognized option '--force-";
            if kmod.stderr.starts_with(said) {
                *kmod = ours.clone();
            }
        },
        witnesses: |world| {
            let file = world.made().join("kernel/a/alpha.ko").display().to_string();
            vec![Case::new("insmod", &["--force-vermagic", &file]), Case::new("insmod", &["--force-modversion", &file])]
        },
    },
    Difference {
        id: "lsmod-one-file",
        title: "lsmod and modules that /sys does not know",
        kmod: "asks /sys/module for size, uses and holders of every module, and complains where a module has gone meanwhile.",
        ours: "takes them from /proc/modules where /sys has nothing.",
        reason: "a module that is unloaded while lsmod runs is no error.",
        level: |case, kmod, ours| {
            if ["lsmod", "kmod"].contains(&case.applet()) && case.edits_file("/proc/modules") {
                let without = |outcome: &Outcome| without_lines(&outcome.stdout, &[b"nosysfs"]);
                (kmod.stdout, ours.stdout) = (without(kmod), without(ours));
                kmod.stderr = without_lines(&kmod.stderr, &[b"/sys/module/nosysfs/holders"]);
            }
        },
        witnesses: |_| {
            let mut case = Case::new("lsmod", &[]);
            let text = b"alpha 24576 0 - Live 0x0\nnosysfs 8192 0 - Live 0x0\n".to_vec();
            case.edits.push(Edit::Write("/proc/modules".into(), text));
            vec![case]
        },
    },
    Difference {
        id: "rmmod-paths",
        title: "rmmod with a path or nothing for a name",
        kmod: "makes an empty module name of `./x.ko` and of `''`, looks at /sys/module itself and says `could not open \
            '/sys/module//holders'`, or with `--force` `could not remove ''`; a name of more than 4096 bytes is cut off in the message.",
        ours: "says that this module is not currently loaded, or names what it could not remove.",
        reason: "it is what the message is for.",
        level: |case, kmod, ours| {
            let says = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window == part);
            // With --force nobody looks whether it is loaded.
            let said = says(&ours.stderr, b"is not currently loaded") || says(&kmod.stderr, b"could not remove '': ");
            if case.applet() == "rmmod" && said {
                let empty = says(&kmod.stderr, b"/sys/module//holders") || says(&kmod.stderr, b"could not remove '': ");
                let long = case.arguments.iter().any(|argument| argument.len() >= 4000);
                if empty || long {
                    kmod.stderr.clone_from(&ours.stderr);
                }
            }
        },
        witnesses: |_| vec![Case::new("rmmod", &[""]), Case::new("rmmod", &["-f", "./x.ko"])],
    },
];
