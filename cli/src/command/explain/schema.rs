//! Schemas of a document of OpenAPI version 3: fields, types, and what references lead to.

use serde_json::Value;

use crate::document::text;

/// A schema in its document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schema<'d> {
    document: &'d Value,
    value: &'d Value,
}

impl<'d> Schema<'d> {
    /// The schema of a kind's objects.
    pub(super) fn of_kind(document: &'d Value, group: &str, version: &str, kind: &str) -> Option<Self> {
        let schemas = document["components"]["schemas"].as_object()?;
        let is_form = |schema: &&Value| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array();
            kinds.is_some_and(|kinds| {
                kinds
                    .iter()
                    .any(|own| own["group"] == group && own["version"] == version && own["kind"] == kind)
            })
        };
        schemas.values().find(is_form).map(|value| Self { document, value })
    }

    /// One of the fields.
    pub(super) fn field(self, name: &str) -> Option<Self> {
        let value = self.structure()?.value["properties"].get(name)?;
        Some(Self { document: self.document, value })
    }

    /// All fields with their names, in order, and whether each is required.
    pub(super) fn fields(self) -> Vec<(&'d str, Self, Need)> {
        let Some(structure) = self.structure() else { return Vec::new() };
        let required = structure.value["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        let properties = structure.value["properties"].as_object().into_iter().flatten();
        let field = |(name, value): (&'d String, &'d Value)| {
            let need = if required.iter().any(|required| required == name) {
                Need::Required
            } else {
                Need::Optional
            };
            (name.as_str(), Self { document: self.document, value }, need)
        };
        properties.map(field).collect()
    }

    /// The type as it is shown: that of a list or map, a definition's short name, or a plain type.
    pub(super) fn type_name(self) -> String {
        if let Some(element) = self.child("items") {
            return format!("[]{}", element.type_name());
        }
        if let Some(value) = self.child("additionalProperties") {
            return format!("map[string]{}", value.type_name());
        }
        match self.target() {
            Some((name, target)) => match target.value["type"].as_str() {
                None | Some("object") => name.rsplit('.').next().unwrap_or(name).to_owned(),
                Some(plain) => plain.to_owned(),
            },
            None => match self.value["type"].as_str() {
                None | Some("object") => "Object".to_owned(),
                Some(plain) => plain.to_owned(),
            },
        }
    }

    /// What is said of it, then of what it refers to or holds.
    pub(super) fn descriptions(self) -> Vec<&'d str> {
        let mut found = Vec::new();
        let mut schema = Some(self);
        while let Some(current) = schema {
            found.extend(Some(text(current.value, &["description"])).filter(|text| !text.is_empty()));
            schema = current.inner();
        }
        found
    }

    /// What is said of the field itself.
    pub(super) fn own_description(self) -> &'d str {
        text(self.value, &["description"])
    }

    /// The values that are allowed, if only some are.
    pub(super) fn allowed(self) -> Vec<&'d str> {
        self.value["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Which structure it is, for telling when one holds itself.
    pub(super) fn is_same_structure(self, other: Self) -> bool {
        match (self.structure(), other.structure()) {
            (Some(one), Some(other)) => std::ptr::eq(one.value, other.value),
            _ => false,
        }
    }

    /// The schema that has the fields: itself, what it refers to, or what it is a list or map of.
    fn structure(self) -> Option<Self> {
        let mut schema = self;
        loop {
            if schema.value.get("properties").is_some() {
                return Some(schema);
            }
            schema = schema.inner()?;
        }
    }

    /// What it is a list or map of, or refers to.
    fn inner(self) -> Option<Self> {
        let element = self.child("items").or_else(|| self.child("additionalProperties"));
        element.or_else(|| self.target().map(|(_, target)| target))
    }

    fn child(self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| value.is_object())?;
        Some(Self { document: self.document, value })
    }

    /// The definition it refers to, alone or beside other words, with its name.
    fn target(self) -> Option<(&'d str, Self)> {
        let reference = self.value.get("$ref").or_else(|| self.value["allOf"][0].get("$ref"))?.as_str()?;
        let name = reference.strip_prefix("#/components/schemas/")?;
        let value = self.document["components"]["schemas"].get(name)?;
        Some((name, Self { document: self.document, value }))
    }
}

/// Whether a field must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    Optional,
}
