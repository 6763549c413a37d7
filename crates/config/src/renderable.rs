//! Values that depend on the build.

use ::model::{
    Json,
    expression::Expression,
    template::{Context, RenderError, Template, is_true},
};

/// Arguments of a step by Buildbot's names. All that the type has are there: given, or its default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Args(pub Vec<(&'static str, Renderable)>);

impl Args {
    /// The argument `name`; [`Renderable::Null`] where it was left out and has no default.
    pub fn get(&self, name: &str) -> &Renderable {
        const NULL: &Renderable = &Renderable::Null;
        self.0.iter().find(|(key, _)| *key == name).map_or(NULL, |(_, value)| value)
    }
}

/// A value that may depend on the build, rendered when it is needed.
#[derive(Clone, Debug, PartialEq)]
pub enum Renderable {
    /// Left out.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text, perhaps with properties in it.
    Text(Template),
    /// Several values.
    List(Vec<Self>),
    /// Values by name, in the order given.
    Dict(Vec<(String, Self)>),
    /// What an expression comes to: `{ expression = "prop.branch == 'main'" }`.
    Expression(Expression),
    /// The value of a property with its own type: `{ property = "NAME", default = … }`.
    Property {
        /// Name of the property.
        name: String,
        /// Taken when the property is not set.
        default: Box<Self>,
        /// Whether the default is also taken when the property is set to something false (Buildbot's
        /// `defaultWhenFalse`).
        default_when_false: bool,
    },
}

impl Renderable {
    /// Text that stands for itself.
    pub fn literal(text: &str) -> Self {
        Self::Text(Template::literal(text))
    }

    /// Whether it was left out.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// The value for one build. `Null` is JSON's null; numbers that JSON cannot hold do not occur.
    ///
    /// # Errors
    ///
    /// As [`Template::render`] says, and when an expression has no value.
    pub fn render(&self, context: &dyn Context) -> Result<Json, RenderError> {
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(truth) => Json::Bool(*truth),
            Self::Int(number) => Json::from(*number),
            Self::Float(number) => Json::from(*number),
            Self::Text(template) => Json::String(template.render(context)?),
            Self::List(values) => {
                Json::Array(values.iter().map(|value| value.render(context)).collect::<Result<_, _>>()?)
            }
            Self::Dict(entries) => Json::Object(
                entries
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), value.render(context)?)))
                    .collect::<Result<_, RenderError>>()?,
            ),
            Self::Expression(expression) => {
                let names = expression.names().iter();
                let scope = names.filter_map(|name| Some((name.clone(), context.named(name)?))).collect();
                expression.evaluate(&scope)?
            }
            Self::Property { name, default, default_when_false } => match context.property(name) {
                Some(value) if !default_when_false || is_true(&value) => value,
                _ => default.render(context)?,
            },
        })
    }
}
