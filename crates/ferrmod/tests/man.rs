//! The manual pages in `docs/man` are those of the command line; `FERRMOD_BLESS=1` writes them anew.

use clap::CommandFactory;
use ferrmod::cli::Cli;

#[test]
fn manual_pages_are_current() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/man");
    let mut cli = Cli::command();
    cli.build();
    let mut pages = Vec::new();
    let mut open = vec![("ferrmod".to_owned(), cli)];
    while let Some((name, command)) = open.pop() {
        open.extend(command.get_subcommands().map(|one| (format!("{name}-{}", one.get_name()), one.clone())));
        let leaked: &'static str = Box::leak(name.clone().into_boxed_str());
        pages.push((format!("{name}.1"), command.name(leaked)));
    }
    for (file, command) in pages {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).unwrap();
        let path = format!("{folder}/{file}");
        if std::env::var_os("FERRMOD_BLESS").is_some() {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(&path, &page).unwrap();
        }
        let kept = std::fs::read(&path).unwrap_or_default();
        assert!(kept == page, "{path} is not current: run the test with FERRMOD_BLESS=1");
    }
}
