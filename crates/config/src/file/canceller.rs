//! `[[old-build-canceller]]` and `[[failing-buildset-canceller]]`.

use std::sync::Arc;

use ::model::filter::{Attribute, SourceStampFilter};

use super::{Names, scheduler::filter};
use crate::{
    diagnostic::Span,
    expression,
    model::{CancelFilter, Canceller},
    schema::{Fallback, Key, Kind, Special},
    table::{Keys, Table},
    value::Value,
};

const NAME: Key = Key::new("name", Kind::Text, "its name").required();
const BUILDERS: Key = Key::new("builders", Kind::Texts, "names of the builders").required();
const FILTER: Key = Key::new("filter", Kind::Tables("A source stamp filter"), "which of their source stamps")
    .default(Fallback::Of("all"));

pub(super) const OLD: Keys = Keys {
    what: "a canceller of old builds",
    groups: &[&[
        NAME,
        Key::new("filters", Kind::Tables("A filter of an OldBuildCanceller"), "whose builds are cancelled")
            .required(),
    ]],
    hints: &[(
        "branch_key",
        "patch sets of a change in Gerrit are one branch, every other branch is one of its own",
    )],
};

pub(super) const OLD_FILTER: Keys =
    Keys { what: "a filter of a canceller", groups: &[&[BUILDERS, FILTER]], hints: &[] };

pub(super) const FAILING: Keys = Keys {
    what: "a canceller of failing buildsets",
    groups: &[&[
        NAME,
        Key::new(
            "filters",
            Kind::Tables("A filter of a FailingBuildsetCanceller"),
            "whose failures cancel what",
        )
        .required(),
    ]],
    hints: &[],
};

pub(super) const FAILING_FILTER: Keys = Keys {
    what: "a filter of a canceller",
    groups: &[&[
        BUILDERS,
        Key::new("builders_to_cancel", Kind::Texts, "names of the builders whose builds are cancelled")
            .default(Fallback::Of("all")),
        FILTER,
    ]],
    hints: &[],
};

pub(super) const SOURCE_STAMP_FILTER: Keys = Keys {
    what: "a source stamp filter",
    groups: &[&[
        Key::new("branch_eq", Kind::Texts, "the branch is one of these; the empty text is no branch"),
        Key::new("branch_not_eq", Kind::Texts, "the branch is none of these"),
        Key::new("branch_re", Kind::Texts, "the branch begins with one of these regular expressions"),
        Key::new("branch_not_re", Kind::Texts, "the branch begins with none of these regular expressions"),
        Key::new("codebase_eq", Kind::Texts, "as `branch_eq`"),
        Key::new("codebase_not_eq", Kind::Texts, "as `branch_not_eq`"),
        Key::new("codebase_re", Kind::Texts, "as `branch_re`"),
        Key::new("codebase_not_re", Kind::Texts, "as `branch_not_re`"),
        Key::new("project_eq", Kind::Texts, "as `branch_eq`"),
        Key::new("project_not_eq", Kind::Texts, "as `branch_not_eq`"),
        Key::new("project_re", Kind::Texts, "as `branch_re`"),
        Key::new("project_not_re", Kind::Texts, "as `branch_not_re`"),
        Key::new("repository_eq", Kind::Texts, "as `branch_eq`"),
        Key::new("repository_not_eq", Kind::Texts, "as `branch_not_eq`"),
        Key::new("repository_re", Kind::Texts, "as `branch_re`"),
        Key::new("repository_not_re", Kind::Texts, "as `branch_not_re`"),
        Key::new("filter_fn", Kind::Special(&FUNCTION), "true for the source stamps that pass"),
    ]],
    hints: &[
        ("branch", "it is called `branch_eq`"),
        ("codebase", "it is called `codebase_eq`"),
        ("project", "it is called `project_eq`"),
        ("repository", "it is called `repository_eq`"),
    ],
};

const FUNCTION: Special = Special::apart("`{ expression = … }` over `sourcestamp`");

/// Reads one, whose keys and whose filters' keys are these.
pub(super) fn read<'a>(
    value: Value<'a>,
    (keys, filter_keys): (Keys, Keys),
    builders: &Names<'a>,
    names: &mut Names<'a>,
) -> Option<Canceller> {
    let table = Table::of(value, keys)?;
    let name = table.text("name").map(|(name, span)| {
        names.add(table.reading(), name, span);
        name.to_owned()
    });
    let has_others = filter_keys.iter().any(|key| key.name == "builders_to_cancel");
    let mut filters = Vec::new();
    for value in table.tables("filters") {
        let Some(table) = Table::of(value, filter_keys) else { continue };
        let owned = |names: Vec<(&str, Span)>| names.into_iter().map(|(name, _)| name.to_owned()).collect();
        let used = table.texts("builders").unwrap_or_default();
        builders.check(&table, "builders", &used);
        let others = has_others.then(|| table.texts("builders_to_cancel")).flatten();
        if let Some(others) = &others {
            builders.check(&table, "builders_to_cancel", others);
        }
        let filter =
            table.value("filter").map_or_else(|| Some(SourceStampFilter::default()), source_stamp_filter);
        filters.extend(filter.map(|filter| {
            Arc::new(CancelFilter { builders: owned(used), builders_to_cancel: others.map(owned), filter })
        }));
    }
    Some(Canceller { name: name?, filters })
}

fn source_stamp_filter(value: Value<'_>) -> Option<SourceStampFilter> {
    let table = Table::of(value, SOURCE_STAMP_FILTER)?;
    let attributes = [
        ("branch", Attribute::Branch),
        ("codebase", Attribute::Codebase),
        ("project", Attribute::Project),
        ("repository", Attribute::Repository),
    ];
    let conditions = filter::conditions(&table, &attributes, "_eq");
    let expression = table.value("filter_fn").and_then(|value| expression::read(value, &["sourcestamp"]));
    Some(SourceStampFilter { conditions, expression })
}
