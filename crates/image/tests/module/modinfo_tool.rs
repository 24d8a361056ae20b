//! Agreement with `modinfo` and `modprobe` of kmod, where they are installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use ferrmod_image::Image;
use ferrmod_image::compress::decompress;
use ferrmod_tests::corpus;

/// The lines that a tool prints; `None` when it is not installed.
fn lines(tool: &str, arguments: &[&str], file: &Path) -> Option<Vec<String>> {
    // Debian keeps the administrator's tools out of a user's PATH.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(tool).env("PATH", path).args(arguments).arg(file).output().ok()?;
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// As the lines that `modinfo -F KEY` prints.
fn printed(values: impl Iterator<Item = String>) -> Vec<String> {
    values.flat_map(|value| value.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn modinfo_says_the_same() {
    for version in ["6.1", "6.12"] {
        let Some(tree) = corpus::tree_or_skip(version) else {
            continue;
        };
        for path in tree.files().iter().step_by(211) {
            let bytes = fs::read(path).unwrap();
            let bytes = decompress(&bytes, 1 << 28).unwrap();
            let image = Image::read(&bytes).unwrap();
            for key in [
                "name",
                "license",
                "description",
                "author",
                "alias",
                "depends",
                "vermagic",
                "softdep",
                "firmware",
                "import_ns",
            ] {
                let Some(theirs) = lines("modinfo", &["-F", key], path) else {
                    corpus::skip("modinfo", "install kmod");
                    return;
                };
                let ours = printed(image.modinfo().all(key).map(ToString::to_string));
                assert_eq!(
                    ours,
                    theirs.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>(),
                    "{key} of {}",
                    path.display()
                );
            }
            // modinfo knows nothing of __param.
            let told =
                |parameter: &ferrmod_image::Parameter<'_>| parameter.kind.is_some() || parameter.description.is_some();
            let ours = image.parameters().into_iter().filter(told).map(|parameter| {
                let text = |text: Option<&bstr::BStr>| text.map(ToString::to_string);
                match (text(parameter.description), text(parameter.kind)) {
                    (Some(description), Some(kind)) => {
                        format!("{}:{description} ({kind})", parameter.name)
                    }
                    (Some(description), None) => format!("{}:{description}", parameter.name),
                    (None, Some(kind)) => format!("{}: ({kind})", parameter.name),
                    (None, None) => parameter.name.to_string(),
                }
            });
            let mut ours = printed(ours);
            let Some(mut theirs) = lines("modinfo", &["-F", "parm"], path) else {
                return;
            };
            ours.sort();
            theirs.sort();
            assert_eq!(ours, theirs, "parameters of {}", path.display());
        }
    }
}

#[test]
fn modprobe_shows_the_same_versions() {
    let Some(tree) = corpus::tree_or_skip("6.1") else {
        return;
    };
    for path in tree.files().iter().step_by(401) {
        let bytes = fs::read(path).unwrap();
        let image = Image::read(&bytes).unwrap();
        let Some(mut theirs) = lines("modprobe", &["--dump-modversions"], path) else {
            corpus::skip("modprobe", "install kmod");
            return;
        };
        let mut ours: Vec<_> =
            image.versions().unwrap().iter().map(|(name, crc)| format!("{crc:#010x}\t{name}")).collect();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{}", path.display());
    }
}
