//! A laboratory that behaves like EC2: [moto](moto::Moto) answers, a [proxy](proxy::Proxy) in front of it makes what moto lacks
//! and fails on demand.

pub mod moto;
pub mod proxy;
pub mod query;
mod runtime;
pub mod xml;
