//! Which changes a scheduler wants: Buildbot's `ChangeFilter` (`buildbot/changes/filter.py`,
//! `buildbot/util/ssfilter.py`, 4.3.0).

use crate::{
    Change, Json, Pattern, SourceStamp,
    expression::{EvaluationError, Expression},
};

/// Conditions on a change, all of which have to hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeFilter {
    /// Conditions on single attributes.
    pub conditions: Vec<Condition>,
    /// `filter_fn`: true where the change is wanted; sees it as `change`.
    pub expression: Option<Expression>,
}

/// Conditions on a source stamp, all of which have to hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceStampFilter {
    /// Conditions on branch, codebase, project and repository.
    pub conditions: Vec<Condition>,
    /// `filter_fn`: true where the source stamp is meant; sees it as `sourcestamp`.
    pub expression: Option<Expression>,
}

/// A condition on one attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The attribute.
    pub attribute: Attribute,
    /// What it has to be.
    pub test: Test,
}

/// What a change can be told by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribute {
    /// Its branch.
    Branch,
    /// Its category.
    Category,
    /// Its codebase.
    Codebase,
    /// Its project.
    Project,
    /// One of its properties; the empty text where it is not set.
    Property(String),
    /// Its repository.
    Repository,
}

/// What an attribute has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// One of these; `None` is no branch.
    Is(Vec<Option<String>>),
    /// None of these.
    IsNot(Vec<Option<String>>),
    /// It begins with one of these patterns. What is missing does not.
    Matches(Vec<Pattern>),
    /// It begins with none of these patterns.
    MatchesNot(Vec<Pattern>),
}

impl ChangeFilter {
    /// Whether a change is wanted.
    ///
    /// # Errors
    ///
    /// If its expression has no value.
    pub fn accepts(&self, change: &Change) -> Result<bool, EvaluationError> {
        let holds = self.conditions.iter().all(|condition| condition.holds(change));
        match &self.expression {
            Some(expression) if holds => expression.is_true(&scope(change)),
            _ => Ok(holds),
        }
    }

    /// The values that an attribute is limited to, where the filter names them.
    pub fn only(&self, attribute: &Attribute) -> Option<&[Option<String>]> {
        self.conditions.iter().find_map(|condition| match &condition.test {
            Test::Is(values) if condition.attribute == *attribute => Some(values.as_slice()),
            _ => None,
        })
    }
}

impl Condition {
    fn holds(&self, change: &Change) -> bool {
        let value = match &self.attribute {
            Attribute::Branch => change.branch.as_deref(),
            Attribute::Category => change.category.as_deref(),
            Attribute::Codebase => Some(&*change.codebase),
            Attribute::Project => Some(&*change.project),
            Attribute::Repository => Some(&*change.repository),
            Attribute::Property(name) => match change.properties.get(name) {
                None => Some(""),
                Some(Json::String(text)) => Some(text.as_str()),
                // Python finds no number among texts, and matches none.
                Some(Json::Null) => None,
                Some(_) => return matches!(self.test, Test::IsNot(_)),
            },
        };
        self.test.holds(value)
    }
}

impl SourceStampFilter {
    /// Whether a source stamp is meant.
    ///
    /// # Errors
    ///
    /// If its expression has no value.
    pub fn accepts(&self, stamp: &SourceStamp) -> Result<bool, EvaluationError> {
        let holds = self.conditions.iter().all(|condition| {
            condition.test.holds(match &condition.attribute {
                Attribute::Branch => stamp.branch.as_deref(),
                Attribute::Codebase => Some(&stamp.codebase),
                Attribute::Project => Some(&stamp.project),
                Attribute::Repository => Some(&stamp.repository),
                Attribute::Category | Attribute::Property(_) => Some(""),
            })
        });
        match &self.expression {
            Some(expression) if holds => {
                let scope = serde_json::Map::from_iter([("sourcestamp".to_owned(), stamp.facts())]);
                expression.is_true(&scope)
            }
            _ => Ok(holds),
        }
    }
}

impl Test {
    /// Whether a value is as it has to be; `None` where there is none.
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Is(values) => values.iter().any(|one| one.as_deref() == value),
            Self::IsNot(values) => values.iter().all(|one| one.as_deref() != value),
            Self::Matches(patterns) => {
                value.is_some_and(|value| patterns.iter().any(|pattern| pattern.begins(value)))
            }
            Self::MatchesNot(patterns) => {
                value.is_none_or(|value| !patterns.iter().any(|pattern| pattern.begins(value)))
            }
        }
    }
}

/// What an expression about a change sees: `change`.
pub fn scope(change: &Change) -> serde_json::Map<String, Json> {
    serde_json::Map::from_iter([("change".to_owned(), change.facts())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[&str]) -> Vec<Option<String>> {
        values.iter().map(|text| (!text.is_empty()).then(|| (*text).to_owned())).collect()
    }

    fn patterns(values: &[&str]) -> Vec<Pattern> {
        values.iter().map(|text| Pattern::parse(text).unwrap()).collect()
    }

    fn accepts(attribute: Attribute, test: Test, change: &Change) -> bool {
        ChangeFilter { conditions: vec![Condition { attribute, test }], expression: None }
            .accepts(change)
            .unwrap()
    }

    #[test]
    fn a_missing_branch_is_a_value_of_its_own() {
        let (with, without) =
            (Change { branch: Some("main".into()), ..Change::default() }, Change::default());
        let branch = |test: Test, change: &Change| accepts(Attribute::Branch, test, change);
        assert!(branch(Test::Is(texts(&["main"])), &with) && !branch(Test::Is(texts(&["main"])), &without));
        assert!(branch(Test::Is(texts(&[""])), &without) && !branch(Test::Is(texts(&[""])), &with));
        assert!(branch(Test::IsNot(texts(&["main"])), &without));
        assert!(!branch(Test::Matches(patterns(&[".*"])), &without));
        assert!(branch(Test::MatchesNot(patterns(&[".*"])), &without));
        assert!(branch(Test::Matches(patterns(&["x", "ma"])), &with));
        assert!(!branch(Test::MatchesNot(patterns(&["x", "ma"])), &with));
    }

    #[test]
    fn properties_that_are_not_set_are_empty_and_numbers_are_no_texts() {
        let mut change = Change::default();
        change.properties.set("n", 7, "Change");
        change.properties.set("t", "yes", "Change");
        let property = |name: &str, test: Test| accepts(Attribute::Property(name.into()), test, &change);
        assert!(property("t", Test::Is(texts(&["yes"]))));
        assert!(property("none", Test::Is(vec![Some(String::new())])));
        assert!(property("none", Test::Matches(patterns(&["$"]))));
        assert!(!property("n", Test::Is(texts(&["7"]))));
        assert!(property("n", Test::IsNot(texts(&["7"]))));
        assert!(!property("n", Test::Matches(patterns(&["7"]))));
        assert!(!property("n", Test::MatchesNot(patterns(&["7"]))));
    }

    #[test]
    fn expressions_see_the_change() {
        let accepts = |text: &str, change: &Change| {
            let expression = Some(Expression::parse(text).unwrap());
            ChangeFilter { conditions: Vec::new(), expression }.accepts(change)
        };
        let change = Change { files: vec!["a".into()], author: "ann".into(), ..Change::default() };
        assert_eq!(accepts("change.files | length == 1 and change.who == 'ann'", &change), Ok(true));
        assert_eq!(accepts("change.branch", &change), Ok(false));
        assert!(accepts("1 / 0", &change).is_err());
    }
}
