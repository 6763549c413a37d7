//! EC2 as [fakecloud](https://fakecloud.dev) makes it, which shares nothing with moto: `-H ADDRESS -p PORT`, as moto has it.

use std::{env, net::SocketAddr, sync::Arc};

use axum::{Extension, Router};
use fakecloud_core::{
    dispatch::{DispatchConfig, dispatch},
    registry::ServiceRegistry,
};

#[tokio::main]
async fn main() {
    let [host, port] = [2, 4].map(|at| env::args().nth(at).expect("-H HOST -p PORT"));
    let listener = tokio::net::TcpListener::bind(format!("{host}:{port}")).await.expect("a free port");
    let mut registry = ServiceRegistry::new();
    registry.register(Arc::new(fakecloud_ec2::Ec2Service::new()));
    let app = Router::new()
        .fallback(dispatch)
        .layer(Extension(Arc::new(registry)))
        .layer(Extension(Arc::new(DispatchConfig::new("us-east-1", "123456789012"))));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await.expect("it serves");
}
