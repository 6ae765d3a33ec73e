//! The files in docs/ say what the types say. To renew them:
//! `WEAPON_RENEW_DOCS=1 cargo test -p weapon --lib docs_are_those_of_the_types`.

use std::{collections::BTreeSet, env, fmt::Write as _, fs, path::PathBuf};

use hyper::{Method, Uri};
use serde_json::{Map, Value};

use super::{super::routes::Route, *};

/// Between these lines, docs/api.md is made of the types.
const BEGIN: &str = "<!-- made of the types from here on -->\n";
const END: &str = "<!-- to here -->\n";

fn docs(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    root.join(name)
}

fn value() -> Value {
    serde_json::to_value(document()).unwrap()
}

#[test]
fn docs_are_those_of_the_types() {
    let document = value();
    let json = format!("{}\n", serde_json::to_string_pretty(&document).unwrap());
    check("openapi.json", &json);
    let text = fs::read_to_string(docs("api.md")).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let made = format!("{before}{BEGIN}{}\n{END}{after}", described(&document));
    check("api.md", &made);
}

/// The file is as `expected`, or becomes so.
fn check(name: &str, expected: &str) {
    let path = docs(name);
    if env::var_os("WEAPON_RENEW_DOCS").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/{name} is not what the types say: see the head of api/document/tests.rs"
    );
}

/// A table for each type, in the order in which a reader meets them.
fn described(document: &Value) -> String {
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut text = String::new();
    for name in in_order(schemas) {
        let schema = &schemas[&name];
        let about = schema["description"]
            .as_str()
            .expect("every type is described");
        write!(
            text,
            "\n### {name}\n\n{about}\n\n| field | type | meaning |\n|---|---|---|\n"
        )
        .unwrap();
        for (field, of) in schema["properties"].as_object().unwrap() {
            let meaning = meaning(of);
            let meaning = meaning.unwrap_or_else(|| panic!("{name}.{field} is not described"));
            let meaning = meaning.replace('\n', " ").replace('|', "\\|");
            writeln!(text, "| `{field}` | {} | {meaning} |", kind(of)).unwrap();
        }
    }
    text
}

/// The report and what is in it, then the rest.
fn in_order(schemas: &Map<String, Value>) -> Vec<String> {
    let mut names = Vec::new();
    for name in ["Report"]
        .into_iter()
        .chain(schemas.keys().map(String::as_str))
    {
        reach(name, schemas, &mut names);
    }
    names
}

fn reach(name: &str, schemas: &Map<String, Value>, names: &mut Vec<String>) {
    if names.iter().any(|known| known == name) {
        return;
    }
    names.push(name.to_owned());
    let properties = schemas[name]["properties"].as_object().unwrap();
    for of in properties.values() {
        for inner in references(of) {
            reach(&inner, schemas, names);
        }
    }
}

/// The types that a field is made of.
fn references(of: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(to) = of["$ref"].as_str() {
        found.extend(to.rsplit('/').next().map(str::to_owned));
    }
    for inner in of["oneOf"].as_array().into_iter().flatten() {
        found.extend(references(inner));
    }
    for inner in [&of["items"], &of["additionalProperties"]] {
        if inner.is_object() {
            found.extend(references(inner));
        }
    }
    found
}

/// A field's description, which stands beside its type, also where that may be null.
fn meaning(of: &Value) -> Option<&str> {
    let any = of["oneOf"].as_array().into_iter().flatten();
    let mut all = [of].into_iter().chain(any);
    all.find_map(|of| of["description"].as_str())
}

/// A field's type, in words.
fn kind(of: &Value) -> String {
    if let Some(to) = of["$ref"].as_str() {
        let to = to.rsplit('/').next().unwrap();
        return format!("[{to}](#{})", to.to_lowercase());
    }
    if let Some(any) = of["oneOf"].as_array() {
        let all: Vec<String> = any.iter().map(kind).collect();
        return all.join(" or ");
    }
    match &of["type"] {
        Value::Array(all) => {
            let one = |name: &Value| {
                let mut of = of.clone();
                of["type"] = name.clone();
                kind(&of)
            };
            let all: Vec<String> = all.iter().map(one).collect();
            all.join(" or ")
        }
        Value::String(name) if name == "array" => format!("list of {}", kind(&of["items"])),
        Value::String(name) if name == "object" => {
            format!("object of {}", kind(&of["additionalProperties"]))
        }
        Value::String(name) => name.clone(),
        _ => "anything".to_owned(),
    }
}

/// What is described is served, and the other way round.
#[test]
fn every_path_is_described() {
    let document = value();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let uri: Uri = path.parse().unwrap();
            assert!(Route::find(&method, &uri).is_ok(), "{method} {path}");
            described.insert(path.clone());
        }
    }
    let served: BTreeSet<String> = Route::ALL.map(|route| route.path().to_owned()).into();
    assert_eq!(described, served);
}

/// A client may rely on every field of an answer: the types are written as they are described.
#[test]
fn what_is_written_is_what_is_described() {
    let document = value();
    let report = serde_json::to_value(crate::report::sample::report()).unwrap();
    let schema = &document["components"]["schemas"]["Report"];
    let written: BTreeSet<&str> = keys(&report).collect();
    let required = schema["required"].as_array().unwrap().iter();
    let required: BTreeSet<&str> = required.filter_map(Value::as_str).collect();
    assert_eq!(required, written);
    assert_eq!(
        keys(&schema["properties"]).collect::<BTreeSet<_>>(),
        written
    );
    // Serde leaves nothing out that is null.
    assert_eq!(keys(&report["cipher"]).count(), 2);
}

fn keys(value: &Value) -> impl Iterator<Item = &str> {
    value.as_object().unwrap().keys().map(String::as_str)
}
