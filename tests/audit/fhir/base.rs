//! Validator for the published definition of `AuditEvent` in FHIR R4: elements, cardinalities,
//! types, and the codes of the bound value sets.

use serde_json::{Map, Value};

/// The published definitions of FHIR; PROVENANCE.md in their directory records the source.
pub(crate) struct Definitions(Value);

impl Definitions {
    pub(crate) fn new() -> Self {
        let text = include_str!("../definitions/r4-audit-event.json");
        Self(serde_json::from_str(text).unwrap())
    }

    /// Returns the faults of an event, one line each.
    pub(crate) fn faults(&self, resource: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        if resource["resourceType"] != "AuditEvent" {
            faults.push("no AuditEvent".to_owned());
        }
        let mut event = resource.as_object().unwrap().clone();
        event.remove("resourceType");
        self.children("AuditEvent", "", &event, &mut faults);
        for entity in resource["entity"].as_array().into_iter().flatten() {
            if entity.get("name").is_some() && entity.get("query").is_some() {
                faults.push("sev-1: an entity with both name and query".to_owned());
            }
        }
        faults
    }

    /// Returns the element definitions of a data type, or of the resource.
    fn elements(&self, of: &str) -> impl Iterator<Item = &Value> {
        let elements = match of {
            "AuditEvent" => &self.0["AuditEvent"],
            of => &self.0["types"][of],
        };
        elements.as_array().unwrap().iter()
    }

    /// Checks the elements of an object. `within` is the path of its backbone element, with a final
    /// dot.
    fn children(
        &self,
        of: &str,
        within: &str,
        object: &Map<String, Value>,
        faults: &mut Vec<String>,
    ) {
        if object.is_empty() {
            faults.push(format!("{of}.{within} is empty"));
        }
        let mut known = Vec::new();
        for element in self.elements(of) {
            let path = element["path"].as_str().unwrap();
            let Some(name) = path.strip_prefix(within).filter(|name| !name.contains('.')) else {
                continue;
            };
            let stem = name.strip_suffix("[x]").unwrap_or(name);
            let keys = object
                .keys()
                .filter(|key| *key == name || stem != name && key.starts_with(stem));
            let keys: Vec<_> = keys.collect();
            let location = format!("{of}.{path}");
            let found = keys.iter().map(|key| &object[*key]).collect::<Vec<_>>();
            self.cardinality(&location, element, &found, faults);
            for value in found {
                self.values(&location, element, value, faults);
            }
            known.extend(keys);
        }
        for key in object.keys().filter(|key| !known.contains(key)) {
            faults.push(format!("{of}.{within}{key} is no element"));
        }
    }

    fn cardinality(
        &self,
        location: &str,
        element: &Value,
        found: &[&Value],
        faults: &mut Vec<String>,
    ) {
        let count = match found {
            [Value::Array(values)] => values.len(),
            found => found.len(),
        };
        if (count as u64) < element["min"].as_u64().unwrap() {
            faults.push(format!("{location} is missing"));
        }
        let repeats = element["max"] == "*";
        if found.iter().any(|value| value.is_array() != repeats) || !repeats && count > 1 {
            faults.push(format!(
                "{location} is a list but must be a single value, or the reverse"
            ));
        }
        if matches!(found, [Value::Array(values)] if values.is_empty()) {
            faults.push(format!("{location} is empty"));
        }
    }

    fn values(&self, location: &str, element: &Value, value: &Value, faults: &mut Vec<String>) {
        let types = element["types"].as_array().unwrap();
        let types: Vec<_> = types.iter().map(|each| each.as_str().unwrap()).collect();
        let values = match value {
            Value::Array(values) => values.iter().collect(),
            value => vec![value],
        };
        for value in values {
            if !types
                .iter()
                .any(|of| self.fits(of, location, value, faults))
            {
                faults.push(format!("{location} is no {types:?}"));
            }
            if let Some(binding) = element.get("binding") {
                self.bound(location, binding, value, faults);
            }
        }
    }

    fn fits(&self, of: &str, location: &str, value: &Value, faults: &mut Vec<String>) -> bool {
        let text = value.as_str().filter(|text| !text.is_empty());
        match of {
            "BackboneElement" => value.as_object().is_some_and(|object| {
                let within = location.strip_prefix("AuditEvent.").unwrap();
                self.children("AuditEvent", &format!("{within}."), object, faults);
                true
            }),
            "Coding" | "CodeableConcept" | "Reference" | "Identifier" | "Meta" => {
                value.as_object().is_some_and(|object| {
                    self.children(of, "", object, faults);
                    true
                })
            }
            "Extension" => value["url"].is_string() && value.as_object().unwrap().len() == 2,
            "Resource" | "Period" => value.is_object(),
            "boolean" => value.is_boolean(),
            "instant" => text.is_some_and(is_instant),
            "base64Binary" => text.is_some_and(is_base64),
            "code" => text.is_some_and(|text| !text.contains(char::is_whitespace)),
            "uri" | "canonical" => text.is_some_and(|text| !text.contains(char::is_whitespace)),
            "string" => text.is_some(),
            _ => false,
        }
    }

    /// Checks that a code belongs to its value set, and that its display text is the code system's.
    ///
    /// Extensible value sets allow codes of other systems.
    fn bound(&self, location: &str, binding: &Value, value: &Value, faults: &mut Vec<String>) {
        let set = &self.0["valueSets"][binding["valueSet"].as_str().unwrap()];
        let Some(set) = set.as_object() else {
            return;
        };
        let plain = value.as_str();
        if let Some(code) = plain
            && !set.values().any(|codes| codes.get(code).is_some())
        {
            faults.push(format!("{location}: {code} is not of the value set"));
        }
        let codings = match value.get("coding") {
            Some(codings) => codings.as_array().unwrap().iter().collect(),
            None if plain.is_none() => vec![value],
            None => vec![],
        };
        for coding in codings {
            let system = coding["system"].as_str().unwrap_or_default();
            let Some(codes) = set.get(system) else {
                continue;
            };
            let code = coding["code"].as_str().unwrap_or_default();
            match codes.get(code) {
                None => faults.push(format!("{location}: {code} is not of the value set")),
                Some(Value::String(display)) => {
                    let own = coding["display"].as_str().unwrap_or(display);
                    if !own.eq_ignore_ascii_case(display) {
                        faults.push(format!("{location}: {own} is not the display of {code}"));
                    }
                }
                Some(_) => {}
            }
        }
    }
}

/// Returns `true` if a text contains a date, a time with seconds, and a time zone.
fn is_instant(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    ["0000-00-00T00:00:00Z", "0000-00-00T00:00:00.000Z"].contains(&&*shape)
}

fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let is_digit = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
    text.len().is_multiple_of(4) && text.len() - digits.len() < 3 && digits.chars().all(is_digit)
}
