//! Identities that a rule lets workloads present, with places for the names of the workload.

use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;

use super::glob;
use super::identity::{PresentedName, attributes};
use crate::certificate::spiffe_id;
use crate::record::WorkloadRecord;

/// Longest template: as long as the longest SPIFFE ID.
pub const MAX_TEMPLATE_BYTES: usize = crate::certificate::MAX_SPIFFE_ID;

/// What kind of name a template means: it is only compared with names of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Spiffe,
    Uri,
    Address,
    Email,
    Subject,
    Dns,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Name(Placeholder),
}

/// A name of the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// Kubernetes namespace.
    Namespace,
    /// Pod.
    Pod,
    /// Service account.
    ServiceAccount,
    /// Container.
    Container,
    /// Unit of the system's manager without its type, escapes kept.
    Unit,
    /// Last part of the image's name, without tag and digest.
    Image,
    /// The user whose manager runs the unit.
    User,
    /// Name of the executable's file, of workloads that are nothing but an executable.
    Executable,
}

impl Placeholder {
    /// All of them.
    pub const ALL: [Placeholder; 8] = [
        Placeholder::Namespace,
        Placeholder::Pod,
        Placeholder::ServiceAccount,
        Placeholder::Container,
        Placeholder::Unit,
        Placeholder::Image,
        Placeholder::User,
        Placeholder::Executable,
    ];

    /// As it is typed, without braces.
    pub fn as_str(self) -> &'static str {
        match self {
            Placeholder::Namespace => "namespace",
            Placeholder::Pod => "pod",
            Placeholder::ServiceAccount => "service_account",
            Placeholder::Container => "container",
            Placeholder::Unit => "unit",
            Placeholder::Image => "image",
            Placeholder::User => "user",
            Placeholder::Executable => "executable",
        }
    }

    fn value(self, workload: &WorkloadRecord) -> Option<&str> {
        match self {
            Placeholder::Namespace => workload.namespace.as_deref(),
            Placeholder::Pod => workload.pod.as_deref(),
            Placeholder::ServiceAccount => workload.service_account.as_deref(),
            Placeholder::Container => workload.container_name(),
            // A user can give a unit of their own any name.
            Placeholder::Unit if workload.unit_user.is_some() => None,
            Placeholder::Unit => workload.unit.as_deref().map(|unit| before_last(unit, '.')),
            Placeholder::Image => workload.image.as_deref().map(image_name),
            Placeholder::User => workload.unit_user.as_deref(),
            Placeholder::Executable => {
                (workload.kind == "executable").then(|| after_last(&workload.name, '/'))
            }
        }
    }
}

fn before_last(text: &str, separator: char) -> &str {
    text.rsplit_once(separator).map_or(text, |(before, _)| before)
}

fn after_last(text: &str, separator: char) -> &str {
    text.rsplit_once(separator).map_or(text, |(_, after)| after)
}

/// `registry:5000/library/nginx:1.27@sha256:…` is `nginx`.
fn image_name(image: &str) -> &str {
    let name = after_last(image.split('@').next().unwrap_or(image), '/');
    name.split(':').next().unwrap_or(name)
}

/// An identity with places for names of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    kind: Kind,
    pieces: Vec<Piece>,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Not one of them.
    #[error("`{{{0}}}` is not one of {list}", list = placeholders())]
    Placeholder(String),
    /// A brace without its other one.
    #[error("`{0}` has a brace without its other one")]
    Brace(String),
    /// Of none of the kinds.
    #[error(
        "`{0}` is not an identity: write a SPIFFE ID like \"spiffe://prod/ns/{{namespace}}/sa/{{service_account}}\", a DNS name \
         like \"{{unit}}.internal\", an address, a URI, an e-mail address or a subject like \"CN=web\""
    )]
    Identity(String),
    /// Longer than [`MAX_TEMPLATE_BYTES`].
    #[error("is longer than {MAX_TEMPLATE_BYTES} bytes")]
    TooLong,
}

fn placeholders() -> String {
    Placeholder::ALL.map(|placeholder| format!("{{{}}}", placeholder.as_str())).join(", ")
}

/// A template with the names of a workload in its places.
#[derive(Debug, Clone)]
pub(super) struct Filled<'a> {
    template: &'a Template,
    /// What certificates are compared with: `*` stands where a place could not be filled.
    pattern: String,
    /// As records show it: places that could not be filled as they were typed.
    pub shown: String,
    /// Why a place could not be filled.
    pub unfilled: Option<Unfilled>,
}

/// Why a place of a template cannot be filled for a workload. The greater says less of the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unfilled {
    /// The workload's name is not known.
    Unknown,
    /// The workload's name could say more than one part of an identity.
    Unusable,
}

impl Unfilled {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Unfilled::Unknown => "placeholder_unknown",
            Unfilled::Unusable => "placeholder_unusable",
        }
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(TemplateError::TooLong);
        }
        let pieces = pieces(text)?;
        // What it looks like when all places are filled.
        let example: String = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => text.replace('*', "1"),
                Piece::Name(_) => "1".to_owned(),
            })
            .collect();
        let kind = kind(&example).ok_or_else(|| TemplateError::Identity(text.to_owned()))?;
        Ok(Template { kind, pieces })
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}']) {
        let broken = || TemplateError::Brace(text.to_owned());
        let (name, after) =
            rest[brace..].strip_prefix('{').and_then(|rest| rest.split_once('}')).ok_or_else(broken)?;
        let known = Placeholder::ALL.into_iter().find(|placeholder| placeholder.as_str() == name);
        let placeholder = known.ok_or_else(|| TemplateError::Placeholder(name.to_owned()))?;
        pieces.extend((brace > 0).then(|| Piece::Literal(rest[..brace].to_owned())));
        pieces.push(Piece::Name(placeholder));
        rest = after;
    }
    pieces.extend((!rest.is_empty()).then(|| Piece::Literal(rest.to_owned())));
    Ok(pieces)
}

fn kind(example: &str) -> Option<Kind> {
    if example.chars().any(|char| char.is_control()) {
        return None;
    }
    if example.starts_with("spiffe:") {
        return spiffe_id(example).filter(|id| !id.path.is_empty()).map(|_| Kind::Spiffe);
    }
    if example.contains("://") {
        return Some(Kind::Uri);
    }
    if example.parse::<IpAddr>().is_ok() {
        return Some(Kind::Address);
    }
    if example.contains('=') {
        return Some(Kind::Subject);
    }
    if let Some((user, domain)) = example.split_once('@') {
        return (!user.is_empty() && is_dns_name(domain)).then_some(Kind::Email);
    }
    is_dns_name(example).then_some(Kind::Dns)
}

fn is_dns_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

impl Template {
    /// Puts the names of a workload in.
    pub(super) fn fill(&self, workload: &WorkloadRecord) -> Filled<'_> {
        let (mut pattern, mut shown, mut unfilled) = (String::new(), String::new(), None);
        for piece in &self.pieces {
            let filled = match piece {
                Piece::Literal(text) => Ok(text.as_str()),
                Piece::Name(placeholder) => placeholder
                    .value(workload)
                    .ok_or(Unfilled::Unknown)
                    .and_then(|value| self.usable(value).then_some(value).ok_or(Unfilled::Unusable)),
            };
            match filled {
                Ok(text) => {
                    pattern.push_str(text);
                    shown.push_str(text);
                }
                Err(why) => {
                    unfilled = unfilled.max(Some(why));
                    pattern.push('*');
                    shown.push_str(&piece.to_string());
                }
            }
        }
        if matches!(self.kind, Kind::Dns | Kind::Email) {
            pattern.make_ascii_lowercase();
        }
        Filled { template: self, pattern, shown, unfilled }
    }

    /// Whether a name is one part of an identity: whoever chooses names must not choose where parts end, or have them
    /// stand for others.
    fn usable(&self, value: &str) -> bool {
        let is_dotted = matches!(self.kind, Kind::Dns | Kind::Email) && value.contains('.');
        let of_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
        !is_dotted && !matches!(value, "" | "." | "..") && value.bytes().all(of_part)
    }
}

impl Filled<'_> {
    /// Whether an identity that a certificate presents is the one of this template; where a place is not filled, whether it may be.
    pub(super) fn is(&self, presented: &PresentedName<'_>) -> bool {
        let parted = |text: &str, separator| match self.unfilled {
            // Its name may hold what parts identities.
            Some(Unfilled::Unusable) => glob::part_matches(&self.pattern, text),
            _ => glob::matches(&self.pattern, text, separator),
        };
        let dns = |name: &str| parted(&name.trim_end_matches('.').to_ascii_lowercase(), '.');
        match (self.template.kind, presented) {
            (Kind::Spiffe, PresentedName::Spiffe(id)) => parted(id, '/'),
            (Kind::Uri, PresentedName::Uri(uri)) => parted(uri, '/'),
            (Kind::Address, PresentedName::Address(address)) => {
                canonical(&self.pattern) == canonical(address) || parted(address, '.')
            }
            (Kind::Email, PresentedName::Email(address)) => parted(&address.to_ascii_lowercase(), '@'),
            (Kind::Dns, PresentedName::Dns(name)) => dns(name),
            // Before there were alternative names, the host's name stood in the subject.
            (Kind::Dns, PresentedName::Subject { common_name: Some(name), .. }) => dns(name),
            (Kind::Subject, PresentedName::Subject { whole, .. }) => match self.unfilled {
                Some(Unfilled::Unusable) => glob::part_matches(&self.pattern, whole),
                _ => subject_matches(&self.pattern, whole),
            },
            _ => false,
        }
    }
}

/// Attribute by attribute: `*` reaches over none, whatever is escaped in it.
fn subject_matches(pattern: &str, subject: &str) -> bool {
    let mut patterns = attributes(pattern);
    let mut presented = attributes(subject);
    loop {
        match (patterns.next(), presented.next()) {
            (None, None) => return true,
            (Some((pattern, ended)), Some((attribute, end)))
                if ended == end && glob::part_matches(pattern, attribute) => {}
            _ => return false,
        }
    }
}

fn canonical(address: &str) -> Cow<'_, str> {
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string().into(),
        Err(_) => address.into(),
    }
}

impl std::fmt::Display for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Piece::Literal(text) => f.write_str(text),
            Piece::Name(placeholder) => write!(f, "{{{}}}", placeholder.as_str()),
        }
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.pieces.iter().try_for_each(|piece| piece.fmt(f))
    }
}
