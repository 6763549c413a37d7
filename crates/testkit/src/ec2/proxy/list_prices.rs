//! The price list: what machines cost on demand.

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Value, json};

use super::server::Server;
use crate::ec2::{moto::Answer, query::Query};

impl Server {
    /// Answers `GetProducts`, as far as prices were set.
    pub(super) fn price_list(&self, body: &[u8]) -> Answer {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let filters = asked["Filters"].as_array().cloned().unwrap_or_default();
        let value = |field: &str| {
            let filter = filters.iter().find(|filter| filter["Field"] == field);
            filter.and_then(|filter| filter["Value"].as_str()).unwrap_or_default().to_owned()
        };
        let (kinds, region) = (value("instanceType"), value("regionCode"));
        let mut world = self.world();
        let number =
            world.log(&Query::new("GetProducts", &[("instanceType", &kinds), ("regionCode", &region)]));
        let product = |kind: &str| {
            let price = *world.settings.list_prices.get(kind)?;
            let dimension = json!({"unit": "Hrs", "pricePerUnit": {"USD": format!("{price:.10}")}});
            let term = json!({"priceDimensions": {"SKU.TERM.RATE": dimension}});
            let product = json!({
                "product": {"attributes": {"instanceType": kind, "regionCode": region}},
                "terms": {"OnDemand": {"SKU.TERM": term}},
            });
            // A text in JSON, as from AWS.
            Some(Value::String(product.to_string()))
        };
        let products: Vec<_> = kinds.split(',').filter_map(product).collect();
        world.outcome(number, "ok");
        Answer {
            status: StatusCode::OK,
            content_type: "application/x-amz-json-1.1".into(),
            body: Bytes::from(json!({"FormatVersion": "aws_v1", "PriceList": products}).to_string()),
        }
    }
}
