//! The file of owners: as it is typed, and what it means.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::meaning::{Refused, each, refuse, workload};
use super::{ConfigError, InvalidConfig, MAX_LABEL_BYTES, MAX_OWNER_RULES, file};
use crate::ownership::{Owned, OwnerRule, Owners};
use crate::record::LabelsRecord;

/// Longest pattern of identities: as long as the longest that is looked up.
const MAX_PATTERN_BYTES: usize = crate::ownership::MAX_IDENTITY_BYTES;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OwnersFile {
    owner: Vec<Spanned<OwnerFile>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnerFile {
    workload: Option<Spanned<String>>,
    identity: Option<Spanned<String>>,
    owner: Option<Spanned<String>>,
    purpose: Option<Spanned<String>>,
    environment: Option<Spanned<String>>,
}

/// Reads and checks the file.
pub(super) fn load(path: &Path) -> Result<Owners, ConfigError> {
    let text = file::read(path).map_err(|error| match error {
        ConfigError::Unreadable { path, source } => ConfigError::OwnersUnreadable { path, source },
        other => other,
    })?;
    parse(&text, path)
}

/// Checks a text; `name` is the file's name in errors.
pub(super) fn parse(text: &str, name: &Path) -> Result<Owners, ConfigError> {
    let file: OwnersFile =
        toml::from_str(text).map_err(|refused| InvalidConfig::from_toml(name, text, &refused))?;
    let owners =
        owners(&file).map_err(|refused| InvalidConfig::at(name, text, refused.span, refused.message))?;
    Ok(owners)
}

fn owners(file: &OwnersFile) -> Result<Owners, Refused> {
    if let Some(beyond) = file.owner.get(MAX_OWNER_RULES) {
        return refuse(beyond, format!("more than {MAX_OWNER_RULES} owners: join them with *"));
    }
    Ok(Owners::new(file.owner.iter().map(rule).collect::<Result<_, _>>()?))
}

fn rule(typed: &Spanned<OwnerFile>) -> Result<OwnerRule, Refused> {
    let file = typed.get_ref();
    let owned = match (&file.workload, &file.identity) {
        (Some(selector), None) => Owned::Workload(each(selector, |text| workload(text))?),
        (None, Some(identity)) => Owned::Identity(each(identity, |text| pattern(text))?),
        _ => return refuse(typed, "is about one thing: write either `workload` or `identity`".to_owned()),
    };
    let filled =
        |text: &Option<Spanned<String>>| text.as_ref().map(|text| each(text, |text| label(text))).transpose();
    let labels = LabelsRecord {
        owner: filled(&file.owner)?,
        purpose: filled(&file.purpose)?,
        environment: filled(&file.environment)?,
    };
    if labels == LabelsRecord::default() {
        return refuse(typed, "says nothing: write `owner`, `purpose` or `environment`".to_owned());
    }
    Ok(OwnerRule { owned, labels: Arc::new(labels) })
}

fn pattern(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("is empty".to_owned()),
        1..=MAX_PATTERN_BYTES => Ok(text.to_owned()),
        length => Err(format!("is {length} bytes long: at most {MAX_PATTERN_BYTES}")),
    }
}

fn label(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        Err("is empty".to_owned())
    } else if text.len() > MAX_LABEL_BYTES {
        Err(format!("is {} bytes long: at most {MAX_LABEL_BYTES}", text.len()))
    } else if text.chars().any(char::is_control) {
        Err("holds control characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::WorkloadRecord;

    fn refusal(text: &str) -> String {
        parse(text, Path::new("owners.toml")).unwrap_err().to_string()
    }

    #[test]
    fn an_owner_means_what_it_says() {
        let text = "[[owner]]\nworkload = \"unit:web.service\"\nowner = \"team-web\"\npurpose = \"shop\"\n\
            environment = \"production\"\n[[owner]]\nidentity = \"*.example.com\"\nowner = \"partner\"\n";
        let owners = parse(text, Path::new("owners.toml")).unwrap();
        assert_eq!(owners.len(), 2);
        let unit = WorkloadRecord { unit: Some("web.service".to_owned()), ..WorkloadRecord::default() };
        let labels = owners.of_workload(&unit).unwrap();
        assert_eq!(labels.owner.as_deref(), Some("team-web"));
        assert_eq!(
            (labels.purpose.as_deref(), labels.environment.as_deref()),
            (Some("shop"), Some("production"))
        );
        assert_eq!(owners.of_identity("a.example.com").unwrap().owner.as_deref(), Some("partner"));
        assert!(parse("", Path::new("owners.toml")).unwrap().is_empty());
    }

    #[test]
    fn a_refusal_names_file_line_and_key() {
        let long = format!("[[owner]]\nworkload = \"any\"\nowner = \"{}\"\n", "x".repeat(257));
        for (text, expected) in [
            ("[[owners]]\n", "owners.toml:1:3: owners: unknown field `owners`"),
            ("[[owner]]\nowner = \"a\"\n", "owners.toml:1:1: owner[0]: is about one thing: write either"),
            (
                "[[owner]]\nworkload = \"any\"\nidentity = \"*\"\nowner = \"a\"\n",
                "owners.toml:1:1: owner[0]: is about one thing",
            ),
            ("[[owner]]\nworkload = \"any\"\n", "owners.toml:1:1: owner[0]: says nothing: write `owner`"),
            (
                "[[owner]]\nworkload = \"10.0.0.0/8\"\nowner = \"a\"\n",
                "owners.toml:2:12: owner[0].workload: `10.0.0.0/8` means addresses",
            ),
            ("[[owner]]\nidentity = \"\"\nowner = \"a\"\n", "owners.toml:2:12: owner[0].identity: is empty"),
            ("[[owner]]\nworkload = \"any\"\nowner = \" \"\n", "owners.toml:3:9: owner[0].owner: is empty"),
            (
                "[[owner]]\nworkload = \"any\"\npurpose = \"a\\u001b[1m\"\n",
                "owners.toml:3:11: owner[0].purpose: holds control characters",
            ),
            (&long, "owners.toml:3:9: owner[0].owner: is 257 bytes long: at most 256"),
            (
                "[[owner]]\nworkload = \"any\"\nteam = \"a\"\n",
                "owners.toml:3:1: owner[0].team: unknown field `team`",
            ),
        ] {
            let refusal = refusal(text);
            assert!(refusal.starts_with(expected), "{text}\n  gives {refusal}\n  not   {expected}");
        }
        let many = "[[owner]]\nworkload = \"any\"\nowner = \"a\"\n".repeat(MAX_OWNER_RULES + 1);
        assert!(refusal(&many).contains("more than 4096 owners"));
    }

    #[test]
    fn a_file_that_is_not_there_is_refused_with_what_to_do() {
        let refusal = load(Path::new("/nowhere/owners.toml")).unwrap_err().to_string();
        assert!(
            refusal.starts_with("cannot read /nowhere/owners.toml, the `file` of [ownership]: put"),
            "{refusal}"
        );
    }
}
