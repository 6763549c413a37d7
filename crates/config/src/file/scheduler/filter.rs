//! Which changes a scheduler wants, and which of them are reason enough to build.

use ::model::{
    Pattern,
    filter::{Attribute, ChangeFilter, Condition, Test},
};
use toml::de::DeValue;

use crate::{
    diagnostic::Span,
    expression,
    model::{Importance, Interest},
    schema::{Fallback, Key, Kind, Special},
    table::{Keys, Table},
    value::Value,
};

/// What an expression about a change may name.
const NAMES: [&str; 1] = ["change"];

/// What schedulers that look at changes have.
pub(super) const INTEREST: &[Key] = &[
    Key::new("change_filter", Kind::Tables("A change filter"), "only changes that pass it")
        .default(Fallback::Of("all")),
    Key::new(
        "fileIsImportant",
        Kind::Special(&IMPORTANT),
        "which changes are reason enough to build: those that touch a file whose path begins with one of these \
         regular expressions, or for which an expression over `change` is true",
    )
    .default(Fallback::Of("all")),
    Key::new("onlyImportant", Kind::Bool, "changes that are not important are left out of its builds")
        .default(Fallback::Bool(false)),
];

const IMPORTANT: Special = Special::apart("regular expressions, or `{ expression = … }`");

pub(in crate::file) const FILTER: Keys = Keys {
    what: "a change filter",
    groups: &[&[
        Key::new("branch", Kind::Texts, "the branch is one of these; the empty text is no branch"),
        Key::new("branch_not_eq", Kind::Texts, "the branch is none of these"),
        Key::new("branch_re", Kind::Texts, "the branch begins with one of these regular expressions"),
        Key::new("branch_not_re", Kind::Texts, "the branch begins with none of these regular expressions"),
        Key::new("category", Kind::Texts, "as `branch`"),
        Key::new("category_not_eq", Kind::Texts, "as `branch_not_eq`"),
        Key::new("category_re", Kind::Texts, "as `branch_re`"),
        Key::new("category_not_re", Kind::Texts, "as `branch_not_re`"),
        Key::new("codebase", Kind::Texts, "as `branch`"),
        Key::new("codebase_not_eq", Kind::Texts, "as `branch_not_eq`"),
        Key::new("codebase_re", Kind::Texts, "as `branch_re`"),
        Key::new("codebase_not_re", Kind::Texts, "as `branch_not_re`"),
        Key::new("project", Kind::Texts, "as `branch`"),
        Key::new("project_not_eq", Kind::Texts, "as `branch_not_eq`"),
        Key::new("project_re", Kind::Texts, "as `branch_re`"),
        Key::new("project_not_re", Kind::Texts, "as `branch_not_re`"),
        Key::new("repository", Kind::Texts, "as `branch`"),
        Key::new("repository_not_eq", Kind::Texts, "as `branch_not_eq`"),
        Key::new("repository_re", Kind::Texts, "as `branch_re`"),
        Key::new("repository_not_re", Kind::Texts, "as `branch_not_re`"),
        Key::new("property_eq", Kind::Dict, "by name: the property is one of these"),
        Key::new("property_not_eq", Kind::Dict, "by name: the property is none of these"),
        Key::new(
            "property_re",
            Kind::Dict,
            "by name: the property begins with one of these regular expressions",
        ),
        Key::new(
            "property_not_re",
            Kind::Dict,
            "by name: the property begins with none of these regular expressions",
        ),
        Key::new("filter_fn", Kind::Special(&FUNCTION), "true for the changes that pass"),
    ]],
    hints: &[
        ("branch_fn", "`filter_fn` sees all of the change"),
        ("category_fn", "`filter_fn` sees all of the change"),
        ("codebase_fn", "`filter_fn` sees all of the change"),
        ("project_fn", "`filter_fn` sees all of the change"),
        ("repository_fn", "`filter_fn` sees all of the change"),
        ("files", "`fileIsImportant` of the scheduler looks at files, and `filter_fn` may"),
    ],
};

const FUNCTION: Special = Special::apart("`{ expression = … }` over `change`");

/// Makes a condition of the texts of a value.
type MakeTest = fn(&Value<'_>, Vec<(&str, Span)>) -> Option<Test>;

/// What makes a condition, by the suffix of its key.
const TESTS: [(&str, MakeTest); 4] = [
    ("", |_, values| Some(Test::Is(values_of(values)))),
    ("_not_eq", |_, values| Some(Test::IsNot(values_of(values)))),
    ("_re", |value, texts| patterns(value, texts).map(Test::Matches)),
    ("_not_re", |value, texts| patterns(value, texts).map(Test::MatchesNot)),
];

/// Reads what the table of a scheduler says about changes.
pub(super) fn interest(table: &Table<'_>) -> Interest {
    Interest {
        filter: table.value("change_filter").and_then(filter).unwrap_or_default(),
        file_is_important: table.value("fileIsImportant").and_then(|value| match value.get() {
            DeValue::String(_) | DeValue::Array(_) => patterns(&value, value.texts()?).map(Importance::Files),
            DeValue::Table(_) => expression::read(value, &NAMES).map(Importance::Expression),
            _ => {
                value.unexpected(IMPORTANT.expected);
                None
            }
        }),
        only_important: table.bool("onlyImportant"),
    }
}

fn filter(value: Value<'_>) -> Option<ChangeFilter> {
    let table = Table::of(value, FILTER)?;
    let attributes = [
        ("branch", Attribute::Branch),
        ("category", Attribute::Category),
        ("codebase", Attribute::Codebase),
        ("project", Attribute::Project),
        ("repository", Attribute::Repository),
    ];
    let mut filter = ChangeFilter { conditions: conditions(&table, &attributes, ""), expression: None };
    for (suffix, read) in TESTS {
        let key = if suffix.is_empty() { "property_eq".to_owned() } else { format!("property{suffix}") };
        let Some(value) = table.value(&key) else { continue };
        let Some(entries) = value.entries() else {
            value.unexpected("a table of texts by the names of properties");
            continue;
        };
        for (name, _, value) in entries {
            let test = value.texts().and_then(|texts| read(&value, texts));
            // A property that is not set is the empty text.
            let test = match test {
                Some(Test::Is(values)) => Some(Test::Is(emptied(values))),
                Some(Test::IsNot(values)) => Some(Test::IsNot(emptied(values))),
                other => other,
            };
            let attribute = Attribute::Property(name.to_owned());
            filter.conditions.extend(test.map(|test| Condition { attribute, test }));
        }
    }
    filter.expression = table.value("filter_fn").and_then(|value| expression::read(value, &NAMES));
    if filter == ChangeFilter::default() && table.value("filter_fn").is_none() {
        value.warning("a change filter without conditions lets all changes pass");
    }
    Some(filter)
}

/// The conditions of a table on these attributes, by the names of the keys for them; that for one of some values ends with
/// `is`.
pub(in crate::file) fn conditions(
    table: &Table<'_>,
    attributes: &[(&str, Attribute)],
    is: &str,
) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for (name, attribute) in attributes {
        for (suffix, read) in TESTS {
            let suffix = if suffix.is_empty() { is } else { suffix };
            let Some(value) = table.value(&format!("{name}{suffix}")) else { continue };
            let test = value.texts().and_then(|texts| read(&value, texts));
            let attribute = attribute.clone();
            conditions.extend(test.map(|test| Condition { attribute, test }));
        }
    }
    conditions
}

fn values_of(values: Vec<(&str, Span)>) -> Vec<Option<String>> {
    values.into_iter().map(|(text, _)| (!text.is_empty()).then(|| text.to_owned())).collect()
}

fn emptied(values: Vec<Option<String>>) -> Vec<Option<String>> {
    values.into_iter().map(|value| Some(value.unwrap_or_default())).collect()
}

/// Regular expressions; reports those that are none.
pub(in crate::file) fn patterns(value: &Value<'_>, texts: Vec<(&str, Span)>) -> Option<Vec<Pattern>> {
    let all: Vec<Option<Pattern>> = texts
        .into_iter()
        .map(|(text, span)| match Pattern::parse(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                value.reading.sink.error(span, format!("{text:?} is no regular expression: {error}"));
                None
            }
        })
        .collect();
    all.into_iter().collect()
}
