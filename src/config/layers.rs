//! The layers and how they are merged: defaults, variables of others, file, environment, flags; the later one wins, key by
//! key.
//!
//! A list is one value: a layer that gives it replaces the whole list.

use super::check;
use super::decode::{self, Decoder, Place};
use super::effective::{self, Effective, Source};
use super::environment::{Environment, PREFIX};
use super::nearest::nearest;
use super::problem::{ConfigError, Problem};
use super::schema::{KEYS, Key};
use super::types::NodeConfig;
use crate::yaml::{self, Data, Member, Node, Position};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest configuration file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Three ways to give the mesh secret: the one that the last layer gives puts the others out of force.
const SECRET_WAYS: [&str; 3] = ["p2p.join", "p2p.mesh_secret", "p2p.mesh_secret_file"];
/// Variables without a section that others than the configuration read; near misses of them are no mistakes of ours.
const FOREIGN: [&str; 3] = ["MESHWORK_URL", "MESHWORK_CONFIG", "MESHWORK_BOOTSTRAP_PEERS"];

/// A value given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlagValue {
    /// The flag as the user writes it: `--http`.
    pub(crate) flag: String,
    /// The key it stands for.
    pub(crate) path: String,
    /// Its values: more than one only for lists.
    pub(crate) values: Vec<String>,
}

/// What a configuration is made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// The file, if one was named.
    pub(crate) file: Option<PathBuf>,
    /// The environment.
    pub(crate) environment: Environment,
    /// The flags.
    pub(crate) flags: Vec<FlagValue>,
}

/// The values that one layer gives.
#[derive(Default)]
struct Layer {
    values: BTreeMap<&'static str, Value>,
    origins: BTreeMap<String, Source>,
}

/// Loads, merges and checks a configuration.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn load(sources: &Sources) -> Result<Effective, ConfigError> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let layers = [
        defaults(&sources.environment),
        foreign(&sources.environment, &mut problems),
        sources.file.as_deref().map(|path| file(path, &mut problems)).unwrap_or_default(),
        environment(&sources.environment, &mut problems, &mut warnings),
        flags(&sources.flags, &mut problems),
    ];
    for layer in &layers {
        one_secret_at_most(layer, &mut problems);
    }
    let merged = layers.into_iter().fold(Layer::default(), merge);
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let node: NodeConfig = serde_json::from_value(nested(&merged.values)).map_err(|error| {
        // The table of keys and the types disagree: a fault of ours, which the tests would have found.
        ConfigError::one("configuration", format!("cannot be read: {error}"))
    })?;
    let problems = check::together(&node, |path| place_of(path, &merged.origins));
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let entries = effective::entries(&merged.values, &merged.origins);
    Ok(Effective { node, entries, warnings })
}

fn place_of(path: &str, origins: &BTreeMap<String, Source>) -> String {
    let section = path.rsplit_once('.').map_or(path, |(section, _)| section);
    let list = section.split('[').next().unwrap_or(section);
    let known = [path, section, list].into_iter().find_map(|path| origins.get(path));
    match known {
        Some(Source::File { file, line }) => format!("{file}:{line}"),
        Some(Source::Env(name) | Source::Flag(name)) => name.clone(),
        Some(Source::Default) | None => "default".into(),
    }
}

fn merge(mut below: Layer, above: Layer) -> Layer {
    if SECRET_WAYS.iter().any(|path| above.values.get(path).is_some_and(|value| !value.is_null())) {
        for path in SECRET_WAYS {
            below.values.insert(path, Value::Null);
            below.origins.remove(path);
        }
    }
    for path in above.values.keys() {
        // A list of sections is replaced as a whole: what was known of its old items is void.
        let items = format!("{path}[");
        below.origins.retain(|known, _| !known.starts_with(&items));
    }
    below.values.extend(above.values);
    below.origins.extend(above.origins);
    below
}

fn one_secret_at_most(layer: &Layer, problems: &mut Vec<Problem>) {
    let given: Vec<&str> = SECRET_WAYS
        .into_iter()
        .filter(|path| layer.values.get(path).is_some_and(|value| !value.is_null()))
        .collect();
    if let [first, second, ..] = given[..] {
        problems.push(Problem {
            place: place_of(second, &layer.origins),
            key: Some(second.to_owned()),
            message: format!("and {first} both say what the mesh secret is: give one of them"),
        });
    }
}

/// Paths with dots to nested objects.
fn nested(values: &BTreeMap<&'static str, Value>) -> Value {
    let mut root = Value::Object(serde_json::Map::new());
    for (path, value) in values {
        let mut place = &mut root;
        for part in path.split('.') {
            place = &mut place[part];
        }
        *place = value.clone();
    }
    root
}

fn defaults(environment: &Environment) -> Layer {
    let mut layer = Layer::default();
    for key in KEYS {
        if let Some(value) = decode::default_value(key) {
            layer.values.insert(key.path, value);
        }
    }
    layer.values.insert("data_dir", Value::from(default_data_dir(environment)));
    layer
}

/// `$XDG_DATA_HOME/meshwork`, `~/.local/share/meshwork`, or a directory here when there is no home.
fn default_data_dir(environment: &Environment) -> String {
    if let Some(data) = environment.get("XDG_DATA_HOME").filter(|path| path.starts_with('/')) {
        return format!("{}/meshwork", data.trim_end_matches('/'));
    }
    match environment.get("HOME") {
        Some(home) => format!("{}/.local/share/meshwork", home.trim_end_matches('/')),
        None => "meshwork-data".into(),
    }
}

/// Variables that belong to others count only where the user says nothing to this node: not even the file is overridden.
fn foreign(environment: &Environment, problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::default();
    for key in KEYS {
        let given = key.foreign.iter().find_map(|name| Some((*name, environment.get(name)?)));
        if let Some((name, text)) = given {
            one(key, text, Place::Env(name.to_owned()), problems, &mut layer);
        }
    }
    layer
}

fn file(path: &Path, problems: &mut Vec<Problem>) -> Layer {
    let name = path.display().to_string();
    let mut decoder = Decoder::new(Place::File(name), problems);
    let mut values = BTreeMap::new();
    match read_file(path) {
        Err(message) => decoder.problem(Position::default(), None, message),
        Ok(text) => match yaml::parse(&text) {
            Err(error) => decoder.problem(error.at, None, error.message),
            Ok(root) => section(&root, "", &mut decoder, &mut values),
        },
    }
    Layer { values, origins: decoder.origins }
}

fn read_file(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let length = std::fs::metadata(path).map_err(cannot)?.len();
    if length > MAX_FILE_BYTES {
        return Err(format!("has {length} bytes: expected a configuration of at most {MAX_FILE_BYTES}"));
    }
    std::fs::read_to_string(path).map_err(cannot)
}

fn section(node: &Node, prefix: &str, decoder: &mut Decoder<'_>, values: &mut BTreeMap<&'static str, Value>) {
    let members = match &node.data {
        Data::Map(members) => members.as_slice(),
        // A section whose lines are all commented out.
        Data::Null => &[],
        _ => {
            let key = (!prefix.is_empty()).then_some(prefix.trim_end_matches('.'));
            decoder.problem(
                node.at,
                key,
                format!("is {}: expected a section with keys of its own", node.describe()),
            );
            return;
        }
    };
    for member in members {
        let path = format!("{prefix}{}", member.key);
        let below = format!("{path}.");
        if let Some(key) = KEYS.iter().find(|key| key.path == path) {
            if let Some(value) = decoder.key(key, key.path, &member.value) {
                values.insert(key.path, value);
            }
        } else if KEYS.iter().any(|key| key.path.starts_with(&below)) {
            section(&member.value, &below, decoder, values);
        } else {
            unknown(prefix, member, decoder);
        }
    }
}

fn unknown(prefix: &str, member: &Member, decoder: &mut Decoder<'_>) {
    let path = format!("{prefix}{}", member.key);
    // Names beside it first, then the same name in another section.
    let beside = KEYS.iter().filter_map(|key| key.path.strip_prefix(prefix)).map(first_part);
    let hint = match nearest(&member.key, beside) {
        Some(name) => format!("did you mean {prefix}{name}?"),
        None => match elsewhere(&path, &member.key) {
            Some(path) => format!("did you mean {path}?"),
            None => {
                let mut names: Vec<&str> =
                    KEYS.iter().filter_map(|key| key.path.strip_prefix(prefix)).map(first_part).collect();
                names.dedup();
                format!("known here: {}", names.join(", "))
            }
        },
    };
    decoder.problem(member.at, Some(&path), format!("is no known key: {hint}"));
}

fn first_part(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

fn elsewhere(path: &str, name: &str) -> Option<&'static str> {
    let last = |key: &&Key| key.path.rsplit('.').next() == Some(name);
    KEYS.iter().find(last).map(|key| key.path).or_else(|| nearest(path, KEYS.iter().map(|key| key.path)))
}

fn environment(environment: &Environment, problems: &mut Vec<Problem>, warnings: &mut Vec<String>) -> Layer {
    let mut layer = Layer::default();
    for key in KEYS {
        let long = key.variable();
        let short = key.short.filter(|short| *short != long);
        let names = [Some(long.as_str()), short];
        let given: Vec<&str> =
            names.into_iter().flatten().filter(|name| environment.get(name).is_some()).collect();
        if let [first, second] = given[..] {
            let message = format!("and {first} both set {}: give one of them", key.path);
            problems.push(Problem { place: second.to_owned(), key: None, message });
        } else if let [name] = given[..] {
            let text = environment.get(name).unwrap_or_default();
            one(key, text, Place::Env(name.to_owned()), problems, &mut layer);
        }
    }
    misspelt(environment, problems, warnings);
    layer
}

/// Variables with a section are ours for certain; of the others only near misses are mentioned.
fn misspelt(environment: &Environment, problems: &mut Vec<Problem>, warnings: &mut Vec<String>) {
    let mut known: Vec<String> = KEYS.iter().map(Key::variable).collect();
    known.extend(KEYS.iter().filter_map(|key| key.short.map(str::to_owned)));
    for (name, _) in environment.ours().filter(|(name, _)| !known.iter().any(|known| known == name)) {
        // The prefix, which all have, says nothing about how near two names are.
        let bare = |name: &'_ str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
        let names: Vec<String> = known.iter().map(|known| bare(known)).collect();
        let near =
            nearest(&bare(name), names.iter().map(String::as_str)).map(|near| format!("{PREFIX}{near}"));
        if bare(name).contains("__") {
            let hint = near
                .map_or_else(|| "see docs/configuration.md".into(), |near| format!("did you mean {near}?"));
            problems.push(Problem {
                place: name.into(),
                key: None,
                message: format!("is no known variable: {hint}"),
            });
        } else if let Some(near) = near.filter(|_| !FOREIGN.contains(&name)) {
            warnings.push(format!(
                "environment variable {name} is not known and has no effect: did you mean {near}?"
            ));
        }
    }
}

fn one(key: &'static Key, text: &str, place: Place, problems: &mut Vec<Problem>, layer: &mut Layer) {
    let mut decoder = Decoder::new(place, problems);
    match decode::from_text(&key.kind, text) {
        Ok(node) => {
            if let Some(value) = decoder.key(key, key.path, &node) {
                layer.values.insert(key.path, value);
            }
        }
        Err(error) => decoder.problem(error.at, Some(key.path), error.message),
    }
    layer.origins.extend(decoder.origins);
}

fn flags(flags: &[FlagValue], problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::default();
    for given in flags {
        let place = Place::Flag(given.flag.clone());
        let Some(key) = KEYS.iter().find(|key| key.path == given.path) else {
            let hint = nearest(&given.path, KEYS.iter().map(|key| key.path)).map_or_else(
                || "see `meshwork config print`".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            Decoder::new(place, problems).problem(
                Position::default(),
                Some(&given.path),
                format!("is no known key: {hint}"),
            );
            continue;
        };
        match given.values.as_slice() {
            [only] => one(key, only, place, problems, &mut layer),
            // Several values are a list whose items are not taken apart any further.
            several => {
                let items = several.iter().map(|text| Node::anywhere(Data::Text(text.clone()))).collect();
                let mut decoder = Decoder::new(place, problems);
                if let Some(value) = decoder.key(key, key.path, &Node::anywhere(Data::List(items))) {
                    layer.values.insert(key.path, value);
                }
                layer.origins.extend(decoder.origins);
            }
        }
    }
    layer
}
