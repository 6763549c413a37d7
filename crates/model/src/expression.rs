//! Small decisions in a configuration: `prop.branch == "main" and change.files | length < 10`.
//!
//! An expression is one of Jinja's, as `minijinja` has them: Python's operators, comparisons, `in`, `not`, `if … else …`,
//! lists, tables and attributes, Jinja's filters (`| length`, `| lower`, `| default("x")`) and tests (`is defined`), the
//! methods of Python's texts, lists and tables (`.startswith("release/")`), and one test more: `is matching("^v[0-9]")`,
//! a regular expression that is searched for. What is true is what is true in Python.
//!
//! What names there are depends on where the expression stands. The results of builds and steps are always there, as
//! `SUCCESS`, `WARNINGS`, `FAILURE`, `SKIPPED`, `EXCEPTION`, `RETRY` and `CANCELLED`; they are numbers, as in Buildbot.

use std::{
    collections::BTreeSet,
    fmt,
    ops::Range,
    sync::{Arc, LazyLock},
};

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, value::Serde};
use serde_json::Map;

use crate::{Json, Pattern, Results, template::is_true};

/// How many steps of its machine an expression may take.
const FUEL: u64 = 50_000;
/// How long its text may be, in bytes.
const MAX_LENGTH: usize = 4096;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_fuel(Some(FUEL));
    environment.add_test("matching", matching);
    for results in Results::ALL {
        environment.add_global(results.name().to_uppercase(), results.code());
    }
    environment
});

/// A parsed expression, ready to be evaluated.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    compiled: Arc<minijinja::Expression<'static, 'static>>,
    names: Arc<BTreeSet<String>>,
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// Where in the text, in bytes.
    pub range: Range<usize>,
    /// What is wrong there, in one line.
    pub message: String,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the expression `{expression}` has no value: {message}")]
pub struct EvaluationError {
    /// The expression.
    pub expression: String,
    /// What went wrong, in one line.
    pub message: String,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// If it is none, or too long.
    pub fn parse(source: &str) -> Result<Self, ExpressionError> {
        if source.len() > MAX_LENGTH {
            let message = format!("an expression has at most {MAX_LENGTH} bytes");
            return Err(ExpressionError { range: 0..source.len(), message });
        }
        let compiled = ENVIRONMENT.compile_expression_owned(source.to_owned()).map_err(|error| {
            let range = error.range().filter(|range| range.end <= source.len()).unwrap_or(0..source.len());
            ExpressionError { range, message: one_line(&error) }
        })?;
        // Only the machine knows which filters and tests there are.
        if let Err(error) = compiled.eval(())
            && let ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction =
                error.kind()
        {
            return Err(ExpressionError { range: 0..source.len(), message: one_line(&error) });
        }
        let names = compiled.undeclared_variables(false).into_iter().filter(|name| !is_constant(name));
        Ok(Self { source: source.into(), names: Arc::new(names.collect()), compiled: Arc::new(compiled) })
    }

    /// Its text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The names that it takes from its surroundings, such as `prop`.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Its value, where `scope` has what its names mean. What is not there is JSON's null.
    ///
    /// # Errors
    ///
    /// If an operation is not possible with its values, or it takes too long.
    pub fn evaluate(&self, scope: &Map<String, Json>) -> Result<Json, EvaluationError> {
        let failed = |message: String| EvaluationError { expression: self.source.to_string(), message };
        let value =
            self.compiled.eval(Value::from(Serde(scope))).map_err(|error| failed(one_line(&error)))?;
        if value.is_undefined() {
            return Ok(Json::Null);
        }
        serde_json::to_value(&value).map_err(|error| failed(error.to_string()))
    }

    /// Whether its value is true in Python.
    ///
    /// # Errors
    ///
    /// As [`Self::evaluate`].
    pub fn is_true(&self, scope: &Map<String, Json>) -> Result<bool, EvaluationError> {
        Ok(is_true(&self.evaluate(scope)?))
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

/// Whether `name` is there everywhere: a result, or one of Jinja's functions.
fn is_constant(name: &str) -> bool {
    ENVIRONMENT.globals().any(|(global, _)| global == name)
}

/// Whether `text` is a text that has the regular expression `pattern` somewhere.
fn matching(text: &Value, pattern: &str) -> Result<bool, Error> {
    let regex = Pattern::parse(pattern).map_err(|reason| {
        Error::new(ErrorKind::InvalidOperation, format!("{pattern:?} is no regular expression: {reason}"))
    })?;
    Ok(text.as_str().is_some_and(|text| regex.search(text).is_some()))
}

fn one_line(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {}", error.kind(), detail.lines().next().unwrap_or_default()),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Map<String, Json> {
        let json = json!({
            "prop": { "branch": "release/1.2", "jobs": 4, "deploy": false, "got-revision": "abc" },
            "change": { "files": ["a.c", "doc/index.rst"], "who": "ann" },
            "results": 2,
        });
        json.as_object().cloned().unwrap_or_default()
    }

    fn value(source: &str) -> Json {
        Expression::parse(source).unwrap().evaluate(&scope()).unwrap()
    }

    #[test]
    fn values_are_pythons() {
        for (source, expected) in [
            ("prop.branch.startswith('release/')", json!(true)),
            ("prop.branch == 'main' or prop.jobs > 3", json!(true)),
            ("change.files | length", json!(2)),
            ("'doc/index.rst' in change.files", json!(true)),
            ("results == FAILURE", json!(true)),
            ("results in [SUCCESS, WARNINGS]", json!(false)),
            ("prop['got-revision']", json!("abc")),
            ("prop.branch is matching('^release/[0-9.]+$')", json!(true)),
            ("prop.branch is matching('/(?!2)')", json!(true)),
            ("'x' if prop.deploy else prop.jobs * 2", json!(8)),
            ("prop.branch ~ '-' ~ prop.jobs", json!("release/1.2-4")),
            ("prop.nothing", Json::Null),
            ("prop.nothing is matching('x')", json!(false)),
            ("prop.nothing.at.all is defined", json!(false)),
            ("{'a': [1, 2.5, none]}", json!({ "a": [1, 2.5, null] })),
        ] {
            assert_eq!(value(source), expected, "{source}");
        }
    }

    #[test]
    fn truth_is_pythons() {
        for (source, truth) in [
            ("''", false),
            ("'0'", true),
            ("0", false),
            ("[]", false),
            ("{}", false),
            ("prop", true),
            ("prop.nothing", false),
            ("not prop.deploy", true),
        ] {
            assert_eq!(Expression::parse(source).unwrap().is_true(&scope()), Ok(truth), "{source}");
        }
    }

    #[test]
    fn names_are_those_of_the_surroundings() {
        let expression = Expression::parse("prop.x == SUCCESS and (chnge.who | lower) in range(3)").unwrap();
        assert_eq!(*expression.names(), BTreeSet::from(["chnge".to_owned(), "prop".to_owned()]));
    }

    #[test]
    fn errors_say_where() {
        let error = Expression::parse("prop.branch = 'main'").unwrap_err();
        assert_eq!(error.range, 12..13, "{error}");
        assert!(Expression::parse("prop.x | nosuch").is_err());
        assert!(Expression::parse("").is_err());
        assert!(Expression::parse("a b").is_err());
    }

    #[test]
    fn hostile_ones_end() {
        let deep = "(".repeat(4000);
        assert!(Expression::parse(&deep).is_err());
        assert!(Expression::parse(&"1+".repeat(3000)).is_err());
        let regex = Expression::parse("'x' is matching('(a{1000}){1000}')").unwrap();
        assert!(regex.evaluate(&scope()).unwrap_err().to_string().contains("is no regular expression"));
        assert!(Expression::parse("1 / 0").unwrap().evaluate(&scope()).is_err());
        assert!(Expression::parse("1 + 'a'").unwrap().evaluate(&scope()).is_err());
    }
}
