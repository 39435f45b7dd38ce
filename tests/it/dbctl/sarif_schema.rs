//! As much of JSON Schema as the schema of SARIF uses.

use serde_json::Value;

/// The schema of SARIF 2.1.0, as OASIS publishes it.
pub(super) struct SarifSchema(Value);

impl SarifSchema {
    pub(super) fn read() -> Self {
        Self(serde_json::from_str(include_str!("sarif-2.1.0.schema.json")).unwrap())
    }

    /// What is wrong with a document, with the place of each problem.
    pub(super) fn problems(&self, document: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        self.check(&self.0, document, "", &mut problems);
        problems
    }

    fn check(&self, schema: &Value, value: &Value, place: &str, problems: &mut Vec<String>) {
        if let Some(reference) = schema["$ref"].as_str() {
            let pointer = reference.strip_prefix('#').unwrap();
            let target = self.0.pointer(pointer).unwrap();
            return self.check(target, value, place, problems);
        }
        if let Some(kind) = schema["type"].as_str()
            && !has_type(kind, value)
        {
            problems.push(format!("{place} is no {kind}"));
            return;
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            problems.push(format!("{place} is {value}, expected one of {allowed:?}"));
        }
        for (bound, fits) in [
            (
                "minimum",
                schema["minimum"]
                    .as_i64()
                    .is_none_or(|least| value.as_i64() >= Some(least)),
            ),
            (
                "minItems",
                schema["minItems"]
                    .as_u64()
                    .is_none_or(|least| length(value) >= least),
            ),
        ] {
            if !fits {
                problems.push(format!("{place} breaks {bound}"));
            }
        }
        if schema["uniqueItems"] == true
            && let Some(items) = value.as_array()
            && items
                .iter()
                .enumerate()
                .any(|(at, item)| items[..at].contains(item))
        {
            problems.push(format!("{place} has an item twice"));
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(
                &schema["items"],
                item,
                &format!("{place}/{index}"),
                problems,
            );
        }
        self.check_properties(schema, value, place, problems);
        for keyword in ["anyOf", "oneOf"] {
            if let Some(choices) = schema[keyword].as_array() {
                let fits = choices.iter().any(|choice| {
                    let mut inner = Vec::new();
                    self.check(choice, value, place, &mut inner);
                    inner.is_empty()
                });
                if !fits {
                    problems.push(format!("{place} fits no {keyword}"));
                }
            }
        }
    }

    fn check_properties(
        &self,
        schema: &Value,
        value: &Value,
        place: &str,
        problems: &mut Vec<String>,
    ) {
        let Some(fields) = value.as_object() else {
            return;
        };
        for required in schema["required"].as_array().into_iter().flatten() {
            let name = required.as_str().unwrap();
            if !fields.contains_key(name) {
                problems.push(format!("{place} lacks {name}"));
            }
        }
        for (name, field) in fields {
            let place = format!("{place}/{name}");
            match (
                schema["properties"].get(name),
                &schema["additionalProperties"],
            ) {
                (Some(known), _) => self.check(known, field, &place, problems),
                (None, Value::Bool(false)) => problems.push(format!("{place} is unknown")),
                (None, more) => self.check(more, field, &place, problems),
            }
        }
    }
}

fn has_type(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("the schema has the type {other}"),
    }
}

fn length(value: &Value) -> u64 {
    value
        .as_array()
        .map_or(u64::MAX, |items| items.len() as u64)
}

#[test]
fn a_document_that_is_wrong_is_found_out() {
    let schema = SarifSchema::read();
    let right = serde_json::json!({
        "version": "2.1.0",
        "runs": [{ "tool": { "driver": { "name": "x" } }, "results": [{ "message": { "text": "y" }, "level": "note" }] }],
    });
    assert_eq!(schema.problems(&right), [] as [&str; 0]);
    for (pointer, wrong) in [
        ("/version", serde_json::json!("2.2.0")),
        ("/runs", serde_json::json!({})),
        ("/runs/0/tool/driver", serde_json::json!({})),
        ("/runs/0/results/0/level", serde_json::json!("bad")),
        (
            "/runs/0/results/0/message",
            serde_json::json!({ "txt": "y" }),
        ),
    ] {
        let mut document = right.clone();
        *document.pointer_mut(pointer).unwrap() = wrong;
        assert!(!schema.problems(&document).is_empty(), "{pointer}");
    }
}
