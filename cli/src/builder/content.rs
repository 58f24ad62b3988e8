//! ConfigMaps and Secrets: data by key, and the files that hold variables.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::failure::UsageError;

/// Data by key, each key once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Data(Vec<(String, Vec<u8>)>);

impl Data {
    /// Adds one; `owner` names the object in messages, for instance `ConfigMap "c"`.
    ///
    /// # Errors
    /// [`UsageError`] for a key that is there already, or cannot be one.
    pub(crate) fn add(&mut self, owner: &str, key: &str, value: Vec<u8>) -> Result<(), UsageError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if key.is_empty()
            || key.len() > KEY_BYTES_MAX
            || !key.bytes().all(fits)
            || key == "."
            || key.starts_with("..")
        {
            let kind = owner.split(' ').next().unwrap_or_default();
            return Err(UsageError(format!(
                "{key:?} is not a valid key name for a {kind}: a valid config key must consist of alphanumeric characters, '-', \
                 '_' or '.'"
            )));
        }
        if self.0.iter().any(|(known, _)| known == key) {
            return Err(UsageError(format!(
                "cannot add key {key:?}, another key by that name already exists in Data for {owner}"
            )));
        }
        self.0.push((key.to_owned(), value));
        Ok(())
    }
}

/// A ConfigMap; what is no text becomes binary data.
pub(crate) fn config_map(name: &str, data: &Data) -> Value {
    let (mut texts, mut binaries) = (Map::new(), Map::new());
    for (key, value) in &data.0 {
        match std::str::from_utf8(value) {
            Ok(text) => texts.insert(key.clone(), text.into()),
            Err(_) => binaries.insert(key.clone(), STANDARD.encode(value).into()),
        };
    }
    let mut object = json!({"metadata": {"name": name}});
    for (field, map) in [("data", texts), ("binaryData", binaries)] {
        if !map.is_empty() {
            object[field] = map.into();
        }
    }
    object
}

/// A Secret of this type; the server's choice when it is left out.
pub(crate) fn secret(name: &str, of: Option<&str>, data: &Data) -> Value {
    let encoded: Map<String, Value> =
        data.0.iter().map(|(key, value)| (key.clone(), STANDARD.encode(value).into())).collect();
    let mut object = json!({"metadata": {"name": name}});
    if !encoded.is_empty() {
        object["data"] = encoded.into();
    }
    if let Some(of) = of {
        object["type"] = of.into();
    }
    object
}

/// What a registry's password is kept as.
pub(crate) fn registry_login(server: &str, user: &str, password: &str, email: Option<&str>) -> String {
    let mut login = json!({"username": user, "password": password, "auth": STANDARD.encode(format!("{user}:{password}"))});
    if let Some(email) = email {
        login["email"] = email.into();
    }
    json!({"auths": {server: login}}).to_string()
}

/// The variables of a file with a `NAME=VALUE` on each line; a name alone takes its value from `environment`, if that has one.
///
/// # Errors
/// [`UsageError`] for a line that is none.
pub(crate) fn env_file(
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, UsageError> {
    let mut variables = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for line in text.lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
        if name.is_empty() || name.contains(|character: char| character.is_whitespace() || character == '\0')
        {
            return Err(UsageError(format!("{name:?} is not a valid name of a variable")));
        }
        if let Some(value) = value.map(str::to_owned).or_else(|| environment(name)) {
            variables.push((name.to_owned(), value));
        }
    }
    Ok(variables)
}

/// As the server bounds them.
const KEY_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Data, config_map, env_file, registry_login, secret};

    fn data(pairs: &[(&str, &[u8])]) -> Data {
        let mut data = Data::default();
        pairs.iter().for_each(|(key, value)| data.add("ConfigMap \"c\"", key, value.to_vec()).unwrap());
        data
    }

    // What kubectl 1.36 makes of the same options.
    #[test]
    fn objects() {
        let made = config_map("c", &data(&[("t.txt", b"hello\n"), ("k", b"\xff\0")]));
        let expected =
            json!({"metadata": {"name": "c"}, "data": {"t.txt": "hello\n"}, "binaryData": {"k": "/wA="}});
        assert_eq!(made, expected);
        let made = secret("s", Some("x"), &data(&[("a", b"b")]));
        assert_eq!(made, json!({"metadata": {"name": "s"}, "data": {"a": "Yg=="}, "type": "x"}));
        let login = registry_login("https://index.docker.io/v1/", "u", "p", Some("e"));
        let login: serde_json::Value = serde_json::from_str(&login).unwrap();
        let expected = json!({"username": "u", "password": "p", "email": "e", "auth": "dTpw"});
        assert_eq!(login, json!({"auths": {"https://index.docker.io/v1/": expected}}));
    }

    #[test]
    fn keys_are_checked() {
        let check = |key: &str, expected: &str| {
            let error = data(&[("a", b"")]).add("ConfigMap \"c\"", key, Vec::new()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check(
            "a",
            "cannot add key \"a\", another key by that name already exists in Data for ConfigMap \"c\"",
        );
        check("a b", "\"a b\" is not a valid key name for a ConfigMap: ");
        check("..", "\"..\" is not a valid key name for a ConfigMap: ");
    }

    #[test]
    fn files_of_variables() {
        let home = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let found = env_file("x=1\n# c\n\ny=2 3\nHOME\nNONE\n", home).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(found, [pair("x", "1"), pair("y", "2 3"), pair("HOME", "/root")]);
        assert!(env_file("a b=c", home).is_err());
    }
}
