//! Columns of the tables that `get` shows.

/// One column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// For instance `Ready`.
    pub name: &'static str,
    /// What its cells hold, in the words of OpenAPI: `string`, `integer`, `boolean` or `date`.
    pub cells: &'static str,
    /// Format, `name` for the object's name, else empty.
    pub format: &'static str,
    /// What it shows.
    pub description: &'static str,
    /// 0 always shown, 1 with `-o wide`.
    pub priority: u8,
}

impl Column {
    /// The object's name.
    pub const NAME: Self = Self {
        name: "Name",
        cells: "string",
        format: "name",
        description: "The object's name, unique among objects of its kind in its namespace.",
        priority: 0,
    };

    /// The object's age.
    pub const AGE: Self = Self::shown("Age", "Time since the object was created.");

    /// A column of text.
    pub const fn shown(name: &'static str, description: &'static str) -> Self {
        Self { name, cells: "string", format: "", description, priority: 0 }
    }

    /// A column of text, with `-o wide` only.
    pub const fn wide(name: &'static str, description: &'static str) -> Self {
        Self::shown(name, description).with_wide_output()
    }

    /// A column of whole numbers.
    pub const fn integer(name: &'static str, description: &'static str) -> Self {
        Self { cells: "integer", ..Self::shown(name, description) }
    }

    /// A column of `true` and `false`.
    pub const fn boolean(name: &'static str, description: &'static str) -> Self {
        Self { cells: "boolean", ..Self::shown(name, description) }
    }

    /// A column of points in time, which clients show as ages.
    pub const fn date(name: &'static str, description: &'static str) -> Self {
        Self { cells: "date", ..Self::shown(name, description) }
    }

    /// The same column, with `-o wide` only.
    pub const fn with_wide_output(self) -> Self {
        Self { priority: 1, ..self }
    }
}
