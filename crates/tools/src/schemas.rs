//! The JSON Schemas of the documents that `--json` prints.
//!
//! Documents that are written from a type have the schema of that type. Those that are put together member by member have a type
//! here that is only the schema's; that both agree is tested with real output (`crates/ferrmod/tests/schemas.rs`).

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

/// The schema of what is written from such a value.
#[must_use]
pub fn schema_of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}

/// Name and schema of each document.
#[must_use]
pub fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("ferrmod.depmod/1", schema_of::<Depmod>()),
        ("ferrmod.lsmod/1", crate::lsmod::schema()),
        ("ferrmod.modinfo/1", schema_of::<Modinfo>()),
        ("ferrmod.modprobe.config/1", schema_of::<Configuration>()),
        ("ferrmod.modprobe.exports/1", schema_of::<Symbols>()),
        ("ferrmod.modprobe.modversions/1", schema_of::<Symbols>()),
        ("ferrmod.modprobe.probe/1", schema_of::<Requests<Probed>>()),
        ("ferrmod.modprobe.remove/1", schema_of::<Requests<Removed>>()),
        ("ferrmod.modprobe.resolve/1", schema_of::<Requests<Module>>()),
        ("ferrmod.static-nodes/1", crate::static_nodes::schema()),
    ]
}

/// `depmod --json`, or `depmod --check --json`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is of use")]
enum Depmod {
    /// What the index of the tree would be.
    Index {
        /// Name and version of this form.
        schema: String,
        /// The folder of the tree.
        tree: String,
        /// The modules, in the order of `modules.dep`.
        modules: Vec<Dependencies>,
        /// As in `modules.alias`.
        aliases: Vec<AliasRow>,
        /// As in `modules.softdep`.
        softdeps: Vec<TextRow>,
        /// As in `modules.weakdep`.
        weakdeps: Vec<TextRow>,
        /// As in `modules.symbols`: `symbol` begins with `symbol:`.
        symbols: Vec<SymbolRow>,
        /// As in `modules.devname`.
        devnames: Vec<NodeRow>,
        /// How many files could not be read; the messages say which.
        unreadable: u64,
    },
    /// Whether the index is what it should be.
    Check {
        /// Name and version of this form.
        schema: String,
        /// The folder of the tree.
        tree: String,
        /// Whether every file of the index is as it should be.
        current: bool,
        /// How many modules there are.
        modules: u64,
        /// How many of them could not be read.
        unreadable: u64,
        /// The files that are not as they should be.
        differences: Vec<FileDifference>,
    },
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Dependencies {
    /// The file: in the tree, or absolute when it is not in the tree.
    path: String,
    /// The files of everything that it needs, directly or not; what loads first comes last.
    needs: Vec<String>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct AliasRow {
    /// The pattern.
    alias: String,
    /// The module.
    module: String,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct TextRow {
    /// The module.
    module: String,
    /// The rest of the line.
    text: String,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct SymbolRow {
    /// The symbol.
    symbol: String,
    /// The module.
    module: String,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct NodeRow {
    /// The module.
    module: String,
    /// The node below `/dev`.
    node: String,
    /// `c10:200` or `b7:0`.
    device: String,
}

/// A file of the index that is not as it should be.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is of use")]
enum FileDifference {
    /// It cannot be read.
    Unreadable {
        /// The file's name.
        file: String,
        /// Why.
        unreadable: String,
    },
    /// Of a text: the first line that is another.
    Line {
        /// The file's name.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The line that is there; null where the text ends.
        found: Option<String>,
        /// The line that should be; null where the text should end.
        wanted: Option<String>,
    },
    /// Of a trie: the first byte that is another.
    Byte {
        /// The file's name.
        file: String,
        /// The byte, from 0.
        byte: u64,
        /// The size that it has.
        size: u64,
        /// The size that it should have.
        wanted_size: u64,
    },
}

/// `modinfo --json`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Modinfo {
    /// Name and version of this form.
    schema: String,
    /// One entry for each module that an argument stands for, in their order.
    modules: Vec<Information>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is of use")]
enum Information {
    /// What a module says about itself.
    Found {
        /// The name, with `_`.
        module: String,
        /// The file; null for a module that is built into the kernel.
        filename: Option<String>,
        /// Whether it is built into the kernel.
        builtin: bool,
        /// The strings of `.modinfo` in the file's order, except those about parameters.
        fields: Vec<Field>,
        /// The parameters, in the file's order.
        parameters: Vec<Parameter>,
        /// What the appended signature claims; nothing is verified. Absent for built-in modules.
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<Claim>,
    },
    /// What could not be found or read.
    Problem {
        /// The name that was asked for.
        module: String,
        /// The file, where there is one.
        filename: Option<String>,
        /// What is wrong.
        error: String,
    },
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Field {
    /// A field may come several times, as `alias` does.
    key: String,
    /// Its text.
    value: String,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Parameter {
    /// Its name.
    name: String,
    /// Null when the module does not say.
    description: Option<String>,
    /// Null when the module does not say.
    r#type: Option<String>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Claim {
    /// `PKCS#7`; `PGP` or `X509` in very old modules.
    id: String,
    /// The common name of the issuer; null when the signer is named by the key.
    signer: Option<String>,
    /// Serial number of the signer's certificate, or the key's identifier: `66:F5:…`.
    key: String,
    /// Which of both.
    key_is_identifier: bool,
    /// `sha256`, ….
    hash: String,
    /// The bytes of the signature: `4E:0A:…`.
    signature: String,
}

/// What modprobe says of its operands.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Requests<M> {
    /// Name and version of this form.
    schema: String,
    /// For each operand.
    requests: Vec<Operand<M>>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Operand<M> {
    /// The operand.
    name: String,
    /// The modules it stands for.
    modules: Vec<M>,
}

/// A line of the configuration.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Entry {
    /// `alias`, `blacklist`, `options`, `install`, `remove`, `softdep`, `weakdep`, `mask` or `allow`.
    directive: String,
    /// The module or pattern it is about, with `_`.
    name: String,
    /// The rest of the line; empty for `blacklist`, `mask` and `allow`.
    value: String,
    /// The file; null on the kernel's command line.
    file: Option<String>,
    /// The line in the file, from 1 (of several joined ones the last); on the kernel's command line the word.
    line: u64,
}

/// A module that a name stands for.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Module {
    /// Its name, with `_`.
    module: String,
    /// The alias it was found by; null when by its name.
    alias: Option<String>,
    /// Its file; null when it is built in or does not exist.
    filename: Option<String>,
    /// How it was found.
    found: How,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct How {
    /// `file`, `configuration`, `modules.dep`, `modules.symbols`, `modules.alias`, `modules.builtin` or `modules.builtin.alias`.
    source: String,
    /// The pattern of the module that matched.
    pattern: Option<String>,
    /// The line of the configuration that says so.
    line: Option<Entry>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Probed {
    #[serde(flatten)]
    module: Module,
    /// It is in the kernel already, so that nothing is done.
    loaded: bool,
    /// The line that keeps it from being loaded.
    blacklist: Option<Entry>,
    /// Dependencies whose file is not there.
    missing: Vec<Missing>,
    /// What is done, in order.
    steps: Vec<Step>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Missing {
    /// The module that needs it.
    module: String,
    /// The file.
    filename: String,
    /// Why it cannot be read.
    error: String,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Step {
    #[serde(flatten)]
    module: Module,
    /// `insmod`, `install` (a command runs instead), `builtin`, `absent`, `masked` or `not allowed`.
    action: String,
    /// The line with the command, the `mask` line, or the first `allow` line.
    line: Option<Entry>,
    /// The options the module gets.
    options: String,
    /// The lines they come from.
    options_lines: Vec<Entry>,
    /// Why it is a step.
    reason: Why,
    /// It is the module that was asked for.
    target: bool,
    /// Everything ends when it fails.
    required: bool,
    /// It is in the kernel already; the step is then left out when it comes to it.
    loaded: bool,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Why {
    /// `asked`, `dependency`, `softdep pre` or `softdep post`; of a removal `asked`, `holder`, `unused` or `softdep`.
    kind: String,
    /// The other module; absent with `asked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    /// The line of the soft dependency; absent with everything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<Entry>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Removed {
    #[serde(flatten)]
    module: Module,
    /// What is done, in order.
    steps: Vec<Removal>,
    /// What is not removed.
    stays: Vec<Stays>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Removal {
    /// `rmmod`, or `remove` for a command.
    action: String,
    /// The module.
    module: String,
    /// The line with the command.
    line: Option<Entry>,
    /// Why it is a step.
    reason: Why,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Stays {
    /// The module.
    module: String,
    /// `in use`, `builtin`, `not loaded`, `not found` or `too deep`.
    why: String,
    /// When it is in use.
    references: Option<i64>,
    /// When it is in use.
    holders: Vec<String>,
    /// Null for the module that was asked for.
    reason: Option<Why>,
}

/// `modprobe -c --json`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Configuration {
    /// Name and version of this form.
    schema: String,
    /// Every line in the order in which `-c` prints them.
    directives: Vec<Entry>,
    /// The rows of `modules.alias`.
    aliases: Vec<Row>,
    /// The rows of `modules.symbols`.
    symbols: Vec<Row>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Row {
    /// The pattern.
    alias: String,
    /// The module.
    module: String,
    /// The place of the module in depmod's order.
    priority: u64,
}

/// Symbols of a module file with their CRCs.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Symbols {
    /// Name and version of this form.
    schema: String,
    /// The file.
    file: String,
    /// The symbols, in the file's order.
    symbols: Vec<Symbol>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Symbol {
    /// Its name.
    name: String,
    /// `0x` and eight digits.
    crc: String,
}
