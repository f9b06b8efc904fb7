//! Validator for the profiles of IHE Basic Audit Log Patterns, which `balp.json` restates.

use serde_json::{Map, Value, json};

pub(crate) const PATTERNS: &str =
    "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";

pub(crate) struct Profiles(Value);

impl Profiles {
    pub(crate) fn new() -> Self {
        let text = include_str!("../definitions/balp.json");
        Self(serde_json::from_str(text).unwrap())
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        let profiles = self.0["profiles"].as_object().unwrap();
        profiles.keys().map(String::as_str).collect()
    }

    /// Returns the faults of an event under a profile, one line each.
    pub(crate) fn faults(&self, url: &str, event: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        let Some(profile) = self.0["profiles"].get(url) else {
            return vec![format!("{url} is not a known profile")];
        };
        if let Some(parent) = profile.get("extends") {
            faults.extend(self.faults(parent.as_str().unwrap(), event));
        }
        for name in ["action", "outcome"] {
            if let Some(fixed) = profile.get(name)
                && event.get(name) != Some(fixed)
            {
                faults.push(format!("{name} is not {fixed}"));
            }
        }
        if let Some(kind) = profile.get("type")
            && !is_coded(&event["type"], kind)
        {
            faults.push("type".to_owned());
        }
        if let Some(codes) = profile.get("subtype") {
            let subtypes = event["subtype"].as_array().into_iter().flatten();
            let count = subtypes.filter(|subtype| is_coded(subtype, codes)).count();
            if count != 1 {
                faults.push(format!("{count} subtypes of the pattern"));
            }
        }
        presence("event", profile, event, &mut faults);
        for (list, slices) in [("agent", "agents"), ("entity", "entities")] {
            if let Some(rule) = profile.get(slices) {
                sliced(list, rule, event, &mut faults);
            }
        }
        faults
    }
}

fn sliced(list: &str, rule: &Value, event: &Value, faults: &mut Vec<String>) {
    let none = Vec::new();
    let members = event[list].as_array().unwrap_or(&none);
    if (members.len() as u64) < rule["min"].as_u64().unwrap() {
        faults.push(format!("too few of {list}"));
    }
    for (name, slice) in rule["slices"].as_object().unwrap() {
        let own: Vec<_> = members
            .iter()
            .filter(|member| is_coded(&member["type"], &slice["type"]))
            .collect();
        let [least, most] = [0, 1].map(|index| slice["count"][index].as_u64().unwrap());
        if !(least..=most).contains(&(own.len() as u64)) {
            faults.push(format!("{} of {list}:{name}", own.len()));
        }
        for member in own {
            of_slice(&format!("{list}:{name}"), slice, member, event, faults);
        }
    }
}

fn of_slice(
    location: &str,
    slice: &Value,
    member: &Value,
    event: &Value,
    faults: &mut Vec<String>,
) {
    presence(location, slice, member, faults);
    if let (Some(role), Some(own)) = (slice.get("role"), member.get("role"))
        && !is_coded(own, role)
    {
        faults.push(format!("{location}.role"));
    }
    for (name, fixed) in slice["values"].as_object().unwrap_or(&Map::new()) {
        if member.get(name) != Some(fixed) {
            faults.push(format!("{location}.{name} is not {fixed}"));
        }
    }
    if slice.get("is_observer") == Some(&json!(true))
        && member["who"] != event["source"]["observer"]
    {
        faults.push(format!("{location} is not the observer"));
    }
    if let Some(target) = slice.get("target").and_then(Value::as_str) {
        let what = &member["what"];
        let reference = what["reference"].as_str().unwrap_or_default();
        if what["type"] != target && !reference.starts_with(&format!("{target}/")) {
            faults.push(format!("{location}.what refers to no {target}"));
        }
    }
}

fn presence(location: &str, rule: &Value, value: &Value, faults: &mut Vec<String>) {
    let list = |name: &str| rule[name].as_array().into_iter().flatten();
    for path in list("required").chain(list("present")) {
        let path = path.as_str().unwrap();
        let found = path
            .split('.')
            .try_fold(value, |value, name| value.get(name));
        if found.is_none() {
            faults.push(format!("{location}.{path} is missing"));
        }
    }
    for name in list("none") {
        if value.get(name.as_str().unwrap()).is_some() {
            faults.push(format!("{location}.{name} must not be there"));
        }
    }
}

/// Returns `true` if a coding, or a coding of a concept, has one of these codes.
fn is_coded(value: &Value, codes: &Value) -> bool {
    let one = |coding: &Value| {
        coding["system"] == codes["system"]
            && (codes["codes"].as_array().unwrap()).contains(&coding["code"])
    };
    match value.get("coding") {
        Some(codings) => codings.as_array().unwrap().iter().any(one),
        None => one(value),
    }
}
