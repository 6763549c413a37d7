//! A laboratory that behaves like EC2: [moto](moto::Moto) answers, a [proxy](proxy::Proxy) in front of it makes what moto lacks
//! and fails on demand. In the whole [laboratory](lab::Lab) machines boot.

mod emulator;
pub mod imds;
pub mod lab;
pub mod moto;
mod net;
pub mod proxy;
pub mod query;
mod runtime;
pub mod xml;
